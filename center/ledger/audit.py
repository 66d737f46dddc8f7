"""Who did what, to what, when and why (操作留痕): one row for each action of an operator, in the chain.

The row is written in the transaction of the action itself: what was done is noted, and what is noted was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from center.ledger import chain
from center.ledger.layouts import AUDIT
from center.ledger.tables import audit
from center.settling.records import cursor_of
from infra.clock import SHANGHAI

LONGEST_NAME, LONGEST_SUBJECT = 40, 128
STATION = func.current_setting("application_name")


class NobodyNamed(Exception):
    """An action has no name of who does it, or one that is too long."""

    def __init__(self) -> None:
        super().__init__(f"请写明操作人，至多 {LONGEST_NAME} 字")


def note(
    connection: Connection,
    *,
    by: str,
    action: str,
    subject: str,
    reason: str,
    institution_code: str = chain.CITY,
    at: datetime,
    details: Mapping[str, str | int] = {},
) -> int:
    """Note one action and link it into the chain; its number. Raises NobodyNamed.

    `by` is who says he acts; under which login of which machine stands in the details (`infra.database.station`).
    It locks the head of a chain: note an action after everything that takes other locks.
    """
    if not 0 < len(by) <= LONGEST_NAME:
        raise NobodyNamed
    written = insert(audit).values(
        at=at,
        by=by,
        action=action,
        subject=subject[:LONGEST_SUBJECT],
        reason=reason,
        institution_code=institution_code,
        details=literal(dict(details), JSONB).concat(func.jsonb_build_object("station", STATION)),
    )
    number: int = connection.execute(written.returning(audit.c.audit_no)).scalar_one()
    chain.seal(cursor_of(connection), {institution_code: [number]}, at=at, kind=AUDIT)
    return number


class Noted(NamedTuple):
    """One action as it was noted."""

    audit_no: int
    at: datetime
    by: str
    action: str
    subject: str
    reason: str
    institution_code: str
    details: Mapping[str, Any]


class Wanted(NamedTuple):
    """Which actions are looked for: all that are left empty match any; `action` may be only how it begins."""

    by: str = ""
    action: str = ""
    subject: str = ""
    institution_code: str = ""
    first_day: date | None = None
    last_day: date | None = None


def find(connection: Connection, wanted: Wanted, *, limit: int) -> list[Noted]:
    """The newest actions that match, the newest first; at most so many."""
    columns = audit.c
    query = select(*[columns[name] for name in Noted._fields]).order_by(columns.audit_no.desc()).limit(limit)
    for name in ("by", "subject", "institution_code"):
        if value := getattr(wanted, name):
            query = query.where(columns[name] == value)
    if wanted.action:
        query = query.where(columns.action.startswith(wanted.action, autoescape=True))
    if wanted.first_day is not None:
        query = query.where(columns.at >= datetime.combine(wanted.first_day, time(), SHANGHAI))
    if wanted.last_day is not None:
        query = query.where(columns.at < datetime.combine(wanted.last_day, time(), SHANGHAI) + timedelta(days=1))
    return [Noted(*row) for row in connection.execute(query)]
