"""The entries of both books: the institution's as it handed them in, the centre's from its settlements.

Only visits in which the two differ are read as entries, so a day of a hundred thousand lines costs the database one
comparison of sets, and memory what differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection

from center.reconciling.cases import Kind
from center.settling.records import cursor_of
from domain.day_books import Entry, Figures, Group

VISITS_AT_ONCE = 500
"""So many visits are classified together; every pair and every twin is within one visit."""


class Book(NamedTuple):
    """Which book of an institution: the day, and how often it had been handed in."""

    institution_code: str
    day: date
    submission_no: int


class Chunk(NamedTuple):
    """Some visits in all three books."""

    institution: list[Entry]
    center: list[Entry]
    frontend: list[Entry]


_CASH = "(total_fen - fund_pay_fen - account_pay_fen - institution_share_fen)"

# What is not said differs from nothing. A visit whose every document is once in both books, and alike, is left out;
# whatever else there is in it is left in.
_DIFFERING = f"""
WITH theirs AS (
    SELECT visit_no, settlement_no, contra, total_fen, fund_pay_fen, account_pay_fen, charge_batch_no, scheme,
           clearing_type, cash_fen, settled_on, count(*) OVER (PARTITION BY visit_no, settlement_no, contra) AS times
    FROM submitted_line
    WHERE institution_code = %(code)s AND day = %(day)s AND submission_no = %(submission)s
), ours AS (
    SELECT visit_no, settlement_no, kind = 'contra' AS contra, total_fen, fund_pay_fen, account_pay_fen,
           charge_batch_no, scheme, clearing_type, {_CASH} AS cash_fen, settled_day
    FROM settlement WHERE institution_code = %(code)s AND settled_day = %(day)s
)
SELECT DISTINCT coalesce(theirs.visit_no, ours.visit_no) AS visit_no
FROM theirs FULL JOIN ours ON theirs.settlement_no = ours.settlement_no AND theirs.visit_no = ours.visit_no
    AND theirs.contra = ours.contra AND theirs.total_fen = ours.total_fen
    AND theirs.fund_pay_fen = ours.fund_pay_fen AND theirs.account_pay_fen = ours.account_pay_fen
    AND theirs.settled_on = ours.settled_day
    AND theirs.cash_fen IS NOT DISTINCT FROM
        CASE WHEN theirs.cash_fen IS NULL THEN NULL ELSE ours.cash_fen END
    AND theirs.charge_batch_no = CASE WHEN theirs.charge_batch_no = 0 THEN 0 ELSE ours.charge_batch_no END
    AND theirs.scheme = CASE WHEN theirs.scheme = '' THEN '' ELSE ours.scheme END
    AND theirs.clearing_type = CASE WHEN theirs.clearing_type = '' THEN '' ELSE ours.clearing_type END
WHERE theirs.visit_no IS NULL OR ours.visit_no IS NULL OR theirs.times > 1
UNION
SELECT visit_no FROM difference_case JOIN settlement USING (institution_code, visit_no, charge_batch_no)
WHERE institution_code = %(code)s AND difference_case.kind = '{Kind.DETAIL_MISMATCH}' AND closed_at IS NULL
    AND settled_day = %(day)s
ORDER BY visit_no
"""

_THEIRS = """
SELECT visit_no, charge_batch_no, settlement_no, contra, scheme, clearing_type, settled_on, total_fen, fund_pay_fen,
       account_pay_fen, cash_fen, contra_of
FROM submitted_line
WHERE institution_code = %(code)s AND visit_no = ANY(%(visits)s::text[])
    AND (day = %(day)s AND submission_no = %(submission)s
         OR day IN (%(day)s - 1, %(day)s + 1) AND (day, submission_no) IN
            (SELECT day, submission_no FROM compared_day WHERE institution_code = %(code)s))
"""

_OURS = f"""
SELECT visit_no, charge_batch_no, settlement_no, kind = 'contra', scheme, clearing_type, settled_day,
       total_fen, fund_pay_fen, account_pay_fen, {_CASH}, coalesce(contra_of, 0), digest, coalesce(words, '')
FROM settlement LEFT JOIN
    (SELECT institution_code, visit_no, charge_batch_no, 'normal' AS kind, words FROM difference_case
     WHERE kind = '{Kind.DETAIL_MISMATCH}' AND closed_at IS NULL) AS wrong
    USING (institution_code, visit_no, charge_batch_no, kind)
WHERE institution_code = %(code)s AND visit_no = ANY(%(visits)s::text[])
"""

_UNKNOWN_TO_FRONTEND = """
SELECT visit_no, charge_batch_no FROM difference_case
WHERE institution_code = %(code)s AND visit_no = ANY(%(visits)s::text[]) AND day IS NOT NULL AND frontend_fen = 0
    AND closed_at IS NULL
"""

_TOTALS = f"""
SELECT scheme, clearing_type, count(*)::bigint, coalesce(sum(total_fen), 0)::bigint, sum(fund_pay_fen)::bigint,
       sum(account_pay_fen)::bigint, sum{_CASH}::bigint
