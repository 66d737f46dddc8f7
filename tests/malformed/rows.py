"""Whether anything was written: the rows of every table of a front-end's database, counted where something changed."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect, text


class Rows:
    """Watches a database from a connection of its own, on which another one's commits are seen."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watching = engine.connect().execution_options(reading=True)
        self._raw = self._watching.connection.driver_connection
        self._version = self._seen()
        self._counts = self._counted()

    def changed(self) -> dict[str, int]:
        """By table, how many rows came or went since this was asked last; nothing where none did."""
        version = self._seen()
        if version == self._version:
            return {}
        self._version, before, self._counts = version, self._counts, self._counted()
        return {name: now - before[name] for name, now in self._counts.items() if now != before[name]}

    def close(self) -> None:
        """Let go of the database."""
        self._watching.close()

    def _seen(self) -> int:
        assert self._raw is not None
        version: int = self._raw.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _counted(self) -> dict[str, int]:
        with self._engine.connect().execution_options(reading=True) as connection:
            return {name: _count(connection, name) for name in inspect(connection).get_table_names()}


def _count(connection: Connection, table: str) -> int:
    counted: int = connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar_one()
    return counted
