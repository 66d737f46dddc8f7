"""The front-end's books of a day: totals per institution, lines where the centre asks for them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.messages import BooksAsked, BooksReported, ClaimAnswer, ClaimsAnswered, DayTotals
from infra.codec import decode, encode
from tests.support.frontend import CLINIC, DAY, HOSPITAL, LINES, NOON, hand_in, new_frontend, shelf
from workers import books, deliver, desk

TOTAL = sum(line.line_amount_fen for line in LINES)


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    settle(engine, CLINIC, 1, at=NOON, settlement_no=10)
    settle(engine, HOSPITAL, 2, at=NOON, settlement_no=20)
    settle(engine, HOSPITAL, 1, at=NOON + timedelta(days=1), settlement_no=30, prefix="tomorrow")
    hand_in(engine, HOSPITAL, 1, prefix="open")
    yield engine
    engine.dispose()


def settle(engine, code, count, *, at, settlement_no, prefix="key"):
    hand_in(engine, code, count, prefix=prefix)
    turn = desk.preprocess(engine, shelf(), code, limit=10, at=NOON, now=1.0)
    answers = tuple(
        ClaimAnswer(
            row.visit_no, 1, settlement_no=settlement_no + n, fund_pay_fen=100, account_pay_fen=10, settled_at=at
        )
        for n, row in enumerate(turn.totals)
    )
    with engine.begin() as connection:
        deliver.record_answers(connection, ClaimsAnswered(answers=answers), at=at)


def asked(engine, **question):
    with engine.connect() as connection:
        return books.report(connection, BooksAsked(**question))


def test_the_totals_of_a_day_are_those_of_its_settled_claims(engine):
    reported = asked(engine, day=DAY)

    assert reported.totals == (
        DayTotals(HOSPITAL, DAY, 2, 2 * TOTAL, 200, 20),
        DayTotals(CLINIC, DAY, 1, TOTAL, 100, 10),
    )
    assert (reported.lines_of, reported.lines) == ((), ())


def test_the_day_is_the_day_of_settlement(engine):
    tomorrow = DAY + timedelta(days=1)

    assert asked(engine, day=tomorrow).totals == (DayTotals(HOSPITAL, tomorrow, 1, TOTAL, 100, 10),)


def test_lines_are_reported_of_the_institutions_asked_for_only(engine):
    reported = asked(engine, day=DAY, lines_of=(HOSPITAL,))

    assert reported.lines_of == (HOSPITAL,)
    assert [line.settlement_no for line in reported.lines] == [20, 21]
    assert {line.institution_code for line in reported.lines} == {HOSPITAL}
    assert len(reported.totals) == 2


def test_only_what_was_settled_before_the_moment_asked_for_is_in_the_books(engine):
    assert asked(engine, day=DAY, lines_of=(HOSPITAL,), before=NOON) == BooksReported(
        day=DAY, totals=(), lines_of=(HOSPITAL,), before=NOON
    )

    whole = asked(engine, day=DAY, lines_of=(HOSPITAL,))
    after = asked(engine, day=DAY, lines_of=(HOSPITAL,), before=NOON + timedelta(microseconds=1))
    assert (after.totals, after.lines) == (whole.totals, whole.lines)


def test_an_empty_day_is_an_empty_report(engine):
    day = DAY - timedelta(days=1)

    assert asked(engine, day=day, lines_of=(HOSPITAL, "990000000000")) == BooksReported(
        day=day, totals=(), lines_of=(HOSPITAL, "990000000000"), lines=()
    )


def test_the_report_travels(engine):
    reported = asked(engine, day=DAY, lines_of=(HOSPITAL, CLINIC), before=NOON + timedelta(hours=1))

    assert decode(encode(reported), BooksReported) == reported
