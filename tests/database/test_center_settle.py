"""Settling on a real PostgreSQL: every refusal with its numbers, once and only once, alone and in a crowd."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from itertools import count

import msgpack
import pytest
from sqlalchemy import insert, text

from center.settling import inputs, records
from center.settling.settle import settle_batch, settle_submitted
from center.tables import reference
from domain import benefit
from domain.messages import ClaimAnswer
from domain.money import MAX_FEN
from domain.policy import PolicyBook
from domain.policy.reading import parse
from domain.refusals import Refusal
from domain.settlement import Occasion, Step
from domain.totals import GroupTotal
from domain.visit import VisitType
from infra.codec import unpack
from infra.reference import policy_row
from tests.support.center import (
    AT,
    CLINIC,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    POLICY_VERSION,
    STRANGE,
    SUSPENDED,
    UNINSURED,
    fill_center,
    first,
    rows_of,
    submitted,
    synthetic_citizen_id,
    totals,
    until_somebody_waits,
)
from tests.support.frontend import POLICY

PERSONS = 1_000
BALANCE = 3000

_serials = count(1)
_persons = count()


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=PERSONS, balance_fen=BALANCE)


@pytest.fixture
def settle(center_engine, shelf):
    def settle(*claims, frontend=FRONTEND, at=AT, **versions):
        batch = submitted(*claims, **versions)
        return settle_submitted(center_engine, shelf, batch, frontend=frontend, at=at).answers

    return settle


def claim(**change):
    """A good claim of a visit and a person no other test has."""
    if "citizen_id_no" not in change:
        change["citizen_id_no"] = synthetic_citizen_id(next(_persons))
    return totals(next(_serials), **change)


def number_of(engine, claim):
    return first(rows_of(engine, "SELECT person_no FROM person WHERE citizen_id_no = :id", id=claim.citizen_id_no))


def settled_rows(engine, claim):
    return rows_of(engine, "SELECT settlement_no FROM settlement WHERE visit_no = :visit", visit=claim.visit_no)


def parked_rows(engine, claim):
    return rows_of(engine, "SELECT refusal, detail FROM parked WHERE visit_no = :visit", visit=claim.visit_no)


# ── Settled ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_is_settled_posted_and_accumulated(center_engine, settle):
    good = claim()

    (answer,) = settle(good)

    # 100.00 in scope, 100.00 deductible: the person pays all of it, the account what it has.
    assert (answer.refusal, answer.fund_pay_fen, answer.deductible_fen, answer.account_pay_fen) == (
        "",
        0,
        10000,
        BALANCE,
    )
    assert (answer.account_before_fen, answer.deductible_before_fen, answer.settled_at) == (BALANCE, 0, AT)
    number = first(settled_rows(center_engine, good))
    assert number == answer.settlement_no
    postings = rows_of(center_engine, "SELECT account, amount_fen FROM posting WHERE document_no = :no", no=number)
    assert sum(fen for _, fen in postings) == 0
    assert dict(postings) == {
        f"account:{number_of(center_engine, good)}": BALANCE,
        f"payable:{HOSPITAL}:employee:11": -BALANCE,
        f"cash:{HOSPITAL}": 11000 - BALANCE,
        f"charges:{HOSPITAL}": BALANCE - 11000,
    }
    assert rows_of(
        center_engine, "SELECT before_fen, applied_fen FROM accumulator_entry WHERE settlement_no = :no", no=number
    ) == [(0, 10000)]


def test_two_claims_of_one_person_in_one_batch_run_on(center_engine, settle):
    one = claim()
    other = claim(citizen_id_no=one.citizen_id_no)

    first_answer, second_answer = settle(one, other)

    assert (first_answer.deductible_fen, first_answer.fund_pay_fen) == (10000, 0)
    assert (second_answer.deductible_fen, second_answer.fund_pay_fen) == (0, 8000)
    assert (second_answer.deductible_before_fen, second_answer.account_before_fen) == (10000, 0)
    balance = first(
        rows_of(center_engine, "SELECT account_balance_fen FROM person WHERE citizen_id_no = :id", id=one.citizen_id_no)
    )
    assert balance == 0


def test_what_the_fund_paid_before_is_in_the_next_answer(settle):
    one = claim()
    rest = [claim(citizen_id_no=one.citizen_id_no) for _ in range(2)]

    settle(one)
    settle(rest[0])
    (answer,) = settle(rest[1])

    assert (answer.fund_before_fen, answer.deductible_before_fen) == (8000, 10000)


# ── Once and only once ────────────────────────────────────────────────────────────────────────────────────


def test_the_same_claim_again_gets_the_same_answer_byte_for_byte(center_engine, settle):
    good = claim()
    (answer,) = settle(good)
    stored = "SELECT answer FROM settlement WHERE visit_no = :visit"
    before = rows_of(center_engine, stored, visit=good.visit_no)

    (again,) = settle(good, at=AT + timedelta(hours=3))

    assert again == answer
    assert rows_of(center_engine, stored, visit=good.visit_no) == before
    assert unpack(first(before), ClaimAnswer) == answer


def test_the_same_claim_twice_in_one_batch_is_settled_once(center_engine, settle):
    good = claim()

    one, other = settle(good, good)

    assert one == other
    assert len(settled_rows(center_engine, good)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"digest": bytes(15) + b"\1"},
        {"total_fen": 11001, "in_scope_fen": 10001},
        {"own_expense_fen": 501, "in_scope_fen": 9999},
        {"line_count": 6},
        {"visit_type": "4"},
        {"visit_date": date(2026, 3, 1)},
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_the_same_key_with_other_content_is_a_conflict(center_engine, settle, change, together):
    good = claim()
    changed = good._replace(**change)

    answers = settle(good, changed) if together else settle(good) + settle(changed)

    assert [answer.refusal for answer in answers] == ["", Refusal.CONTENT_CONFLICT]
    assert "110.00 元" in answers[1].detail
    assert ("110.01 元" in answers[1].detail) == ("total_fen" in change)
    assert len(settled_rows(center_engine, good)) == 1
    assert parked_rows(center_engine, good) == [(Refusal.CONTENT_CONFLICT, answers[1].detail)]


@pytest.mark.parametrize("together", [True, False])
def test_a_visit_belongs_to_one_institution_and_one_person(settle, together):
    good = claim()
    other_person = good._replace(citizen_id_no=claim().citizen_id_no, charge_batch_no=2)
    nobody = good._replace(citizen_id_no=synthetic_citizen_id(777_777), charge_batch_no=3)

    if together:
        answers = settle(good, other_person, nobody)[1:]
    else:
        settle(good)
        answers = settle(other_person, nobody)
    (elsewhere,) = settle(good._replace(institution_code=CLINIC, charge_batch_no=4), frontend=OTHER_FRONTEND)

    assert {answer.refusal for answer in (*answers, elsewhere)} == {Refusal.VISIT_OF_ANOTHER}


def test_another_charge_batch_of_a_visit_is_another_claim(settle):
    good = claim()

    answers = settle(good, good._replace(charge_batch_no=2, digest=bytes(15) + b"\2"))

    assert [answer.refusal for answer in answers] == ["", ""]


def test_what_was_settled_is_answered_though_its_person_and_institution_could_not_settle_today(center_engine, settle):
    good = claim()
    (answer,) = settle(good)
    suspend = text("UPDATE person SET entitled = :entitled WHERE citizen_id_no = :id")
    close = text("UPDATE institution SET active = :active WHERE institution_code = :code")
    with center_engine.begin() as connection:
        connection.execute(suspend, {"entitled": False, "id": good.citizen_id_no})
        connection.execute(close, {"active": False, "code": HOSPITAL})
    try:
        assert settle(good, policy_version="old") == (answer,)
    finally:
        with center_engine.begin() as connection:
            connection.execute(close, {"active": True, "code": HOSPITAL})


def test_the_unique_key_is_the_last_guard(center_engine, shelf, settle):
    """Two persons, so no person's lock is shared; the second waits, and then sees whose the visit is."""
    good = claim()
    of_another = good._replace(citizen_id_no=claim().citizen_id_no)

    with ThreadPoolExecutor(1) as pool:
        with center_engine.connect() as connection, connection.begin():
            reference = shelf.current(connection)
            settle_batch(submitted(good), frontend=FRONTEND, connection=connection, reference=reference, at=AT)
            waiting = pool.submit(settle, of_another)
            until_somebody_waits(center_engine)
        (answer,) = waiting.result()

    assert answer.refusal == Refusal.VISIT_OF_ANOTHER
    assert len(settled_rows(center_engine, good)) == 1


