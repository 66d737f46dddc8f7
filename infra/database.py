"""Database engines and the two things dialects do differently: durable pragmas and bulk rows."""

from __future__ import annotations

import os
import pwd
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Engine, Insert, Table, Update, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator

from infra.clock import SHANGHAI

PATIENCE_SECONDS = 15.0


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


def open_database(url: str, *, pool_size: int = 4, patience_seconds: float = PATIENCE_SECONDS) -> Engine:
    """An engine for SQLite (WAL, every commit synced, one writer at a time) or PostgreSQL.

    `patience_seconds` is how long a transaction waits for SQLite's one writer's turn; 0 does not wait at all.
    """
    if url.startswith("sqlite"):
        return _open_sqlite(url, patience_seconds)
    address = make_url(url)
    return create_engine(
        address.update_query_dict({"application_name": address.query.get("application_name", station())}),
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


def station() -> str:
    """Under which login of which machine this process works: what a database of the centre notes beside who says he
    acts (`application_name`; PostgreSQL keeps 63 bytes of it)."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container whose user has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:63]


def _open_sqlite(url: str, patience_seconds: float) -> Engine:
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
            f"busy_timeout={_milliseconds(patience_seconds)}",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-32768",
            "mmap_size=268435456",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get("reading", False):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_writing(connection, patience_seconds)

    return engine


def _begin_writing(connection: Connection, patience_seconds: float) -> None:
    """Take SQLite's one writer's turn, asking again every few milliseconds.

    SQLite's own waiting sleeps up to 100 ms at a time: with a door, a desk and a link writing turns of a few
    milliseconds each, whoever misses one turn would miss many.
    """
    raw = connection.connection.driver_connection
    assert raw is not None
    deadline = time.monotonic() + patience_seconds
    pause = 0.0005
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < deadline:
            try:
                raw.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    break
            time.sleep(pause)
            pause = min(2 * pause, 0.004)
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # raises what is wrong as SQLAlchemy's error
    finally:
        raw.execute(f"PRAGMA busy_timeout={_milliseconds(patience_seconds)}")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """A database for as long as a command needs it."""
    engine = open_database(url)
    try:
        yield engine
    finally:
        engine.dispose()


def reading(engine: Engine) -> Connection:
    """A connection that only reads: on SQLite it does not take the writer's turn."""
    return engine.connect().execution_options(reading=True)


def execute_many(connection: Connection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]) -> int:
    """Run an INSERT or UPDATE once per row, handing the rows to the driver in one go; how many rows it touched.

    The statement is compiled once and values are converted by column; SQLAlchemy's own executemany spends as much
    time on a row as the database does.
    """
    if not rows:
        return 0
    sql, parts = _compiled(connection.dialect, statement, tuple(rows[0]))
    columns: list[Iterable[Any]] = []
    for name, convert, constant in parts:
        if name not in rows[0]:
            columns.append(repeat(constant if convert is None else convert(constant), len(rows)))
        elif convert is None:
            columns.append([row[name] for row in rows])
        else:
            columns.append(_converted(convert, [row[name] for row in rows]))
    parameters = list(zip(*columns, strict=True))
    if connection.dialect.positional:
        return connection.exec_driver_sql(sql, parameters).rowcount
    names = [name for name, _, _ in parts]
    return connection.exec_driver_sql(sql, [dict(zip(names, row, strict=True)) for row in parameters]).rowcount


def _converted(convert: Callable[[Any], Any], values: Sequence[Any]) -> Sequence[Any]:
    """The values as the driver takes them; the one moment or day of a whole batch is converted once."""
    first = values[0]
    if len(values) > 1 and isinstance(first, date) and values.count(first) == len(values):
        return [convert(first)] * len(values)
    return list(map(convert, values))


@lru_cache(maxsize=256)
def _compiled(
    dialect: Dialect, statement: Insert | Update, given: tuple[str, ...]
) -> tuple[str, list[tuple[str, Callable[[Any], Any] | None, Any]]]:
    """The statement's text, and for each of its parameters the name, the conversion, and the value if it has one."""
    columns = list(given) if isinstance(statement, Insert) else None
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    assert isinstance(compiled, SQLCompiler)
    values = compiled.params
    converters: Any = compiled._bind_processors
    names = compiled.positiontup or list(values)
    return str(compiled), [(name, converters.get(name), values.get(name)) for name in names]


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
