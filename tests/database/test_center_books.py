"""Reconciliation: totals first, then lines; each difference one case, closed when the books agree again."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest

from center.reconciling import books
from center.reconciling.cases import Kind
from center.settling.settle import settle_submitted
from domain.messages import BookLine, BooksAsked, BooksReported, DayTotals
from infra.codec import UnreadableMessage
from tests.support.center import (
    AT,
    CLINIC,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    fill_center,
    rows_of,
    submitted,
    synthetic_citizen_id,
    totals,
)

IN_FLIGHT = timedelta(minutes=1)
_days = count(1)


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=100)


@pytest.fixture
def morning(center_engine, shelf):
    """Three claims settled on a day no other test has, and the front-end's book of them."""
    serial = next(_days)
    at = AT + timedelta(days=serial)
    claims = [
        totals(visit_no=f"B{serial:04d}{n:04d}", citizen_id_no=synthetic_citizen_id(3 * serial + n)) for n in range(3)
    ]
    answers = settle_submitted(center_engine, shelf, submitted(*claims), frontend=FRONTEND, at=at).answers
    lines = [
        BookLine(HOSPITAL, a.visit_no, 1, a.settlement_no, 11000, a.fund_pay_fen, a.account_pay_fen) for a in answers
    ]
    return at, lines


@pytest.fixture
def report(center_engine):
    def report(at, lines, *, lines_of=(), frontend=FRONTEND, totals=None, before=None):
        if totals is None:
            by = {}
            for line in lines:
                by.setdefault(line.institution_code, []).append(line)
            totals = tuple(
                DayTotals(code, at.date(), len(group), *(sum(line[n] for line in group) for n in (4, 5, 6)))
                for code, group in by.items()
            )
        reported = BooksReported(
            day=at.date(), totals=totals, lines_of=lines_of, lines=tuple(lines) if lines_of else (), before=before
        )
        with center_engine.begin() as connection:
            return books.reconcile(reported, frontend=frontend, connection=connection, at=at + timedelta(hours=1))

    return report


def compared(engine, at):
    query = (
        "SELECT institution_code, frontend_claims, center_claims, difference_fen, fund_difference_fen"
        " FROM reconciliation WHERE day = :day"
    )
    return rows_of(engine, query, day=at.date())


def cases(engine, at, *, closed=False):
    query = (
        "SELECT kind, visit_no, center_fen, frontend_fen, words FROM difference_case"
        f" WHERE day = :day AND closed_at IS {'NOT ' if closed else ''}NULL ORDER BY visit_no"
    )
    return rows_of(engine, query, day=at.date())


def test_books_that_agree_are_written_down_and_nothing_is_asked(center_engine, morning, report):
    at, lines = morning

    assert report(at, lines) is None

    assert compared(center_engine, at) == [(HOSPITAL, 3, 3, 0, 0)]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(
            lambda lines: lines[1:],
            (-11000, Kind.CENTER_ONLY, 11000, 0, "中心已结算 110.00 元，前置机账上没有"),
            id="an answer that never arrived",
        ),
        pytest.param(
            lambda lines: [*lines, lines[0]._replace(charge_batch_no=2)],
            (11000, Kind.SUBMITTED_TWICE, 0, 11000, "前置机对同一笔费用记了两次，多记 110.00 元，中心没有"),
            id="a settlement that is there twice",
        ),
        pytest.param(
            lambda lines: [*lines, lines[0]._replace(charge_batch_no=2, settlement_no=10**9, total_fen=500)],
            (500, Kind.INSTITUTION_ONLY, 0, 500, "前置机账上已结算 5.00 元，中心没有"),
            id="a settlement the centre never made",
        ),
        pytest.param(
            lambda lines: [lines[0]._replace(total_fen=11001), *lines[1:]],
            (1, Kind.AMOUNT, 11000, 11001, "总金额不符：中心 110.00 元，前置机 110.01 元"),
            id="another amount",
        ),
        pytest.param(
            lambda lines: [lines[0]._replace(fund_pay_fen=1), *lines[1:]],
            (0, Kind.AMOUNT, 11000, 11000, "统筹支付不符：中心 0.00 元，前置机 0.01 元"),
            id="the same total paid by others",
        ),
    ],
)
def test_a_difference_is_found_by_totals_and_explained_by_lines_once(center_engine, report, morning, change, found):
    difference, kind, *numbers_and_words = found
    at, lines = morning
    theirs = change(lines)

    asked = report(at, theirs)
    assert asked == BooksAsked(day=at.date(), lines_of=(HOSPITAL,))
    assert compared(center_engine, at)[0][3] == difference
    assert cases(center_engine, at) == []

    for _ in range(2):
        assert report(at, theirs, lines_of=asked.lines_of) is None
    assert cases(center_engine, at) == [(kind, lines[0].visit_no, *numbers_and_words)]

    # The books agree again: the lines are asked for once more, and the case is closed.
    asked = report(at, lines)
    assert asked == BooksAsked(day=at.date(), lines_of=(HOSPITAL,))
    report(at, lines, lines_of=asked.lines_of)
    assert cases(center_engine, at) == []
    assert len(cases(center_engine, at, closed=True)) == 1
    assert report(at, lines) is None


