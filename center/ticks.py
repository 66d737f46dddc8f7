"""When each part of the schedule last rang: what doctors and metrics look at."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from center.tables import tick


def ticked(connection: Connection, name: str, now: float) -> None:
    """Note that the schedule rang; `now` is real seconds."""
    adding = insert(tick).values(name=name, at=now)
    connection.execute(adding.on_conflict_do_update(index_elements=["name"], set_={"at": now}))
