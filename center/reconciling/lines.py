"""The lines of one visit in both books, for the person who compares them."""

from __future__ import annotations

from sqlalchemy import Connection

from center.reconciling import entries
from center.reconciling.daily import newest_book
from center.reconciling.differences import Found
from domain.day_books import Entry

INSTITUTION, CENTER = "机构", "中心"


def of_visit(connection: Connection, found: Found) -> list[tuple[str, Entry]]:
    """(whose book, entry): the institution's first, each in the order of the days."""
    book = newest_book(connection, found.institution_code, found.day)
    theirs: list[Entry] = []
    if book is not None:
        theirs = entries.of_visit(connection, book, found.visit_no)
    ours = entries.of_visits(connection, found.institution_code, [found.visit_no])
    return [(INSTITUTION, entry) for entry in sorted(theirs, key=_when)] + [
        (CENTER, entry) for entry in sorted(ours, key=_when)
    ]


def _when(entry: Entry) -> tuple[object, ...]:
    return entry.day, entry.charge_batch_no, entry.settlement_no
