"""A refund on every account there is: several funds, the institution's share, a relative's account, what a fund pays
out of scope. The contra and its original are nothing on each of them, and so is a correction on top."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from random import Random

import pytest
from sqlalchemy import text

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
