"""A refund on every account there is: several funds, the institution's share, a relative's account, what a fund pays
out of scope. The contra and its original are nothing on each of them, and so is a correction on top."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from random import Random

import pytest
from sqlalchemy import text

from center.correcting import actions, proposing
from domain.policy.reading import parse
from domain.totals import GroupTotal
from tests.support.center import AT, fill_center, rows_of, synthetic_citizen_id
from tests.support.corrections import Office

OWN, FAMILY = 1500, 4000
EMPLOYEE = ', scheme = "employee"'
_FACTS = (
    'kind = "deductible", amount = "100.00", per = "year"' + EMPLOYEE,
    'kind = "share", ratio = "0.80", basis = "in_scope"' + EMPLOYEE,
    'kind = "cap", amount = "200.00", per = "year", basis = "fund_paid"' + EMPLOYEE,
    'kind = "account_pays", may_pay = ["own_expense", "in_scope"], family = "after"' + EMPLOYEE,
    'kind = "rounding", place = "fund_share", mode = "half_up", digits = 2, rest_goes_to = "person", scheme = "any"',
    'kind = "layer_share", ratio = "0.50", when = "pooled_cap_reached", scheme = "large_amount",'
    ' insured = ["employee"]',
    'kind = "full_cover", covers = ["own_expense"], pays = "retired_cadres", person = [3]' + EMPLOYEE,
    'kind = "institution_share", ratio = "0.30", item = "violation"' + EMPLOYEE,
    'kind = "refund", later = "any", scheme = "any"',
)
POLICY = (
    '[set]\nid = "rich-city"\nregion = "440000"\ntitle = "富市"\nbenefit_year_starts = "01-01"\n'
    '[source.TEST]\ntitle = "made for the tests"\nverified = "memory"\n[policy]\nfacts = [\n'
    + "".join(f'  {{ {fact}, from = 2020-01-01, src = "TEST" }},\n' for fact in _FACTS)
    + "]\n"
)
VERSION = parse(POLICY).version
_persons = count(0, 2)


@pytest.fixture(scope="module")
def office(center_engine):
    return Office(center_engine, fill_center(center_engine, persons=200, policy=POLICY), VERSION)


@pytest.fixture
def couple(office):
    """Two persons, the first may use the second's account."""
    first = next(_persons)
    set_ = "UPDATE person SET account_balance_fen = :fen, family_citizen_id_no = :of, category = :c"
    with office.engine.begin() as connection:
        for serial, fen, of in ((first, OWN, synthetic_citizen_id(first + 1)), (first + 1, FAMILY, None)):
            connection.execute(
                text(f"{set_} WHERE citizen_id_no = :n"),
                {"fen": fen, "of": of, "c": "3" if first % 4 else "1", "n": synthetic_citizen_id(serial)},
            )
    return first


def claim(office, person, in_scope, violation=0):
    groups = (GroupTotal("violation", violation, 0, 0, 0, violation),) if violation else ()
    return office.claim(person, in_scope, groups=groups)


def accounts_of(office, visit_no):
    rows = rows_of(
        office.engine,
        "SELECT kind, account, posting.amount_fen FROM posting JOIN settlement ON settlement_no = document_no"
        " WHERE visit_no = :v ORDER BY document_no, account",
        v=visit_no,
    )
    return {kind: {account: fen for of, account, fen in rows if of == kind} for kind in ("normal", "contra")}


def balances(office, couple):
    return [office.standing(person)[1] for person in (couple, couple + 1)]


def test_every_account_is_back_where_it_was(office, couple):
    big = claim(office, couple, 60000, violation=10000)
    (was,) = office.settle(big)
    assert was.refusal == "", was.detail
    posted = accounts_of(office, big.visit_no)["normal"]
    kinds = {account.split(":")[0] for account in posted}
    layers = {account for account in posted if account.startswith("fund:")}
    assert kinds == {"fund", "account", "payable", "cash", "share", "charges"}
    assert {"fund:employee:basic", "fund:employee:large_amount"} <= layers
    assert len([account for account in posted if account.startswith("account:")]) == 2
    assert balances(office, couple) == [0, 0]

    assert office.take_back(big).refusal == ""

    both = accounts_of(office, big.visit_no)
    assert both["contra"] == {account: -fen for account, fen in both["normal"].items()}
    assert balances(office, couple) == [OWN, FAMILY]
    assert office.standing(couple)[0] == {}
    assert office.ledger(couple) == {}


