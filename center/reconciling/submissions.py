"""Books of institutions come in, in parts, in any order, more than once; the newest of each day is compared."""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from center.reconciling.entries import Book
from center.reconciling.tables import submitted_book, submitted_line, submitted_total
from center.served import institutions_of
from domain.messages import BooksSubmitted, InstitutionLine, ScopeTotals
from domain.money import MAX_FEN
from infra.codec import UnreadableMessage
from infra.database import copy_rows

log = logging.getLogger("center")

MOST_PARTS = 1000
_LINE_COLUMNS = (
    "institution_code", "day", "submission_no", "line_no", "visit_no", "settlement_no", "contra", "total_fen",
    "fund_pay_fen", "account_pay_fen", "charge_batch_no", "scheme", "clearing_type", "cash_fen", "settled_on",
    "contra_of",
)  # fmt: skip


def receive(submitted: BooksSubmitted, *, frontend: str, connection: Connection, at: datetime) -> Book | None:
    """Keep a part; the book, once all of it is here and it is the newest of its day. None while parts are missing,
    and for a book a newer one has taken the place of.

    A part that comes again changes nothing. Raises UnreadableMessage for one no front-end of ours writes.
    """
    _require_storable(submitted)
    book = Book(submitted.institution_code, submitted.day, submitted.submission_no)
    if book.institution_code not in institutions_of(connection, frontend):
        log.warning("books_of_another", extra={"frontend": frontend})
        return None
    parts_here = _head(connection, submitted, frontend, at)
    if submitted.part not in parts_here:
        _keep(connection, submitted)
        parts_here = [*parts_here, submitted.part]
    if len(parts_here) < submitted.parts or not _is_newest(connection, book):
        return None
    _drop_older(connection, book)
    return book


def _require_storable(submitted: BooksSubmitted) -> None:
    if not (0 < submitted.parts <= MOST_PARTS and 0 <= submitted.part < submitted.parts):
        raise UnreadableMessage("a part that is none")
    if not all(map(_total_is_storable, submitted.totals)):
        raise UnreadableMessage("totals out of bounds")
    if not all(map(_line_is_storable, submitted.lines)):
        raise UnreadableMessage("a line out of bounds")


def _total_is_storable(total: ScopeTotals) -> bool:
    return _is_type(total.scheme, total.clearing_type) and _are_amounts(total[3:])


def _line_is_storable(line: InstitutionLine) -> bool:
    numbers = (line.settlement_no, line.contra_of)
    return (
        0 < len(line.visit_no) <= 16
        and line.visit_no.isascii()
        and line.visit_no.isprintable()
        and 0 <= line.charge_batch_no < 2**31
        and 0 <= line.line_no < 2**31
        and all(0 <= number < 2**63 for number in numbers)
        and _is_type(line.scheme, line.clearing_type)
        and _are_amounts((line.total_fen, line.fund_pay_fen, line.account_pay_fen, line.cash_fen))
    )


def _is_type(scheme: str, clearing_type: str) -> bool:
    words = (scheme, clearing_type)
    return len(scheme) <= 16 and len(clearing_type) <= 4 and all(w.isascii() and (w.isprintable()) for w in words)


def _are_amounts(amounts: tuple[int | None, ...]) -> bool:
    return all(amount is None or abs(amount) <= MAX_FEN for amount in amounts)


def _head(connection: Connection, submitted: BooksSubmitted, frontend: str, at: datetime) -> list[int]:
    """The parts that are here, under the lock of the book's row."""
    key = (submitted_book.c.institution_code, submitted_book.c.day, submitted_book.c.submission_no)
    values = (submitted.institution_code, submitted.day, submitted.submission_no)
    connection.execute(
        insert(submitted_book)
        .values(
            **dict(zip(("institution_code", "day", "submission_no"), values, strict=True)),
            frontend=frontend,
            line_count=submitted.line_count,
            parts=submitted.parts,
            received_at=at,
        )
        .on_conflict_do_nothing()
    )
    row = connection.execute(
        select(submitted_book.c.parts_here, submitted_book.c.parts, submitted_book.c.line_count)
        .where(*[column == value for column, value in zip(key, values, strict=True)])
        .with_for_update()
    ).one()
    if (row.parts, row.line_count) != (submitted.parts, submitted.line_count):
        raise UnreadableMessage("a part of another book")
    return list(row.parts_here)


def _keep(connection: Connection, submitted: BooksSubmitted) -> None:
    head = (submitted.institution_code, submitted.day, submitted.submission_no)
    if submitted.totals:
        rows = [
            dict(zip(("institution_code", "day", "submission_no"), head, strict=True)) | total._asdict()
            for total in submitted.totals
        ]
        connection.execute(insert(submitted_total).values(rows).on_conflict_do_nothing())
    copy_rows(
        connection,
        submitted_line,
        _LINE_COLUMNS,
        ((*head, *line[:11], line.settled_on or submitted.day, line.contra_of) for line in submitted.lines),
    )
    columns = submitted_book.c
    connection.execute(
        update(submitted_book)
        .where(columns.institution_code == head[0], columns.day == head[1], columns.submission_no == head[2])
        .values(parts_here=func.array_append(columns.parts_here, submitted.part))
    )


def _is_newest(connection: Connection, book: Book) -> bool:
    columns = submitted_book.c
    newest = select(func.max(columns.submission_no)).where(
        columns.institution_code == book.institution_code, columns.day == book.day
    )
    return bool(connection.execute(newest).scalar() == book.submission_no)


def _drop_older(connection: Connection, book: Book) -> None:
    """The lines of earlier books of the day are not kept; that they were handed in is."""
    columns = submitted_line.c
    connection.execute(
        delete(submitted_line).where(
            columns.institution_code == book.institution_code,
            columns.day == book.day,
            columns.submission_no < book.submission_no,
        )
    )
