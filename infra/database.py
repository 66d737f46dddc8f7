"""Database engines and the two things dialects do differently: durable pragmas and bulk rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Engine, Table, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.types import TypeDecorator

from infra.clock import SHANGHAI


class Moment(TypeDecorator[datetime]):
    """An aware moment. SQLite has no zones: there it is written in Shanghai's time and read back aware."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive moments; write Shanghai's time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without its zone")
        value = value.astimezone(SHANGHAI)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware again."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=SHANGHAI)


def open_database(url: str, *, pool_size: int = 4) -> Engine:
    """An engine for SQLite (WAL, every commit synced, one writer at a time) or PostgreSQL."""
    if url.startswith("sqlite"):
        return _open_sqlite(url)
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "options": "-c lock_timeout=20s -c statement_timeout=50s"
            " -c idle_in_transaction_session_timeout=60s -c timezone=Asia/Shanghai",
        },
    )


def _open_sqlite(url: str) -> Engine:
    file = make_url(url).database
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 15})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=15000",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-32768",
            "mmap_size=268435456",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def reading(engine: Engine) -> Connection:
    """A connection that only reads: on SQLite it does not take the writer's turn."""
    return engine.connect().execution_options(reading=True)


def copy_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Append rows to a PostgreSQL table with COPY, inside the connection's transaction."""
    names = ", ".join(f'"{column}"' for column in columns)
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
    finally:
        cursor.close()
