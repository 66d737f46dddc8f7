"""When each part of the schedule last rang: what doctors and metrics look at; and what is done once a night."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from center.tables import tick

NIGHT_HOURS = range(2, 5)
"""Hardly anybody settles then."""


def ticked(connection: Connection, name: str, now: float) -> None:
    """Note that the schedule rang; `now` is real seconds."""
    adding = insert(tick).values(name=name, at=now)
    connection.execute(adding.on_conflict_do_update(index_elements=["name"], set_={"at": now}))


def is_for_tonight(last: datetime | None, at: datetime) -> bool:
    """Whether it is night on the business clock, and what is done once a night is still to be done."""
    return at.hour in NIGHT_HOURS and (last is None or at - last >= timedelta(hours=len(NIGHT_HOURS)))