def test_two_persons_under_one_new_visit_number_at_once_the_second_is_refused(center_engine, shelf, settle):
    """Other batch numbers, so no key is met: only the lock on the visit number makes the second one look."""
    good = claim()
    of_another = good._replace(citizen_id_no=claim().citizen_id_no, charge_batch_no=2)

    with ThreadPoolExecutor(1) as pool:
        with center_engine.connect() as connection, connection.begin():
            reference = shelf.current(connection)
            settle_batch(submitted(good), frontend=FRONTEND, connection=connection, reference=reference, at=AT)
            waiting = pool.submit(settle, of_another)
            until_somebody_waits(center_engine)
        (answer,) = waiting.result()

    assert answer.refusal == Refusal.VISIT_OF_ANOTHER
    assert len(settled_rows(center_engine, good)) == 1


def test_many_batches_with_the_same_visits_in_any_order_never_wait_in_a_circle(center_engine, settle):
    visits = [claim().visit_no for _ in range(20)]
    chosen = random.Random(7)

    def race(_):
        batch = [claim(visit_no=visit_no) for visit_no in chosen.sample(visits, 10)]
        return [answer.refusal for answer in settle(*batch)]

    with ThreadPoolExecutor(4) as pool:
        refusals = {refusal for refused in pool.map(race, range(40)) for refusal in refused}

    assert refusals <= {"", Refusal.VISIT_OF_ANOTHER, Refusal.CONTENT_CONFLICT}
    owners = rows_of(
        center_engine,
        "SELECT visit_no, count(DISTINCT person_no) FROM settlement WHERE visit_no = ANY(:visits) GROUP BY visit_no",
        visits=visits,
    )
    assert {count for _, count in owners} == {1}


