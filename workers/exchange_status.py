"""How the shared tables of each institution were found at the last look: the poller notes it, the doctor reads it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from workers.tables import exchange_status


class Status(NamedTuple):
    """One institution's shared tables at `looked_at`; `error` is empty where they could be reached."""

    institution_code: str
    looked_at: datetime
    error: str
    unread: int
    failed: int


def note(connection: Connection, status: Status) -> None:
    """Keep the newest look at an institution's tables."""
    connection.execute(delete(exchange_status).where(exchange_status.c.institution_code == status.institution_code))
    connection.execute(insert(exchange_status).values(**status._asdict() | {"error": status.error[:64]}))


def statuses(connection: Connection) -> dict[str, Status]:
    """The last look at every institution's tables, by institution."""
    columns = [exchange_status.c[name] for name in Status._fields]
    return {row.institution_code: Status(*row) for row in connection.execute(select(*columns))}
