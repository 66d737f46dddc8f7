"""Difference cases (差异): what two books say differently about one claim, opened once, for a person to explain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from center.tables import difference_case


class Kind(StrEnum):
    """What differs."""

    DETAIL_MISMATCH = "detail-mismatch"
    DETAIL_UNKNOWN = "detail-unknown"
    CENTER_ONLY = "center-only"
    FRONTEND_ONLY = "frontend-only"
    AMOUNT = "amount"


OF_THE_BOOKS = (Kind.CENTER_ONLY, Kind.FRONTEND_ONLY, Kind.AMOUNT)
"""Kinds that a later comparison of the books can find settled."""


class Case(NamedTuple):
    """One difference, with both numbers and the words an operator reads."""

    kind: Kind
    institution_code: str
    visit_no: str
    charge_batch_no: int
    center_fen: int
    frontend_fen: int
    words: str


def open_cases(connection: Connection, cases: Iterable[Case], at: datetime) -> int:
    """Open the cases that have not been opened yet, and those that were closed and are back; how many."""
    rows = [{**case._asdict(), "kind": str(case.kind), "opened_at": at} for case in sorted(cases)]
    if not rows:
        return 0
    adding = insert(difference_case).values(rows)
    again = {name: adding.excluded[name] for name in ("center_fen", "frontend_fen", "words", "opened_at")}
    opened = connection.execute(
        adding.on_conflict_do_update(
            constraint="uq_difference_case",
            set_={**again, "closed_at": None},
            where=difference_case.c.closed_at.is_not(None),
        ).returning(difference_case.c.case_id)
    )
    return len(opened.all())


def close_cases(connection: Connection, agreed: Sequence[tuple[str, int]], at: datetime) -> int:
    """Close the open cases of the books about these claims (visit, charge batch), which agree now; how many."""
    if not agreed:
        return 0
    return connection.execute(
        update(difference_case)
        .where(
            tuple_(difference_case.c.visit_no, difference_case.c.charge_batch_no).in_(agreed),
            difference_case.c.kind.in_([str(kind) for kind in OF_THE_BOOKS]),
            difference_case.c.closed_at.is_(None),
        )
        .values(closed_at=at)
    ).rowcount
