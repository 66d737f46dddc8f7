"""The restore drill: yesterday's centre comes back, the front-ends bring it up to date, the books are those it had.

The centre that was never restored is the twin: what the restored one holds in the end is compared with it row by row.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import inspect, select, text, update

from center import partitions
from center.backup import catching_up, epochs, progress, taking
from center.backup.progress import waive
from center.backup.restoring import NewerArchive, NotEmpty, restore, wrong_with
from center.backup.snapshot import backup, verify
from center.backup.taking import take_up
from center.partitions import Place
from center.persons import entitlements
from center.policy.shelf import PolicyShelf
from center.serving import beginning
from center.serving.terms import TermsRefused, change
from center.settling import counter
from center.settling.records import cursor_of
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimAnswer, PersonAsked
from domain.refusals import Refusal, VisitRefusal
from infra.archive import BadArchive
from infra.codec import pack, unpack
from infra.database import open_database
from infra.reference import catalogue_row
from tests.support.center import AT, FRONTEND, OTHER_FRONTEND, fill_center, rows_of
from tests.support.databases import FreshDatabase
from tests.support.frontend import CLINIC, HOSPITAL, published, shelf, short_code
from tests.support.migrating import migrations_once
from tests.support.moving import Movers, announce
from tests.support.restored import City
from tests.support.visits import registered
from workers import epochs as front_epochs
from workers import refund
from workers.moving import standing
from workers.tables import claim
from workers.tables import reference as kept

SECRET = b"\x07" * 32
PEOPLE = [synthetic_citizen_id(number) for number in range(12)]
YESTERDAY, TODAY = AT, AT + timedelta(days=1)
RESTORED_AT = TODAY + timedelta(hours=6)

BOOKS = {
    "settlement": "settlement_no",
    "posting": "document_no, account, amount_fen",
    "accumulator_entry": "settlement_no, person_no, key",
    "accumulator": "person_no, key",
    "person": "person_no",
    "day_sum": "institution_code, scheme, clearing_type, day, kind",
    "detail": "settlement_no",
}


@pytest.fixture(autouse=True)
def migrated_once():
    with migrations_once():
        yield


@pytest.fixture
def center(postgres_url):
    with FreshDatabase(postgres_url, "center_template") as url:
        engine = open_database(url)
        fill_center(engine, persons=len(PEOPLE), balance_fen=30_000)
        yield engine
        engine.dispose()


@pytest.fixture
def empty(postgres_url):
    with FreshDatabase(postgres_url, "template1") as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


@pytest.fixture
def city(tmp_path, center):
    made = City(tmp_path, center)
    yield made
    made.close()


def books_of(engine):
    """Every row of the books but what says when a row came in."""
    return {
        table: rows_of(engine, f"SELECT * FROM {table} ORDER BY {order}".replace("SELECT *", _columns(table)))
        for table, order in BOOKS.items()
    }


def _columns(table):
    return "SELECT settlement_no, line_count, total_fen, lines" if table == "detail" else "SELECT *"


def a_day(city, at):
    """A morning at both front-ends: everybody goes to both, some bring things back, in between and in no order."""
    visits = {}
    for hour, (frontend, fen) in enumerate(((FRONTEND, 9_000), (OTHER_FRONTEND, 21_000), (FRONTEND, 33_300))):
        moment = at + timedelta(minutes=20 * hour)
        visits[hour] = city.hand_in(frontend, PEOPLE if hour % 2 else PEOPLE[::-1], fen=fen, at=moment)
        city.settle(frontend, at=moment)
    later = at + timedelta(hours=2)
    city.refund(FRONTEND, visits[2][0], at=later)
    city.refund(FRONTEND, visits[2][1], at=later, kept={1: 100})
    city.refund(OTHER_FRONTEND, visits[1][0], at=later + timedelta(minutes=1))
    return visits


def upload_all(city, *, at):
    for frontend in city.sites:
        city.upload(frontend, at=at)


def lose_today(city, tmp_path, empty, *, meanwhile=lambda center: None):
    """A day, the backup, another day, and then the centre is the one of the backup; the manifest."""
    a_day(city, YESTERDAY)
    file = tmp_path / "center.backup"
    manifest = backup(city.center, file, center_secret=SECRET, at=YESTERDAY + timedelta(hours=2, minutes=30))
    upload_all(city, at=YESTERDAY + timedelta(hours=12))
    meanwhile(city.center)
    visits = a_day(city, TODAY)
    upload_all(city, at=TODAY + timedelta(hours=5))
    twin, city.center = city.center, empty
    restored = restore(empty, file, center_secret=SECRET, by="R", reason="drill", at=RESTORED_AT)
    return twin, manifest, restored, visits


def epoch_of(engine):
    with engine.begin() as connection:
        return epochs.current(cursor_of(connection))


def test_front_ends_bring_a_restored_centre_up_to_date_to_the_fen(city, tmp_path, empty):
    twin, manifest, restored, _ = lose_today(city, tmp_path, empty)

    assert manifest.rows > 100
    assert epoch_of(empty) == (restored.epoch, False)
    assert len(rows_of(empty, "SELECT 1 FROM settlement")) < len(rows_of(twin, "SELECT 1 FROM settlement"))

    taken = city.bring_up_to_date(at=RESTORED_AT)

    assert taken >= len(PEOPLE) * 3 + 4
    assert epoch_of(empty) == (restored.epoch, True)
    assert rows_of(empty, "SELECT DISTINCT outcome FROM resent ORDER BY 1") == [("taken",), ("there",)]
    assert rows_of(empty, "SELECT words FROM difference_case") == []
    upload_all(city, at=RESTORED_AT)
    assert books_of(empty) == books_of(twin)
    assert wrong_with(empty, at=RESTORED_AT) == []
    assert rows_of(empty, "SELECT count(*) FROM catching_up WHERE done_at IS NULL") == [(0,)]


def test_while_it_recovers_nothing_new_is_settled_and_all_of_it_is_afterwards(city, tmp_path, empty):
    twin, _, _, visits = lose_today(city, tmp_path, empty)
    known = city.open_totals(FRONTEND)
    assert known is None
    (new,) = city.hand_in(FRONTEND, PEOPLE[:1], fen=5_000, at=RESTORED_AT)
    refund.refund(city.sites[OTHER_FRONTEND], shelf(), CLINIC, visits[1][3], 1, reason="误", at=RESTORED_AT)

    (held,) = city.settle(FRONTEND, at=RESTORED_AT).answers
    refused = city.send_refunds(OTHER_FRONTEND, at=RESTORED_AT)
    with empty.connect() as connection:
        who = entitlements(PersonAsked(citizens=(PEOPLE[0],)), frontend=FRONTEND, connection=connection, at=RESTORED_AT)

    assert (held.refusal, held.detail) == (Refusal.BUSY, epochs.RECOVERING)
    assert refused.refusal == Refusal.BUSY
    assert who.entitlements == ()
    assert city.states(FRONTEND)[-1] == "totalled"
    assert rows_of(empty, "SELECT 1 FROM parked") == []

    city.bring_up_to_date(at=RESTORED_AT)
    (settled,) = city.settle(FRONTEND, at=RESTORED_AT).answers
    city.send_refunds(OTHER_FRONTEND, at=RESTORED_AT)

    assert settled.visit_no == new
    assert settled.settlement_no > max(number for (number,) in rows_of(twin, "SELECT settlement_no FROM settlement"))
    assert set(city.states(FRONTEND) + city.states(OTHER_FRONTEND)) == {"settled"}
    last = rows_of(twin, "SELECT sum(fund_pay_fen) FROM settlement WHERE person_no = 1")
    assert settled.fund_before_fen == last[0][0]


def sums_of(engine):
    """What was told, where accumulators and accounts stand, and what is posted to each account."""
    return [
        rows_of(engine, "SELECT settlement_no, fund_pay_fen, account_pay_fen, total_fen FROM settlement ORDER BY 1"),
        rows_of(engine, "SELECT settlement_no, answer FROM settlement ORDER BY 1"),
        rows_of(engine, "SELECT * FROM accumulator ORDER BY person_no, key"),
        rows_of(engine, "SELECT person_no, account_balance_fen, version FROM person ORDER BY 1"),
        rows_of(engine, "SELECT account, sum(amount_fen) FROM posting GROUP BY account ORDER BY 1"),
        rows_of(engine, "SELECT * FROM day_sum ORDER BY institution_code, scheme, clearing_type, day, kind"),
    ]


def test_without_a_front_end_what_was_told_stands_and_every_difference_has_a_case(city, tmp_path, empty):
    twin, _, restored, _ = lose_today(city, tmp_path, empty)
    city.ask_all(at=RESTORED_AT, only=FRONTEND)
    assert city.take_up(at=RESTORED_AT) == 0, "an earlier number may be still to come"

    with empty.begin() as connection:
        assert waive(connection, OTHER_FRONTEND, by="office", reason="its line is cut") == restored.epoch
    assert city.take_up(at=RESTORED_AT) > 0
    assert epoch_of(empty).is_open
    told = rows_of(empty, "SELECT count(*) FROM resent WHERE outcome = 'told'")[0][0]
    assert told > 0
    assert rows_of(empty, "SELECT kind, count(*) FROM difference_case GROUP BY 1") == [("restored-order", told)]

    city.bring_up_to_date(at=RESTORED_AT)

    outcomes = dict(rows_of(empty, "SELECT outcome, count(*) FROM resent GROUP BY 1"))
    assert outcomes.keys() == {"taken", "there", "told"}
    assert sums_of(empty) == sums_of(twin)
    assert wrong_with(empty, at=RESTORED_AT) == []


def test_what_no_rule_gives_is_not_taken_up_and_a_case_says_so(city, tmp_path, empty):
    lose_today(city, tmp_path, empty)
    with city.sites[FRONTEND].begin() as connection:
        last = connection.execute(
            select(claim.c.claim_id, claim.c.answer).where(claim.c.kind == "normal").order_by(claim.c.claim_id.desc())
        ).first()
        told = unpack(last.answer, ClaimAnswer)
        more = told._replace(fund_pay_fen=told.fund_pay_fen + 100, self_pay_fen=told.self_pay_fen - 100)
        connection.execute(update(claim).where(claim.c.claim_id == last.claim_id).values(answer=pack(more)))

    city.bring_up_to_date(at=RESTORED_AT)

    assert epoch_of(empty).is_open
    number = more.settlement_no
    assert rows_of(empty, "SELECT outcome FROM resent WHERE document_no = :n", n=number) == [("open",)]
    assert rows_of(empty, "SELECT 1 FROM settlement WHERE settlement_no = :n", n=number) == []
    ((kind, fen),) = rows_of(
        empty, "SELECT kind, frontend_fen FROM difference_case WHERE visit_no = :v", v=more.visit_no
    )
    assert (kind, fen) == ("restored-open", more.fund_pay_fen)
    assert wrong_with(empty, at=RESTORED_AT) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"settlement_no": 10**17}, id="a number of a later epoch"),
        pytest.param({"settlement_no": 0}, id="no number"),
        pytest.param({"refusal": "no-policy"}, id="a refusal"),
        pytest.param({"settled_at": None}, id="no moment"),
    ],
)
def test_what_no_earlier_centre_can_have_said_is_not_kept(city, tmp_path, empty, change):
    lose_today(city, tmp_path, empty)
    with empty.begin() as connection:
        ((frontend, asked), _) = catching_up.tick(connection, now=1e9)
    with city.sites[frontend].begin() as connection:
        page = front_epochs.page(connection, asked, at=RESTORED_AT)
    forged = page.documents[0]._replace(answer=page.documents[0].answer._replace(**change))

    with empty.begin() as connection:
        catching_up.keep(connection, replace(page, documents=(forged,)), frontend=frontend, at=RESTORED_AT, now=1e9)
        catching_up.keep(connection, page, frontend=OTHER_FRONTEND, at=RESTORED_AT, now=1e9)

    assert rows_of(empty, "SELECT 1 FROM resent") == []


def test_pages_that_get_lost_or_come_twice_and_a_taking_up_that_dies_change_nothing(city, tmp_path, empty, monkeypatch):
    twin, *_ = lose_today(city, tmp_path, empty)
    monkeypatch.setattr(catching_up, "PAGE", 7)
    monkeypatch.setattr(taking, "AT_ONCE", 5)
    pages = []
    keep = catching_up.keep

    def keep_twice(connection, page, **rest):
        keep(connection, page, **rest)
        pages.append((rest["frontend"], page))
        again = keep(connection, page, **rest)  # as a message that is delivered again
        assert again is None
        for _, before in [each for each in pages if each[0] == rest["frontend"]][-3:]:
            keep(connection, before, **rest)

    monkeypatch.setattr(catching_up, "keep", keep_twice)
    while city.ask_all(at=RESTORED_AT):  # no next question ever arrives: the tick asks again
        pass
    monkeypatch.setattr(taking, "log", Dying(monkeypatch, after=3))
    with pytest.raises(Died):
        city.take_up(at=RESTORED_AT)
    assert not epoch_of(empty).is_open
    monkeypatch.undo()

    city.bring_up_to_date(at=RESTORED_AT)
    upload_all(city, at=RESTORED_AT)

    assert books_of(empty) == books_of(twin)


def test_a_move_that_was_lost_is_waited_for_and_made_again(city, tmp_path, empty):
    """What the target settled meanwhile comes back to the fen, though no row here says that it served anybody."""
    movers = before_a_move(city)
    a_day(city, YESTERDAY)
    file = tmp_path / "center.backup"
    backup(city.center, file, center_secret=SECRET, at=YESTERDAY + timedelta(hours=2, minutes=30))
    lost = movers.begin()
    movers.go(6)
    for hour in range(2):
        (refunded, *_) = city.hand_in(
            OTHER_FRONTEND, PEOPLE, fen=8_000 + hour, at=TODAY + timedelta(hours=hour), institution=HOSPITAL
        )
        city.settle(OTHER_FRONTEND, at=TODAY + timedelta(hours=hour))
        city.refund(OTHER_FRONTEND, refunded, at=TODAY + timedelta(hours=hour, minutes=5))
    twin, city.center = city.center, empty
    city.hand_in(OTHER_FRONTEND, PEOPLE[:1], fen=4_000, at=RESTORED_AT, institution=HOSPITAL)
    restore(empty, file, center_secret=SECRET, by="R", reason="drill", at=RESTORED_AT)

    with pytest.raises(TermsRefused, match="尚未报完"):
        replace(movers, center=empty).begin()
    city.ask_all(at=RESTORED_AT)
    assert city.take_up(at=RESTORED_AT) == 0
    with empty.connect() as connection:
        found = {row.frontend: row for row in progress.progress(connection).frontends}
    assert found[OTHER_FRONTEND].strange == [HOSPITAL]
    assert found[OTHER_FRONTEND].is_owing
    assert HOSPITAL in found[OTHER_FRONTEND].words
    assert not found[FRONTEND].is_owing
    assert city.settle(OTHER_FRONTEND, at=RESTORED_AT).answers[0].refusal == Refusal.BUSY

    again = replace(movers, center=empty)
    assert again.begin() == lost
    assert city.settle(OTHER_FRONTEND, at=RESTORED_AT).answers[0].refusal == Refusal.BUSY
    city.bring_up_to_date(at=RESTORED_AT)

    assert epoch_of(empty).is_open
    waits = city.settle(OTHER_FRONTEND, at=RESTORED_AT).answers[0]
    assert (waits.refusal, waits.detail) == (Refusal.BUSY, counter.COMING)
    assert rows_of(empty, "SELECT DISTINCT outcome FROM resent ORDER BY 1") == [("taken",), ("there",)]
    assert rows_of(empty, "SELECT words FROM difference_case") == []
    assert sums_of(empty) == sums_of(twin)
    assert again.go(6) == "draining"
    assert again.opens() == {OTHER_FRONTEND}
    assert city.settle(OTHER_FRONTEND, at=RESTORED_AT).answers[0].settlement_no
    assert wrong_with(empty, at=RESTORED_AT) == []


@pytest.mark.parametrize("backup_at", ["before the move", "while it was under way"])
def test_what_was_handed_over_and_lost_with_the_centre_is_handed_over_again(city, tmp_path, empty, backup_at):
    movers = before_a_move(city)
    (stay,) = registered(movers.source, at=AT)
    file = tmp_path / "center.backup"
    if backup_at == "before the move":
        backup(city.center, file, center_secret=SECRET, at=AT)
    number = movers.begin()
    movers.hear()
    if backup_at != "before the move":
        backup(city.center, file, center_secret=SECRET, at=AT)
    movers.lost = lambda step: step == "handed.over"
    assert movers.go(6) == "handing"
    assert rows_of(movers.source, "SELECT moved_to FROM visit") == [(OTHER_FRONTEND,)]
    city.center = empty
    restore(empty, file, center_secret=SECRET, by="R", reason="drill", at=RESTORED_AT)
    city.bring_up_to_date(at=RESTORED_AT)
    again = replace(movers, center=empty, lost=lambda step: False, at=RESTORED_AT)
    again.hear()
    accepted_since = []
    if backup_at == "before the move":
        assert again.opens() == {FRONTEND}
        assert rows_of(movers.source, "SELECT DISTINCT whole FROM bundle_made") == [(False,)], "more is accepted now"
        accepted_since = city.hand_in(FRONTEND, PEOPLE[:1], fen=4_000, at=RESTORED_AT)
        assert again.begin() == number
    assert again.go(6) == ("draining" if accepted_since else "finished")

    assert again.opens() == {OTHER_FRONTEND}
    assert rows_of(movers.target, "SELECT visit_no FROM visit") == [(stay,)]
    told = {number for (number,) in rows_of(movers.target, "SELECT visit_no FROM arriving")}
    assert set(accepted_since) <= told


def test_what_comes_no_more_since_a_restored_centre_took_the_move_back_is_not_awaited(city, tmp_path, empty):
    movers = before_a_move(city)
    movers.begin()
    movers.hear()
    file = tmp_path / "center.backup"
    backup(city.center, file, center_secret=SECRET, at=AT)
    (open_,) = city.hand_in(FRONTEND, PEOPLE[:1], fen=4_000, at=AT)
    assert movers.go(6) == "draining"
    awaited = standing_of(movers.target, open_)
    assert VisitRefusal.ARRIVING in awaited.codes
    city.center = empty
    restore(empty, file, center_secret=SECRET, by="R", reason="drill", at=RESTORED_AT)
    city.bring_up_to_date(at=RESTORED_AT)
    again = replace(movers, center=empty, at=RESTORED_AT)
    with empty.begin() as connection:
        beginning.abort(connection, HOSPITAL, by="乙", reason="改期", at=RESTORED_AT)
    again.hear()

    assert again.opens() == {FRONTEND}
    assert standing_of(movers.target, open_).codes == (VisitRefusal.VISIT_UNKNOWN,)

    again.begin()
    assert again.go(6) == "draining"
    assert again.opens() == {OTHER_FRONTEND}
    assert standing_of(movers.target, open_).codes == awaited.codes, "told again, it is awaited again"


def standing_of(engine, visit_no):
    """What a front-end answers of a visit it does not have."""
    with engine.connect() as connection:
        return standing.unknown(connection, HOSPITAL, visit_no)


def test_whoever_comes_to_serve_after_the_restore_is_asked_too(city, tmp_path, empty):
    lose_today(city, tmp_path, empty)
    with empty.begin() as connection:
        connection.execute(text("DELETE FROM catching_up WHERE frontend = :name"), {"name": OTHER_FRONTEND})
        asked = catching_up.tick(connection, now=1e9)
    assert [frontend for frontend, _ in asked] == [FRONTEND, OTHER_FRONTEND]


def test_the_office_may_go_on_without_what_is_strange(city, tmp_path, empty):
    lose_today(city, tmp_path, empty)
    with empty.begin() as connection:
        connection.execute(text("DELETE FROM served_by WHERE frontend = :name"), {"name": OTHER_FRONTEND})
    city.ask_all(at=RESTORED_AT)
    assert city.take_up(at=RESTORED_AT) == 0
    with empty.begin() as connection:
        waive(connection, OTHER_FRONTEND, by="office", reason="it is closed")
    assert city.take_up(at=RESTORED_AT) > 0
    assert epoch_of(empty).is_open


def before_a_move(city):
    """The city with what a move needs: both front-ends heard from, and the target with matches of both institutions."""
    with city.center.begin() as connection:
        for code in (HOSPITAL, CLINIC):
            change(connection, code, {"short_code": short_code(code)}, by="甲", reason="登记", at=AT)
    for frontend in (FRONTEND, OTHER_FRONTEND):
        announce(city.center, frontend)
    target = city.sites[OTHER_FRONTEND]
    with target.begin() as connection:
        both = catalogue_row(published([HOSPITAL, CLINIC]))["content"]
        connection.execute(update(kept).where(kept.c.kind == "catalogue").values(content=both))
    return Movers(city.center, city.sites[FRONTEND], target)


def test_what_was_settled_together_is_taken_up_by_itself(city, tmp_path, empty):
    """Or a transaction would hold the persons of one while it waits for those of the next: a circle, with others."""
    lose_today(city, tmp_path, empty)
    city.ask_all(at=RESTORED_AT)
    settled = "SELECT settlement_no, frontend, settled_at FROM settlement"
    runs, before = 0, {row[0] for row in rows_of(empty, settled)}

    while take_up(empty, city.shelf, PolicyShelf(), at=RESTORED_AT):
        new = [row for row in rows_of(empty, settled) if row[0] not in before]
        assert len({row[1:] for row in new}) <= 1
        runs, before = runs + bool(new), before | {row[0] for row in new}

    assert epoch_of(empty).is_open
    assert runs > 3


class Died(Exception):
    pass


class Dying:
    """A log at whose n-th line the process dies, its transaction not committed."""

    def __init__(self, _monkeypatch, *, after):
        self._left = after

    def info(self, *_, **__):
        self._left -= 1
        if not self._left:
            raise Died

    warning = info


def test_what_was_settled_in_a_year_that_began_after_the_backup_is_taken_up_and_no_number_comes_twice(
    city, tmp_path, empty
):
    year = Place(0, TODAY.year)

    def begun(engine):
        with engine.begin() as connection:
            partitions.begin_year(connection, year)

    twin, *_ = lose_today(city, tmp_path, empty, meanwhile=begun)
    lost = rows_of(twin, "SELECT settlement_no FROM settlement ORDER BY 1")
    assert partitions.place_of(lost[-1][0]) == year

    city.bring_up_to_date(at=RESTORED_AT)
    begun(empty)
    city.hand_in(FRONTEND, PEOPLE[:3], fen=4_000, at=RESTORED_AT)
    new = city.settle(FRONTEND, at=RESTORED_AT).answers

    assert rows_of(empty, "SELECT DISTINCT outcome FROM resent ORDER BY 1") == [("taken",), ("there",)]
    assert rows_of(empty, "SELECT settlement_no FROM settlement ORDER BY 1")[: len(lost)] == lost
    assert all(partitions.place_of(each.settlement_no) == year for each in new)
    assert wrong_with(empty, at=RESTORED_AT) == []


def test_the_same_archive_restored_again_gives_no_number_twice(city, tmp_path, empty, postgres_url):
    _, _, first, _ = lose_today(city, tmp_path, empty)
    city.bring_up_to_date(at=RESTORED_AT)
    new = city.hand_in(FRONTEND, PEOPLE[:3], fen=4_000, at=RESTORED_AT)
    city.settle(FRONTEND, at=RESTORED_AT)
    lost = {number for (number,) in rows_of(empty, "SELECT settlement_no FROM settlement")}
    later = RESTORED_AT + timedelta(hours=3)
    with FreshDatabase(postgres_url, "template1") as url:
        city.center = again = open_database(url)
        second = restore(again, tmp_path / "center.backup", center_secret=SECRET, by="R", reason="again", at=later)
        assert second.epoch > first.epoch
        city.bring_up_to_date(at=later)
        newer = city.hand_in(FRONTEND, PEOPLE[:3], fen=4_000, at=later)
        city.settle(FRONTEND, at=later)

        held = rows_of(again, "SELECT visit_no, settlement_no FROM settlement")
        assert {visit_no for visit_no, _ in held} >= {*new, *newer}
        assert not lost & {number for visit_no, number in held if visit_no in newer}
        assert lost <= {number for _, number in held}
        again.dispose()


def test_an_answer_of_the_centre_that_was_lost_is_not_recorded_and_the_claim_settles_anew(city, tmp_path, empty):
    a_day(city, YESTERDAY)
    file = tmp_path / "center.backup"
    backup(city.center, file, center_secret=SECRET, at=YESTERDAY + timedelta(hours=3))
    (visit_no,) = city.hand_in(FRONTEND, PEOPLE[:1], fen=5_000, at=TODAY)
    late = city.settle(FRONTEND, at=TODAY, answer_arrives=False)
    city.center = empty
    restore(empty, file, center_secret=SECRET, by="R", reason="drill", at=RESTORED_AT)
    city.bring_up_to_date(at=RESTORED_AT)

    assert not city.deliver(FRONTEND, late, at=RESTORED_AT)
    assert city.states(FRONTEND)[-1] == "totalled"
    (anew,) = city.settle(FRONTEND, at=RESTORED_AT).answers

    assert anew.visit_no == visit_no
    assert anew.settlement_no > late.answers[0].settlement_no
    assert rows_of(empty, "SELECT count(*) FROM settlement WHERE visit_no = :v", v=visit_no) == [(1,)]


def test_a_database_that_is_not_empty_is_left_alone_unless_it_may_go(city, tmp_path):
    a_day(city, YESTERDAY)
    file = tmp_path / "center.backup"
    manifest = backup(city.center, file, center_secret=SECRET, at=YESTERDAY)
    before = books_of(city.center)
    city.hand_in(FRONTEND, PEOPLE[:1], fen=5_000, at=TODAY)
    city.settle(FRONTEND, at=TODAY)
    after = books_of(city.center)

    with pytest.raises(NotEmpty):
        restore(city.center, file, center_secret=SECRET, by="R", reason="no", at=RESTORED_AT)
    assert books_of(city.center) == after
    restore(city.center, file, center_secret=SECRET, by="R", reason="yes", at=RESTORED_AT, replace=True)
    assert books_of(city.center) == before
    assert verify(file, center_secret=SECRET) == manifest


@pytest.mark.parametrize(("spoil", "words"), [
    pytest.param(lambda content: content[:-9], "不完整", id="cut off"),
    pytest.param(lambda content: content[:400] + b"?" + content[401:], "打不开|损坏", id="damaged"),
    pytest.param(lambda content: b"PGDMP" + content, "不是本系统", id="another program's"),
])  # fmt: skip
def test_a_bad_archive_changes_nothing(city, tmp_path, empty, spoil, words):
    file = tmp_path / "center.backup"
    backup(city.center, file, center_secret=SECRET, at=YESTERDAY)
    file.write_bytes(spoil(file.read_bytes()))

    with pytest.raises(BadArchive, match=words):
        restore(empty, file, center_secret=SECRET, by="R", reason="bad", at=RESTORED_AT)

    assert inspect(empty).get_table_names() == []


def test_an_archive_of_a_later_release_is_refused(city, tmp_path, empty):
    with city.center.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    backup(city.center, tmp_path / "a", center_secret=SECRET, at=YESTERDAY)

    with pytest.raises(NewerArchive, match="r9999"):
        restore(empty, tmp_path / "a", center_secret=SECRET, by="R", reason="newer", at=RESTORED_AT)
