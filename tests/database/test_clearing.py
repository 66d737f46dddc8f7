"""Clearing on a real PostgreSQL: months closed, confirmed and paid, and what comes late in the month after."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import count

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from center.approving.actions import CannotDo
from center.clearing import actions, calendar, periods
from center.clearing.calendar import CannotSet
from center.clearing.periods import CannotStep
from center.clearing.sums import BooksDiffer, NotPayable
from center.conservation import freezing
from center.conservation.findings import Finding, Level
from center.conservation.findings import Flow as Frozen
from center.settling.records import cursor_of, versions_in_force
from center.settling.settle import settle_batch
from domain.clearing import CalendarRule
from tests.support.center import FRONTEND, rows_of, submitted
from tests.support.clearing import BY, SECOND, City, moment

MARCH, APRIL, MAY = date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 31)
CLOSES = moment(date(2026, 4, 8), 2)
"""The fifth working day after 31 March 2026: Qingming is the 6th."""

_people = count()


@pytest.fixture(scope="module")
def city(center_engine):
    return City(center_engine)


@pytest.fixture
def code(city):
    return city.institution()


def march(city, code, *, persons=3, in_scope_fen=50_000):
    """Some settlements of March, each above the deductible of its person."""
    return [
        city.settled(code, next(_people) % 200, date(2026, 3, 2 + 9 * number), in_scope_fen + 100_000)
        for number in range(persons)
    ]


def only(city, code):
    (period,) = city.periods_of(code)
    return period


def clearing_of(city, clearing_no):
    (row,) = rows_of(
        city.engine,
        "SELECT documents, contra_documents, persons, fund_fen, account_fen, withheld_fen, deducted_fen, released_fen,"
        " carried_in_fen, due_fen FROM clearing WHERE clearing_no = :no",
        no=clearing_no,
    )
    names = ["documents", "contra", "persons", "fund", "account", "withheld", "deducted", "released", "carried", "due"]
    return dict(zip(names, row, strict=True))


def test_a_month_is_closed_on_its_working_day_confirmed_and_paid(city, code):
    paid = sum(answer.fund_pay_fen for answer in march(city, code))

    assert city.tick(CLOSES - timedelta(days=1)).closed == 0
    period = only(city, code)
    assert (period.state, period.name, period.closes_on) == ("open", "2026-03", date(2026, 4, 8))
    city.check(code)
    city.tick(CLOSES)
    period = only(city, code)
    assert period.state == "closed"
    assert clearing_of(city, period.clearing_no) == {
        "documents": 3, "contra": 0, "persons": 3, "fund": paid, "account": 0, "withheld": 0, "deducted": 0,
        "released": 0, "carried": 0, "due": paid,
    }  # fmt: skip
    city.check(code)
    city.confirm(period.period_no, CLOSES)
    assert "已拨付" in city.pay(period.period_no, CLOSES)
    city.check(code)
    assert only(city, code).state == "paid"
    assert [city.balance(f"{name}:{code}:employee:11") for name in ("payable", "cleared", "withheld")] == [0, 0, 0]


def test_every_step_from_everywhere_and_its_refusal(city, code):
    """The table of edges: what is possible from each state, and nothing else is."""
    march(city, code)
    city.opened(APRIL)
    number = only(city, code).period_no
    at = CLOSES
    steps = {
        "close": lambda: city.close(number, at),
        "confirm": lambda: city.confirm(number, at),
        "pay": lambda: city.propose(actions.PAY, {"period_no": number}, at),
        "reopen": lambda: city.propose(actions.REOPEN, {"period_no": number}, at),
        "object": lambda: _object(city, number, at),
    }
    possible = {
        "open": {"close"},
        "closed": {"confirm", "reopen", "object"},
        "confirmed": {"pay", "reopen"},
        "paid": set(),
    }

    def refused_but(state):
        assert only(city, code).state == state
        for name in steps.keys() - possible[state]:
            with pytest.raises((CannotStep, CannotDo)):
                steps[name]()
        assert only(city, code).state == state

    refused_but("open")
    city.close(number, at)
    refused_but("closed")
    city.confirm(number, at)
    refused_but("confirmed")
    city.done(actions.REOPEN, {"period_no": number}, at)
    refused_but("open")
    city.check(code)
    city.close(number, at)
    city.confirm(number, at)
    city.pay(number, at)
    refused_but("paid")
    city.check(code)


def _object(city, number, at):
    with city.engine.begin() as connection:
        periods.objected(connection, number, by="医院财务", reason="少计两笔", at=at)


def test_a_period_that_is_not_over_or_not_the_next_is_not_closed(city, code):
    march(city, code)
    city.settled(code, next(_people), date(2026, 4, 3), 200_000)
    city.opened(APRIL)
    first, second = city.periods_of(code)

    with pytest.raises(CannotStep, match="才结束"):
        city.close(first.period_no, moment(MARCH, 23))
    with pytest.raises(CannotStep, match=f"要先关账清算期 {first.period_no}"):
        city.close(second.period_no, moment(date(2026, 5, 9)))


def test_a_contra_after_closing_is_in_the_next_clearing_and_a_negative_one_is_carried(city, code):
    one, two, _ = march(city, code)
    city.tick(CLOSES)
    (closed,) = city.periods_of(code)
    city.take_back(code, one, moment(date(2026, 4, 20)))
    city.check(code)

    city.tick(moment(date(2026, 5, 12), 2))
    march_period, april = city.periods_of(code)
    figures = clearing_of(city, april.clearing_no)
    assert march_period == closed
    assert (figures["documents"], figures["contra"], figures["due"]) == (1, 1, -one.fund_pay_fen)
    city.confirm(april.period_no, moment(date(2026, 5, 12)))
    assert "结转" in city.pay(april.period_no, moment(date(2026, 5, 12)))
    city.check(code)

    three = city.settled(code, next(_people), date(2026, 5, 20), 500_000)
    city.tick(moment(date(2026, 6, 10), 2))
    may = clearing_of(city, city.periods_of(code)[-1].clearing_no)
    assert (may["carried"], may["due"]) == (-one.fund_pay_fen, three.fund_pay_fen - one.fund_pay_fen)
    city.check(code)
    assert two.fund_pay_fen


def test_what_is_committed_after_its_day_was_closed_is_in_exactly_one_clearing(city, code):
    march(city, code)
    city.tick(CLOSES)
    late = city.settle(city.claim(code, next(_people), MARCH, 200_000), moment(MARCH, 23, 59) + timedelta(seconds=59.9))
    city.check(code)

    city.tick(moment(date(2026, 5, 12), 2))
    march_period, april = city.periods_of(code)

    assert (clearing_of(city, march_period.clearing_no)["documents"], april.name) == (3, "2026-04")
    figures = clearing_of(city, april.clearing_no)
    assert (figures["documents"], figures["due"]) == (1, late.fund_pay_fen)
    named = rows_of(city.engine, "SELECT document_no, why FROM clearing_member WHERE clearing_no = :no",
                    no=april.clearing_no)  # fmt: skip
    assert named == [(late.settlement_no, "late")]
    city.check(code)


def test_settlements_that_commit_while_a_period_closes_are_in_one_period_each(city, code):
    """Batches of the closed day go on while it is closed, by two at once: what is not in is late, nothing is lost."""
    march(city, code)
    city.opened(APRIL)
    number = only(city, code).period_no
    claims = [city.claim(code, 100 + person, MARCH, 150_000) for person in range(24)]
    at = moment(MARCH, 23, 59) + timedelta(seconds=59.9)

    def close(_):
        try:
            return city.close(number, CLOSES)
        except CannotStep as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        settling = [pool.submit(city.settle, claim, at) for claim in claims[:12]]
        closers = list(pool.map(close, range(2)))
        settling += [pool.submit(city.settle, claim, at) for claim in claims[12:]]
        answers = [future.result() for future in settling]

    assert sorted(type(word).__name__ for word in closers) == ["int", "str"]
    city.check(code)
    city.tick(moment(date(2026, 5, 12), 2))
    city.check(code)
    taken = rows_of(city.engine, "SELECT sum(documents) FROM clearing WHERE institution_code = :c", c=code)
    assert taken == [(3 + len(answers),)]


def test_books_that_differ_are_not_closed_and_the_day_is_named(city, code, owner_engine):
    answer, *_ = march(city, code)
    city.opened(APRIL)
    number = only(city, code).period_no
    with owner_engine.begin() as connection:
        connection.execute(
            text("UPDATE day_sum SET fund_pay_fen = fund_pay_fen + 1 WHERE institution_code = :c AND day = :d"),
            {"c": code, "d": date(2026, 3, 2)},
        )

    with pytest.raises(BooksDiffer, match="2026-03-02"):
        city.close(number, CLOSES)

    ticked = city.tick(CLOSES)
    assert (ticked.closed, ticked.refused) == (0, 1)
    assert only(city, code).state == "open"
    with city.engine.connect() as connection:
        assert {row.state: row.late for row in periods.counted(connection, date(2026, 4, 9))}["open"] >= 1
    assert answer.settlement_no
    with owner_engine.begin() as connection:
        connection.execute(
            text("UPDATE day_sum SET fund_pay_fen = fund_pay_fen - 1 WHERE institution_code = :c AND day = :d"),
            {"c": code, "d": date(2026, 3, 2)},
        )
    city.tick(CLOSES)
    assert only(city, code).state == "closed"


def test_postings_that_are_not_what_is_payable_are_not_closed(city, code, owner_engine):
    answer, *_ = march(city, code)
    city.opened(APRIL)
    number = only(city, code).period_no

    def forge(fen):
        edit = "UPDATE posting SET amount_fen = amount_fen + :f WHERE document_no = :n AND account LIKE 'payable:%'"
        with owner_engine.begin() as connection:
            connection.execute(text("ALTER TABLE posting DISABLE TRIGGER USER"))
            connection.execute(text(edit), {"f": fen, "n": answer.settlement_no})
            connection.execute(text("ALTER TABLE posting ENABLE TRIGGER USER"))

    forge(1)
    try:
        with pytest.raises(NotPayable, match="2026-03-02"):
            city.close(number, CLOSES)
    finally:
        forge(-1)
    assert city.close(number, CLOSES)


def test_a_frozen_flow_is_neither_closed_nor_paid(city, code, owner_engine):
    march(city, code)
    city.settled(code, next(_people) % 200, date(2026, 4, 3), 200_000)
    city.tick(CLOSES)
    march_period, april = city.periods_of(code)
    city.confirm(march_period.period_no, CLOSES)
    at = moment(date(2026, 5, 12))
    with owner_engine.begin() as connection:
        freezing.freeze(
            connection, [Finding(Level.DAY, "day-sum", Frozen(code, "employee", "11"), 100, 99, None)], at=at
        )

    with pytest.raises(CannotStep, match="冻结"):
        city.close(april.period_no, at)
    with pytest.raises(CannotDo, match="冻结"):
        city.propose(actions.PAY, {"period_no": march_period.period_no}, at)

    with owner_engine.begin() as connection:
        connection.execute(text("DELETE FROM frozen_flow WHERE institution_code = :c"), {"c": code})
    assert city.close(april.period_no, at)
    city.pay(march_period.period_no, at)
    city.check(code)


def test_a_closing_waits_for_the_batch_that_is_being_committed_and_takes_it_in(city, code):
    march(city, code)
    city.opened(APRIL)
    number = only(city, code).period_no
    at = moment(MARCH, 23, 59) + timedelta(seconds=59.9)
    claim = city.claim(code, next(_people) % 200, MARCH, 200_000)

    with ThreadPoolExecutor(1) as pool:
        with city.engine.begin() as connection:
            reference = city.shelf.current(connection, versions_in_force(cursor_of(connection)))
            settle_batch(submitted(claim), frontend=FRONTEND, connection=connection, reference=reference, at=at)
            closing = pool.submit(city.close, number, CLOSES)
            time.sleep(0.3)
            assert not closing.done()
        clearing_no = closing.result(10)

    assert clearing_of(city, clearing_no)["documents"] == 4
    city.check(code)


def test_a_deduction_goes_back_to_its_fund_and_is_in_the_next_clearing(city, code):
    one, two, three = march(city, code)
    fund = city.balance("fund:employee:basic")
    city.deduct(one.settlement_no, 1234, CLOSES)
    city.check(code)
    assert city.balance("fund:employee:basic") == fund - 1234
    with pytest.raises(CannotDo, match="可扣"):
        city.propose(actions.DEDUCT, {"parts": [[one.settlement_no, "basic", one.fund_pay_fen]]}, CLOSES)
    with pytest.raises(CannotDo, match="没有结算单"):
        city.propose(actions.DEDUCT, {"parts": [[1 << 40, "basic", 1]]}, CLOSES)
    with pytest.raises(CannotDo, match="大于零"):
        city.propose(actions.DEDUCT, {"parts": [[two.settlement_no, "basic", -1]]}, CLOSES)

    city.tick(CLOSES)
    figures = clearing_of(city, only(city, code).clearing_no)
    paid = sum(answer.fund_pay_fen for answer in (one, two, three))
    assert (figures["deducted"], figures["due"]) == (1234, paid - 1234)
    city.check(code)


def test_a_deduction_is_given_back_when_its_settlement_is(city, code):
    one, *_ = march(city, code)
    city.deduct(one.settlement_no, 1234, CLOSES)
    city.tick(CLOSES)
    city.take_back(code, one, moment(date(2026, 4, 20)))
    with pytest.raises(CannotDo, match="冲回"):
        city.propose(actions.DEDUCT, {"parts": [[one.settlement_no, "basic", 1]]}, moment(date(2026, 4, 21)))

    city.tick(moment(date(2026, 5, 12), 2))

    figures = clearing_of(city, city.periods_of(code)[-1].clearing_no)
    assert (figures["deducted"], figures["due"]) == (-1234, 1234 - one.fund_pay_fen)
    city.check(code)
    again = city.tick(moment(date(2026, 6, 10), 2))
    assert again.opened == 0


def test_a_share_is_withheld_by_rule_and_released_after_the_year(city, code):
    at = moment(date(2026, 1, 5))
    payload = {"institution_code": code, "clearing_type": "11", "since": "2026-01-01", "share_1e4": 500}
    city.done(actions.SHARE, payload, at)
    answers = march(city, code)
    city.tick(CLOSES)
    paid = sum(answer.fund_pay_fen for answer in answers)
    withheld = (paid * 5 + 50) // 100
    figures = clearing_of(city, only(city, code).clearing_no)
    assert (figures["withheld"], figures["due"]) == (withheld, paid - withheld)
    assert city.balance(f"withheld:{code}:employee:11") == -withheld
    city.check(code)

    release = {"institution_code": code, "scheme": "employee", "clearing_type": "11", "year": 2026, "share_1e4": 9000}
    with pytest.raises(CannotDo, match="还没有结束"):
        city.propose(actions.RELEASE, release, moment(date(2026, 12, 31)))
    city.done(actions.RELEASE, release, moment(date(2027, 1, 11)))
    city.check(code)
    with pytest.raises(CannotDo, match="已结清"):
        city.propose(actions.RELEASE, release, moment(date(2027, 1, 12)))
    city.tick(moment(date(2027, 3, 1), 2))
    last = clearing_of(city, city.periods_of(code)[-1].clearing_no)
    assert last["released"] == last["due"] == (withheld * 9 + 5) // 10
    assert city.balance(f"withheld:{code}:employee:11") == 0
    city.check(code)


def test_the_year_changes_between_a_settlement_and_its_contra(city, code):
    answer = city.settled(code, next(_people), date(2026, 12, 31), 300_000)
    city.tick(moment(date(2027, 1, 20), 2))
    city.take_back(code, answer, moment(date(2027, 1, 21)))
    city.tick(moment(date(2027, 2, 28), 2))

    december, january = city.periods_of(code)
    assert [december.name, january.name] == ["2026-12", "2027-01"]
    assert [clearing_of(city, period.clearing_no)["due"] for period in (december, january)] == [
        answer.fund_pay_fen,
        -answer.fund_pay_fen,
    ]
    city.check(code)


def test_missed_days_are_caught_up_in_order_and_a_second_tick_does_nothing(city, code):
    for day in (date(2026, 3, 5), date(2026, 4, 5), date(2026, 6, 5)):
        city.settled(code, next(_people), day, 200_000)
    at = moment(date(2026, 8, 1), 2)

    first, second = city.tick(at), city.tick(at, holder="two")

    assert [period.name for period in city.periods_of(code)] == ["2026-03", "2026-04", "2026-06"]
    assert {period.state for period in city.periods_of(code)} == {"closed"}
    assert first.closed >= 3
    assert (second.opened, second.closed) == (0, 0)
    city.check(code)


def test_two_beats_at_once_close_once(city, code):
    march(city, code)
    with ThreadPoolExecutor(2) as pool:
        ticks = list(pool.map(lambda holder: city.tick(CLOSES, holder=holder), ("one", "two")))

    assert sum(tick.closed for tick in ticks) == 1
    assert rows_of(
        city.engine, "SELECT count(*) FROM ledger_document WHERE institution_code = :c AND kind = 'clearing'", c=code
    ) == [(1,)]


def test_a_contra_of_a_clearing_opens_the_period_and_it_is_closed_again_with_what_is_right(city, code):
    march(city, code)
    city.tick(CLOSES)
    wrong = only(city, code)
    payload = {"institution_code": code, "clearing_type": "*", "since": "2026-03-01", "share_1e4": 1000}
    city.done(actions.SHARE, payload, CLOSES)

    city.done(actions.REOPEN, {"period_no": wrong.period_no}, CLOSES)
    city.check(code)
    again = city.close(wrong.period_no, CLOSES)

    assert again != wrong.clearing_no
    figures = clearing_of(city, again)
    assert figures["withheld"] * 10 == pytest.approx(figures["fund"], abs=10)
    city.check(code)
    kinds = rows_of(
        city.engine,
        "SELECT kind, refers_to FROM ledger_document WHERE institution_code = :c ORDER BY document_no",
        c=code,
    )
    assert kinds == [("clearing", None), ("clearing-contra", wrong.clearing_no), ("clearing", None)]


def test_nobody_pays_or_deducts_alone(city, code):
    one, *_ = march(city, code)
    city.tick(CLOSES)
    number = only(city, code).period_no
    city.confirm(number, CLOSES)
    proposal = city.propose(actions.PAY, {"period_no": number}, CLOSES)
    from center.approving import decisions

    with pytest.raises(decisions.CannotDecide):
        decisions.approve(city.engine, proposal, by=BY, at=CLOSES)
    decisions.approve(city.engine, proposal, by=SECOND, at=CLOSES)

    made = rows_of(
        city.engine,
        "SELECT made_by, approved_by FROM ledger_document WHERE institution_code = :c AND kind = 'payment'",
        c=code,
    )
    assert made == [(BY, SECOND)]
    assert one.settlement_no


def test_without_objection_a_period_is_confirmed_in_time(city, code):
    city_rule = CalendarRule(date(2027, 6, 1), 31, 3, 2)
    with city.engine.begin() as connection:
        calendar.set_rule(connection, city_rule, by=BY, reason="缩短期限", at=moment(date(2027, 5, 1)))
        with pytest.raises(CannotSet, match="今后"):
            calendar.set_rule(connection, city_rule, by=BY, reason="再改", at=moment(date(2027, 6, 1)))
    other = city.institution()
    for whose in (code, other):
        city.settled(whose, next(_people), date(2027, 6, 8), 300_000)
    city.tick(moment(date(2027, 7, 5), 2))
    city.tick(moment(date(2027, 7, 7), 2))
    agreed, disputed = city.periods_of(code)[-1], city.periods_of(other)[-1]
    assert (agreed.state, disputed.state) == ("closed", "closed")
    _object(city, disputed.period_no, moment(date(2027, 7, 7)))
    assert len(_objections(city, other)) == 1

    city.tick(moment(date(2027, 7, 8), 2))

    assert city.periods_of(code)[-1].state == "confirmed"
    assert city.periods_of(other)[-1].state == "closed"
    city.confirm(disputed.period_no, moment(date(2027, 7, 9)))
    assert _objections(city, other) == []


def _objections(city, code):
    return rows_of(
        city.engine,
        "SELECT words FROM difference_case WHERE institution_code = :c AND kind = 'clearing-objection'"
        " AND closed_at IS NULL",
        c=code,
    )


@pytest.mark.parametrize("table", ["clearing", "clearing_day", "clearing_member", "deduction", "withheld_release"])
def test_what_is_cleared_is_written_once(city, code, owner_engine, table):
    march(city, code)
    city.tick(CLOSES)

    for engine in (city.engine, owner_engine):
        with pytest.raises(DBAPIError), engine.begin() as connection:
            connection.execute(text(f"DELETE FROM {table}"))
