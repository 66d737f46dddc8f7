"""The shared tables in an SQLite file, as the insurance system: who acts is said in each transaction of ours."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from infra.database import open_database
from producers.his.fields import layout
from producers.his.tables import sqlite_ddl as ddl
from producers.his.tables.objects import CANCELLED, GRADE_COLUMN, REGISTRATIONS, VIEWS
from producers.his.tables.rights import Actor
from producers.his.tables.shared import SharedTables, grade_of

PATIENCE_SECONDS = 0.2
"""A HIS may keep the file's one writer's turn for hours; a look that finds it taken comes again."""
LOOK_EVERY_SECONDS = 0.05
DECIDED = "decided"
"""Who acts while a decision gives us a right that the permission tables do not: neither system."""


class NoExchangeFile(Exception):
    """The file is not there, or holds no shared tables: `jiesuan exchange create` makes them."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"no shared tables in {file.name}")


class OtherDress(Exception):
    """The file was made in another dress, and a file's dress is its tables themselves."""

    def __init__(self, file: str, dress: str) -> None:
        super().__init__(f"{file} was made in the dress {dress or 'plain'!r}; put it away to make another")


class SqliteTables(SharedTables):
    """The file of one institution."""

    native = False
    unread = f"({ddl.IS_UNREAD})"
    failed = f"({ddl.IS_FAILED})"

    def __init__(self, url: str) -> None:
        self.file = Path(make_url(url).database or "")
        super().__init__(open_database(url, patience_seconds=PATIENCE_SECONDS))
        self._watching: Any = None
        self._seen = -1

    @contextmanager
    def acting(self) -> Iterator[Connection]:
        """See SharedTables. Raises NoExchangeFile."""
        if not self.file.exists():
            self.engine.dispose()
            raise NoExchangeFile(self.file)
        with self.engine.begin() as connection:
            if connection.exec_driver_sql("PRAGMA user_version").scalar() != ddl.RELEASE:
                raise NoExchangeFile(self.file)
            _act_as(connection, Actor.INSURANCE)
            yield connection
            _act_as(connection, Actor.HIS)

    def wait_for_changes(self, seconds: float) -> set[str]:
        """See SharedTables. SQLite counts what other connections commit."""
        deadline = time.monotonic() + seconds
        while True:
            if not self.file.exists():
                raise NoExchangeFile(self.file)
            if self._watching is None:
                self._watching = self.engine.raw_connection()
            version = self._watching.driver_connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._seen:
                self._seen = version
                return self.owners()
            left = deadline - time.monotonic()
            if left <= 0:
                return set()
            time.sleep(min(LOOK_EVERY_SECONDS, left))

    def owners(self) -> set[str]:
        """The codes of the institution whose file it is."""
        found = self._watching.driver_connection.execute("SELECT institution_code, short_code FROM exchange_owner")
        return {code for row in found.fetchall() for code in row}

    def close(self) -> None:
        """See SharedTables."""
        if self._watching is not None:
            self._watching.invalidate()
            self._watching = None
        self.engine.dispose()

    def name(self, table: str) -> str:
        """See SharedTables."""
        return table

    def supersede(self, connection: Connection, table: str, newest: Mapping[str, int]) -> None:
        """See SharedTables."""
        with _deciding(connection):
            connection.execute(
                text(f"UPDATE {table} SET DRBZ = 1 WHERE JYDJH = :visit AND FYPC < :before AND DRBZ IS NOT 1"),
                [{"visit": visit_no, "before": before} for visit_no, before in newest.items()],
            )

    def cancel(self, connection: Connection, table: str, visit_no: str) -> None:
        """See SharedTables."""
        with _deciding(connection):
            connection.execute(
                text(f"UPDATE {table} SET BZ3 = '{CANCELLED}' WHERE JYDJH = :visit"), {"visit": visit_no}
            )

    def put_grades(self, connection: Connection, table: str, institution_code: str, grades: Mapping[str, str]) -> None:
        """See SharedTables. A file without that column has no use for it."""
        columns = {row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")}
        if table in REGISTRATIONS and GRADE_COLUMN in columns:
            with _deciding(connection):
                connection.execute(
                    text(f"UPDATE {table} SET {GRADE_COLUMN} = :grade WHERE JYDJH = :visit"),
                    [{"visit": visit_no, "grade": grade_of(grade)} for visit_no, grade in grades.items()],
                )

    def published_version(self, connection: Connection) -> str:
        """See SharedTables."""
        return str(connection.exec_driver_sql("SELECT version FROM exchange_catalogue").scalar_one())

    def entered(self, table: str) -> str:
        """See SharedTables."""
        if table != "HIS_MZXM":
            return "0"
        return (
            "BZ1 IS NOT NULL AND EXISTS (SELECT 1 FROM exchange_entered_line AS e "
            f"WHERE e.jydjh = {table}.JYDJH AND e.xmxh = {table}.XMXH)"
        )

    def numbers_imported(self, connection: Connection, table: str, visits: Sequence[str]) -> set[tuple[str, int]]:
        """See SharedTables."""
        marks, values = _listed(visits)
        rows = connection.execute(
            text(f"SELECT JYDJH, XMXH FROM {table} WHERE JYDJH IN ({marks}) AND DRBZ = 1"), values
        )
        return {(visit_no, int(number)) for visit_no, number in rows}

    def _rows_to_take(self, connection: Connection, table: str, owners: Sequence[str], visits: Sequence[str]) -> Any:
        columns = ", ".join(layout(table).codes)
        marks, values = _listed(visits)
        return connection.execute(
            text(
                f"SELECT rowid, {columns} FROM {table} WHERE JYDJH IN ({marks}) AND DRBZ IS NOT 1 "
                f"AND NOT ({self.entered(table)}) ORDER BY JYDJH, XMXH, rowid"
            ),
            values,
        )

    def _mark_rows(self, connection: Connection, table: str, places: Sequence[str], changes: dict[str, object]) -> None:
        changed = ", ".join(f"{column} = :{column}" for column in changes)
        connection.execute(
            text(f"UPDATE {table} SET {changed} WHERE rowid = :place"),
            [{**changes, "place": int(place)} for place in places],
        )

    def _begin_catalogue(self, connection: Connection, version: str) -> None:
        for view in VIEWS:
            connection.exec_driver_sql(f"DELETE FROM {ddl.BASE_OF_VIEW.format(view)}")
        connection.execute(text("UPDATE exchange_catalogue SET version = :version"), {"version": version})

    def _owned(self) -> str:
        return "1"  # the file is one institution's

    def _owners(self, owners: Sequence[str]) -> dict[str, object]:
        return {}


def make_file(url: str, institution_code: str, short_code: str, dress: Sequence[str]) -> bool:
    """Make the shared tables in a new file; False when they are there. Raises OtherDress."""
    engine = open_database(url)
    try:
        with engine.begin() as connection:
            if connection.exec_driver_sql("PRAGMA user_version").scalar() == ddl.RELEASE:
                made_in = str(connection.exec_driver_sql("SELECT dress FROM exchange_owner").scalar_one())
                if ("gwyjb" in made_in) != ("gwyjb" in dress):
                    raise OtherDress(Path(make_url(url).database or "").name, made_in)
                return False
            for statement in ddl.everything(graded="gwyjb" in dress):
                connection.exec_driver_sql(statement)
            connection.execute(
                text("INSERT INTO exchange_owner VALUES (:institution, :short, :dress)"),
                {"institution": institution_code, "short": short_code, "dress": "+".join(dress)},
            )
            connection.exec_driver_sql(f"PRAGMA user_version = {ddl.RELEASE}")
    finally:
        engine.dispose()
    return True


@contextmanager
def _deciding(connection: Connection) -> Iterator[None]:
    _act_as(connection, DECIDED)
    yield
    _act_as(connection, Actor.INSURANCE)


def _act_as(connection: Connection, who: str) -> None:
    connection.execute(text("UPDATE exchange_actor SET who = :who"), {"who": str(who)})


def _listed(visits: Sequence[str]) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {f"v{at}": visit_no for at, visit_no in enumerate(visits)}
    return ", ".join(f":{name}" for name in values), values
