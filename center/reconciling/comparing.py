"""An institution's own book of a day against the centre's: totals first, lines where it handed them in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Row, select, text, update
from sqlalchemy.dialects.postgresql import insert

from center.reconciling import differences, entries
from center.reconciling.entries import Book
from center.reconciling.tables import compared_day, submitted_book, submitted_total
from domain.day_books import Figures, Group, Result, Scope, result_of
from domain.messages import ComparedTotals
from domain.reconciliation import Difference, classify

log = logging.getLogger("center")

_COMPARING = 7374
"""The class of advisory locks under which an institution-day is compared by one transaction at a time."""


class Compared(NamedTuple):
    """What came of a comparison."""

    book: Book
    result: Result
    by_lines: bool
    totals: tuple[ComparedTotals, ...]
    found: int
    """How many differences the lines have."""

    @property
    def lines_wanted(self) -> bool:
        """Whether totals differ and no lines have been handed in that could say why (3202 after 3201)."""
        return not self.by_lines and self.result is not Result.EVEN


def compare(connection: Connection, book: Book, *, at: datetime) -> Compared:
    """Compare the book, write down how it compares, and bring the differences of the day to what was found."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(:class, hashtext(:what))"),
        {"class": _COMPARING, "what": f"{book.institution_code} {book.day}"},
    )
    by_lines = _line_count(connection, book) is not None
    ours = {
        refunds: entries.totals(connection, book.institution_code, book.day, with_refunds=refunds)
        for refunds in (True, False)
    }
    totals = tuple(_compared(row, ours[row.with_refunds]) for row in _stated(connection, book))
    theirs = entries.lines_total(connection, book) if by_lines else None
    found = differences.record(connection, book, _differences(connection, book), at=at) if by_lines else 0
    result = _result(totals, theirs, ours[True], found=found)
    compared = Compared(book, result, by_lines, totals, found)
    _write_down(connection, compared, _theirs(totals, theirs), _sum(ours[True].values()), at)
    log.info("book_compared", extra={"institution": book.institution_code, "differences": found, "result": result})
    return compared


def to_compare_again(connection: Connection, book: Book) -> list[Book]:
    """The books of the days beside this one that have open differences: what was missing there may be here."""
    days = [book.day - timedelta(days=1), book.day + timedelta(days=1)]
    columns = compared_day.c
    rows = connection.execute(
        select(columns.day, columns.submission_no).where(
            columns.institution_code == book.institution_code, columns.day.in_(days), columns.by_lines
        )
    )
    return [
        Book(book.institution_code, day, submission_no)
        for day, submission_no in rows
        if differences.are_open(connection, book.institution_code, day)
    ]


def _line_count(connection: Connection, book: Book) -> int | None:
    columns = submitted_book.c
    count: int | None = connection.execute(
        select(columns.line_count).where(
            columns.institution_code == book.institution_code,
            columns.day == book.day,
            columns.submission_no == book.submission_no,
        )
    ).scalar_one()
    return count


def _stated(connection: Connection, book: Book) -> Iterable[Row[tuple[object, ...]]]:
    columns = submitted_total.c
    return connection.execute(
        select(submitted_total)
        .where(
            columns.institution_code == book.institution_code,
            columns.day == book.day,
            columns.submission_no == book.submission_no,
        )
        .order_by(columns.scheme, columns.clearing_type, columns.with_refunds.desc())
    ).all()


def _compared(stated: Row[tuple[object, ...]], ours: Mapping[Group, Figures]) -> ComparedTotals:
    """One number the institution stated, beside the centre's of the same scope."""
    center = _sum(
        figures
        for group, figures in ours.items()
        if stated.scheme in ("", group.scheme) and stated.clearing_type in ("", group.clearing_type)
    )
    if stated.cash_fen is None:
        center = center._replace(cash_fen=0)
    theirs = Figures(
        stated.documents, stated.total_fen, stated.fund_pay_fen, stated.account_pay_fen, stated.cash_fen or 0
    )
    return ComparedTotals(
        stated.scheme, stated.clearing_type, stated.with_refunds, result_of(theirs, center), theirs, center
    )


def _differences(connection: Connection, book: Book) -> Iterable[Difference]:
    scope = Scope(book.day, book.day)
    for chunk in entries.chunks(connection, book):
        yield from classify(chunk.institution, chunk.center, scope=scope, frontend=chunk.frontend)


def _theirs(totals: Iterable[ComparedTotals], lines: Mapping[Group, Figures] | None) -> Figures:
    """What the institution has in all: by its lines, or by the totals it stated with refunds."""
    if lines is not None:
        return _sum(lines.values())
    return _sum(Figures(*row.institution) for row in totals if row.with_refunds)


def _result(
    totals: Iterable[ComparedTotals],
    lines: Mapping[Group, Figures] | None,
    ours: Mapping[Group, Figures],
    *,
    found: int,
) -> Result:
    """Of the whole day. Stated totals decide for themselves; with lines, even means that no line differs either."""
    unequal = {row.result for row in totals} - {Result.EVEN}
    if lines is not None:
        theirs, center = _sum(lines.values()), _sum(ours.values())
        of_sums = result_of(theirs._replace(cash_fen=0), center._replace(cash_fen=0))
        unequal |= {of_sums} - {Result.EVEN}
        if not unequal and found:
            return Result.DIFFERENT
    if not unequal:
        return Result.EVEN
    return Result(unequal.pop()) if len(unequal) == 1 else Result.DIFFERENT


def _sum(figures: Iterable[Figures]) -> Figures:
    rows = list(figures)
    return Figures(*map(sum, zip(*rows, strict=True))) if rows else Figures()


def _write_down(connection: Connection, compared: Compared, theirs: Figures, ours: Figures, at: datetime) -> None:
    book = compared.book
    row = {
        "institution_code": book.institution_code,
        "day": book.day,
        "submission_no": book.submission_no,
        "by_lines": compared.by_lines,
        "result": compared.result,
        "institution_total_fen": theirs.total_fen,
        "center_total_fen": ours.total_fen,
        "institution_documents": theirs.documents,
        "center_documents": ours.documents,
        "differences": compared.found,
        "compared_at": at,
    }
    adding = insert(compared_day).values(row)
    keys = ("institution_code", "day")
    newest = {name: adding.excluded[name] for name in row if name not in keys}
    connection.execute(adding.on_conflict_do_update(index_elements=keys, set_=newest))
    columns = submitted_book.c
    connection.execute(
        update(submitted_book)
        .where(
            columns.institution_code == book.institution_code,
            columns.day == book.day,
            columns.submission_no == book.submission_no,
        )
        .values(compared_at=at)
    )
