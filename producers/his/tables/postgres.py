"""The shared tables on PostgreSQL, as the insurance system: its rights are those of the role it acts in."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import make_url

from infra.database import open_database
from producers.his.fields import layout
from producers.his.tables import postgres_ddl as ddl
from producers.his.tables.objects import LIMITED_USE
from producers.his.tables.shared import SharedTables, grade_of

CONNECTIONS = 3
"""One listens, one writes, one reads."""


class PostgresTables(SharedTables):
    """One database for any number of institutions; row rights keep them apart."""

    unread = f"({ddl.IS_UNREAD})"
    failed = f"({ddl.IS_FAILED})"

    def __init__(self, url: str) -> None:
        super().__init__(open_as_insurance(url))
        self._listening: Any = None

    @contextmanager
    def acting(self) -> Iterator[Connection]:
        """See SharedTables."""
        with self.engine.begin() as connection:
            yield connection

    def wait_for_changes(self, seconds: float) -> set[str]:
        """See SharedTables. Listens on a connection of its own, outside any transaction."""
        deadline = time.monotonic() + seconds
        if self._listening is None:
            self._listening = self.engine.raw_connection()
            self._listening.driver_connection.autocommit = True
            self._listening.driver_connection.execute(f"LISTEN {ddl.CHANNEL}")
        driver = self._listening.driver_connection
        heard = {notice.payload for notice in driver.notifies(timeout=0)}
        if not heard and (left := deadline - time.monotonic()) > 0:
            select.select([driver.fileno()], [], [], left)
            heard = {notice.payload for notice in driver.notifies(timeout=0)}
        return heard

    def close(self) -> None:
        """See SharedTables."""
        if self._listening is not None:
            self._listening.invalidate()
            self._listening = None
        self.engine.dispose()

    def name(self, table: str) -> str:
        """See SharedTables."""
        return f"gwyjb.{table}" if table == LIMITED_USE else f"{ddl.SCHEMA}.{table}"

    def supersede(self, connection: Connection, table: str, newest: Mapping[str, int]) -> None:
        """See SharedTables."""
        connection.execute(
            text(
                f"SELECT {ddl.OWN_SCHEMA}.supersede_{table}(visit, before)"
                " FROM unnest(CAST(:visits AS text[]), CAST(:before AS int[])) AS newest (visit, before)"
            ),
            {"visits": list(newest), "before": list(newest.values())},
        )

    def cancel(self, connection: Connection, table: str, visit_no: str) -> None:
        """See SharedTables."""
        connection.execute(text(f"SELECT {ddl.OWN_SCHEMA}.cancel_{table}(:visit)"), {"visit": visit_no})

    def put_grades(self, connection: Connection, table: str, institution_code: str, grades: Mapping[str, str]) -> None:
        """See SharedTables."""
        rows = [
            {"visit": visit_no, "institution": institution_code, "grade": grade_of(grade)}
            for visit_no, grade in grades.items()
        ]
        connection.execute(
            text(
                f"INSERT INTO {ddl.OWN_SCHEMA}.grade (jydjh, yybh, gwyjb) VALUES (:visit, :institution, :grade) "
                "ON CONFLICT DO NOTHING"
            ),
            rows,
        )

    def published_version(self, connection: Connection) -> str:
        """See SharedTables."""
        return str(connection.execute(text(f"SELECT version FROM {ddl.OWN_SCHEMA}.catalogue")).scalar_one())

    def entered(self, table: str) -> str:
        """See SharedTables."""
        if table != "HIS_MZXM":
            return "false"
        return (
            f"bz1 IS NOT NULL AND EXISTS (SELECT FROM {ddl.OWN_SCHEMA}.entered_line AS e "
            f"WHERE e.jydjh = {table}.jydjh AND e.xmxh = {table}.xmxh)"
        )

    def _rows_to_take(self, connection: Connection, table: str, owners: Sequence[str], visits: Sequence[str]) -> Any:
        columns = ", ".join(code.lower() for code in layout(table).codes)
        return connection.execute(
            text(
                f"SELECT ctid::text, {columns} FROM {self.name(table)} WHERE {self._owned()} "
                f"AND jydjh = ANY(:visits) AND ({self.unread} OR {self.failed}) AND NOT ({self.entered(table)}) "
                "ORDER BY jydjh, xmxh, ctid FOR UPDATE SKIP LOCKED"
            ),
            {**self._owners(owners), "visits": list(visits)},
        )

    def numbers_imported(self, connection: Connection, table: str, visits: Sequence[str]) -> set[tuple[str, int]]:
        """See SharedTables."""
        rows = connection.execute(
            text(f"SELECT jydjh, xmxh FROM {self.name(table)} WHERE jydjh = ANY(:visits) AND drbz = 1"),
            {"visits": list(visits)},
        )
        return {(visit_no, int(number)) for visit_no, number in rows}

    def _mark_rows(self, connection: Connection, table: str, places: Sequence[str], changes: dict[str, object]) -> None:
        changed = ", ".join(f"{column} = :{column}" for column in changes)
        connection.execute(
            text(f"UPDATE {self.name(table)} SET {changed} WHERE ctid = ANY(CAST(:places AS tid[]))"),
            {**changes, "places": list(places)},
        )

    def _begin_catalogue(self, connection: Connection, version: str) -> None:
        connection.execute(text(f"SELECT {ddl.OWN_SCHEMA}.begin_catalogue(:version)"), {"version": version})

    def _owned(self) -> str:
        return "yybh = ANY(:owners)"

    def _owners(self, owners: Sequence[str]) -> dict[str, object]:
        return {"owners": list(owners)}


def open_as_insurance(url: str) -> Engine:
    """An engine whose connections act in the insurance system's role and have none of the login's other rights."""
    engine = open_database(psycopg_url(url), pool_size=CONNECTIONS)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        was = connection.autocommit
        connection.autocommit = True
        connection.execute(f"SET ROLE {ddl.INSURANCE_ROLE}")
        connection.autocommit = was

    return engine


def psycopg_url(url: str) -> str:
    """The address as SQLAlchemy wants it, with its driver."""
    made = make_url(url)
    if made.drivername == "postgresql":
        made = made.set(drivername="postgresql+psycopg")
    return made.render_as_string(hide_password=False)
