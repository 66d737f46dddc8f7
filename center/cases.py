"""Difference cases (差异): what two books say differently about one claim, opened once, for a person to explain."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from center.tables import difference_case


class Kind(StrEnum):
    """What differs."""

    DETAIL_MISMATCH = "detail-mismatch"
    DETAIL_UNKNOWN = "detail-unknown"
    CENTER_ONLY = "center-only"
    FRONTEND_ONLY = "frontend-only"
    AMOUNT = "amount"


class Case(NamedTuple):
    """One difference, with both numbers and the words an operator reads."""

    kind: Kind
    institution_code: str
    visit_no: str
    charge_batch_no: int
    center_fen: int
    frontend_fen: int
    words: str
    day: date | None = None
    """Of the books that differ."""


class OpenBooks(NamedTuple):
    """An institution-day about whose books a case is open."""

    institution_code: str
    day: date


def open_books(connection: Connection) -> list[OpenBooks]:
    """The institution-days about whose books a case is open."""
    columns = difference_case.c
    rows = connection.execute(
        select(columns.institution_code, columns.day)
        .where(columns.closed_at.is_(None), columns.day.is_not(None))
        .distinct()
        .order_by(columns.institution_code, columns.day)
    )
    return [OpenBooks(*row) for row in rows]


def open_cases(connection: Connection, cases: Iterable[Case], at: datetime) -> int:
    """Open the cases that have not been opened yet, and those that were closed and are back; how many."""
    by_key = {(case.kind, case.visit_no, case.charge_batch_no): case for case in cases}
    if not by_key:
        return 0
    rows = [{**by_key[key]._asdict(), "kind": str(key[0]), "opened_at": at} for key in sorted(by_key)]
    adding = insert(difference_case).values(rows)
    again = {name: adding.excluded[name] for name in ("center_fen", "frontend_fen", "words", "day", "opened_at")}
    opened = connection.execute(
        adding.on_conflict_do_update(
            constraint="uq_difference_case",
            set_={**again, "closed_at": None},
            where=difference_case.c.closed_at.is_not(None),
        ).returning(difference_case.c.case_id)
    )
    return len(opened.all())


def close_cases(
    connection: Connection, day: date, institutions: Collection[str], *, but: Collection[tuple[str, int]], at: datetime
) -> int:
    """Close the cases about these institutions' books of the day, but those of the claims named; how many."""
    columns = difference_case.c
    closing = update(difference_case).where(
        columns.day == day, columns.institution_code.in_(sorted(institutions)), columns.closed_at.is_(None)
    )
    if but:
        closing = closing.where(tuple_(columns.visit_no, columns.charge_batch_no).not_in(sorted(but)))
    return connection.execute(closing.values(closed_at=at)).rowcount