def test_what_a_fund_pays_out_of_scope_is_taken_back_with_it(office, couple):
    with office.engine.begin() as connection:
        connection.execute(
            text("UPDATE person SET category = '3' WHERE citizen_id_no = :n"), {"n": synthetic_citizen_id(couple)}
        )
    one = claim(office, couple, 5000)
    (was,) = office.settle(one)
    assert ("own_expense", "fund:retired_cadres") in {cell[:2] for cell in was.cells}

    assert office.take_back(one).refusal == ""

    rows = rows_of(
        office.engine, "SELECT own_pay_fen FROM settlement WHERE visit_no = :v ORDER BY kind", v=one.visit_no
    )
    ((contra,), (normal,)) = rows
    assert normal < one.own_expense_fen + one.over_limit_fen + one.pre_self_pay_fen
    assert contra == -normal


@pytest.mark.parametrize("seed", range(6))
def test_refunds_and_corrections_leave_what_the_rest_alone_would(office, couple, seed):
    dice = Random(seed)
    twin = next(_persons)
    with office.engine.begin() as connection:
        for offset in (0, 1):
            connection.execute(
                text(
                    "UPDATE person SET (account_balance_fen, category) = (:fen, (SELECT category FROM person"
                    " WHERE citizen_id_no = :of)), family_citizen_id_no = :family WHERE citizen_id_no = :n"
                ),
                {
                    "fen": (OWN, FAMILY)[offset],
                    "of": synthetic_citizen_id(couple),
                    "family": None if offset else synthetic_citizen_id(twin + 1),
                    "n": synthetic_citizen_id(twin + offset),
                },
            )
    sizes = [(dice.choice((3000, 8000, 20000, 45000)), dice.choice((0, 0, 2000))) for _ in range(5)]
    claims = [claim(office, couple, *size) for size in sizes]
    for place, one in enumerate(claims):
        (answer,) = office.settle(one, at=AT + timedelta(minutes=place))
        assert answer.refusal == "", answer.detail
    gone = dice.randrange(4)
    assert office.take_back(claims[gone], at=AT + timedelta(hours=1)).refusal == ""
    office.correct(claims[gone])

    for place, size in enumerate(sizes):
        if place != gone:
            office.settle(claim(office, twin, *size))

    assert office.standing(couple) == office.standing(twin)
    assert balances(office, couple) == balances(office, twin)
    assert office.ledger(couple) == office.ledger(twin)


def ledger_of_both(office, couple):
    sums = [office.ledger(person) for person in (couple, couple + 1)]
    return {account: sum(each.get(account, 0) for each in sums) for account in {*sums[0], *sums[1]}}


@pytest.mark.parametrize("seed", range(6))
def test_a_relatives_later_settlements_follow_a_refund_into_the_account_they_share(office, couple, seed):
    """Both of the couple settle in turn, one settlement is taken back and the rest corrected: as if it had not been."""
    dice, twins = Random(seed), next(_persons)
    with office.engine.begin() as connection:
        for offset, fen in ((0, OWN), (1, FAMILY)):
            connection.execute(
                text(
                    "UPDATE person SET (account_balance_fen, category) = (:fen, '1'), family_citizen_id_no = :family"
                    " WHERE citizen_id_no IN (:one, :twin)"
                ),
                {
                    "fen": fen, "one": synthetic_citizen_id(couple + offset), "family": None,
                    "twin": synthetic_citizen_id(twins + offset),
                },
            )  # fmt: skip
        for first_no in (couple, twins):
            connection.execute(
                text("UPDATE person SET family_citizen_id_no = :family WHERE citizen_id_no = :n"),
                {"family": synthetic_citizen_id(first_no + 1), "n": synthetic_citizen_id(first_no)},
            )
    steps = [(dice.randrange(2), dice.choice((3000, 8000, 20000, 45000))) for _ in range(7)]
    claims = [claim(office, couple + who, fen) for who, fen in steps]
    for place, one in enumerate(claims):
        (answer,) = office.settle(one, at=AT + timedelta(minutes=place))
        assert answer.refusal == "", answer.detail
    gone = dice.randrange(4)
    assert office.take_back(claims[gone], at=AT + timedelta(hours=1)).refusal == ""
    office.correct(claims[gone])

    for place, (who, fen) in enumerate(steps):
        if place != gone:
            office.settle(claim(office, twins + who, fen))

    assert balances(office, couple) == balances(office, twins)
    for offset in (0, 1):
        assert office.standing(couple + offset)[0] == office.standing(twins + offset)[0]
    assert ledger_of_both(office, couple) == ledger_of_both(office, twins)


