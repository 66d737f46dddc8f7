"""The link down, in process: what is kept, estimated, settled off-line, drained in order, trued up; the books hold."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count, groupby

import pytest
from sqlalchemy import text, update
from typer.testing import CliRunner

from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, check_new
from center.offline import cases, trouble
from center.offline.exposure import exposure
from center.offline.leasing import prune
from center.policy.shelf import PolicyShelf
from center.settling.settle import settle_submitted
from center.tasks import Center
from city.cli import app
from city.commands import Stop
from city.commands.link_status import looked_at
from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState
from domain.link import LinkState
from domain.messages import OutcomeAsked, OutcomeTold
from domain.refusals import Refusal
from infra import lanes
from infra.codec import encode
from infra.database import reading
from infra.envelope import SealBroken, seal
from infra.settings import Settings
from producers import statement
from producers.api.wire import claim_seen
from tests.support.center import AT, FRONTEND, OTHER_FRONTEND, fill_center, first, rows_of, submitted, totals
from tests.support.cut_off import SECRET, CutOff
from tests.support.databases import FreshDatabase
from tests.support.frontend import CLINIC, HOSPITAL, new_frontend
from tests.support.post import RememberingPost
from workers import entitlement, intake
from workers.offline.drain import share_of
from workers.offline.settling import look_after
from workers.tables import claim
from workers.tasks import Frontend

BALANCE = 20_000

_persons = count()


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=300, balance_fen=BALANCE)


@pytest.fixture(params=["sqlite", "postgres"])
def site(request, tmp_path, postgres_url, center_engine, shelf):
    if request.param == "sqlite":
        made = CutOff(f"sqlite:///{tmp_path}/one.db", FRONTEND, HOSPITAL, center_engine, shelf)
        yield made
        made.engine.dispose()
        return
    with FreshDatabase(postgres_url, "template1") as url:
        made = CutOff(url, FRONTEND, HOSPITAL, center_engine, shelf)
        yield made
        made.engine.dispose()


@pytest.fixture
def pharmacy(tmp_path, center_engine, shelf):
    made = CutOff(f"sqlite:///{tmp_path}/one.db", FRONTEND, HOSPITAL, center_engine, shelf)
    yield made
    made.engine.dispose()


@pytest.fixture
def clinic(tmp_path, center_engine, shelf):
    made = CutOff(f"sqlite:///{tmp_path}/other.db", OTHER_FRONTEND, CLINIC, center_engine, shelf)
    yield made
    made.engine.dispose()


def somebody():
    return synthetic_citizen_id(next(_persons))


def leased(site):
    person = somebody()
    site.run(3)
    site.lease(person)
    return person


def cases_of(site, visit_no):
    with site.center.begin() as connection:
        return [case for case in cases.listed(connection, everything=True) if case.visit_no == visit_no]


def balance(site, person):
    return first(rows_of(site.center, "SELECT account_balance_fen FROM person WHERE citizen_id_no = :id", id=person))


def spend_elsewhere(site, person, fen=100_000):
    """All that is on the account, or nearly, on line, at another institution, on a visit of another type."""
    parts = {"total_fen": fen, "own_expense_fen": 0, "over_limit_fen": 0, "pre_self_pay_fen": 0}
    of = {"institution_code": CLINIC, "citizen_id_no": person, "in_scope_fen": fen, **parts}
    elsewhere = submitted(totals(8_000 + next(_persons), **of))
    (answer,) = settle_submitted(site.center, site.center_shelf, elsewhere, frontend=OTHER_FRONTEND, at=site.at).answers
    assert (answer.refusal, answer.account_pay_fen) == ("", min(BALANCE, 10_000 + (fen - 10_000) // 5))


def books_hold(site, visit_no):
    """The postings of the claim balance, and what its account paid is what it lost."""
    assert rows_of(
        site.center,
        "SELECT sum(amount_fen) FROM posting JOIN settlement ON settlement_no = document_no WHERE visit_no = :visit",
        visit=visit_no,
    ) == [(0,)]


def test_the_way_of_an_off_line_purchase_from_the_counter_to_the_books(site):
    person = leased(site)
    site.cut()

    visit_no = site.hand_in(person)
    told = site.view(visit_no)

    assert (told.state, told.queued, told.estimate) == (ClaimState.TOTALLED, True, None)
    assert told.offline_at == site.here
    assert (told.answer.fund_pay_fen, told.answer.account_pay_fen) == (0, 4_000)
    seen = claim_seen(told)
    assert seen["settlement"]["offline"] is True
    assert seen["waiting"]["detail"].endswith("已脱机结算，轮到后由中心入账")
    assert "脱机结算（2026-03-02" in statement.as_text(told, institution_name="药店", key=b"k" * 32)
    assert balance(site, person) == BALANCE
    assert site.batches == []

    site.back()
    posted = site.view(visit_no)

    assert site.batches == [[(visit_no, True)]]
    assert (posted.state, posted.provisional, posted.answer.recomputed) == (ClaimState.SETTLED, False, "")
    assert (posted.answer.fund_pay_fen, posted.answer.account_pay_fen) == (0, 4_000)
    assert balance(site, person) == BALANCE - 4_000
    assert cases_of(site, visit_no) == []
    books_hold(site, visit_no)


def test_what_may_not_be_settled_off_line_is_estimated_and_told_truly(site):
    person = leased(site)
    site.cut()

    visit_no = site.hand_in(person, 30_000)
    told = site.view(visit_no)

    # 300.00 in scope: 100.00 deductible, a fund would pay 160.00 of the rest: never off-line.
    assert (told.state, told.answer, told.offline_at) == (ClaimState.TOTALLED, None, None)
    seen = claim_seen(told)
    assert "settlement" not in seen
    assert seen["waiting"]["code"] == "link-down"
    assert "已受理，未结算" in seen["waiting"]["detail"]
    assert (seen["estimate"]["fund_pay_amount"], seen["estimate"]["cash_amount"]) == ("160.00", "0.00")
    assert seen["estimate"]["detail"].startswith("估算，不是结算")
    with pytest.raises(statement.NotSettled):
        statement.as_text(told, institution_name="医院", key=b"k" * 32)

    site.back()
    settled = claim_seen(site.view(visit_no))
    assert "estimate" not in settled
    assert "waiting" not in settled
    assert settled["settlement"]["fund_pay_amount"] == "160.00"


def test_without_a_lease_nothing_is_estimated(pharmacy):
    pharmacy.run(3)
    pharmacy.cut()

    seen = claim_seen(pharmacy.view(pharmacy.hand_in(somebody())))

    assert seen["waiting"]["code"] == "link-down"
    assert "estimate" not in seen
    assert "settlement" not in seen


@pytest.mark.parametrize(
    ("terms", "visit_type"),
    [
        pytest.param({"offline": False}, "4", id="off by default"),
        pytest.param({"way": "central"}, "4", id="the centre settles for it"),
        pytest.param({}, "1", id="a stay"),
        pytest.param({}, "2", id="a specific outpatient visit"),
    ],
)
def test_it_is_settled_off_line_only_where_the_terms_and_the_visit_allow_it(pharmacy, terms, visit_type):
    person = leased(pharmacy)
    if terms:
        pharmacy.terms(**terms)
    pharmacy.cut()

    visit_no = pharmacy.hand_in(person, visit_type=visit_type)

    assert pharmacy.view(visit_no).offline_at is None
    assert pharmacy.view(visit_no).estimate is not None


def test_an_institution_may_not_settle_off_line_unless_it_was_switched_on(center_engine, shelf, tmp_path):
    fresh = "SELECT offline, offline_claim_fen, offline_total_fen, offline_hours FROM institution WHERE kind = 'fresh'"
    with center_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO institution (institution_code, name, kind, level) VALUES ('FRESH', 'x', 'fresh', 0)")
        )
    assert rows_of(center_engine, fresh) == [(False, 0, 0, 0)]


def test_a_claim_that_was_sent_is_never_settled_off_line(pharmacy):
    person = leased(pharmacy)
    pharmacy.is_cut = True
    visit_no = pharmacy.hand_in(person)  # sent, and lost: the centre may have settled it
    pharmacy.run(30)

    told = pharmacy.view(visit_no)
    assert told.queued
    assert told.offline_at is None

    pharmacy.back()
    assert pharmacy.view(visit_no).state is ClaimState.SETTLED


def test_an_account_pays_no_more_off_line_than_was_leased_of_it_however_often(pharmacy):
    pharmacy.terms(offline_claim_fen=9_000)
    person = leased(pharmacy)
    pharmacy.cut()

    first_, second, third = (pharmacy.hand_in(person, fen) for fen in (4_000, 5_000, 100))
    assert [pharmacy.view(each).offline_at is not None for each in (first_, second, third)] == [True, True, False]

    pharmacy.back(60)
    assert balance(pharmacy, person) == BALANCE - 9_100
    pharmacy.cut()
    assert pharmacy.view(pharmacy.hand_in(person, 100)).offline_at is None  # posted, and still spent of this lease


def test_the_lease_ends_after_a_day_and_is_not_shown_any_more(pharmacy):
    person = leased(pharmacy)
    pharmacy.cut()
    pharmacy.second += 86_400

    visit_no = pharmacy.hand_in(person)

    assert pharmacy.view(visit_no).offline_at is None
    assert pharmacy.view(visit_no).estimate is not None  # who they are serves half an hour longer
    pharmacy.second += 1_800
    assert pharmacy.view(pharmacy.hand_in(person)).estimate is None


def test_a_later_claim_of_a_person_waits_behind_an_earlier_one(pharmacy):
    person, other = leased(pharmacy), leased(pharmacy)
    pharmacy.cut()
    offline, estimated = pharmacy.hand_in(person), pharmacy.hand_in(person, 30_000)
    behind = pharmacy.hand_in(person, 1_000)
    pharmacy.is_cut = False
    pharmacy.run(3)
    assert pharmacy.link().state is LinkState.UP
    online, free = pharmacy.hand_in(person, 2_000), pharmacy.hand_in(other, 2_000)

    assert pharmacy.view(behind).offline_at is None  # a fund would have paid of the one before it
    assert [visit for visit, _ in pharmacy.batches[0]] == [free]
    pharmacy.run(90)

    sent = [visit for batch in pharmacy.batches for visit, _ in batch]
    assert [visit for visit in sent if visit != free] == [offline, estimated, behind, online]
    assert [len(batch) for batch in pharmacy.batches] == [1] * 5  # the next when the one before is answered
    assert all(pharmacy.view(visit).state is ClaimState.SETTLED for visit in sent)


def test_a_long_queue_is_drained_slowly_at_first_and_every_claim_once(pharmacy):
    people = [leased(pharmacy) for _ in range(45)]
    pharmacy.cut()
    visits = [pharmacy.hand_in(person, 1_000) for person in people]
    pharmacy.back(60)

    sizes = [len(batch) for batch in pharmacy.batches]
    assert sizes == [10, 20, 15]
    assert [visit for batch in pharmacy.batches for visit, _ in batch] == visits


def test_front_ends_that_were_cut_off_together_do_not_begin_together():
    shares = {share_of(f"F{number}", AT) for number in range(50)}

    assert len(shares) == 50
    assert min(shares) < 0.2
    assert 0.8 < max(shares) < 1.0
    assert share_of("F1", AT) == share_of("F1", AT) != share_of("F1", AT + timedelta(seconds=1))


def test_the_account_was_spent_meanwhile(site):
    person = leased(site)
    site.cut()
    visit_no = site.hand_in(person, 5_000)
    spend_elsewhere(site, person)
    site.back()

    (case,) = cases_of(site, visit_no)
    assert (case.kind, case.center_fen, case.frontend_fen) == ("offline-differs", 0, 5_000)
    assert "统筹 40.00 元、个人账户 0.00 元、现金 10.00 元" in case.words
    assert "补收现金 10.00 元" in case.words
    settled = site.view(visit_no)
    assert (settled.state, settled.answer.account_pay_fen) == (ClaimState.SETTLED, 0)
    assert "个人账户余额由 200.00 元变为 0.00 元" in settled.answer.recomputed
    assert balance(site, person) == 0
    books_hold(site, visit_no)

    with site.center.begin() as connection:
        cases.close(connection, case.case_id, by="经办", reason="机构已补收", at=site.at)
    assert cases_of(site, visit_no)[0].closed_at is not None
    assert rows_of(
        site.center, "SELECT action, reason FROM audit WHERE subject = :subject", subject=f"{visit_no}-1"
    ) == [("offline.close", "机构已补收")]


@pytest.mark.parametrize(
    ("meanwhile", "code", "words"),
    [
        pytest.param("suspend", Refusal.ENTITLEMENT_SUSPENDED, "待遇已暂停", id="no longer entitled"),
        pytest.param("late", Refusal.OFFLINE_TOO_LATE, "已超过 48 小时的入账时限", id="too late"),
        pytest.param("off", Refusal.OFFLINE_NOT_ALLOWED, "不允许脱机结算", id="switched off at the centre"),
    ],
)
def test_what_is_not_posted_is_a_case_and_moves_nothing(pharmacy, meanwhile, code, words):
    person = leased(pharmacy)
    pharmacy.cut()
    visit_no = pharmacy.hand_in(person)
    if meanwhile == "suspend":
        with pharmacy.center.begin() as connection:
            connection.execute(text("UPDATE person SET entitled = false WHERE citizen_id_no = :id"), {"id": person})
    elif meanwhile == "late":
        pharmacy.second += 48 * 3600
    else:
        pharmacy.terms(offline=False)
    pharmacy.back()

    (case,) = cases_of(pharmacy, visit_no)
    assert (case.kind, case.center_fen, case.frontend_fen) == ("offline-refused", 0, 4_000)
    assert words in case.words
    assert "补收现金 40.00 元" in case.words
    assert (pharmacy.view(visit_no).state, pharmacy.view(visit_no).refusal) == (ClaimState.REFUSED, code)
    assert balance(pharmacy, person) == BALANCE
    assert rows_of(pharmacy.center, "SELECT 1 FROM settlement WHERE visit_no = :visit", visit=visit_no) == []


def test_a_repeated_answer_opens_no_second_case(pharmacy):
    person = leased(pharmacy)
    pharmacy.cut()
    visit_no = pharmacy.hand_in(person, 5_000)
    with pharmacy.center.begin() as connection:
        connection.execute(text("UPDATE person SET entitled = false WHERE citizen_id_no = :id"), {"id": person})
    pharmacy.back()
    (case,) = cases_of(pharmacy, visit_no)
    with pharmacy.center.begin() as connection:
        cases.close(connection, case.case_id, by="经办", reason="机构已补收", at=pharmacy.at)
    with pharmacy.engine.begin() as connection:
        connection.execute(update(claim).values(state=ClaimState.TOTALLED, refusal=None, rung_at=0))
    pharmacy.run(30)

    assert len(pharmacy.batches) == 2
    assert [each.closed_at is None for each in cases_of(pharmacy, visit_no)] == [False]


def test_two_front_ends_never_lease_more_than_the_account_holds(pharmacy, clinic):
    pharmacy.terms(offline_claim_fen=15_000)
    clinic.terms(offline_claim_fen=15_000)
    person = leased(pharmacy)
    clinic.run(3)
    clinic.lease(person)

    limits = []
    for site in (pharmacy, clinic):
        with reading(site.engine) as connection:
            limits.append(entitlement.leased(connection, person, at=site.here).offline_limit_fen)
    assert limits == [15_000, BALANCE - 15_000]
    with pharmacy.center.begin() as connection:
        found = exposure(connection, at=pharmacy.at, most=1000)
        mine = next(each for each in found.largest if set(each.holders) == {FRONTEND, OTHER_FRONTEND})
        assert mine.worst_fen == BALANCE
        assert found.several >= 1
        later = pharmacy.at + timedelta(hours=24 + 49)
        assert exposure(connection, at=later).worst_fen == 0
        assert prune(connection, at=later) >= 2


def test_pruning_waits_for_nobody_who_is_leasing(pharmacy):
    leased(pharmacy)
    later = pharmacy.at + timedelta(days=30)
    with pharmacy.center.begin() as leasing, pharmacy.center.begin() as pruning:
        leasing.execute(text("SELECT FROM offline_lease FOR UPDATE"))
        pruning.execute(text("SET LOCAL lock_timeout = '5s'"))
        assert prune(pruning, at=later) == 0
    with pharmacy.center.begin() as pruning:
        assert prune(pruning, at=later) >= 1


def test_a_smaller_lease_does_not_take_back_a_larger_one(pharmacy):
    """Nobody knows whether the answer with the smaller one arrives."""
    person = leased(pharmacy)
    spend_elsewhere(pharmacy, person, 58_000)
    pharmacy.lease(person)

    with reading(pharmacy.engine) as connection:
        assert entitlement.leased(connection, person, at=pharmacy.here).offline_limit_fen == 400
    kept = "SELECT limit_fen FROM offline_lease JOIN person USING (person_no) WHERE citizen_id_no = :id"
    assert rows_of(pharmacy.center, kept, id=person) == [(BALANCE,)]


def test_nothing_is_leased_to_a_front_end_whose_institutions_may_not(pharmacy):
    pharmacy.terms(offline=False)
    person = leased(pharmacy)

    with reading(pharmacy.engine) as connection:
        held = entitlement.leased(connection, person, at=pharmacy.here)
    assert (held.offline_limit_fen, held.offline_until) == (0, None)


def test_the_oldest_leases_go_when_there_are_too_many(pharmacy, monkeypatch):
    monkeypatch.setattr(entitlement, "MOST_LEASES", 3)
    people = []
    for _ in range(5):
        people.append(leased(pharmacy))

    with reading(pharmacy.engine) as connection:
        known = entitlement.last_known_of(connection, people, at=pharmacy.here)
    assert set(known) == set(people[2:])


def test_beyond_its_limits_nothing_is_accepted_while_the_link_is_down_and_no_key_is_used_up(site):
    person = leased(site)
    site.terms(offline_claim_fen=5_000, offline_total_fen=9_000)
    before = site.try_in(person, 6_000)
    assert isinstance(before, intake.Accepted)  # the link is up: no limit
    site.run(6)
    with site.engine.begin() as connection:
        connection.execute(update(claim).values(state=ClaimState.CANCELLED))
    site.cut()

    one = site.try_in(person, 5_001, key="again")
    assert isinstance(one, intake.OverOfflineLimit)
    assert "本笔费用 50.01 元，超过脱机受理限额 50.00 元" in one.over.words()
    assert isinstance(site.try_in(person, 5_000), intake.Accepted)
    summed = site.try_in(person, 4_001)
    assert isinstance(summed, intake.OverOfflineLimit)
    assert "合计将达 90.01 元，超过脱机受理限额 90.00 元" in summed.over.words()
    assert isinstance(site.try_in(person, 4_000), intake.Accepted)

    site.is_cut = False
    site.run(3)
    assert isinstance(site.try_in(person, 5_001, key="again"), intake.Accepted)


def test_a_flapping_link_settles_everything_once_and_the_books_are_those_of_a_link_that_never_fell(pharmacy):
    people = [leased(pharmacy) for _ in range(6)]
    visits = []
    for turn in range(12):
        pharmacy.is_cut = turn % 3 != 0
        pharmacy.run(6 if turn % 2 else 21)
        visits += [(person, pharmacy.hand_in(person, 1_000 + turn, visit_type="34"[turn % 2])) for person in people[:2]]
        visits.append((people[2 + turn % 4], pharmacy.hand_in(people[2 + turn % 4], 12_000)))
    pharmacy.back(240)

    assert all(pharmacy.view(visit).state is ClaimState.SETTLED for _, visit in visits)
    assert rows_of(
        pharmacy.center,
        "SELECT count(*), count(DISTINCT visit_no) FROM settlement WHERE visit_no = ANY(:visits)",
        visits=[visit for _, visit in visits],
    ) == [(len(visits), len(visits))]
    for person, of_person in groupby(sorted(visits), key=lambda each: each[0]):
        ours = [visit for _, visit in of_person]
        order = rows_of(
            pharmacy.center,
            "SELECT visit_no FROM settlement WHERE visit_no = ANY(:visits) ORDER BY settlement_no",
            visits=ours,
        )
        assert [visit for (visit,) in order] == [visit for one, visit in visits if one == person]
        paid = first(
            rows_of(
                pharmacy.center,
                "SELECT coalesce(sum(account_pay_fen), 0) FROM settlement WHERE visit_no = ANY(:visits)",
                visits=ours,
            )
        )
        assert balance(pharmacy, person) == BALANCE - paid
    with pharmacy.center.begin() as connection:
        assert [case for case in cases.listed(connection) if case.visit_no in {visit for _, visit in visits}] == []
    report = check_new(pharmacy.center, Shelves(CatalogueShelf(), PolicyShelf()), holder="test", at=AT, now=1.0)
    assert report is not None
    assert report.findings == []


def test_with_a_wrong_clock_nothing_is_settled_by_it_and_the_centre_is_told(pharmacy):
    person = leased(pharmacy)
    pharmacy.clock_off = timedelta(minutes=6)
    pharmacy.run(63)

    on_line = pharmacy.hand_in(person)
    assert not any(offline for _, offline in pharmacy.batches[-1])
    assert pharmacy.view(on_line).answer.settlement_no
    with reading(pharmacy.engine) as connection:
        local = connection.execute(text("SELECT local FROM claim")).scalars().all()
    assert local == [None]

    pharmacy.run(66)
    with pharmacy.center.begin() as connection:
        (found,) = trouble.recent(connection, at=pharmacy.at)
    assert (found.frontend, found.kind) == (FRONTEND, "clock")
    assert "比中心快 6 分 0 秒" in found.words

    pharmacy.cut()
    assert pharmacy.view(pharmacy.hand_in(person)).offline_at is None


def test_while_not_even_the_day_is_certain_everything_stays_accepted(pharmacy):
    person = leased(pharmacy)
    pharmacy.clock_off = timedelta(hours=15)
    pharmacy.run(63)
    visit_no = pharmacy.hand_in(person)

    assert pharmacy.view(visit_no).state is ClaimState.ACCEPTED

    pharmacy.clock_off = timedelta()
    pharmacy.run(63)
    pharmacy.hand_in(somebody())
    pharmacy.run(9)
    assert pharmacy.view(visit_no).state is not ClaimState.ACCEPTED


def test_a_claim_of_a_day_that_has_not_come_is_refused_with_its_code(center_engine, shelf):
    late = AT.replace(hour=23, minute=56)
    claims = [totals(7_000 + days, citizen_id_no=somebody(), visit_date=AT.date() + timedelta(days)) for days in (1, 2)]

    tomorrow, after = settle_submitted(center_engine, shelf, submitted(*claims), frontend=FRONTEND, at=late).answers

    assert tomorrow.refusal == ""  # its clock may be five minutes ahead
    assert after.refusal == Refusal.CLAIM_IN_FUTURE
    assert "申请的时间 2026-03-04 晚于中心时间 2026-03-02 23:56:00" in after.detail
    visits = [claim.visit_no for claim in claims]
    assert rows_of(center_engine, "SELECT visit_no FROM settlement WHERE visit_no = ANY(:visits)", visits=visits) == [
        (visits[0],)
    ]


def test_a_name_nobody_has_is_noted_once_and_never_told(center_engine, shelf):
    with center_engine.begin() as connection:
        assert trouble.note(connection, FRONTEND, trouble.KEY, at=AT)
        assert not trouble.note(connection, FRONTEND, trouble.KEY, at=AT + timedelta(seconds=59))
        assert not trouble.note(connection, "invented-1", trouble.KEY, at=AT)
        assert not trouble.note(connection, "invented-2", trouble.KEY, at=AT)
        found = {each.frontend: each.times for each in trouble.recent(connection, at=AT + timedelta(minutes=1))}
        assert found[FRONTEND] == 2
        assert found["?"] == 2
        assert not [
            each for each in trouble.recent(connection, at=AT + timedelta(minutes=15)) if each.kind == trouble.KEY
        ]


def test_a_front_end_whose_key_is_wrong_settles_nothing_off_line(pharmacy):
    person = leased(pharmacy)
    pharmacy.hearing.broken_seal(at=pharmacy.here)
    pharmacy.cut()

    visit_no = pharmacy.hand_in(person)

    assert pharmacy.view(visit_no).offline_at is None
    assert "请核对前置机密钥" in pharmacy.link().words()


def test_looking_after_what_waits_again_changes_nothing(pharmacy):
    person = leased(pharmacy)
    pharmacy.cut()
    visits = [pharmacy.hand_in(person), pharmacy.hand_in(person, 30_000)]
    before = [pharmacy.view(visit) for visit in visits]

    again = look_after(pharmacy.engine, pharmacy.shelf, at=pharmacy.here)

    assert (again.held_back, again.settled) == (0, 0)
    assert [pharmacy.view(visit) for visit in visits] == before


@pytest.mark.parametrize("seconds", [10**18, -(10**18)])
def test_a_clock_that_is_wrong_beyond_reason_is_noted_all_the_same(center_engine, shelf, seconds):
    with center_engine.begin() as connection:
        trouble.see_clock(connection, FRONTEND, seconds, at=AT)
        assert [each.frontend for each in trouble.recent(connection, at=AT) if each.kind == trouble.CLOCK] == [FRONTEND]


def test_an_older_front_end_asks_without_a_clock(pharmacy):
    from center.outcomes.ask import tell

    with pharmacy.center.begin() as connection:
        told = tell(connection, OutcomeAsked(keys=()), frontend=FRONTEND, at=AT)
    assert (told.asked_at, told.answered_at, told.unopened) == (None, None, False)


def test_a_front_end_with_a_wrong_key_is_heard_by_nobody_and_learns_it(center_database_url, shelf, tmp_path):
    (tmp_path / "secret").write_text(SECRET.hex())
    (tmp_path / "wrong").write_text("ab" * 32)
    shared = {"_env_file": None, "center_broker_url": "memory://wrong-key", "clock": f"{AT.isoformat()}@0.0x0.0"}
    office = Center(Settings(center_database_url=center_database_url, center_secret_file=tmp_path / "secret", **shared))
    told = RememberingPost()
    office.post = told
    new_frontend(f"sqlite:///{tmp_path}/wrong.db", CLINIC).dispose()
    database = {"frontend_database_url": f"sqlite:///{tmp_path}/wrong.db", "frontend_key_file": tmp_path / "wrong"}
    astray = Frontend(Settings(frontend=OTHER_FRONTEND, **database, **shared))

    question = seal(encode(OutcomeAsked(keys=())), frontend=OTHER_FRONTEND, lane=lanes.SETTLE, key=astray.key)
    for _ in range(2):
        with pytest.raises(SealBroken):
            office.opened(question, lanes.SETTLE, OutcomeAsked)
    with office.engine.begin() as connection:
        (found,) = [each for each in trouble.recent(connection, at=AT) if each.frontend == OTHER_FRONTEND]
    ((task, queue, _, kwargs),) = told.sent  # told once, however often it sends

    assert (found.kind, found.times) == ("key", 2)
    assert "请核对该前置机的密钥" in found.words
    assert (task, queue) == (lanes.OUTCOMES_TELL, lanes.results(OTHER_FRONTEND))
    with pytest.raises(SealBroken):
        astray.opened(kwargs["envelope"], queue, OutcomeTold)
    astray.look_at_link()
    assert "请核对前置机密钥" in astray.link().words()
    for each in (office, astray):
        each.engine.dispose()


def test_operators_see_the_worst_case_the_cases_and_the_link(pharmacy, center_database_url, monkeypatch):
    run = CliRunner()
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_FRONTEND_DATABASE_URL", str(pharmacy.engine.url))
    person = leased(pharmacy)
    pharmacy.cut()
    visit_no = pharmacy.hand_in(person, 5_000)
    monkeypatch.setenv("JIESUAN_CLOCK", f"{pharmacy.at.isoformat()}@0.0x0.0")

    waiting = json.loads(run.invoke(app, ["link", "--json"]).stdout)
    assert (waiting["state"], waiting["waiting"]) == (
        "down",
        [
            {
                "institution_code": HOSPITAL,
                "claims": 1,
                "total_fen": 5_000,
                "offline_claims": 1,
                "offline_fen": 5_000,
            }
        ],
    )
    assert "已受理未结算" in run.invoke(app, ["link"]).stdout
    worst = json.loads(run.invoke(app, ["offline", "exposure", "--json"]).stdout)
    assert worst["by_frontend"][FRONTEND] >= BALANCE
    assert worst["worst_fen"] >= BALANCE

    spend_elsewhere(pharmacy, person)
    pharmacy.back()
    monkeypatch.setenv("JIESUAN_CLOCK", f"{pharmacy.at.isoformat()}@0.0x0.0")
    listed = json.loads(run.invoke(app, ["offline", "cases", "--json"]).stdout)
    (case,) = [case for case in listed if case["visit_no"] == visit_no]
    assert "补收现金" in case["words"]
    assert visit_no in run.invoke(app, ["offline", "cases", "--institution", HOSPITAL]).stdout.replace("\n", "")
    found = {name: words for name, ok, words in looked_at(Settings(_env_file=None)) if ok is False}
    assert "jiesuan offline cases" in found["脱机结算差异"]
    closed = run.invoke(app, ["offline", "close", str(case["case_id"]), "--by", "经办", "--reason", "已补收"])
    assert closed.exit_code == 0
    again = run.invoke(app, ["offline", "close", str(case["case_id"]), "--by", "经办", "--reason", "已补收"])
    assert isinstance(again.exception, Stop)
