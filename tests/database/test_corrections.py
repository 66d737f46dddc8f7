"""Later settlements that a refund out of order would have changed: listed, corrected by documents, by two persons."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from random import Random

import pytest

from center.correcting import actions
from center.correcting.actions import NothingToCorrect
from domain.policy import PolicyBook
from domain.policy.reading import parse
from domain.refusals import SENTENCE, Refusal
from tests.support.center import AT, fill_center, first, rows_of, synthetic_citizen_id
from tests.support.corrections import BALANCE, LAST_FIRST, POLICY, Office

_persons = count()


@pytest.fixture(scope="module")
def office(center_engine):
    return Office(center_engine, fill_center(center_engine, persons=1000, balance_fen=BALANCE, policy=POLICY))


def foreseen(office, of):
    with office.engine.begin() as connection:
        return actions.foreseen(connection, actions.find(connection, of.visit_no, of.charge_batch_no))


def test_the_list_says_what_would_change_before_and_after_the_refund(office):
    person = next(_persons)
    early, late, last = (office.claim(person, fen) for fen in (20000, 10000, 5000))
    office.settle(early)
    office.settle(late)
    office.settle(last)

    before = foreseen(office, early)
    assert office.take_back(early).refusal == ""
    after = foreseen(office, early)

    assert [change.stored.visit_no for change in after.changes] == [late.visit_no], "the last one stays as it is"
    assert [(c.stored.settlement_no, c.before, c.after) for c in before.changes] == [
        (c.stored.settlement_no, c.before, c.after) for c in after.changes
    ]
    change = after.changes[0]
    assert change.before.deductible_fen == 0 and change.after.deductible_fen == 10000
    assert (change.before.fund_pay_fen, change.after.fund_pay_fen) == (7000, 0)
    assert after.impossible == []


def test_a_correction_is_two_documents_for_each_and_two_persons(office):
    person, alone = next(_persons), next(_persons)
    early, late = office.claim(person, 20000), office.claim(person, 10000)
    (was_early,), (was_late,) = office.settle(early), office.settle(late)
    office.take_back(early)
    number = office.propose(early)
    untouched = office.standing(person)
    assert office.standing(person) == untouched, "nothing is done before somebody else approves it"

    outcome = office.approve(number)

    assert outcome.state == "approved", outcome.words
    (alone_answer,) = office.settle(office.claim(alone, 10000))
    assert office.standing(person) == office.standing(alone)
    assert office.ledger(person) == office.ledger(alone)
    rows = rows_of(
        office.engine,
        "SELECT kind, charge_batch_no, contra_of, fund_pay_fen, settled_day FROM settlement WHERE visit_no = :v"
        " ORDER BY settlement_no",
        v=late.visit_no,
    )
    assert rows == [
        ("normal", 1, None, was_late.fund_pay_fen, AT.date()),
        ("contra", 9001, was_late.settlement_no, -was_late.fund_pay_fen, AT.date()),
        ("normal", 9002, None, alone_answer.fund_pay_fen, AT.date()),
    ]
    noted = rows_of(
        office.engine,
        "SELECT refunded_no, settlement_no, place_no, cash_fen, heard_at FROM correction WHERE proposal_no = :n",
        n=number,
    )
    cash = 1000 + 10000 - BALANCE
    was_cash = 1000 + 10000 - was_late.fund_pay_fen - was_late.account_pay_fen
    assert noted == [(was_early.settlement_no, was_late.settlement_no, was_late.settlement_no, cash - was_cash, None)]


def test_nothing_to_correct_is_said(office):
    person = next(_persons)
    only, after = office.claim(person, 20000), office.claim(person, 0)
    office.settle(only)
    with pytest.raises(NothingToCorrect, match="没有退费"):
        office.propose(only)
    office.settle(after)
    office.take_back(only)
    with pytest.raises(NothingToCorrect, match="没有因此改变"):
        office.propose(only)
    with pytest.raises(NothingToCorrect, match="没有这笔结算"):
        office.propose(office.claim(person, 1))


def test_a_correction_whose_ground_moved_is_stale(office):
    person = next(_persons)
    early, late = office.claim(person, 20000), office.claim(person, 10000)
    office.settle(early)
    office.settle(late)
    office.take_back(early)
    number = office.propose(early)
    office.take_back(late)
    assert (office.approve(number).state, office.standing(person)) == ("open", ({}, BALANCE))

    first_one, second, third = (office.claim(person, fen) for fen in (20000, 10000, 10000))
    for each in (first_one, second):
        office.settle(each)
    office.take_back(first_one)
    number = office.propose(first_one)
    office.settle(third)
    before = office.standing(person)
    assert (office.approve(number).state, office.standing(person)) == ("stale", before)


def test_a_corrected_settlement_may_be_refunded_and_corrected_again(office):
    person, alone = next(_persons), next(_persons)
    claims = [office.claim(person, fen) for fen in (4000, 4000, 30000, 9000)]
    for each in claims:
        office.settle(each)
    office.take_back(claims[0])
    assert office.correct(claims[0])
    corrected = claims[1]._replace(charge_batch_no=9002)
    assert office.take_back(claims[1]).refusal == Refusal.REFUNDED_ALREADY
    assert office.take_back(corrected, contra_no=2).refusal == ""
    assert office.correct(corrected)

    for fen in (30000, 9000):
        office.settle(office.claim(alone, fen))
    assert office.standing(person) == office.standing(alone)
    assert office.ledger(person) == office.ledger(alone)
    again = rows_of(
        office.engine, "SELECT charge_batch_no FROM settlement WHERE visit_no = :v ORDER BY 1", v=claims[2].visit_no
    )
    assert [number for (number,) in again] == [1, 9001, 9002, 9003, 9004]


def test_a_prepared_claim_of_the_person_is_waited_for(office):
    person = next(_persons)
    early, late = office.claim(person, 20000), office.claim(person, 10000)
    office.settle(early)
    office.settle(late)
    office.take_back(early)
    number = office.propose(early)
    hold = "UPDATE person SET held_until = {} WHERE citizen_id_no = %s"
    with office.engine.begin() as connection:
        until = AT + timedelta(hours=2)
        connection.exec_driver_sql(hold.format(f"'{until.isoformat()}'"), (early.citizen_id_no,))
    outcome = office.approve(number)
    assert outcome.state == "open" and "预结算" in outcome.words
    with office.engine.begin() as connection:
        connection.exec_driver_sql(hold.format("NULL"), (early.citizen_id_no,))
    assert office.approve(number).state == "approved"


def test_nothing_is_corrected_in_a_frozen_flow(office, owner_engine):
    person = next(_persons)
    early, late = office.claim(person, 20000), office.claim(person, 10000)
    office.settle(early)
    office.settle(late)
    office.take_back(early)
    number = office.propose(early)
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO frozen_flow (institution_code, scheme, clearing_type, person_no, level, code, subject,"
            " expected_fen, found_fen, why, finding, frozen_at) SELECT %s, 'employee', '*', person_no, 'document',"
            " 'test', '', 1, 2, '试验', 'test', now() FROM person WHERE citizen_id_no = %s",
            (early.institution_code, early.citizen_id_no),
        )
    outcome = office.approve(number)
    assert outcome.state == "open" and outcome.words == SENTENCE[Refusal.FROZEN]
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM frozen_flow WHERE finding = 'test'")
    assert office.approve(number).state == "approved"


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        pytest.param("inputs = ''", "没有保存结算时的依据", id="from before its inputs were kept"),
        pytest.param("policy_version = 'gone@00000000'", "没有保存", id="under a policy nobody has"),
        pytest.param("in_scope_fen = in_scope_fen - 9, pre_self_pay_fen = 309", "重算不出", id="changed"),
    ],
)
def test_what_cannot_be_recomputed_is_said_and_nothing_is_corrected(office, owner_engine, harm, why):
    person = next(_persons)
    early, late = office.claim(person, 20000), office.claim(person, 10000)
    office.settle(early)
    ((number),) = [answer.settlement_no for answer in office.settle(late)]
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(f"UPDATE settlement SET {harm} WHERE settlement_no = %s", (number,))
    office.take_back(early)

    ((said, words),) = foreseen(office, early).impossible

    assert said == number and why in words
    with pytest.raises(NothingToCorrect, match=f"结算 {number} 不能重算"):
        office.propose(early)


def test_a_correction_and_a_settlement_at_once_are_one_after_the_other(office):
    for _ in range(6):
        person, alone = next(_persons), next(_persons)
        early, late, more = (office.claim(person, fen) for fen in (20000, 10000, 15000))
        office.settle(early)
        office.settle(late)
        office.take_back(early)
        number = office.propose(early)
        start = threading.Barrier(2)

        def approve(number=number, start=start):
            start.wait()
            return office.approve(number).state

        def settle(of=more, start=start):
            start.wait()
            return office.settle(of)[0].refusal

        with ThreadPoolExecutor(2) as pool:
            state, refusal = [each.result() for each in (pool.submit(approve), pool.submit(settle))]

        assert refusal == ""
        assert state in ("approved", "stale")
        if state == "stale":
            assert office.correct(early), "what was settled meanwhile is in it now"
        for fen in (10000, 15000):
            office.settle(office.claim(alone, fen))
        assert office.standing(person) == office.standing(alone)
        assert office.ledger(person) == office.ledger(alone)


# ── Laws ──────────────────────────────────────────────────────────────────────────────────────────────────


SUMS = (
    "SELECT count(*) FROM settlement contra JOIN settlement original ON original.settlement_no = contra.contra_of"
    " WHERE (contra.total_fen, contra.fund_pay_fen, contra.account_pay_fen, contra.deductible_fen, contra.self_pay_fen,"
    " contra.over_cap_fen, contra.institution_share_fen, contra.own_pay_fen, contra.in_scope_fen)"
    " IS DISTINCT FROM (-original.total_fen, -original.fund_pay_fen, -original.account_pay_fen,"
    " -original.deductible_fen, -original.self_pay_fen, -original.over_cap_fen, -original.institution_share_fen,"
    " -original.own_pay_fen, -original.in_scope_fen)"
)
POSTINGS = (
    "SELECT contra_of, account FROM settlement JOIN posting ON document_no IN (settlement_no, contra_of)"
    " WHERE kind = 'contra' GROUP BY 1, 2 HAVING sum(posting.amount_fen) <> 0"
)
ENTRIES = (
    "SELECT contra_of, key FROM settlement s JOIN accumulator_entry e"
    " ON e.settlement_no IN (s.settlement_no, s.contra_of) WHERE kind = 'contra' GROUP BY 1, 2"
    " HAVING sum(applied_fen) <> 0"
)
ACCUMULATORS = (
    "SELECT person_no, key FROM accumulator FULL JOIN (SELECT person_no, key, sum(applied_fen) AS fen"
    " FROM accumulator_entry GROUP BY 1, 2) moved USING (person_no, key)"
    " WHERE coalesce(amount_fen, 0) <> coalesce(fen, 0)"
)
RUNNING = (
    "SELECT * FROM (SELECT before_fen, coalesce(sum(applied_fen) OVER (PARTITION BY person_no, key"
    " ORDER BY settlement_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS ran FROM accumulator_entry) e"
    " WHERE before_fen <> ran"
)
BALANCES = (
    "SELECT person_no FROM person LEFT JOIN (SELECT substr(account, 9)::bigint AS person_no, sum(amount_fen) AS fen"
    " FROM posting WHERE account LIKE 'account:%' GROUP BY 1) paid USING (person_no)"
    f" WHERE citizen_id_no LIKE '%' AND account_balance_fen NOT IN (0, {BALANCE} - coalesce(fen, 0))"
)


def assert_books_hold(office):
    """What holds of every contra and its original, of accumulators and accounts, whatever was done."""
    assert first(rows_of(office.engine, SUMS)) == 0
    for law in (POSTINGS, ENTRIES, ACCUMULATORS, RUNNING, BALANCES):
        assert rows_of(office.engine, law) == [], law


class Life:
    """One person's year at random: what is settled, refunded in whole or in part, and what of it is left."""

    def __init__(self, office, dice, person):
        self.office, self.dice, self.person = office, dice, person
        self.standing = []
        self.answers = {}
        self.gone = Counter()

    def settle(self):
        claim = self.office.claim(self.person, self.dice.choice((3000, 9000, 12000, 25000, 40000)))
        (answer,) = self.office.settle(claim)
        assert answer.refusal == ""
        self.standing.append(claim)

    def refund(self, *, last_only=False):
        """Take one back, keep a part of it now and then; the answer, and what it was."""
        place = len(self.standing) - 1 if last_only else self.dice.randrange(len(self.standing))
        of = self.standing[place]
        kept = ()
        contra_no = of.charge_batch_no + 1
        if self.dice.random() < 0.4 and of.in_scope_fen > 3000:
            in_scope = of.in_scope_fen // 3
            kept = (
                of._replace(charge_batch_no=contra_no + 1, total_fen=in_scope + 1000, in_scope_fen=in_scope),
            )  # fmt: skip
        answered = self.office.take_back(of, *kept, contra_no=contra_no)
        if not answered.refusal:
            self.standing.pop(place)
            self.standing.extend(kept)
        return of, answered

    def rest(self):
        """Somebody else to whom only what is left has happened."""
        other = next(_persons)
        for each in self.standing:
            self.office.settle(self.office.claim(other, each.in_scope_fen))
        return other


