"""An institution moves while claims flow: nothing lost, nothing double, whoever is killed between any two steps."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from shutil import copy

import pytest
from sqlalchemy import insert, make_url, select, text, update

from center.serving import beginning, moves
from center.serving.beginning import Wish
from center.serving.tables import served_by
from center.serving.terms import Rules, TermsRefused, change, renewing
from center.settling.settle import settle_submitted
from center.tables import person, reference
from city import cli
from domain.messages import BooksAsked, BundleKept, HandedOver, HandOverReported, TotalsSubmitted
from domain.refusals import Refusal, VisitRefusal
from domain.terms import PARTS, Connection
from infra.database import open_database
from infra.reference import ReferenceShelf, catalogue_row
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    FRONTEND,
    OTHER_FRONTEND,
    POLICY_VERSION,
    fill_center,
    person_row,
    rows_of,
    until_somebody_waits,
)
from tests.support.databases import FreshDatabase
from tests.support.frontend import CLINIC, HOSPITAL, PERSON, new_frontend, published, shelf, short_code, submission
from tests.support.moving import Movers, announce
from tests.support.visits import charge, deliver, delivery, registered, registration
from workers import books, desk, intake, visits
from workers import terms as obeyed
from workers.deliver import record_answers
from workers.outcomes import decide
from workers.refund import refund
from workers.tables import arriving, bundle_made, bundle_taken, claim, hand_out, institution, visit, visit_lines
from workers.tables import reference as kept


@pytest.fixture(scope="module")
def before(postgres_url, tmp_path_factory):
    """How it all begins: the name of a filled centre's database, and a folder with both front-ends'."""
    folder = tmp_path_factory.mktemp("before")
    with FreshDatabase(postgres_url, "center_template") as url:
        center = open_database(url)
        fill_center(center)
        with center.begin() as connection:
            connection.execute(insert(person), person_row(0, citizen_id_no=PERSON))
            for code in (HOSPITAL, CLINIC):
                change(connection, code, {"short_code": short_code(code)}, by="甲", reason="登记", at=AT)
        for frontend in (FRONTEND, OTHER_FRONTEND):
            announce(center, frontend)
        center.dispose()
        new_frontend(f"sqlite:///{folder}/source.db", HOSPITAL).dispose()
        target = new_frontend(f"sqlite:///{folder}/target.db", CLINIC)
        with target.begin() as connection:
            both = catalogue_row(published([HOSPITAL, CLINIC]))["content"]
            connection.execute(update(kept).where(kept.c.kind == "catalogue").values(content=both))
        target.dispose()
        yield make_url(url).database, folder


@pytest.fixture
def movers(postgres_url, before, tmp_path):
    template, folder = before
    for name in ("source.db", "target.db"):
        copy(folder / name, tmp_path / name)
    with FreshDatabase(postgres_url, template) as url:
        engines = [
            open_database(each) for each in (url, *(f"sqlite:///{tmp_path}/{n}.db" for n in ("source", "target")))
        ]
        yield Movers(*engines)
        for engine in engines:
            engine.dispose()


def rows(engine, table):
    with engine.connect() as connection:
        return connection.execute(select(table)).all()


def hand_in(engine, key, **change):
    (outcome,) = intake.accept(engine, [submission(HOSPITAL, key, **change)], at=AT)
    return outcome


def settle_all(movers, engine, frontend):
    """The desk totals what is accepted, the centre settles it, the answers are recorded."""
    turn = desk.preprocess(engine, shelf(), HOSPITAL, limit=100, at=AT, now=0.0)
    claims = tuple(turn.totals)
    if claims:
        submitted = TotalsSubmitted(policy_version=POLICY_VERSION, catalogue_version=CATALOGUE_VERSION, claims=claims)
        answered = settle_submitted(movers.center, ReferenceShelf(reference), submitted, frontend=frontend, at=AT)
        with engine.begin() as connection:
            record_answers(connection, answered, at=AT)
    return claims


def states(engine):
    return {row.idempotency_key: row.state for row in rows(engine, claim)}


def test_visits_settlements_and_keys_come_along_and_both_doors_are_never_open(movers):
    (stay,) = registered(movers.source, at=AT)
    deliver(movers.source, delivery(stay, charge(1), charge(2)), at=AT)
    accepted = hand_in(movers.source, "before")
    settle_all(movers, movers.source, FRONTEND)
    open_claim = hand_in(movers.source, "open", visit_no="")

    movers.begin()
    assert movers.go(6) == "draining"

    assert movers.opens() == {OTHER_FRONTEND}
    assert isinstance(hand_in(movers.source, "new"), intake.Moved)
    assert hand_in(movers.source, "before") == intake.Replayed(accepted.claim_id, accepted.visit_no, 1)
    replayed = hand_in(movers.target, "before")
    assert (type(replayed), replayed.visit_no) == (intake.Replayed, accepted.visit_no)
    assert isinstance(hand_in(movers.target, "open"), intake.Arriving)
    assert [row.visit_no for row in rows(movers.target, visit)] == [stay]
    assert deliver(movers.target, delivery(stay, charge(3)), at=AT)[0][0].code == "00"
    settled = visits.settle_visit(movers.target, HOSPITAL, stay, final=False, at=AT)
    assert isinstance(settled, visits.Settling)
    assert visits.settle_visit(movers.source, HOSPITAL, stay, final=False, at=AT).codes == (VisitRefusal.MOVED,)

    assert settle_all(movers, movers.source, FRONTEND)[0].visit_no == open_claim.visit_no
    movers.go(2)
    assert isinstance(hand_in(movers.target, "open"), intake.Replayed)
    settle_all(movers, movers.target, OTHER_FRONTEND)
    assert states(movers.source)["open"] == states(movers.target)["open"] == "settled"
    assert rows(movers.target, arriving) == []
    assert rows_of(movers.center, "SELECT count(*) FROM settlement") == [(3,)]


def test_a_settlement_is_not_taken_back_at_the_target_while_a_refund_of_its_visit_is_on_its_way(movers):
    settled = hand_in(movers.source, "claim")
    settle_all(movers, movers.source, FRONTEND)
    upload_all(movers.source)
    asking = HOSPITAL, settled.visit_no, 1
    assert isinstance(refund(movers.source, shelf(), *asking, reason="收费有误", at=AT, key="first"), visits.Refunding)
    movers.begin()
    assert movers.go(6) == "draining"
    assert states(movers.target) == {"claim": "settled"}, "the settlement came along, its refund has no answer yet"

    again = refund(movers.target, shelf(), *asking, reason="收费有误", at=AT, key="second")

    assert again.codes == (VisitRefusal.ARRIVING,)
    assert states(movers.target) == {"claim": "settled"}


def test_a_key_is_cancelled_only_where_its_claim_would_be_taken(movers):
    hand_in(movers.source, "open")
    before = decide.cancel_key(movers.source, HOSPITAL, "cancelled before", at=AT)
    movers.begin()
    assert movers.go(6) == "draining"

    here = decide.cancel_key(movers.target, HOSPITAL, "open", at=AT)
    there = decide.cancel_key(movers.source, HOSPITAL, "never came", at=AT)

    assert (here.codes, there.codes) == ((VisitRefusal.ARRIVING,), (VisitRefusal.MOVED,))
    assert isinstance(hand_in(movers.target, "never came"), intake.Accepted)
    assert isinstance(before, decide.Buried)
    assert isinstance(hand_in(movers.target, "cancelled before"), intake.Cancelled)
    assert isinstance(decide.cancel_key(movers.target, HOSPITAL, "later", at=AT), decide.Buried)


STEPS = ("terms.asked", "terms.sent", "handover.asked", "answer", "handed.over", "kept")


@pytest.mark.parametrize("step", STEPS)
def test_any_message_of_a_move_may_be_lost_and_the_move_goes_on(movers, step):
    (stay,) = registered(movers.source, at=AT)
    hand_in(movers.source, "open")
    left = [2]

    def lost(name):
        if name == step and left[0]:
            left[0] -= 1
            return True
        return False

    movers.lost = lost
    movers.begin()
    for _ in range(9):
        movers.hear()
        movers.tick()
        assert len(movers.opens()) <= 1
        live = [row.visit_no for row in rows(movers.source, visit) if not row.moved_to]
        assert len(live) + len(rows(movers.target, visit)) <= 1 or movers.state() == "handing"
    settle_all(movers, movers.source, FRONTEND)
    upload_all(movers.source)
    assert left == [0]
    assert movers.go(4) == "finished"
    assert [row.visit_no for row in rows(movers.target, visit)] == [stay]
    assert states(movers.target) == {"open": "settled"}


def upload_all(engine):
    """As if a window had been open: the detail is at the centre."""
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.state == "settled").values(detail_state=1))


@pytest.mark.parametrize("told", ["tick", "terms", "report", "kept"])
def test_a_step_waits_for_whoever_changes_terms_before_it_locks_anything(movers, told):
    """Or the two would wait for each other: an operator who takes a move back has the terms, and wants the move."""
    move_no = movers.begin()
    with movers.source.begin() as connection:
        asked = obeyed.asking(connection)
    of = {"move_no": move_no, "institution_code": HOSPITAL, "bundle_no": 1}
    left = HandOverReported(**of, open_claims=0, results_waiting=0, details_due=0, visits_behind=0)
    step = {
        "tick": moves.advance,
        "terms": partial(moves.heard, asked=asked, frontend=FRONTEND),
        "report": partial(moves.reported, told=left, frontend=FRONTEND),
        "kept": partial(moves.kept, told=BundleKept(**of), frontend=OTHER_FRONTEND, opened=bytes),
    }[told]

    def steps():
        with movers.center.begin() as connection:
            return step(connection, at=movers.at)

    with ThreadPoolExecutor(1) as pool:
        with movers.center.begin() as operator:
            renewing(operator)
            waiting = pool.submit(steps)
            until_somebody_waits(movers.center)
            for table in ("move", "served_by", "terms_report"):
                operator.execute(text(f"SELECT FROM {table} FOR UPDATE NOWAIT"))
        waiting.result()


def test_a_bundle_repeated_or_late_changes_nothing_and_one_of_another_move_is_not_taken(movers):
    registered(movers.source, at=AT)
    number = movers.begin()
    seen = []
    deliver_as_it_is = movers.deliver
    movers.deliver = lambda due: (seen.append(due), deliver_as_it_is(due))[1]
    assert movers.go(6) == "finished"

    (given,) = [each for each in seen if each.message.KIND == "handed.over"]
    before = rows(movers.target, visit), rows(movers.target, hand_out), rows(movers.target, bundle_taken)
    made = rows(movers.source, bundle_made)
    assert deliver_as_it_is(given) == []
    strange = given._replace(message=replace(given.message, move_no=number + 1, bundle_no=1))
    assert deliver_as_it_is(strange) == []
    assert (rows(movers.target, visit), rows(movers.target, hand_out), rows(movers.target, bundle_taken)) == before
    for asked in (each for each in seen if each.message.KIND == "handover.asked"):
        assert deliver_as_it_is(asked._replace(message=replace(asked.message, move_no=number + 1))) == []
    assert rows(movers.source, bundle_made) == made


def test_copies_of_what_a_front_end_says_breed_no_copies(movers):
    hand_in(movers.source, "open")
    movers.begin()
    twice = movers.answered
    bred = []

    def answered(told, frontend):
        sent = twice(told, frontend)
        bred.extend(twice(told, frontend))
        return sent

    movers.answered = answered
    assert movers.go(6) == "draining"
    assert bred == []


def test_what_nobody_answers_is_asked_for_ever_more_seldom_until_something_moves(movers):
    hand_in(movers.source, "open")
    movers.begin()
    assert movers.go(6) == "draining"

    def asked_within(seconds):
        times = []
        for _ in range(seconds):
            movers.now += 1
            with movers.center.begin() as connection:
                if moves.due(connection, now=movers.now, opened=bytes):
                    times.append(movers.now)
        return [round(later - before) for before, later in pairwise(times)]

    with movers.center.begin() as connection:
        connection.execute(text("UPDATE move SET attempts = 0, sent_at = 0"))
    assert asked_within(400) == [10, 20, 40, 60, 60, 60, 60, 60]
    settle_all(movers, movers.source, FRONTEND)
    movers.go(1)
    assert asked_within(16) == [10]


def test_it_moves_back_and_forth_and_every_visit_is_live_once(movers):
    (stay,) = registered(movers.source, at=AT)
    first = hand_in(movers.source, "first")
    settle_all(movers, movers.source, FRONTEND)
    upload_all(movers.source)
    movers.begin()
    assert movers.go(6) == "finished"
    deliver(movers.target, delivery(stay, charge(1)), at=AT)
    second = hand_in(movers.target, "second")
    assert second.visit_no > first.visit_no, "the numbers go on"
    settle_all(movers, movers.target, OTHER_FRONTEND)
    upload_all(movers.target)

    movers.begin(target=FRONTEND)
    assert movers.go(6) == "finished"

    assert movers.opens() == {FRONTEND}
    assert {row.visit_no: row.moved_to for row in rows(movers.source, visit)} == {stay: ""}
    assert [row.visit_no for row in rows(movers.source, visit_lines)] == [stay]
    origins = {row.idempotency_key: row.origin for row in rows(movers.source, claim)}
    assert origins == {"first": "", "second": OTHER_FRONTEND}
    with movers.source.connect() as connection:
        (day,) = books.report(connection, BooksAsked(day=AT.date())).totals
    assert day.claims == 1, "each front-end has its own settlements in its books"
    assert isinstance(hand_in(movers.source, "second"), intake.Replayed)
    assert isinstance(hand_in(movers.source, "third"), intake.Accepted)


def test_a_move_is_taken_back_before_anything_travelled_and_not_after(movers):
    movers.begin()
    movers.lost = lambda step: step == "terms.asked"
    movers.go(2)
    with movers.center.begin() as connection:
        beginning.abort(connection, HOSPITAL, by="乙", reason="改期", at=AT)
    movers.lost = lambda _step: False
    assert movers.go(2) == "aborted"
    assert movers.opens() == {FRONTEND}
    assert isinstance(hand_in(movers.source, "still here"), intake.Accepted)

    movers.begin()
    assert movers.go(5) == "draining"
    with movers.center.begin() as connection, pytest.raises(TermsRefused, match="不能取消"):
        beginning.abort(connection, HOSPITAL, by="乙", reason="改期", at=AT)


def test_a_move_whose_results_nobody_fetches_is_ended_by_hand_and_only_then(movers):
    hand_in(movers.source, "by file", channel="dbf")
    movers.begin()
    movers.go(5)

    def finish():
        with movers.center.begin() as connection:
            return beginning.finish(connection, HOSPITAL, by="乙", reason="目录已撤", at=AT)

    with pytest.raises(TermsRefused, match="1 笔费用未办结"):
        finish()
    settle_all(movers, movers.source, FRONTEND)
    upload_all(movers.source)
    assert movers.go(3) == "draining", "its result waits for the folder"
    finish()
    assert movers.go(1) == "finished"
    with pytest.raises(TermsRefused, match="没有处于收尾"):
        finish()


def test_visits_with_many_lines_go_in_several_bundles(movers, monkeypatch):
    monkeypatch.setattr("workers.moving.handing.LINES", 3)
    stays = registered(movers.source, *(registration() for _ in range(3)), at=AT)
    for number, stay in enumerate(stays):
        deliver(movers.source, delivery(stay, charge(1), charge(2), *([charge(3), charge(4)] * (number == 2))), at=AT)
    movers.begin()
    assert movers.go(6) == "finished"
    assert rows_of(movers.center, "SELECT visits FROM move_bundle ORDER BY bundle_no") == [(1,), (1,), (1,)]
    assert [row.visit_no for row in rows(movers.target, visit)] == sorted(stays)


def test_a_second_front_end_joins_with_numbers_of_its_own(movers):
    earlier = hand_in(movers.source, "earlier")
    movers.begin(joins=True)
    assert movers.go(6) == "finished"

    assert movers.opens() == {FRONTEND, OTHER_FRONTEND}
    with movers.target.connect() as connection:
        part = connection.execute(
            select(institution.c.frontend_part, institution.c.frontends).where(
                institution.c.institution_code == HOSPITAL
            )
        ).one()
    assert tuple(part) == (1, PARTS)
    numbers = [hand_in(engine, f"{n}").visit_no for engine in (movers.source, movers.target) for n in range(20)]
    assert len({earlier.visit_no, *numbers}) == 41
    settle_all(movers, movers.target, OTHER_FRONTEND)
    settle_all(movers, movers.source, FRONTEND)
    assert rows_of(movers.center, "SELECT count(*) FROM settlement") == [(41,)]

    upload_all(movers.source)
    upload_all(movers.target)
    movers.begin(source=OTHER_FRONTEND, target=FRONTEND)
    assert movers.go(8) == "finished"
    assert movers.opens() == {FRONTEND}
    assert len(rows(movers.source, claim)) == 41


def test_a_visit_another_front_end_is_handing_over_is_not_taken_for_a_new_one(movers):
    movers.begin(joins=True)
    assert movers.go(6) == "finished"
    open_here = hand_in(movers.target, "open").visit_no
    movers.begin(source=OTHER_FRONTEND, target=FRONTEND)
    movers.tick()
    movers.hear()

    further = submission(HOSPITAL, "further", visit_no=open_here)
    assert intake.accept(movers.source, [further], at=AT) == [intake.Arriving()], "nothing was handed over yet"
    assert isinstance(hand_in(movers.source, "of a new visit"), intake.Accepted), "what is new is taken all the time"
    movers.go(3)
    assert intake.accept(movers.source, [further], at=AT) == [intake.Arriving()], "it is on its way"
    settle_all(movers, movers.target, OTHER_FRONTEND)
    upload_all(movers.target)
    assert movers.go(8) == "finished"
    (taken,) = intake.accept(movers.source, [further], at=AT)
    assert (taken.visit_no, taken.charge_batch_no) == (open_here, 2)


def submitted_by(movers, frontend, engine, key):
    hand_in(engine, key)
    turn = desk.preprocess(engine, shelf(), HOSPITAL, limit=100, at=AT, now=0.0)
    sent = TotalsSubmitted(
        policy_version=POLICY_VERSION, catalogue_version=CATALOGUE_VERSION, claims=tuple(turn.totals)
    )
    return settle_submitted(movers.center, ReferenceShelf(reference), sent, frontend=frontend, at=AT).answers


def test_whoever_does_not_serve_the_institution_sends_nothing_for_it(movers):
    (refused,) = submitted_by(movers, "stranger-1", movers.source, "strange")
    assert refused.refusal == Refusal.NOT_SERVED
    movers.begin()
    movers.go(6)

    with movers.source.begin() as connection:
        connection.execute(update(institution).values(standing="open", terms_version=0))
    assert movers.state() == "draining"
    (late,) = submitted_by(movers, FRONTEND, movers.source, "after the move")
    assert late.refusal == Refusal.NOT_SERVED, "a draining front-end sends what it had accepted, and nothing new"
    assert rows_of(movers.center, "SELECT DISTINCT refusal, institution_code FROM parked") == [("not-served", HOSPITAL)]


def problems(movers, **wish):
    with pytest.raises(TermsRefused) as refused:
        movers.begin(**wish)
    return refused.value.problems


def test_everything_against_a_move_is_said_at_once_and_nothing_is_begun(movers):
    assert len(problems(movers, institution_code="9", target="nobody")) == 2
    assert ["目标与原前置机同为" in each for each in problems(movers, target=FRONTEND)] == [True]
    assert len(problems(movers, target="nobody", connection="borrowed")) == 2
    assert "不受理" in problems(movers, source=OTHER_FRONTEND)[0]
    assert "号段 0" in problems(movers, joins=True, part=0)[0]
    with movers.center.begin() as connection:
        change(connection, HOSPITAL, {"civil_servants": True}, by="甲", reason="开通", at=AT)
    assert "公务员" in problems(movers, connection="shared")[-1]
    assert rows_of(movers.center, "SELECT count(*) FROM move") == [(0,)]
    assert rows_of(movers.center, "SELECT count(*) FROM served_by") == [(3,)]
    with movers.center.begin() as connection:
        relaxed = Rules(civil_servants_may_share=True)
        wish = Wish(HOSPITAL, OTHER_FRONTEND, "hosted")
        beginning.begin(connection, wish, by="甲", reason="迁移", at=AT, rules=relaxed)
    assert "正在由" in problems(movers)[0]


SERVES_THE_CLINIC = {
    Connection.OWN: None,
    Connection.SHARED: Connection.SHARED,
    Connection.HOSTED: Connection.OWN,
    Connection.HEAD_OFFICE: Connection.OWN,
}
"""As what the target serves the clinic before; None: it serves nobody."""


def target_serves(movers, connected):
    changes = {"frontend": "elsewhere"} if connected is None else {"connection": connected}
    with movers.center.begin() as connection:
        connection.execute(update(served_by).where(served_by.c.frontend == OTHER_FRONTEND).values(changes))


@pytest.mark.parametrize("connected", Connection)
def test_it_moves_to_a_server_of_its_own_a_shared_one_a_host_or_its_head_office(movers, connected):
    target_serves(movers, SERVES_THE_CLINIC[connected])
    hand_in(movers.source, "first")
    settle_all(movers, movers.source, FRONTEND)

    movers.begin(connection=connected)
    movers.go(6)

    assert movers.opens() == {OTHER_FRONTEND}
    assert isinstance(hand_in(movers.target, "first"), intake.Replayed)
    hand_in(movers.target, "second")
    assert len(settle_all(movers, movers.target, OTHER_FRONTEND)) == 1
    assert states(movers.target) == {"first": "settled", "second": "settled"}
    at_the_target = served_by.c.institution_code == HOSPITAL, served_by.c.frontend == OTHER_FRONTEND
    with movers.center.connect() as connection:
        assert connection.execute(select(served_by.c.connection).where(*at_the_target)).scalar_one() == connected


@pytest.mark.parametrize(
    ("serves", "wished", "said"),
    [
        (Connection.SHARED, Connection.OWN, "不是该机构的本地前置机"),
        (Connection.OWN, Connection.OWN, "不是该机构的本地前置机"),
        (Connection.OWN, Connection.SHARED, "托管用 hosted"),
    ],
)
def test_whose_server_it_goes_to_has_to_fit(movers, serves, wished, said):
    target_serves(movers, serves)

    assert [said in each for each in problems(movers, connection=wished)] == [True]


def test_terms_are_refused_with_every_field_at_once(movers):
    wrong = {"weight": 0, "way": "by hand", "offline": True, "colour": 1}
    with movers.center.begin() as connection, pytest.raises(TermsRefused) as refused:
        change(connection, HOSPITAL, wrong, by="甲", reason="", at=AT)
    assert len(refused.value.problems) >= 6
    with movers.center.begin() as connection:
        before = change(connection, HOSPITAL, {"weight": 20}, by="甲", reason="试", at=AT)
        assert change(connection, CLINIC, {"weight": 30}, by="甲", reason="试", at=AT) > before
    movers.hear()
    with movers.source.connect() as connection:
        assert connection.execute(select(institution.c.weight)).scalar_one() == 20


def test_a_bundle_comes_from_the_source_of_its_move(movers):
    number = movers.begin()
    movers.lost = lambda step: step == "answer"
    movers.go(4)
    assert movers.state() == "handing"
    forged = HandedOver(
        move_no=number,
        institution_code=HOSPITAL,
        bundle_no=1,
        content=b"\x80",
        visits=("T000012603020001",),
        whole=True,
    )
    assert movers.answered(forged, OTHER_FRONTEND) == movers.answered(forged, "stranger-1") == []
    assert movers.answered(replace(forged, institution_code=CLINIC), FRONTEND) == []
    assert movers.answered(replace(forged, bundle_no=2), FRONTEND) == []
    assert rows_of(movers.center, "SELECT taken FROM move") == [(0,)]
    assert rows_of(movers.center, "SELECT count(*) FROM moved_visit") == [(0,)]


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, movers):
    """Run `jiesuan tenant move` as an operator; its exit code and what it wrote."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", movers.center.url.render_as_string(hide_password=False))
    monkeypatch.setenv("JIESUAN_CLOCK", f"{AT.isoformat()}@0.0x0.0")
    monkeypatch.setenv("JIESUAN_OPERATOR", "甲")
    monkeypatch.setenv("COLUMNS", "220")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["jiesuan", "tenant", "move", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out + err

    return run


def test_an_operator_moves_looks_and_takes_it_back(jiesuan, movers):
    code, said = jiesuan(HOSPITAL, "--to", "nobody", "--as", "own")
    assert (code, "没有开始迁移" in said, "从未收到" in said, "请写明理由" in said) == (1, True, True, True)
    assert jiesuan(HOSPITAL)[0] == jiesuan(HOSPITAL, "--to", "x", "--as", "borrowed")[0] == 2
    assert jiesuan("1", "--show")[0] == 1

    asked = (HOSPITAL, "--to", OTHER_FRONTEND, "--as", "hosted", "--reason", "服务器到期")
    code, said = jiesuan(*asked, "--json")
    assert (code, json.loads(said)["move"]) == (0, 1)
    assert "正在由" in jiesuan(*asked)[1]
    code, said = jiesuan(HOSPITAL, "--show")
    assert (code, "准备" in said, "目标前置机取齐" in said) == (0, True, True)
    assert "已取消" in jiesuan(HOSPITAL, "--abort", "--reason", "改期")[1]
    assert "没有正在进行" in jiesuan(HOSPITAL, "--abort", "--reason", "改期")[1]

    assert jiesuan(*asked)[0] == 0
    movers.go(6)
    shown = json.loads(jiesuan(HOSPITAL, "--show", "--json")[1])
    assert [each["state"] for each in shown["moves"]] == ["finished", "aborted"]
    assert {each["frontend"]: each["standing"] for each in shown["served_by"]} == {
        FRONTEND: "moved",
        OTHER_FRONTEND: "open",
    }
    actions = rows_of(movers.center, "SELECT action FROM audit ORDER BY audit_no")
    assert [each for (each,) in actions][-3:] == ["tenant.move", "tenant.move.abort", "tenant.move"]
