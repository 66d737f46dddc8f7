"""Who decided what at this front-end in an institution's place, and why: written in the transaction that does it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from workers.tables import audit


def note(
    connection: Connection, *, by: str, action: str, subject: str, reason: str, institution_code: str, at: datetime
) -> None:
    """Write down what somebody does."""
    connection.execute(
        insert(audit).values(
            at=at,
            by=by[:40],
            action=action,
            subject=subject[:40],
            reason=reason[:200],
            institution_code=institution_code,
        )
    )


def noted(connection: Connection, *, most: int = 200) -> Sequence[Row[Any]]:
    """What was done, newest first."""
    return connection.execute(select(audit).order_by(audit.c.audit_id.desc()).limit(most)).all()
