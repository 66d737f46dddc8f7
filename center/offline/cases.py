"""The open cases of off-line settlement, as an operator reads and closes them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from center.ledger import audit
from center.offline.posting import OFFLINE_KINDS
from center.tables import difference_case

_KINDS = [str(kind) for kind in OFFLINE_KINDS]


class NoSuchCase(Exception):
    """There is no open case of off-line settlement under this number."""


class OfflineCase(NamedTuple):
    """One case: account fen of both sides, and the words with the proposed repair."""

    case_id: int
    kind: str
    institution_code: str
    visit_no: str
    charge_batch_no: int
    center_fen: int
    frontend_fen: int
    words: str
    opened_at: datetime
    closed_at: datetime | None


def listed(connection: Connection, *, institution_code: str = "", everything: bool = False) -> list[OfflineCase]:
    """The open cases, or all of them, in the order they were opened."""
    columns = difference_case.c
    query = select(*[columns[name] for name in OfflineCase._fields]).where(columns.kind.in_(_KINDS))
    if institution_code:
        query = query.where(columns.institution_code == institution_code)
    if not everything:
        query = query.where(columns.closed_at.is_(None))
    return [OfflineCase(*row) for row in connection.execute(query.order_by(columns.case_id))]


def close(connection: Connection, case_id: int, *, by: str, reason: str, at: datetime) -> OfflineCase:
    """Close a case: the institution and the person are even, or the office has decided. Raises NoSuchCase."""
    found = next((case for case in listed(connection) if case.case_id == case_id), None)
    if found is None:
        raise NoSuchCase(case_id)
    connection.execute(update(difference_case).where(difference_case.c.case_id == case_id).values(closed_at=at))
    audit.note(
        connection,
        by=by,
        action="offline.close",
        subject=f"{found.visit_no}-{found.charge_batch_no}",
        reason=reason,
        institution_code=found.institution_code,
        at=at,
        details={"case": case_id, "kind": found.kind, "center_fen": found.center_fen, "told_fen": found.frontend_fen},
    )
    return found