@pytest.mark.parametrize("seed", range(8))
def test_with_corrections_it_is_as_if_the_refunded_had_never_been(office, seed):
    dice = Random(seed)
    life = Life(office, dice, next(_persons))
    owed = []
    for _ in range(10):
        if life.standing and dice.random() < 0.45:
            of, answered = life.refund()
            if answered.refusal == Refusal.REFUNDED_ALREADY:
                continue  # it was corrected meanwhile: the institution refunds what it was corrected to
            assert answered.refusal == ""
            owed.append(of)
            if dice.random() < 0.5:
                office.correct(owed.pop())
        else:
            life.settle()
    for of in owed:
        office.correct(of)

    other = life.rest()

    assert_books_hold(office)
    assert office.standing(life.person) == office.standing(other)
    assert office.ledger(life.person) == office.ledger(other)


@pytest.mark.parametrize("seed", range(8))
def test_last_first_needs_no_correction(center_engine, office, seed):
    dice = Random(1000 + seed)
    strict = Office(center_engine, by_policy(office.shelf))
    life = Life(strict, dice, next(_persons))
    for _ in range(12):
        if life.standing and dice.random() < 0.45:
            before = strict.standing(life.person)
            last = dice.random() < 0.6
            place_is_last = last or len(life.standing) == 1
            of, answered = life.refund(last_only=last)
            if answered.refusal:
                assert answered.refusal == Refusal.LATER_SETTLEMENT and not place_is_last
                assert strict.standing(life.person) == before
            else:
                assert of not in life.standing
        else:
            life.settle()
    other = life.rest()
    assert_books_hold(strict)
    assert strict.standing(life.person) == strict.standing(other)
    assert strict.ledger(life.person) == strict.ledger(other)


