"""Difference cases (差异): what two books say differently about one claim, opened once, for a person to explain."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, and_, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from center.serving.tables import served_by
from center.tables import difference_case
from domain.reconciliation import Class


class Kind(StrEnum):
    """What differs: a class of difference (`domain.reconciliation`), detail of nothing that was settled, or a clearing
    the institution objects to (its period in place of a visit)."""

    DETAIL_UNKNOWN = "detail-unknown"
    LOST_ANSWER = Class.LOST_ANSWER
    SUBMITTED_TWICE = Class.SUBMITTED_TWICE
    ONE_SIDED_REFUND = Class.ONE_SIDED_REFUND
    AMOUNT = Class.AMOUNT
    WRONG_CLEARING_TYPE = Class.WRONG_CLEARING_TYPE
    DAY_BOUNDARY = Class.DAY_BOUNDARY
    CENTER_ONLY = Class.CENTER_ONLY
    INSTITUTION_ONLY = Class.INSTITUTION_ONLY
    DETAIL_MISMATCH = Class.DETAIL_MISMATCH
    CLEARING_OBJECTION = "clearing-objection"
    RESTORED_ORDER = "restored-order"
    """Taken up after a restore as it was told; its person stood elsewhere meanwhile (`center.backup.taking`)."""
    OFFLINE_DIFFERS = "offline-differs"
    """Settled off-line, and by the centre otherwise, whose result is in the books (`center.offline.posting`)."""
    OFFLINE_REFUSED = "offline-refused"
    """Settled off-line, and not posted: too late, no longer entitled."""
    RESTORED_OPEN = "restored-open"
    """Told before a restore, and not taken up: a person decides."""


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
    frontend: str = ""
    """Whose books differ; empty: nobody's in particular."""


class OpenBooks(NamedTuple):
    """An institution-day of a front-end about whose books a case is open."""

    frontend: str
    institution_code: str
    day: date


def open_books(connection: Connection) -> list[OpenBooks]:
    """The institution-days about whose books a case is open. Of a case that names no front-end, all of them are."""
    columns = difference_case.c
    named = or_(columns.frontend == served_by.c.frontend, columns.frontend == "")
    rows = connection.execute(
        select(served_by.c.frontend, columns.institution_code, columns.day)
        .join(served_by, and_(served_by.c.institution_code == columns.institution_code, named))
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
    changing = ("center_fen", "frontend_fen", "words", "day", "opened_at", "frontend")
    again = {name: adding.excluded[name] for name in changing}
    opened = connection.execute(
        adding.on_conflict_do_update(
            constraint="uq_difference_case",
            set_={**again, "closed_at": None},
            where=difference_case.c.closed_at.is_not(None),
        ).returning(difference_case.c.case_id)
    )
    return len(opened.all())


def close_cases(
    connection: Connection,
    day: date,
    institutions: Collection[str],
    *,
    frontend: str,
    but: Collection[tuple[str, int]],
    at: datetime,
) -> int:
    """Close the cases about these institutions' books of the day at a front-end, but those of the claims named; how
    many."""
    columns = difference_case.c
    closing = (
        update(difference_case)
        .where(columns.day == day, columns.institution_code.in_(sorted(institutions)), columns.closed_at.is_(None))
        .where(columns.frontend.in_(("", frontend)))
    )
    if but:
        closing = closing.where(tuple_(columns.visit_no, columns.charge_batch_no).not_in(sorted(but)))
    return connection.execute(closing.values(closed_at=at)).rowcount


def close_detail_cases(connection: Connection, claims: Collection[tuple[str, int]], at: datetime) -> int:
    """Close the cases about the detail of these claims (visit and batch), whose right lines are here now; how many."""
    if not claims:
        return 0
    columns = difference_case.c
    closing = update(difference_case).where(
        columns.kind.in_((Kind.DETAIL_MISMATCH, Kind.DETAIL_UNKNOWN)),
        tuple_(columns.visit_no, columns.charge_batch_no).in_(sorted(claims)),
        columns.closed_at.is_(None),
    )
    return connection.execute(closing.values(closed_at=at)).rowcount
