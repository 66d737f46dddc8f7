"""The databases of the city: made once, filled the same before every seed.

Each process of the city has engines of its own, as its real counterpart has, but they outlive the seed: compiling
statements and connecting costs more than a seed does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine, event

from center.partitions import is_partition
from infra.database import open_database
from infra.embedded import postgres
from infra.supervisor import Supervisor
from tests.simulation.city.connections import PostgresConnection, SqliteConnection, World
from tests.support.databases import log_in_quickly, quick

OPTIONS = " -c synchronous_commit=off -c deadlock_timeout=1h"
"""No power fails here, and who waits for whom is looked at by the simulation."""

KEPT = "before_each_seed"
"""The schema that holds what every seed begins with."""


class Frontend:
    """The SQLite database of one front-end."""

    def __init__(self, file: Path, fill: Callable[[Engine], None]) -> None:
        self.file, self.url = file, f"sqlite:///{file}"
        engine = open_database(self.url)
        fill(engine)
        engine.dispose()
        base = sqlite3.connect(file.with_suffix(".base"))
        self._raw = sqlite3.connect(file, isolation_level=None)
        self._raw.execute("PRAGMA synchronous=OFF")
        self._raw.backup(base)
        base.close()
        self._raw.execute("ATTACH ? AS base", [str(file.with_suffix(".base"))])
        tables = [
            name
            for (name,) in self._raw.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
            if not name.startswith("sqlite_")
        ]
        filled = {name for name in tables if self._raw.execute(f'SELECT 1 FROM base."{name}" LIMIT 1').fetchone()}
        self._reset = "BEGIN IMMEDIATE;" + "".join(
            f'DELETE FROM main."{name}";'
            + (f'INSERT INTO main."{name}" SELECT * FROM base."{name}";' if name in filled else "")
            for name in tables
        )
        self._engines: dict[str, Engine] = {}

    def reset(self) -> None:
        """As every seed begins."""
        self._raw.executescript(self._reset + "COMMIT;")

    def rows(self, query: str, *values: Any) -> list[Any]:
        """What a query finds, past the simulation."""
        return self._raw.execute(query, values).fetchall()

    def engine(self, slot: str) -> Engine:
        """The engine of a process of this front-end."""
        if slot not in self._engines:
            engine = open_database(self.url)

            @event.listens_for(engine, "do_connect")
            def connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> Any:
                return sqlite3.connect(*arguments, **(named | {"factory": SqliteConnection}))

            @event.listens_for(engine, "checkout")
            def ready(connection: Any, _record: Any, _proxy: Any) -> None:
                connection.is_ready = True

            self._engines[slot] = engine
        return self._engines[slot]

    def close(self) -> None:
        """Let go of everything."""
        for engine in self._engines.values():
            engine.dispose()
        self._raw.close()


class Center:
    """The PostgreSQL database of the centre."""

    def __init__(self, url: str, fill: Callable[[Engine], None]) -> None:
        self.url = url
        engine = open_database(url)
        fill(engine)
        engine.dispose()
        self._raw = psycopg.connect(url, autocommit=True, options="-c synchronous_commit=off")
        self._looker = psycopg.connect(url, autocommit=True)
        World.looker = self._looker
        tables = self._names("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        self._tables = [name for name in tables if not is_partition(name)]
        self._sequences = self._names("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1")
        self._engines: dict[str, Engine] = {}
        self.keep(KEPT)
        self._reset = self._restoring(KEPT)

    def keep(self, schema: str) -> None:
        """Keep what there is now, as a backup does."""
        made = [sql.SQL("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}").format(sql.Identifier(schema))]
        made += [
            sql.SQL("CREATE TABLE {}.{} AS TABLE public.{}").format(*map(sql.Identifier, (schema, name, name)))
            for name in self._tables
        ]
        made += [
            sql.SQL("CREATE TABLE {}.{} AS SELECT last_value, is_called FROM public.{}").format(
                sql.Identifier(schema), sql.Identifier(f"seq_{name}"), sql.Identifier(name)
            )
            for name in self._sequences
        ]
        self._raw.execute(sql.SQL("; ").join(made))

    def _restoring(self, schema: str) -> sql.Composed:
        steps: list[sql.Composable] = [sql.SQL("BEGIN; SET LOCAL session_replication_role = replica")]
        for name in self._tables:
            steps.append(sql.SQL("DELETE FROM public.{}").format(sql.Identifier(name)))
        for name in self._tables:
            (count,) = self._one(
                sql.SQL("SELECT count(*) FROM {}.{}").format(sql.Identifier(schema), sql.Identifier(name))
            )
            if count:
                columns = sql.SQL(", ").join(map(sql.Identifier, self._columns(name)))
                steps.append(
                    sql.SQL("INSERT INTO public.{0} ({2}) OVERRIDING SYSTEM VALUE SELECT {2} FROM {1}.{0}").format(
                        sql.Identifier(name), sql.Identifier(schema), columns
                    )
                )
        for name in self._sequences:
            steps.append(
                sql.SQL("SELECT setval({}, last_value, is_called) FROM {}.{}").format(
                    sql.Literal(f'public."{name}"'), sql.Identifier(schema), sql.Identifier(f"seq_{name}")
                )
            )
        return sql.SQL("; ").join([*steps, sql.SQL("COMMIT")])

    def _columns(self, table: str) -> list[str]:
        return self._names(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            " AND attgenerated = '' ORDER BY attnum",
            f'public."{table}"',
        )

    def _names(self, query: str, *values: Any) -> list[str]:
        return [name for (name,) in self._raw.execute(query, values).fetchall()]

    def _one(self, query: Any) -> Any:
        return self._raw.execute(query).fetchone()

    def reset(self) -> None:
        """As every seed begins."""
        self._raw.execute(self._reset)

    def restore(self, schema: str) -> None:
        """Back to what was kept, as from a backup: what came after it is not there any more."""
        self._raw.execute(self._restoring(schema))

    def tidy(self) -> None:
        """Make room, after many seeds."""
        self._raw.execute("VACUUM")

    def rows(self, query: str, *values: Any) -> list[Any]:
        """What a query finds, past the simulation; `%s` for values."""
        return self._raw.execute(query, values or None).fetchall()

    def run(self, statement: str, *values: Any) -> None:
        """Change something past the simulation: what an operator does by hand."""
        self._raw.execute(statement, values or None)

    def engine(self, slot: str) -> Engine:
        """The engine of a process of the centre."""
        if slot not in self._engines:
            engine = open_database(self.url)

            @event.listens_for(engine, "do_connect")
            def connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> Any:
                named = named | {"options": named["options"] + OPTIONS}
                return PostgresConnection.connect(*arguments, **named)

            @event.listens_for(engine, "checkout")
            def ready(connection: Any, _record: Any, _proxy: Any) -> None:
                connection.is_ready = True

            self._engines[slot] = engine
        return self._engines[slot]

    def held(self) -> list[str]:
        """Whose connections were not given back."""
        return [slot for slot, engine in self._engines.items() if engine.pool.checkedout()]  # type: ignore[attr-defined]

    def close(self) -> None:
        """Let go of everything."""
        for engine in self._engines.values():
            engine.dispose()
        self._raw.close()
        self._looker.close()


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of an empty database on a PostgreSQL of our own."""
    with Supervisor(folder / "data", say=lambda line: None) as supervisor:
        prepared = postgres.prepare(folder / "database", port=0, databases=["center"])
        supervisor.start(quick(prepared.service, "--autovacuum=off"))  # `Center.tidy` makes room
        log_in_quickly(prepared.urls["center"])
        yield prepared.urls["center"]
