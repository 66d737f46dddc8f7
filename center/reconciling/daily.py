"""The daily run: every institution-day is compared once with what the institution handed in, and by when it had."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Subquery, and_, func, select, union
from sqlalchemy.dialects.postgresql import insert

from center.reconciling import orders
from center.reconciling.comparing import Compared, compare, to_compare_again
from center.reconciling.entries import Book
from center.reconciling.tables import compared_day, difference, submitted_book
from center.tables import settlement
from domain.day_books import Result

BOOKS_ARE_IN = timedelta(hours=10)
"""So long after midnight a day without a book of the institution counts as not handed in."""
DAYS_LOOKED_AT = 31
AT_ONCE = 20
"""So many institution-days in one tick."""


class DayStatus(NamedTuple):
    """How one institution-day stands."""

    institution_code: str
    day: date
    handed_in: bool
    by_lines: bool
    result: str
    """domain.day_books.Result; empty while it is not compared."""
    institution_total_fen: int
    center_total_fen: int
    open_differences: int
    open_fen: int
    """Of the open differences, both signs counted."""


def compare_all(connection: Connection, book: Book, *, at: datetime) -> list[Compared]:
    """Compare a book, then the days beside it that have open differences; and ask about what only the centre has."""
    compared = [compare(connection, book, at=at)]
    compared += [compare(connection, other, at=at) for other in to_compare_again(connection, book)]
    orders.query_new(connection, book.institution_code, at=at)
    return compared


def run(connection: Connection, *, at: datetime) -> list[Compared]:
    """Compare what is due: complete books nobody compared, and the days on which no book came in time."""
    for code, day in _without_book(connection, at):
        _note_missing(connection, code, day, at)
    compared = []
    for book in _not_compared(connection):
        compared += compare_all(connection, book, at=at)
    return compared


def status(connection: Connection, *, since: date, until: date, institution_code: str = "") -> list[DayStatus]:
    """How each institution-day with a settlement or a book stands, newest day first."""
    days = compared_day.c
    still_open = (
        select(
            difference.c.institution_code,
            difference.c.day,
            func.count().label("differences"),
            func.sum(func.abs(difference.c.difference_fen)).label("fen"),
        )
        .where(difference.c.closed_at.is_(None))
        .group_by(difference.c.institution_code, difference.c.day)
        .subquery()
    )
    every = _every_day(since, until)
    query = (
        select(
            every.c.institution_code,
            every.c.day,
            days.submission_no,
            days.by_lines,
            days.result,
            days.institution_total_fen,
            days.center_total_fen,
            still_open.c.differences,
            still_open.c.fen,
        )
        .outerjoin(compared_day, and_(days.institution_code == every.c.institution_code, days.day == every.c.day))
        .outerjoin(
            still_open,
            and_(still_open.c.institution_code == every.c.institution_code, still_open.c.day == every.c.day),
        )
        .order_by(every.c.day.desc(), every.c.institution_code)
    )
    if institution_code:
        query = query.where(every.c.institution_code == institution_code)
    return [
        DayStatus(
            code,
            day,
            submission_no is not None,
            bool(by_lines),
            result or "",
            theirs or 0,
            ours or 0,
            found or 0,
            int(fen or 0),
        )
        for code, day, submission_no, by_lines, result, theirs, ours, found, fen in connection.execute(query)
    ]


def newest_book(connection: Connection, institution_code: str, day: date) -> Book | None:
    """The newest book of the day all of which is here."""
    columns = submitted_book.c
    query = (
        select(columns.institution_code, columns.day, columns.submission_no)
        .where(
            columns.institution_code == institution_code,
            columns.day == day,
            func.cardinality(columns.parts_here) == columns.parts,
        )
        .order_by(columns.submission_no.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else Book(*row)


def open_differences(connection: Connection) -> list[tuple[str, str, int, int]]:
    """(institution, class, how many are open, their fen with both signs counted)."""
    columns = difference.c
    rows = connection.execute(
        select(columns.institution_code, columns.kind, func.count(), func.sum(func.abs(columns.difference_fen)))
        .where(columns.closed_at.is_(None))
        .group_by(columns.institution_code, columns.kind)
        .order_by(columns.institution_code, columns.kind)
    )
    return [(code, kind, count, int(fen)) for code, kind, count, fen in rows]


def days_missing(connection: Connection, *, since: date) -> int:
    """How many institution-days since a day have settlements and no book of the institution."""
    days = compared_day.c
    query = select(func.count()).where(days.day >= since, days.submission_no.is_(None))
    return connection.execute(query).scalar_one()


def _every_day(since: date, until: date) -> Subquery:
    """(institution_code, day) of every day with a settlement or a book."""
    settled, books = settlement.c, submitted_book.c
    return union(
        select(settled.institution_code, settled.settled_day.label("day")).where(
            settled.settled_day.between(since, until)
        ),
        select(books.institution_code, books.day).where(books.day.between(since, until)),
    ).subquery()


def _without_book(connection: Connection, at: datetime) -> list[tuple[str, date]]:
    """The institution-days past their time, with settlements, without a book, and not noted yet."""
    last = (at - BOOKS_ARE_IN).date() - timedelta(days=1)
    every = _every_day(last - timedelta(days=DAYS_LOOKED_AT), last)
    books, days = submitted_book, compared_day
    query = (
        select(every.c.institution_code, every.c.day)
        .outerjoin(books, and_(books.c.institution_code == every.c.institution_code, books.c.day == every.c.day))
        .outerjoin(days, and_(days.c.institution_code == every.c.institution_code, days.c.day == every.c.day))
        .where(books.c.day.is_(None), days.c.day.is_(None))
        .order_by(every.c.day, every.c.institution_code)
        .limit(AT_ONCE)
    )
    return [(code, day) for code, day in connection.execute(query)]


def _note_missing(connection: Connection, institution_code: str, day: date, at: datetime) -> None:
    settled = settlement.c
    documents, fen = connection.execute(
        select(func.count(), func.coalesce(func.sum(settled.total_fen), 0)).where(
            settled.institution_code == institution_code, settled.settled_day == day
        )
    ).one()
    connection.execute(
        insert(compared_day)
        .values(
            institution_code=institution_code,
            day=day,
            submission_no=None,
            by_lines=False,
            result=Result.CENTER_MORE,
            institution_total_fen=0,
            center_total_fen=int(fen),
            institution_documents=0,
            center_documents=documents,
            differences=0,
            compared_at=at,
        )
        .on_conflict_do_nothing()
    )


def _not_compared(connection: Connection) -> list[Book]:
    """Complete books that are the newest of their day and that nobody compared: an earlier try was cut off."""
    columns = submitted_book.c
    newer = submitted_book.alias("newer")
    query = (
        select(columns.institution_code, columns.day, columns.submission_no)
        .where(
            columns.compared_at.is_(None),
            func.cardinality(columns.parts_here) == columns.parts,
            ~select(newer.c.day)
            .where(
                newer.c.institution_code == columns.institution_code,
                newer.c.day == columns.day,
                newer.c.submission_no > columns.submission_no,
            )
            .exists(),
        )
        .order_by(columns.day, columns.institution_code)
        .limit(AT_ONCE)
    )
    return [Book(*row) for row in connection.execute(query)]
