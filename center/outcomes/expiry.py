"""The schedule's part in expiry: who is still held when the time is up, and is met by nobody, is let go of here."""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import Connection

from center.outcomes import holds
from center.settling import records

log = logging.getLogger("center")

MOST = 500


def expire(connection: Connection, *, at: datetime, most: int = MOST) -> int:
    """Let prepared claims expire whose time is up, at most so many; how many."""
    cursor = records.cursor_of(connection)
    cursor.execute(
        "SELECT person_no, family_person_no FROM outcome WHERE state = 'prepared' AND expires_at <= %s"
        " ORDER BY expires_at LIMIT %s",
        [at, most],
    )
    due = {number for row in cursor.fetchall() for number in row if number is not None}
    if not due:
        return 0
    records.lock_persons_numbered(cursor, due)
    expired = holds.release_expired(cursor, due, at=at)
    log.info("prepared_expired", extra={"claims": expired})
    return expired