def by_policy(shelf):
    """The shelf, with the policy that takes back last first."""

    class Shelf:
        def current(self, connection, versions=None):
            return replace(shelf.current(connection, versions), policy=PolicyBook([parse(LAST_FIRST)]))

    return Shelf()


@pytest.mark.parametrize("seed", range(6))
def test_without_corrections_nobody_gets_back_more_than_was_paid(office, seed):
    dice = Random(2000 + seed)
    life = Life(office, dice, next(_persons))
    back, paid = Counter(), Counter()
    for _ in range(14):
        if life.standing and dice.random() < 0.5:
            of, answered = life.refund()
            assert answered.refusal == ""
            contra = answered.answers[0]
            assert office.take_back(of, contra_no=of.charge_batch_no + 5).refusal == Refusal.REFUNDED_ALREADY
            back["fund"] -= contra.fund_pay_fen
            back["account"] -= contra.account_pay_fen
        else:
            life.settle()
    sums = "SELECT sum(fund_pay_fen), sum(account_pay_fen) FROM settlement JOIN person USING (person_no)"
    who = " WHERE citizen_id_no = :n AND kind = 'normal'"
    ((paid["fund"], paid["account"]),) = rows_of(office.engine, sums + who, n=synthetic_citizen_id(life.person))
    assert back["fund"] <= paid["fund"] and back["account"] <= paid["account"]
    assert_books_hold(office)
    standing = office.standing(life.person)
    for each in list(life.standing):
        assert office.take_back(each).refusal == ""
    assert standing is not None and office.standing(life.person) == ({}, BALANCE)
    assert office.ledger(life.person) == {}
