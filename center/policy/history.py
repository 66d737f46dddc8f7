"""The settlements of a time, person after person in the order they were made, read without holding them in memory."""

from __future__ import annotations

from collections.abc import Collection, Generator
from datetime import date
from typing import Any, NamedTuple

import msgpack
import psycopg
from sqlalchemy import Connection

from center.settling.inputs import Inputs, unpacked
from domain.messages import ClaimAnswer
from domain.totals import LocalTotals

ROWS_AT_ONCE = 2000

_CELLS = ClaimAnswer._fields.index("cells")
_ENTRIES = ClaimAnswer._fields.index("entries")

Cells = tuple[tuple[str, str, int], ...]
Entries = tuple[tuple[str, int, int], ...]
"""Key, before, applied."""


class Stored(NamedTuple):
    """A settlement as the centre keeps it."""

    settlement_no: int
    person_no: int
    contra_of: int | None
    """The settlement it takes back; None for one that settles a claim."""
    institution_code: str
    visit_no: str
    charge_batch_no: int
    visit_type: str
    settled_day: date
    scheme: str
    category: str
    institution_level: int | None
    policy_version: str
    sums: LocalTotals
    inputs: bytes
    answer: bytes
    original_answer: bytes | None
    """The answer of the settlement this one takes back."""

    def computed_from(self) -> Inputs | None:
        """What it was computed from; None for one from before that was kept."""
        return unpacked(self.inputs, self.sums) if self.inputs else None

    def result(self) -> tuple[Cells, Entries]:
        """Its matrix, and how it moved accumulators."""
        return _result(self.answer)

    def original_result(self) -> tuple[Cells, Entries]:
        """The same of the settlement it takes back."""
        return ((), ()) if self.original_answer is None else _result(self.original_answer)


def settlements(connection: Connection, first_day: date, last_day: date) -> Generator[Stored]:
    """The settlements made on these days, by person, then in the order they were made."""
    with _streaming(connection, "history") as cursor:
        cursor.execute(_SETTLEMENTS, {"first": first_day, "last": last_day}, binary=True)
        for row in cursor:
            yield Stored._make((*row[:12], LocalTotals(*row[12:19]), *row[19:]))


def of_persons(connection: Connection, persons: Collection[int]) -> list[Stored]:
    """Every settlement of these persons, in the order they were made."""
    rows = connection.exec_driver_sql(_OF_PERSONS, {"persons": sorted(persons)})
    return [Stored._make((*row[:12], LocalTotals(*row[12:19]), *row[19:])) for row in rows]


def openings(connection: Connection, first_day: date) -> Generator[tuple[int, str, int]]:
    """Person, key, amount of every accumulator as it stood before the day: what stands now less what came since."""
    with _streaming(connection, "openings") as cursor:
        cursor.execute(_OPENINGS, {"first": first_day}, binary=True)
        yield from cursor


_STORED = """
SELECT s.settlement_no, s.person_no, s.contra_of, s.institution_code, s.visit_no, s.charge_batch_no, s.visit_type,
       s.settled_day, s.scheme, s.category, s.institution_level, s.policy_version,
       s.total_fen, s.own_expense_fen, s.over_limit_fen, s.pre_self_pay_fen, s.in_scope_fen, s.line_count, s.digest,
       s.inputs, s.answer, o.answer
FROM settlement s LEFT JOIN settlement o ON o.settlement_no = s.contra_of
"""
_SETTLEMENTS = _STORED + "WHERE s.settled_day BETWEEN %(first)s AND %(last)s ORDER BY s.person_no, s.settlement_no"
_OF_PERSONS = _STORED + "WHERE s.person_no = ANY(%(persons)s) ORDER BY s.settlement_no"

_OPENINGS = """
WITH since AS (
    SELECT e.person_no, e.key, sum(e.applied_fen)::bigint AS applied_fen
    FROM accumulator_entry e JOIN settlement s USING (settlement_no)
    WHERE s.settled_day >= %(first)s
    GROUP BY e.person_no, e.key
)
SELECT a.person_no, a.key, a.amount_fen - coalesce(since.applied_fen, 0)
FROM accumulator a LEFT JOIN since USING (person_no, key)
WHERE a.amount_fen <> coalesce(since.applied_fen, 0)
ORDER BY a.person_no
"""


def _streaming(connection: Connection, name: str) -> psycopg.ServerCursor[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    cursor = driver.cursor(name)
    cursor.itersize = ROWS_AT_ONCE
    return cursor


def _result(answer: bytes) -> tuple[Cells, Entries]:
    row = msgpack.unpackb(answer)
    return tuple(map(tuple, row[_CELLS])), tuple(map(tuple, row[_ENTRIES]))
