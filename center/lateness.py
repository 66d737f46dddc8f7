"""How late a lane is: measured on the centre's own clock by probes that queue up like everybody else.

A broker's queue length says how many wait, not how long; a sender's clock says how long, on a clock that is not ours.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from center.tables import lane_health

PROBE_LOST_SECONDS = 10.0
"""A probe away for longer may have been lost with its broker: another is sent after it."""


def waiting_age(connection: Connection, lane: str, now: float) -> float:
    """How long, in real seconds, a message waits on the lane at present.

    What the newest probe that came back took is known; one that is not back has taken at least as long as it is away.
    """
    row = connection.execute(
        select(lane_health.c.waiting_since, lane_health.c.dwell_seconds).where(lane_health.c.lane == lane)
    ).first()
    if row is None:
        return 0.0
    away = 0.0 if row.waiting_since is None else now - row.waiting_since
    return float(max(row.dwell_seconds, away))


def probe_due(connection: Connection, lane: str, now: float) -> bool:
    """Whether a probe is to be sent down the lane now; it counts as sent from here on."""
    adding = insert(lane_health).values(lane=lane, probed_at=now, waiting_since=now, dwell_seconds=0.0)
    sent = connection.execute(
        adding.on_conflict_do_update(
            index_elements=["lane"],
            set_={"probed_at": now, "waiting_since": func.coalesce(lane_health.c.waiting_since, now)},
            where=lane_health.c.waiting_since.is_(None) | (lane_health.c.probed_at < now - PROBE_LOST_SECONDS),
        ).returning(lane_health.c.lane)
    )
    return sent.first() is not None


def probe_back(connection: Connection, lane: str, *, sent_at: float, now: float) -> None:
    """Note that the probe sent at that moment has come out at the other end.

    Probes sent before it are back or lost; of those sent after it only the newest is remembered.
    """
    connection.execute(
        update(lane_health)
        .where(lane_health.c.lane == lane)
        .values(
            dwell_seconds=max(0.0, now - sent_at),
            waiting_since=func.nullif(func.greatest(lane_health.c.probed_at, sent_at), sent_at),
        )
    )
