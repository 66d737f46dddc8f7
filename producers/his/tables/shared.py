"""The shared tables as the insurance system uses them: what a HIS wrote, what it is told, what it is given.

`SharedTables` is one exchange database; what PostgreSQL and SQLite do differently is in `postgres.py` and `sqlite.py`.
Every method works inside a transaction the caller opened with `acting`; all of them may be done twice without harm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, text

from producers.his.dbf import shorten
from producers.his.fields import layout
from producers.his.line_files import Mark
from producers.his.tables.objects import (
    DISCHARGES,
    IMPORTED,
    KEYS,
    REGISTRATIONS,
    RESULTS,
    VIEWS,
    grade_field,
)
from producers.his.tables.values import Value, stored_as


@dataclass(frozen=True, slots=True)
class Place:
    """One row of a line table that is ours to mark: where it stands, and what is in it."""

    at: str
    values: Mapping[str, object]

    @property
    def marked(self) -> tuple[int | None, str]:
        """DRBZ and BZ3 as they stand."""
        flag = self.values["DRBZ"]
        return (None if flag is None else int(str(flag))), str(self.values["BZ3"] or "").strip()


class SharedTables(ABC):
    """One exchange database, seen as the insurance system."""

    native = True
    """Whether the driver takes days and decimals as they are."""
    unread: str
    failed: str

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # ── What differs ──────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def acting(self) -> AbstractContextManager[Connection]:
        """A transaction in which the insurance system acts."""

    @abstractmethod
    def wait_for_changes(self, seconds: float) -> set[str]:
        """Wait until a HIS wrote lines, at most so long; the YYBH written. An empty set may mean a lost notice."""

    @abstractmethod
    def name(self, table: str) -> str:
        """The table's full name."""

    @abstractmethod
    def supersede(self, connection: Connection, table: str, newest: Mapping[str, int]) -> None:
        """Mark the results before the newest batch of each of these visits as read: the newest one is the valid one."""

    @abstractmethod
    def cancel(self, connection: Connection, table: str, visit_no: str) -> None:
        """Write CANCEL on a registration (AMB-37). Raises what the database raises when lines were imported."""

    @abstractmethod
    def _rows_to_take(self, connection: Connection, table: str, owners: Sequence[str], visits: Sequence[str]) -> Any:
        """Lock and read the visits' rows that are not imported, passing over those a HIS holds."""

    @abstractmethod
    def numbers_imported(self, connection: Connection, table: str, visits: Sequence[str]) -> set[tuple[str, int]]:
        """Visit and line number of every imported row of these visits."""

    @abstractmethod
    def _mark_rows(self, connection: Connection, table: str, places: Sequence[str], changes: dict[str, object]) -> None:
        """Write the same changes to rows of this transaction's."""

    @abstractmethod
    def _begin_catalogue(self, connection: Connection, version: str) -> None:
        """Empty the views' base tables and note the version."""

    @abstractmethod
    def entered(self, table: str) -> str:
        """The condition that a row was written by us (flow one) and is none of ours to read."""

    @abstractmethod
    def close(self) -> None:
        """Give connections back."""

    # ── What HIS wrote ────────────────────────────────────────────────────────────────────────────────────

    def waiting_visits(
        self, connection: Connection, table: str, owners: Sequence[str], *, after: str, at_most: int, failed: bool
    ) -> list[str]:
        """The visits with rows to read, in order of their numbers; `failed` rows or unread ones, each by its index.

        What counts is the flag of each row, never a serial number: a row committed late is found as well as any other.
        """
        condition = self.failed if failed else self.unread
        rows = connection.execute(
            text(
                f"SELECT DISTINCT jydjh FROM {self.name(table)} WHERE {self._owned()} AND {condition} "
                f"AND NOT ({self.entered(table)}) AND jydjh > :after ORDER BY jydjh LIMIT :most"
            ),
            {**self._owners(owners), "after": after, "most": at_most},
        )
        return list(rows.scalars())

    def take(
        self, connection: Connection, table: str, owners: Sequence[str], visits: Sequence[str]
    ) -> dict[str, list[Place]]:
        """All rows of these visits that are not imported, by visit: locked, so that no HIS changes them meanwhile.

        Rows a HIS holds in an open transaction are left for later; nothing waits for it.
        """
        found: dict[str, list[Place]] = defaultdict(list)
        codes = layout(table).codes
        for row in self._rows_to_take(connection, table, owners, visits):
            at, *values = row
            found[values[0]].append(Place(str(at), dict(zip(codes, values, strict=True))))
        return found

    def mark(self, connection: Connection, table: str, marks: Iterable[tuple[Place, Mark]], *, at: datetime) -> int:
        """Write verdicts to rows taken in this transaction; rows that say it already are left alone. How many."""
        by_mark: dict[Mark, list[str]] = defaultdict(list)
        for place, mark in marks:
            if place.marked != (mark.flag, mark.code) or mark.note:
                by_mark[mark].append(place.at)
        columns = layout(table)
        for mark, places in by_mark.items():
            changes: dict[str, object] = {"drbz": mark.flag, "bz3": mark.code}
            if mark.flag == IMPORTED:
                changes["bz1"] = written(mark.imported_at or at)
            if mark.note:
                changes["bz2"] = shorten(mark.note, columns["BZ2"].width)
            self._mark_rows(connection, table, places, changes)
        return sum(map(len, by_mark.values()))

    def count_waiting(self, connection: Connection, table: str, owners: Sequence[str]) -> tuple[int, int]:
        """How many rows are unread, and how many failed."""
        sql = f"SELECT count(*) FROM {self.name(table)} WHERE {self._owned()} AND {{}} AND NOT ({self.entered(table)})"
        unread, failed = (
            connection.execute(text(sql.format(condition)), self._owners(owners)).scalar_one()
            for condition in (self.unread, self.failed)
        )
        return int(unread), int(failed)

    def unread_of(self, connection: Connection, table: str, visits: Sequence[str]) -> dict[str, int]:
        """How many rows of these visits are neither imported nor refused; a visit that has none is not among them."""
        asked = text(
            f"SELECT jydjh, count(*) FROM {self.name(table)} WHERE jydjh IN :visits AND {self.unread} "
            f"AND NOT ({self.entered(table)}) GROUP BY jydjh"
        ).bindparams(bindparam("visits", expanding=True))
        return {visit_no: int(rows) for visit_no, rows in connection.execute(asked, {"visits": list(visits)})}

    def refused_by_his(self, connection: Connection, owners: Sequence[str]) -> int:
        """How many registrations, results and discharges a HIS flagged as failed to read (AMB-62)."""
        return sum(
            int(
                connection.execute(
                    text(f"SELECT count(*) FROM {self.name(table)} WHERE {self._owned()} AND drbz = 2"),
                    self._owners(owners),
                ).scalar_one()
            )
            for table in (*REGISTRATIONS, *RESULTS, *DISCHARGES)
        )

    # ── What HIS is given ─────────────────────────────────────────────────────────────────────────────────

    def put(self, connection: Connection, table: str, rows: Sequence[Mapping[str, Value]]) -> int:
        """Write rows, columns by code; rows that are there by their key stay as they are. How many were new.

        Of the results of a visit only the newest stands unread: those before it are superseded by its coming.
        """
        if table == "HIS_MZXM":  # the database takes a line twice: the first of each is ours to choose
            first = {(row["JYDJH"], row["XMXH"]): row for row in reversed(rows)}
            rows = [row for row in reversed(first.values()) if not self._has_line(connection, row)]
        written_ = self._insert(connection, table, rows)
        if rows and table in RESULTS:
            newest: dict[str, int] = {}
            for row in rows:
                visit_no, batch_no = str(row["JYDJH"]), int(str(row["FYPC"]))
                newest[visit_no] = max(batch_no, newest.get(visit_no, 0))
            self.supersede(connection, table, newest)
        return written_

    @abstractmethod
    def put_grades(self, connection: Connection, table: str, institution_code: str, grades: Mapping[str, str]) -> None:
        """Note the civil-servant grades of registered visits, for the dress that shows them."""

    def publish(self, connection: Connection, version: str, rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Show this catalogue version in the views and nothing else, from the commit on."""
        self._begin_catalogue(connection, version)
        for view in VIEWS:
            columns = layout(view)
            given = [
                {field.code.lower(): stored_as(field, row.get(field.code), native=self.native) for field in columns}
                for row in rows[view]
            ]
            if given:
                connection.execute(text(_insert_sql(self.name(view), [code.lower() for code in columns.codes])), given)

    @abstractmethod
    def published_version(self, connection: Connection) -> str:
        """The catalogue version the views show; empty before the first."""

    def _has_line(self, connection: Connection, row: Mapping[str, Value]) -> bool:
        there = connection.execute(
            text(f"SELECT 1 FROM {self.name('HIS_MZXM')} WHERE jydjh = :visit AND xmxh = :number LIMIT 1"),
            {"visit": row["JYDJH"], "number": int(str(row["XMXH"]))},
        )
        return there.first() is not None

    def _insert(self, connection: Connection, table: str, rows: Iterable[Mapping[str, Value]]) -> int:
        """Rows that have the same columns go in one statement: a table may be far away."""
        alike: dict[tuple[str, ...], list[dict[str, object]]] = defaultdict(list)
        for row in rows:
            columns = [field for field in layout(table) if row.get(field.code) not in (None, "")]
            values = {field.code.lower(): stored_as(field, row[field.code], native=self.native) for field in columns}
            alike[tuple(values)].append(values)
        key = ", ".join(code.lower() for code in KEYS[table])
        conflict = "" if table == "HIS_MZXM" else f" ON CONFLICT ({key}) DO NOTHING"
        return sum(
            connection.execute(text(_insert_sql(self.name(table), columns_) + conflict), values_).rowcount
            for columns_, values_ in alike.items()
        )

    @abstractmethod
    def _owned(self) -> str:
        """The condition that a row belongs to one of the owners asked about."""

    @abstractmethod
    def _owners(self, owners: Sequence[str]) -> dict[str, object]:
        """The values of that condition."""


def written(at: datetime) -> str:
    """A moment as BZ1 has it (INV-38)."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def grade_of(text_: str) -> str:
    """A civil-servant grade within its column."""
    return shorten(text_, grade_field().width)


def in_parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """A list in parts of this size."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _insert_sql(name: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join(f':{column}' for column in columns)})"