# ── What is kept ──────────────────────────────────────────────────────────────────────────────────────────

STAY = {"visit_type": "1", "visit_started": date(2026, 2, 20), "covers_to": date(2026, 3, 1), "final": False}
"""An interim settlement of a stay."""


def test_a_settlement_keeps_what_it_takes_to_repeat_it(center_engine, shelf, settle):
    stay = claim(
        **STAY, conditions=("disease:M00500", "unfiled"), groups=(GroupTotal("negotiated", 300, 0, 0, 0, 300),)
    )

    (answer,) = settle(stay)

    assert answer.refusal == ""
    ((scheme, category, level, stored, steps, version),) = rows_of(
        center_engine,
        "SELECT scheme, category, institution_level, inputs, steps, policy_version FROM settlement"
        " WHERE visit_no = :visit",
        visit=stay.visit_no,
    )
    assert (scheme, category, level, version) == ("employee", "1", 2, POLICY_VERSION)
    totals_, person, used, occasion = inputs.unpacked(stored, stay.local_totals()._replace(groups=()))
    assert totals_ == stay.local_totals()
    assert person.account_balance_fen == BALANCE
    assert occasion == Occasion(
        VisitType.INPATIENT,
        2,
        AT.date(),
        HOSPITAL,
        stay.visit_no,
        date(2026, 2, 20),
        date(2026, 3, 1),
        False,
        frozenset({"unfiled"}),
        "M00500",
    )
    with center_engine.begin() as connection:
        policy = shelf.current(connection).policy
    again = benefit.settle(totals_, person, used, policy, occasion)
    assert (again.cells, again.entries) == (answer.cells, answer.entries)
    assert [Step(*row) for row in msgpack.unpackb(steps)] == list(again.steps)


def test_an_answer_carries_the_matrix_and_what_moved(settle):
    (answer,) = settle(claim())

    assert sum(cell.amount_fen for cell in answer.cells) == 11000
    assert sum(cell.amount_fen for cell in answer.cells if cell.payer == "account") == answer.account_pay_fen
    assert {entry.applied_fen for entry in answer.entries} == {10000}
    assert (answer.scheme, answer.category, answer.recomputed) == ("employee", "1", "")


@pytest.mark.parametrize(
    "change",
    [
        {"covers_to": date(2026, 3, 2)},
        {"visit_started": date(2026, 2, 21)},
        {"final": True},
        {"conditions": ("unfiled",)},
        {"groups": (GroupTotal("negotiated", 300, 0, 0, 0, 300),)},
    ],
)
def test_the_same_stay_under_other_circumstances_is_a_conflict(settle, change):
    stay = claim(**STAY)

    answers = settle(stay) + settle(stay._replace(**change)) + settle(stay)

    assert [answer.refusal for answer in answers] == ["", Refusal.CONTENT_CONFLICT, ""]