def test_what_a_relative_would_have_paid_from_the_account_is_named(office, couple):
    """The second person owns the account the first one drew on; settled after it, they paid in cash."""
    early, late = claim(office, couple, 8000), claim(office, couple + 1, 3000)
    (first_answer,), (late_answer,) = office.settle(early), office.settle(late)
    assert (first_answer.account_pay_fen, late_answer.account_pay_fen) == (OWN + FAMILY, 0)
    assert office.take_back(early).refusal == ""
    with office.engine.begin() as connection:
        found = actions.foreseen(connection, actions.find(connection, early.visit_no, 1))
    (change,) = found.changes
    assert change.stored.visit_no == late.visit_no
    assert (change.before.account_pay_fen, change.after.account_pay_fen) == (0, 3500)
    assert change.after.cash_fen == change.before.cash_fen - 3500


def test_a_refund_that_changes_later_settlements_proposes_its_correction_by_itself_once(office, couple):
    early, late = claim(office, couple, 8000), claim(office, couple + 1, 3000)
    office.settle(early)
    office.settle(late)
    office.take_back(early)
    alone = claim(office, next(_persons), 3000)
    office.settle(alone)
    office.take_back(alone)
    proposed = "SELECT count(*) FROM considered_refund WHERE proposal_no IS NOT NULL"
    (before,) = rows_of(office.engine, proposed)[0]

    def tick(minutes):
        return proposing.tick(office.engine, at=AT + timedelta(minutes=minutes), now=minutes * 60.0)

    while tick(1):
        pass
    settlement = "SELECT settlement_no FROM settlement WHERE visit_no = :v AND kind = 'normal'"
    ((refunded,),) = rows_of(office.engine, settlement, v=early.visit_no)
    wanted = "SELECT proposal_no, proposed_by FROM proposal WHERE payload ->> 'refunded' = CAST(:n AS text)"
    ((number, by),) = rows_of(office.engine, wanted, n=refunded)
    assert by == proposing.BY
    assert rows_of(office.engine, proposed)[0][0] > before
    assert rows_of(office.engine, "SELECT 1 FROM correction WHERE refunded_no = :n", n=refunded) == []
    assert tick(2) == 0
    outcome = office.approve(number)
    assert outcome.state == "approved", outcome.words
    assert tick(3) == 0
    assert len(rows_of(office.engine, wanted, n=refunded)) == 1
    ((own,),) = rows_of(office.engine, settlement, v=alone.visit_no)
    assert rows_of(office.engine, wanted, n=own) == []


def test_each_refund_is_looked_at_in_a_transaction_of_its_own(office, couple):
    """Or one would hold its persons while it waits for those of the next: a circle, with a settlement."""
    for first in (couple, couple + 1):
        early, late = claim(office, first, 8000), claim(office, first, 3000)
        office.settle(early)
        office.settle(late)
        office.take_back(early)
    transactions = "SELECT xmin::text FROM considered_refund"
    before = rows_of(office.engine, transactions)

    proposing.tick(office.engine, at=AT + timedelta(minutes=9), now=540.0)

    new = [row for row in rows_of(office.engine, transactions) if row not in before]
    assert len(new) >= 2
    assert len(set(new)) == len(new)
