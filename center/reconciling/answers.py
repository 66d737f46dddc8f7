"""What the centre answers to an institution's book: how the totals compare, and every difference of its lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from center.reconciling import differences
from center.reconciling.comparing import Compared
from center.reconciling.differences import Found
from center.reconciling.tables import GONE
from domain.messages import BooksCompared, FoundDifference

DIFFERENCES_AT_ONCE = 2000
"""So many travel in one message."""


def answers(connection: Connection, compared: Compared, *, at: datetime) -> Iterator[BooksCompared]:
    """The answer in parts, one at least; the totals are in the first."""
    book = compared.book
    found = [row for row in differences.of_day(connection, book.institution_code, book.day) if row.state != GONE]
    starts = range(0, max(len(found), 1), DIFFERENCES_AT_ONCE)
    for part, start in enumerate(starts):
        yield BooksCompared(
            institution_code=book.institution_code,
            day=book.day,
            submission_no=book.submission_no,
            result=compared.result,
            part=part,
            parts=len(starts),
            compared_at=at,
            lines_wanted=compared.lines_wanted,
            totals=compared.totals if part == 0 else (),
            differences=tuple(map(_told, found[start : start + DIFFERENCES_AT_ONCE])),
        )


def _told(row: Found) -> FoundDifference:
    return FoundDifference(
        row.difference_no,
        row.kind,
        row.visit_no,
        row.charge_batch_no,
        row.settlement_no,
        row.contra,
        row.state,
        row.words,
        row.repair,
        row.effect,
        tuple(row.institution_figures),
        tuple(row.center_figures),
    )