def test_every_settlement_raises_the_version_by_one(center_engine, settle):
    one = claim()

    settle(one, claim(citizen_id_no=one.citizen_id_no))
    settle(one)
    settle(claim(citizen_id_no=one.citizen_id_no, total_fen=500, own_expense_fen=500, over_limit_fen=0,
                 pre_self_pay_fen=0, in_scope_fen=0))  # fmt: skip

    query = "SELECT version FROM person WHERE citizen_id_no = :id"
    assert first(rows_of(center_engine, query, id=one.citizen_id_no)) == 3


# ── Refused ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "refusal", "numbers"),
    [
        ({"citizen_id_no": synthetic_citizen_id(888_888)}, Refusal.PERSON_UNKNOWN, ()),
        ({"citizen_id_no": synthetic_citizen_id(SUSPENDED)}, Refusal.ENTITLEMENT_SUSPENDED, ()),
        ({"citizen_id_no": synthetic_citizen_id(UNINSURED)}, Refusal.NO_POLICY, ("居民医保", "2026-03-02")),
        ({"citizen_id_no": synthetic_citizen_id(STRANGE)}, Refusal.CATEGORY_UNKNOWN, ("人员类别 6", "职工医保")),
        ({"visit_date": date(2019, 12, 31)}, Refusal.NO_POLICY, ("职工医保", "2019-12-31")),
        ({"institution_code": "440199999999"}, Refusal.INSTITUTION_UNKNOWN, ()),
        ({"institution_code": "440100000009"}, Refusal.INSTITUTION_UNKNOWN, ()),
        ({"institution_code": CLINIC}, Refusal.NOT_SERVED, ()),
        ({"in_scope_fen": 9999}, Refusal.TOTALS_UNEQUAL, ("110.00", "109.99")),
        ({"total_fen": 11001}, Refusal.TOTALS_UNEQUAL, ("110.01", "110.00")),
        ({"line_count": 0}, Refusal.TOTALS_UNEQUAL, ("110.00", "0 笔")),
        ({"own_expense_fen": -500, "in_scope_fen": 11000}, Refusal.TOTALS_UNEQUAL, ("-5.00",)),
        ({"total_fen": -1, "own_expense_fen": -10501}, Refusal.TOTALS_UNEQUAL, ("-105.01",)),
        ({"groups": (GroupTotal("a", 10, 1, 0, 0, 8),)}, Refusal.TOTALS_UNEQUAL, ("0.10", "0.09", "待遇分组 a")),
        ({"groups": (GroupTotal("a", 0, 0, 0, 0, 0),) * 2}, Refusal.MALFORMED, ("就诊情形",)),
        ({"conditions": ("\n",)}, Refusal.MALFORMED, ("就诊情形",)),
        ({"conditions": ("x",) * 65}, Refusal.MALFORMED, ("就诊情形",)),
        ({"covers_to": date(2026, 3, 1)}, Refusal.MALFORMED, ("起止日期",)),
        ({"visit_type": "9"}, Refusal.MALFORMED, ("就诊类别",)),
        ({"visit_no": "T0000126030200001X"}, Refusal.MALFORMED, ("就医登记号",)),
        ({"visit_no": "T\0\t"}, Refusal.MALFORMED, ("就医登记号",)),
        ({"charge_batch_no": 2**40}, Refusal.MALFORMED, ("费用批次",)),
        ({"digest": b""}, Refusal.MALFORMED, ("明细摘要",)),
        ({"total_fen": MAX_FEN + 1, "line_count": -1}, Refusal.MALFORMED, ("明细笔数", "金额")),
    ],
)
def test_a_bad_claim_is_refused_parked_once_and_its_neighbours_settle(center_engine, settle, change, refusal, numbers):
    before, bad, after = claim(), claim(**change), claim()

    answers = settle(before, bad, after)
    settle(bad)

    assert [answer.refusal for answer in answers] == ["", refusal, ""]
    assert (answers[1].visit_no, answers[1].settlement_no) == (bad.visit_no, 0)
    assert all(number in answers[1].detail for number in numbers)
    parked = rows_of(
        center_engine, "SELECT refusal, detail FROM parked WHERE visit_no = :v", v=bad.visit_no.replace("\0", "")[:16]
    )
    assert parked == [(refusal, answers[1].detail)]


