"""Reading and writing the rows of `outcome`, under the locks of the persons and the visits they concern."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from domain.outcomes import OutcomeState

Key = tuple[str, str, int]
"""institution_code, visit_no, charge_batch_no"""


class OutcomeRow(NamedTuple):
    """A row of `outcome`."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    frontend: str
    state: str
    person_no: int | None
    family_person_no: int | None
    content: bytes
    expires_at: datetime | None
    prepared: bytes
    answer: bytes
    settlement_no: int | None

    @property
    def key(self) -> Key:
        """The claim's own key."""
        return self.institution_code, self.visit_no, self.charge_batch_no

    def persons(self) -> list[int]:
        """Whom it holds while it is prepared."""
        return [each for each in (self.person_no, self.family_person_no) if each is not None]


_COLUMNS = ", ".join(OutcomeRow._fields)


def read(cursor: psycopg.Cursor[Any], keys: Collection[Key], *, lock: bool = False) -> dict[Key, OutcomeRow]:
    """The rows under these keys; locked in the order of their key, if wanted."""
    codes, visits, batches = zip(*keys, strict=True) if keys else ((), (), ())
    cursor.execute(
        f"SELECT {_COLUMNS} FROM outcome WHERE (visit_no, charge_batch_no, institution_code) IN"
        " (SELECT * FROM unnest(%s::text[], %s::int[], %s::text[]))"
        f" ORDER BY visit_no, charge_batch_no, institution_code{' FOR UPDATE' if lock else ''}",
        [list(visits), list(batches), list(codes)],
    )
    return {row.key: row for row in map(OutcomeRow._make, cursor.fetchall())}


def insert_prepared(cursor: psycopg.Cursor[Any], row: OutcomeRow, *, at: datetime) -> None:
    """Write a claim that was just prepared."""
    names = [name for name in OutcomeRow._fields if name != "settlement_no"]
    cursor.execute(
        f"INSERT INTO outcome ({', '.join(names)}, prepared_at) VALUES ({', '.join(['%s'] * len(names))}, %s)",
        [*(getattr(row, name) for name in names), at],
    )


def insert_tombstone(cursor: psycopg.Cursor[Any], key: Key, *, frontend: str, at: datetime, by: str) -> None:
    """Write that the claim is cancelled, before anything was seen of it."""
    cursor.execute(
        "INSERT INTO outcome (institution_code, visit_no, charge_batch_no, frontend, state, decided_at, decided_by)"
        " VALUES (%s, %s, %s, %s, 'cancelled', %s, %s)",
        [*key, frontend, at, by],
    )


def move(
    cursor: psycopg.Cursor[Any],
    key: Key,
    to: OutcomeState,
    *,
    at: datetime,
    by: str,
    settlement_no: int | None = None,
    answer: bytes | None = None,
) -> bool:
    """Let a prepared claim leave that state, whose computation is not needed any more; False: it had left it."""
    cursor.execute(
        "UPDATE outcome SET state = %s, decided_at = %s, decided_by = %s, settlement_no = %s,"
        " answer = coalesce(%s, answer), prepared = ''"
        " WHERE institution_code = %s AND visit_no = %s AND charge_batch_no = %s AND state = 'prepared'",
        [str(to), at, by, settlement_no, answer, *key],
    )
    return bool(cursor.rowcount)