FROM settlement AS of
WHERE institution_code = %(code)s AND settled_day = %(day)s {{which}}
GROUP BY scheme, clearing_type
"""
_STANDING = (
    "AND kind = 'normal' AND NOT EXISTS (SELECT FROM settlement AS contra WHERE contra.contra_of = of.settlement_no)"
)


def totals(connection: Connection, institution_code: str, day: date, *, with_refunds: bool) -> dict[Group, Figures]:
    """The centre's totals of the day, by scheme and clearing type. Without refunds neither contras count nor what
    has been taken back, on whatever day."""
    cursor = cursor_of(connection)
    cursor.execute(_TOTALS.format(which="" if with_refunds else _STANDING), {"code": institution_code, "day": day})
    return {Group(scheme, kind, day): Figures(*figures) for scheme, kind, *figures in cursor.fetchall()}


def lines_total(connection: Connection, book: Book) -> dict[Group, Figures]:
    """The totals of the institution's own lines, as it says them; cash it does not say counts as nothing."""
    cursor = cursor_of(connection)
    cursor.execute(
        "SELECT scheme, clearing_type, settled_on, count(*), sum(total_fen)::bigint, sum(fund_pay_fen)::bigint,"
        " sum(account_pay_fen)::bigint, coalesce(sum(cash_fen), 0)::bigint FROM submitted_line"
        " WHERE institution_code = %(code)s AND day = %(day)s AND submission_no = %(submission)s"
        " GROUP BY scheme, clearing_type, settled_on",
        _named(book),
    )
    return {Group(*row[:3]): Figures(*row[3:]) for row in cursor.fetchall()}


def chunks(connection: Connection, book: Book) -> Iterator[Chunk]:
    """The visits in which the books differ, some at a time, in order. A visit comes with all it has, of every day."""
    cursor = cursor_of(connection)
    cursor.execute(_DIFFERING, _named(book))
    visits = [visit_no for (visit_no,) in cursor.fetchall()]
    for start in range(0, len(visits), VISITS_AT_ONCE):
        yield _chunk(cursor, book, visits[start : start + VISITS_AT_ONCE])


def of_visits(connection: Connection, institution_code: str, visits: Collection[str]) -> list[Entry]:
    """The centre's entries of these visits, of every day."""
    cursor = cursor_of(connection)
    cursor.execute(_OURS, {"code": institution_code, "visits": sorted(visits)})
    return [_our_entry(row) for row in cursor.fetchall()]


def of_visit(connection: Connection, book: Book, visit_no: str) -> list[Entry]:
    """The institution's entries of one visit, filled in as they are compared."""
    return _chunk(cursor_of(connection), book, [visit_no]).institution


def _chunk(cursor: psycopg.Cursor[Any], book: Book, visits: Sequence[str]) -> Chunk:
    named = _named(book) | {"visits": list(visits)}
    cursor.execute(_OURS, named)
    center = [_our_entry(row) for row in cursor.fetchall()]
    cursor.execute(_UNKNOWN_TO_FRONTEND, named)
    unknown = set(cursor.fetchall())
    cursor.execute(_THEIRS, named)
    known = {(entry.settlement_no, entry.visit_no): entry for entry in center}
    originals = {(entry.visit_no, -entry.total_fen): entry for entry in center if not entry.contra}
    institution = [_filled_in(Entry(*row), known.get((row[2], row[0])), originals) for row in cursor.fetchall()]
    return Chunk(institution, center, [entry for entry in center if entry[:2] not in unknown])


def _our_entry(row: Sequence[Any]) -> Entry:
    return Entry._make((*row[:12], bytes(row[12]), row[13]))


def _filled_in(entry: Entry, ours: Entry | None, originals: Mapping[tuple[str, int], Entry]) -> Entry:
    """What the line leaves unsaid, as the centre says it of the same settlement, or of the one it takes back."""
    entry = entry._replace(cash_fen=entry.cash_fen if entry.cash_fen is not None else _cash(entry, ours))
    if ours is None and entry.contra:
        original = originals.get((entry.visit_no, entry.total_fen))
        if original is not None:
            ours = original._replace(charge_batch_no=entry.charge_batch_no, contra_of=original.settlement_no)
    if ours is None:
        return entry
    return entry._replace(
        charge_batch_no=entry.charge_batch_no or ours.charge_batch_no,
        scheme=entry.scheme or ours.scheme,
        clearing_type=entry.clearing_type or ours.clearing_type,
        contra_of=(entry.contra_of or ours.contra_of) if entry.contra else 0,
    )


def _cash(entry: Entry, ours: Entry | None) -> int:
    """Of a line that does not say it: the centre's; else what is left, less a share of the institution nobody knows."""
    if ours is not None:
        return ours.cash_fen
    return entry.total_fen - entry.fund_pay_fen - entry.account_pay_fen


def _named(book: Book) -> dict[str, Any]:
    return {"code": book.institution_code, "day": book.day, "submission": book.submission_no}
