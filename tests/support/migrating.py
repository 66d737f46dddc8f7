"""The centre's migrations of an empty database: run once, and after that the same statements again.

Whoever restores a centre twenty times reads, compiles and runs forty migrations twenty times; what PostgreSQL is told
is the same every time. That the migrations themselves are right is proved elsewhere, on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event

from center import schema

_told: dict[str, str] = {}
"""By revision: everything PostgreSQL is told on the way there from nothing."""


@contextmanager
def migrations_once() -> Iterator[None]:
    """Databases with nothing in them are migrated quickly, from the second on."""
    with patch.object(schema, "command", SimpleNamespace(upgrade=_upgrade, downgrade=command.downgrade)):
        yield


def _upgrade(config: Config, revision: str) -> None:
    connection: Connection = config.attributes["connection"]
    if MigrationContext.configure(connection).get_current_revision() is not None:
        command.upgrade(config, revision)
        return
    if revision not in _told:
        _told[revision] = _told_by(connection, lambda: command.upgrade(config, revision))
        return
    raw: Any = connection.connection.driver_connection
    raw.execute(_told[revision])


def _told_by(connection: Connection, work: Any) -> str:
    """Do the work; every statement of it, with its values."""
    raw: Any = connection.connection.driver_connection
    told: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        told.append(psycopg.ClientCursor(raw).mogrify(statement, parameters or {}))

    event.listen(connection, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(connection, "before_cursor_execute", note)
    return ";\n".join(told)