@pytest.mark.parametrize(
    ("version", "refusal"),
    [("policy_version", Refusal.POLICY_STALE), ("catalogue_version", Refusal.CATALOGUE_STALE)],
)
def test_stale_versions_are_refused_with_both(settle, version, refusal):
    (answer,) = settle(claim(), **{version: "older"})

    assert answer.refusal == refusal
    assert "older" in answer.detail
    assert (POLICY_VERSION if version == "policy_version" else "catalogue-1") in answer.detail


OLDER = POLICY.replace('amount = "100.00"', 'amount = "50.00"')
SPLIT = """
  { kind = "line_split", scheme = "any", over_limit = "own_expense", from = 2020-01-01, src = "TEST" },
]"""


@pytest.mark.parametrize(
    ("published", "refusal"),
    [
        pytest.param(OLDER, "", id="lines are split alike: settled under the policy in force"),
        pytest.param(POLICY.rstrip().removesuffix("]") + SPLIT, Refusal.POLICY_STALE, id="lines were split otherwise"),
    ],
)
def test_totals_of_another_policy_version_that_was_published_here(center_engine, settle, published, refusal):
    row = policy_row(published) | {"in_force": False}
    with center_engine.begin() as connection:
        connection.execute(insert(reference), [row])

    (answer,) = settle(claim(), policy_version=row["version"])

    assert answer.refusal == refusal
    assert answer.deductible_fen == (0 if refusal else 10000)


def test_a_case_the_policy_does_not_cover_is_explained_to_the_cashier(center_engine, shelf, settle):
    share = '{ kind = "share", scheme = "employee",'
    of_some = POLICY.replace(share, f"{share} person = [1],")
    with center_engine.begin() as connection:
        held = shelf.current(connection)
        bare = replace(held, policy=PolicyBook([parse(of_some)]))
        connection.execute(
            text("UPDATE person SET category = '2' WHERE citizen_id_no = :id"), {"id": (odd := claim()).citizen_id_no}
        )
        (answer,) = settle_batch(
            submitted(odd), frontend=FRONTEND, connection=connection, reference=bare, at=AT
        ).answers

    assert answer.refusal == Refusal.CASE_NOT_COVERED
    assert any("一" <= letter <= "鿿" for letter in answer.detail.split("：", 1)[1])


def test_a_settlement_that_does_not_check_is_parked_and_loud(center_engine, settle, monkeypatch, caplog):
    monkeypatch.setattr("center.settling.counter.check", lambda *_, **__: ["step 3: one fen off"])
    bad = claim()

    (answer,) = settle(bad)

    assert answer.refusal == Refusal.INTERNAL
    assert parked_rows(center_engine, bad)[0][0] == Refusal.INTERNAL
    assert settled_rows(center_engine, bad) == []
    assert "one fen off" in caplog.text
    assert bad.citizen_id_no not in caplog.text


def test_the_odd_fen_below_zero_of_a_reversed_line_is_no_nonsense(settle):
    (answer,) = settle(claim(pre_self_pay_fen=-1, in_scope_fen=10301))

    assert answer.refusal == ""


def test_a_refused_claim_leaves_no_trace_in_the_books(center_engine, settle):
    bad = claim(in_scope_fen=9999)

    settle(bad)

    assert settled_rows(center_engine, bad) == []
    query = "SELECT 1 FROM accumulator JOIN person USING (person_no) WHERE citizen_id_no = :id"
    assert rows_of(center_engine, query, id=bad.citizen_id_no) == []


class Faulty(PolicyBook):
    """Fails for one kind of visit."""

    def rules_for(self, case):
        if case.visit_type == "4":
            raise ZeroDivisionError
        return super().rules_for(case)


def test_a_fault_of_ours_parks_its_claim_and_no_other(center_engine, shelf, caplog):
    before, bad, after = claim(), claim(visit_type="4"), claim()

    with center_engine.begin() as connection:
        reference = shelf.current(connection)
        reference = replace(reference, policy=Faulty(reference.policy.sets))
        batch = submitted(before, bad, after)
        answers = settle_batch(batch, frontend=FRONTEND, connection=connection, reference=reference, at=AT).answers

    assert [answer.refusal for answer in answers] == ["", Refusal.INTERNAL, ""]
    assert parked_rows(center_engine, bad)[0][0] == Refusal.INTERNAL
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["claim_failed"]
    assert bad.citizen_id_no not in caplog.text


