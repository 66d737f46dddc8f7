"""What could not be read from a queue is set aside, sealed, with its reason: never logged, lost or retried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256

from sqlalchemy import Engine, Table, insert
from sqlalchemy.exc import SQLAlchemyError

from infra.clock import Clock
from infra.envelope import seal

log = logging.getLogger("quarantine")

LANE = "quarantine"

_keepers: list[Callable[[str, str, bytes], None]] = []
"""At most one: the quarantine of this process."""


class Quarantine:
    """Keeps unreadable messages in the site's own database, sealed with the site's own key."""

    def __init__(self, engine: Engine, table: Table, *, site: str, key: bytes, clock: Clock) -> None:
        self._engine, self._table = engine, table
        self._site, self._key, self._clock = site, key, clock

    def put(self, queue: str, reason: str, content: bytes) -> None:
        """Set one message aside. Raises SQLAlchemyError when the database is away."""
        digest = sha256(content).hexdigest()
        with self._engine.begin() as connection:
            connection.execute(
                insert(self._table).values(
                    arrived_at=self._clock.now(),
                    queue=queue[:64],
                    reason=reason[:64],
                    digest=digest,
                    content=seal(content, frontend=self._site, lane=LANE, key=self._key),
                )
            )
        log.warning("message_set_aside", extra={"queue": queue, "reason": reason, "digest": digest[:16]})


def keep_with(quarantine: Quarantine) -> None:
    """Use this quarantine for everything this process cannot read."""
    _keepers[:] = [quarantine.put]


def set_aside(queue: str, reason: str, content: bytes) -> bool:
    """Hand one unreadable message to the process' quarantine; False when it is away, and the message must be kept."""
    if not _keepers:
        log.error("message_dropped_without_quarantine", extra={"queue": queue, "reason": reason})
        return True
    try:
        _keepers[0](queue, reason, content)
    except SQLAlchemyError as error:
        log.error("quarantine_away", extra={"queue": queue, "reason": reason, "error": type(error).__name__})
        return False
    return True
