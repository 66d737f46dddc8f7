"""What is unknown (不确定交易): claims the centre was sent, or asked about, and has not answered; and how old they are.

Nothing here names a person. A claim that waits for its institution, prepared and in time, is not unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from domain.lifecycle import ClaimState
from domain.outcomes import Phase
from workers.claims import claim_no
from workers.tables import IS_OPEN, IS_UNDECIDED, claim

_SINCE = func.coalesce(claim.c.decided_at, claim.c.accepted_at)
_COLUMNS = (
    claim.c.claim_id,
    claim.c.institution_code,
    claim.c.visit_no,
    claim.c.charge_batch_no,
    claim.c.kind,
    claim.c.state,
    claim.c.phase,
    claim.c.attempts,
    claim.c.waits_for,
    _SINCE.label("since"),
)

TRIED = {
    Phase.SETTLE: "重发结算申请（同一键）",
    Phase.PREPARE: "查询中心结果",
    Phase.CONFIRM: "重发确认",
    Phase.CANCEL: "重发取消",
}
"""What the sweep does about a claim, by what is asked of the centre."""
REFUND_TRIED = "重发退费申请（同一编号）"


@dataclass(frozen=True, slots=True)
class UnknownClaim:
    """A claim whose outcome at the centre is not known here."""

    claim_id: int
    claim_no: str
    institution_code: str
    kind: str
    state: ClaimState
    phase: Phase
    attempts: int
    """How often it was sent or asked about since it stands in this phase."""
    waits_for: str
    """The refusal that holds it up, if the centre answered with one: not unknown, but not done either."""
    since: datetime
    age_seconds: float

    @property
    def tried(self) -> str:
        """What is done about it by itself."""
        return TRIED[self.phase] if self.kind == "normal" else REFUND_TRIED


def listed(
    connection: Connection, *, at: datetime, institution_code: str = "", limit: int = 1000
) -> list[UnknownClaim]:
    """The unknown claims, oldest first, of one institution or all."""
    found: dict[int, Any] = {}
    for condition in (and_(IS_OPEN, claim.c.state == ClaimState.TOTALLED), _undecided(at)):
        asked = select(*_COLUMNS).where(condition).order_by(_SINCE, claim.c.claim_id).limit(limit)
        if institution_code:
            asked = asked.where(claim.c.institution_code == institution_code)
        found |= {row.claim_id: row for row in connection.execute(asked)}
    rows = sorted(found.values(), key=lambda row: (row.since, row.claim_id))
    return [_unknown(row, at) for row in rows[:limit]]


def oldest_seconds(connection: Connection, *, at: datetime, held_up: bool = False) -> float:
    """How old the oldest unknown claim is, on the business clock; 0 where there is none. Or the oldest of those the
    centre answered for that something holds it up: a frozen flow, or a preparation of the same person."""
    answered = claim.c.waits_for.is_not(None) if held_up else claim.c.waits_for.is_(None)
    first = [
        connection.execute(select(func.min(_SINCE)).where(condition, answered)).scalar()
        for condition in (and_(IS_OPEN, claim.c.state == ClaimState.TOTALLED), _undecided(at))
    ]
    return max([(at - since).total_seconds() for since in first if since is not None], default=0.0)


def _undecided(at: datetime) -> ColumnElement[bool]:
    """Prepared, and decided or past its time."""
    waits = or_(claim.c.phase != Phase.PREPARE, claim.c.expires_at <= at)
    return and_(IS_UNDECIDED, claim.c.state == ClaimState.PREPARED, waits)


def _unknown(row: Any, at: datetime) -> UnknownClaim:
    return UnknownClaim(
        row.claim_id,
        claim_no(row.visit_no, row.charge_batch_no),
        row.institution_code,
        row.kind,
        ClaimState(row.state),
        Phase(row.phase),
        row.attempts,
        row.waits_for or "",
        row.since,
        max(0.0, (at - row.since).total_seconds()),
    )