def test_a_row_the_database_refuses_parks_its_claim_and_no_other(center_engine, owner_engine, settle, caplog):
    claims = [claim() for _ in range(7)]
    bad = claims[4]
    with owner_engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE settlement ADD CONSTRAINT odd CHECK (visit_no <> '{bad.visit_no}')"))
    try:
        answers = settle(*claims)
    finally:
        with owner_engine.begin() as connection:
            connection.execute(text("ALTER TABLE settlement DROP CONSTRAINT odd"))

    assert [answer.visit_no for answer in answers] == [each.visit_no for each in claims]
    assert [answer.refusal for answer in answers if answer.refusal] == [Refusal.INTERNAL]
    assert parked_rows(center_engine, bad)[0][0] == Refusal.INTERNAL
    assert all(each.citizen_id_no not in caplog.text for each in claims)


# ── In a crowd ────────────────────────────────────────────────────────────────────────────────────────────


def test_concurrent_batches_of_the_same_persons_accumulate_correctly_and_never_deadlock(center_engine, settle, caplog):
    chosen = random.Random(20260302)
    persons = [synthetic_citizen_id(PERSONS - 1 - n) for n in range(8)]
    claims = [claim(citizen_id_no=chosen.choice(persons)) for _ in range(200 * 2 * 4)]
    batches = [claims[start : start + 4] for start in range(0, len(claims), 4)]

    def settle_twice(batch):
        return settle(*batch), settle(*reversed(batch))

    with ThreadPoolExecutor(2) as pool:
        for once, again in pool.map(settle_twice, batches):
            assert not any(answer.refusal for answer in once)
            assert again == tuple(reversed(once))

    assert "transaction_repeated" not in [record.message for record in caplog.records]
    moved = rows_of(
        center_engine,
        "SELECT citizen_id_no, key, a.amount_fen, sum(applied_fen), count(DISTINCT before_fen), count(*)"
        " FROM accumulator_entry e JOIN accumulator a USING (person_no, key) JOIN person USING (person_no)"
        " WHERE citizen_id_no = ANY(:ids) GROUP BY citizen_id_no, key, a.amount_fen",
        ids=persons,
    )
    assert len(moved) == 2 * len(persons)
    for _, key, amount_fen, applied_fen, starts, entries in moved:
        assert amount_fen == applied_fen
        assert starts == entries
        assert ":fund:" in key or amount_fen == 10000
    balances = rows_of(
        center_engine, "SELECT account_balance_fen FROM person WHERE citizen_id_no = ANY(:ids)", ids=persons
    )
    assert balances == [(0,)] * len(persons)


def test_the_same_batch_in_two_places_at_once_is_settled_once(center_engine, settle):
    batches = [[claim() for _ in range(3)] for _ in range(30)]
    together = threading.Barrier(2)

    def race(batch):
        together.wait()
        return settle(*batch)

    with ThreadPoolExecutor(2) as pool:
        for batch in batches:
            one, other = pool.map(race, [batch, list(reversed(batch))])
            assert one == tuple(reversed(other))
            assert all(len(settled_rows(center_engine, each)) == 1 for each in batch)


def test_persons_are_locked_in_the_order_of_their_key(center_engine, shelf):
    """Whoever waits for the person with the lowest key holds none of the others."""
    lowest, *others = sorted(synthetic_citizen_id(next(_persons)) for _ in range(30))
    lock = text("SELECT count(*) FROM (SELECT 1 FROM person WHERE citizen_id_no = ANY(:ids) FOR UPDATE NOWAIT)")

    with ThreadPoolExecutor(1) as pool:
        with center_engine.connect() as holder, holder.begin():
            holder.execute(lock, {"ids": [lowest]})
            waiting = pool.submit(_lock_all, center_engine, [*others, lowest])
            until_somebody_waits(center_engine)
            with center_engine.connect() as other, other.begin():
                assert other.execute(lock, {"ids": others}).scalar() == len(others)
        assert list(waiting.result()) == [lowest, *others]


def _lock_all(engine, ids):
    with engine.begin() as connection:
        return records.lock_persons(records.cursor_of(connection), ids)
