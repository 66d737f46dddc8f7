"""An institution's own book of a day: handed in, kept, sent to the centre until the comparison is back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from domain import messages
from domain.messages import BooksCompared, BooksSubmitted, InstitutionLine, ScopeTotals
from infra import lanes
from infra.codec import decode, encode, pack, unpack
from infra.database import reading
from workers.numbers import wait_for_turn
from workers.reconciling.tables import book_answer, institution_book, institution_book_part

log = logging.getLogger("frontend")

LINES_PER_PART = 2000
BOOKS_AT_ONCE = 5
LONGEST_WAIT_SECONDS = 600.0


class HandedIn(NamedTuple):
    """A book that is durably kept."""

    submission_no: int
    is_new: bool
    """False: the newest book of the day says the same; it is compared once more."""


class DayBook(NamedTuple):
    """How an institution-day stands at its front-end."""

    day: date
    submission_no: int
    channel: str
    line_count: int | None
    handed_in_at: datetime
    answered_at: datetime | None
    compared: tuple[BooksCompared, ...]
    """The centre's newest answer, all of it; empty until there is one."""


class Asking(Protocol):
    """What it takes to send: `workers.tasks.Frontend`."""

    @property
    def engine(self) -> Engine:
        """The front-end's database."""

    def send(self, task: str, lane: str, message: messages.Message, shown: dict[str, object]) -> bool:
        """Send one sealed message; False when the broker is away."""


def hand_in(
    engine: Engine,
    institution_code: str,
    day: date,
    *,
    totals: Sequence[ScopeTotals] | None = None,
    lines: Sequence[InstitutionLine] | None = None,
    channel: str,
    at: datetime,
) -> HandedIn:
    """Keep a book of the day; durable when it returns. Lines are numbered as they come.

    None leaves totals or lines as they were handed in before. The same content as the newest book of the day is that
    book: it is sent and compared once more.
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        newest = connection.execute(_newest(institution_code, day)).first()
        parts = _parts(connection, institution_code, day)
        totals = [total for part in parts for total in part.totals] if totals is None else totals
        if lines is None and newest is not None and newest.line_count is not None:
            lines = [line for part in parts for line in part.lines]
        numbered = None if lines is None else [line._replace(line_no=number) for number, line in enumerate(lines, 1)]
        digest = blake2b(pack([list(totals), numbered]), digest_size=16).digest()
        if newest is not None and newest.content_digest == digest:
            _send_again(connection, institution_code, day, newest.submission_no)
            return HandedIn(newest.submission_no, is_new=False)
        number = max(0 if newest is None else newest.submission_no + 1, round(at.timestamp() * 1000))
        contents = _contents(institution_code, day, number, totals, numbered)
        head = {"institution_code": institution_code, "day": day}
        connection.execute(delete(institution_book_part).where(*_of(institution_book_part, institution_code, day)))
        connection.execute(
            insert(institution_book).values(
                **head,
                submission_no=number,
                content_digest=digest,
                channel=channel,
                line_count=None if numbered is None else len(numbered),
                parts=len(contents),
                handed_in_at=at,
            )
        )
        rows = [head | {"submission_no": number, "part": part, "content": of} for part, of in enumerate(contents)]
        connection.execute(insert(institution_book_part), rows)
    log.info("book_handed_in", extra={"institution": institution_code, "parts": len(contents), "channel": channel})
    return HandedIn(number, is_new=True)


def send_due(frontend: Asking, *, now: float, after_seconds: float) -> int:
    """Send the newest book of each day that is not answered, all of its parts; how many books. Each waits longer
    after every sending, and one that could not be sent is due at once."""
    with frontend.engine.begin() as connection:
        due = connection.execute(_DUE, {"now": now}).all()
        for row in due:
            patience = min(after_seconds * 2 ** min(row.attempts, 10), LONGEST_WAIT_SECONDS)
            connection.execute(
                update(institution_book)
                .where(*_at(row.institution_code, row.day, row.submission_no))
                .values(rung_at=now + patience, attempts=row.attempts + 1)
            )
    return sum(_send(frontend, row.institution_code, row.day, row.submission_no) for row in due)


def send_again_since(connection: Connection, since: datetime) -> None:
    """A restored centre has forgotten the books it answered since: the newest of each day are sent again."""
    connection.execute(
        update(institution_book)
        .where(institution_book.c.answered_at >= since)
        .values(rung_at=0, attempts=0, answered_at=None)
    )


def record(connection: Connection, compared: BooksCompared, *, at: datetime) -> bool:
    """Keep a part of the centre's answer; False for one that is older than what is kept, or about no book of ours."""
    wait_for_turn(connection)
    newest = connection.execute(_newest(compared.institution_code, compared.day)).first()
    if newest is None or newest.submission_no != compared.submission_no:
        return False
    of_day = _of(book_answer, compared.institution_code, compared.day)
    kept = connection.execute(select(func.max(book_answer.c.compared_at)).where(*of_day)).scalar()
    if kept is not None and compared.compared_at < kept:
        return False
    connection.execute(
        delete(book_answer).where(
            *of_day, (book_answer.c.compared_at < compared.compared_at) | (book_answer.c.part == compared.part)
        )
    )
    connection.execute(
        insert(book_answer).values(
            institution_code=compared.institution_code,
            day=compared.day,
            part=compared.part,
            submission_no=compared.submission_no,
            compared_at=compared.compared_at,
            parts=compared.parts,
            content=pack(compared),
        )
    )
    here = connection.execute(select(func.count()).select_from(book_answer).where(*of_day)).scalar_one()
    if here == compared.parts:
        connection.execute(
            update(institution_book)
            .where(*_at(compared.institution_code, compared.day, compared.submission_no))
            .values(answered_at=at)
        )
    return True


