"""Clearing = Σ days and fund = Σ clearings: months that are closed, reopened, late, withheld, paid; and then broken."""

from __future__ import annotations

from datetime import date
from itertools import count

import pytest
from sqlalchemy import text

from center.catalogue.shelf import CatalogueShelf
from center.clearing import actions
from center.conservation.checking import Shelves, check_all, check_new
from center.conservation.credits import NobodyToCredit, credit
from center.conservation.findings import Level
from center.policy.shelf import PolicyShelf
from tests.support.center import rows_of
from tests.support.clearing import City, moment

CLOSES = moment(date(2026, 4, 8), 2)
AT = moment(date(2026, 6, 30))

_people = count()
_runs = count(1)


@pytest.fixture(scope="module")
def city(center_engine):
    return City(center_engine, balance_fen=5_000)


@pytest.fixture(scope="module")
def lived(city):
    """Two months with a share withheld, a deduction, late ones, contras, one closed twice and paid; whose they are."""
    code = city.institution()
    share = {"institution_code": code, "clearing_type": "11", "since": "2026-01-01", "share_1e4": 500}
    city.done(actions.SHARE, share, moment(date(2026, 1, 5)))
    one, two, three = (city.settled(code, next(_people), date(2026, 3, 2 + 9 * n), 150_000) for n in range(3))
    stay = city.settled(code, next(_people), date(2026, 3, 9), 300_000, visit_type="1")
    city.tick(CLOSES)
    wrong = next(period for period in city.periods_of(code) if period.clearing_type == "11")
    city.deduct(one.settlement_no, 1234, CLOSES)
    city.take_back(code, two, moment(date(2026, 4, 10)))
    city.done(actions.REOPEN, {"period_no": wrong.period_no}, CLOSES)
    city.settle(city.claim(code, next(_people), date(2026, 3, 31), 120_000), moment(date(2026, 3, 31), 23))
    city.close(wrong.period_no, CLOSES)
    city.settle(city.claim(code, next(_people), date(2026, 3, 31), 90_000), moment(date(2026, 3, 31), 23))
    city.confirm(wrong.period_no, CLOSES)
    city.pay(wrong.period_no, CLOSES)
    city.tick(moment(date(2026, 5, 12), 2))
    assert three.settlement_no
    assert stay.settlement_no
    return code


@pytest.fixture
def check(city):
    shelves = Shelves(CatalogueShelf(), PolicyShelf())

    def check(way):
        if way == "all":
            return check_all(city.engine, shelves, at=AT)
        number = next(_runs)
        return check_new(city.engine, shelves, holder=f"run {number}", at=AT, now=1000.0 * number)

    return check


@pytest.fixture
def broken(owner_engine, check):
    """Break something with the guards of the database switched off; mended, checked and released at the end."""
    mends = []

    def sql(statement, **values):
        with owner_engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            assert connection.execute(text(statement), values).rowcount

    def broken(breaks, mend, **values):
        sql(breaks, **values)
        mends.append((mend, values))

    yield broken
    for mend, values in mends:
        sql(mend, **values)
    with owner_engine.begin() as connection:
        connection.execute(text("DELETE FROM frozen_flow"))
    assert check("all").findings == []


def of(report, level):
    return {
        (finding.code, finding.document_no, finding.subject) for finding in report.findings if finding.level is level
    }


def clearing_of(city, code):
    """The standing clearing of March, outpatients."""
    ((number,),) = rows_of(
        city.engine,
        "SELECT clearing_no FROM clearing_period WHERE institution_code = :c AND clearing_type = '11'"
        " AND name = '2026-03'",
        c=code,
    )
    return number


def test_after_a_whole_month_everything_holds(lived, check):
    new, everything = check("new"), check("all")

    assert new.findings == everything.findings == []
    assert everything.levels[Level.CLEARING].count >= 3
    assert everything.levels[Level.CLEARING].sum_fen > 0


BREAKS = [
    pytest.param("clearing_day", "total_fen", "clearing-days", "total_fen", id="a day of a clearing changed"),
    pytest.param("clearing_day", "documents", "clearing-count", "documents", id="a document too many in a clearing"),
    pytest.param("clearing_layer", "fund_fen", "clearing-parts", "layers fund_fen", id="another fund than posted"),
    pytest.param("clearing_layer", "deducted_fen", "clearing-parts", "layers deducted_fen", id="another deduction"),
    pytest.param("clearing", "total_fen", "clearing-parts", "days total_fen", id="the clearing itself"),
]


@pytest.mark.parametrize(("table", "column", "code", "subject"), BREAKS)
def test_a_clearing_that_is_not_its_days_is_found(city, lived, check, broken, table, column, code, subject):  # noqa: PLR0917
    number = clearing_of(city, lived)
    one = {
        "clearing": "",
        "clearing_day": "AND day = (SELECT min(day) FROM clearing_day WHERE clearing_no = :no)",
        "clearing_layer": "AND layer = 'basic'",
    }[table]
    change = "UPDATE {0} SET {1} = {1} {2} 7 WHERE clearing_no = :no " + one
    check("new")
    broken(change.format(table, column, "+"), change.format(table, column, "-"), no=number)

    report = check("all")

    assert (code, number, subject) in of(report, Level.CLEARING)
    assert {finding.flow[:2] for finding in report.findings} == {(lived, "employee")}


def test_a_fund_that_pays_another_sum_than_was_posted_is_found(city, lived, check, broken):
    """The clearing and its days still say the same; only the postings of its settlements do not."""
    number = clearing_of(city, lived)
    layer = "UPDATE clearing_layer SET layer = '{1}' WHERE clearing_no = :no AND layer = '{0}'"
    check("new")
    broken(layer.format("basic", "strange"), layer.format("strange", "basic"), no=number)

    found = of(check("all"), Level.FUND)

    assert found == {("fund-layer", number, f"fund:employee:{name}") for name in ("basic", "strange")}


@pytest.mark.parametrize("way", ["new", "all"])
def test_money_that_moves_between_accounts_of_the_centre_is_found(city, lived, check, broken, way):
    """Balanced, and in no document's columns: only the accounts against clearings and payments say it."""
    check("new")
    if way == "new":
        city.settled(lived, next(_people), date(2026, 6, 2), 120_000)
    ((number,),) = rows_of(
        city.engine, "SELECT max(document_no) FROM ledger_document WHERE kind = 'payment' AND institution_code = :c",
        c=lived,
    )  # fmt: skip
    change = "UPDATE ledger_document SET amount_fen = amount_fen {} 100 WHERE document_no = :no"
    broken(change.format("+"), change.format("-"), no=number)

    found = of(check(way), Level.FUND)

    assert {subject for _, _, subject in found} == {f"cleared:{lived}:employee:11", "bank:employee"}


def test_what_is_paid_into_accounts_is_a_document_and_balances_hold(city, lived, check):
    persons = [number for (number,) in rows_of(city.engine, "SELECT person_no FROM person ORDER BY 1 LIMIT 3")]
    with city.engine.begin() as connection:
        credit(connection, "employee", dict.fromkeys(persons, 20_000), by="王划拨", reason="六月划入", at=AT)
    with pytest.raises(NobodyToCredit), city.engine.begin() as connection:
        credit(connection, "resident", {persons[0]: 1}, by="王划拨", reason="六月划入", at=AT)

    assert check("new").findings == check("all").findings == []
    balances = rows_of(city.engine, "SELECT account_balance_fen FROM person WHERE person_no = ANY(:p)", p=persons)
    assert all(fen >= 20_000 for (fen,) in balances)