def test_books_are_compared_as_of_the_moment_reported(center_engine, morning, report):
    at, lines = morning
    moment = timedelta(microseconds=1)

    # Settled at that very moment or later: the answers may be on their way, and none of it is in the books.
    assert report(at, [], before=at) is None
    report(at, [], lines_of=(HOSPITAL,), before=at)
    assert (compared(center_engine, at), cases(center_engine, at)) == ([], [])

    asked = report(at, lines[1:], before=at + moment)
    assert asked == BooksAsked(day=at.date(), lines_of=(HOSPITAL,), before=at + moment)
    report(at, lines[1:], lines_of=asked.lines_of, before=asked.before)
    assert compared(center_engine, at) == [(HOSPITAL, 2, 3, -11000, 0)]
    assert [case[0] for case in cases(center_engine, at)] == [Kind.CENTER_ONLY]


def test_an_institution_the_report_leaves_out_differs_by_all_it_has(center_engine, morning, report):
    at, _ = morning

    assert report(at, []) == BooksAsked(day=at.date(), lines_of=(HOSPITAL,))
    assert compared(center_engine, at) == [(HOSPITAL, 0, 3, -33000, 0)]
    with center_engine.connect() as connection:
        assert books.differences(connection, since=at.date())[HOSPITAL] == 33000


def test_a_front_end_speaks_of_its_own_institutions_only(center_engine, morning, report, caplog):
    at, lines = morning

    assert report(at, lines, frontend=OTHER_FRONTEND) is None
    report(at, [], lines_of=(HOSPITAL,), frontend=OTHER_FRONTEND)

    assert compared(center_engine, at) == []
    assert cases(center_engine, at) == []
    assert "books_of_another" in caplog.text


def test_both_books_are_compared_per_institution(center_engine, morning, report):
    at, lines = morning

    asked = report(at, [lines[0]._replace(institution_code=CLINIC)], frontend=OTHER_FRONTEND)

    assert asked.lines_of == (CLINIC,)


@pytest.mark.parametrize(
    "bad",
    [
        BookLine(HOSPITAL, "V" * 17, 1, 1, 1, 1, 1),
        BookLine(HOSPITAL, "V\0", 1, 1, 1, 1, 1),
        BookLine(HOSPITAL, "V", 2**31, 1, 1, 1, 1),
        BookLine(HOSPITAL, "V", 1, 1, 10**13, 1, 1),
    ],
)
def test_books_nobody_can_store_are_unreadable(morning, report, bad):
    at, _ = morning

    with pytest.raises(UnreadableMessage):
        report(at, [bad], lines_of=(HOSPITAL,), totals=())


def test_every_front_end_is_asked_for_the_day_and_after_midnight_for_the_day_before(center_engine, shelf):
    def asked(at, now, holder="beat-1", in_flight=IN_FLIGHT):
        with center_engine.begin() as connection:
            return books.tick(connection, at=at, now=now, holder=holder, in_flight=in_flight)

    morning, night = AT + timedelta(days=300), (AT + timedelta(days=301)).replace(hour=1)

    assert {(fe, q.day) for fe, q in asked(morning, 1.0)} >= {
        (FRONTEND, morning.date()),
        (OTHER_FRONTEND, morning.date()),
    }
    of_both = [q for fe, q in asked(night, 2.0) if fe == FRONTEND]
    assert {q.day for q in of_both} >= {morning.date(), night.date()}
    assert {q.before for q in of_both} == {night - IN_FLIGHT}
    noon = night.replace(hour=12)
    slowly = {q.day for fe, q in asked(noon, 2.5, in_flight=timedelta(hours=12)) if fe == FRONTEND}
    assert slowly >= {morning.date(), night.date()}, "answers of the evening may still be on their way"
    assert asked(morning, 3.0, holder="beat-2") == []


def test_days_with_an_open_case_are_asked_for_until_it_is_closed(center_engine, morning, report):
    at, lines = morning
    report(at, lines[1:], lines_of=(HOSPITAL,))

    def days():
        with center_engine.begin() as connection:
            later = at + timedelta(days=30)
            asked = books.tick(connection, at=later, now=10.0, holder="beat-1", in_flight=IN_FLIGHT)
        return {question.day for frontend, question in asked if frontend == FRONTEND}

    assert at.date() in days()
    report(at, lines, lines_of=(HOSPITAL,))
    assert at.date() not in days()