def find(connection: Connection, institution_code: str, day: date) -> DayBook | None:
    """The newest book of the day, with the centre's answer if all of it is here."""
    row = connection.execute(_newest(institution_code, day)).first()
    if row is None:
        return None
    compared: tuple[BooksCompared, ...] = ()
    if row.answered_at is not None:
        contents = connection.execute(
            select(book_answer.c.content)
            .where(*_of(book_answer, institution_code, day), book_answer.c.submission_no == row.submission_no)
            .order_by(book_answer.c.part)
        ).scalars()
        compared = tuple(unpack(content, BooksCompared) for content in contents)
    return DayBook(day, row.submission_no, row.channel, row.line_count, row.handed_in_at, row.answered_at, compared)


def lines_of(connection: Connection, institution_code: str, day: date) -> list[InstitutionLine]:
    """The lines of the newest book of the day."""
    return [line for part in _parts(connection, institution_code, day) for line in part.lines]


def _parts(connection: Connection, institution_code: str, day: date) -> list[BooksSubmitted]:
    contents = connection.execute(
        select(institution_book_part.c.content)
        .where(*_of(institution_book_part, institution_code, day))
        .order_by(institution_book_part.c.part)
    ).scalars()
    return [decode(content, BooksSubmitted) for content in contents]


_NEWER = institution_book.alias("newer")
_DUE = (
    select(
        institution_book.c.institution_code,
        institution_book.c.day,
        institution_book.c.submission_no,
        institution_book.c.attempts,
    )
    .outerjoin(
        _NEWER,
        and_(
            _NEWER.c.institution_code == institution_book.c.institution_code,
            _NEWER.c.day == institution_book.c.day,
            _NEWER.c.submission_no > institution_book.c.submission_no,
        ),
    )
    .where(
        institution_book.c.answered_at.is_(None),
        institution_book.c.rung_at <= bindparam("now"),
        _NEWER.c.submission_no.is_(None),
    )
    .limit(BOOKS_AT_ONCE)
)


def _newest(institution_code: str, day: date) -> Select[Any]:
    return (
        select(institution_book)
        .where(*_of(institution_book, institution_code, day))
        .order_by(institution_book.c.submission_no.desc())
        .limit(1)
    )


def _of(table: Table, institution_code: str, day: date) -> tuple[ColumnElement[bool], ...]:
    return table.c.institution_code == institution_code, table.c.day == day


def _at(institution_code: str, day: date, submission_no: int) -> tuple[ColumnElement[bool], ...]:
    return (*_of(institution_book, institution_code, day), institution_book.c.submission_no == submission_no)


def _send_again(connection: Connection, institution_code: str, day: date, submission_no: int) -> None:
    connection.execute(
        update(institution_book)
        .where(*_at(institution_code, day, submission_no))
        .values(rung_at=0, attempts=0, answered_at=None)
    )


def _contents(
    institution_code: str,
    day: date,
    number: int,
    totals: Sequence[ScopeTotals],
    lines: Sequence[InstitutionLine] | None,
) -> list[bytes]:
    """The messages the book travels in; the totals are in the first."""
    of = lines or ()
    groups = [of[start : start + LINES_PER_PART] for start in range(0, max(len(of), 1), LINES_PER_PART)]
    return [
        encode(
            BooksSubmitted(
                institution_code=institution_code,
                day=day,
                submission_no=number,
                line_count=None if lines is None else len(lines),
                part=part,
                parts=len(groups),
                totals=tuple(totals) if part == 0 else (),
                lines=tuple(group),
            )
        )
        for part, group in enumerate(groups)
    ]


def _send(frontend: Asking, institution_code: str, day: date, submission_no: int) -> bool:
    """Send all parts; one that is not taken leaves the book due."""
    with reading(frontend.engine) as connection:
        contents = list(
            connection.execute(
                select(institution_book_part.c.content)
                .where(
                    *_of(institution_book_part, institution_code, day),
                    institution_book_part.c.submission_no == submission_no,
                )
                .order_by(institution_book_part.c.part)
            ).scalars()
        )
    shown: dict[str, object] = {"institution": institution_code, "day": day.isoformat()}
    for content in contents:
        message = decode(content, BooksSubmitted)
        if not frontend.send(lanes.BOOKS_SUBMIT, lanes.BOOKS, message, shown | {"part": message.part}):
            return False
    return True
