"""Sending what concerns outcomes: claims to be prepared, decisions, and questions about claims that were not answered.

Whatever is unanswered is sent again, with growing patience, until the centre has told what it has under the key. So a
claim is unknown no longer than the longest patience, a sweep and two answers after the link is up again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, and_, bindparam, or_, select, update

from domain import messages
from domain.lifecycle import ClaimState
from domain.messages import (
    ClaimKey,
    ClaimLines,
    ClaimTotals,
    OutcomeAsked,
    OutcomeDecided,
    OutcomeDecision,
    PrepareAsked,
    TotalsSubmitted,
)
from domain.outcomes import Phase
from infra import lanes
from infra.codec import unpack
from infra.database import execute_many, reading
from workers import lines
from workers.outbox import CLAIMS_PER_ENVELOPE, Outbox
from workers.tables import IS_UNDECIDED, claim

log = logging.getLogger("frontend")

T = TypeVar("T")

MOST = 1000
LONGEST_WAIT_SECONDS = 30.0
ASK_ANYWAY_SECONDS = 60.0
"""A prepared claim is asked about so often (real seconds) whatever its time is: our clock may have been wrong."""

_DUE = (
    select(
        claim.c.claim_id,
        claim.c.institution_code,
        claim.c.visit_no,
        claim.c.charge_batch_no,
        claim.c.state,
        claim.c.phase,
        claim.c.attempts,
    )
    .where(
        IS_UNDECIDED,
        or_(claim.c.attempts == 0, claim.c.rung_at < bindparam("rung_before")),
        or_(
            claim.c.phase != Phase.PREPARE,
            claim.c.state == ClaimState.TOTALLED,
            and_(
                claim.c.state == ClaimState.PREPARED,
                or_(claim.c.expires_at <= bindparam("at"), claim.c.rung_at < bindparam("asked_before")),
            ),
        ),
    )
    .order_by(claim.c.claim_id)
    .limit(MOST)
)
_DUE_OF = _DUE.where(claim.c.institution_code == bindparam("code"))
_SENT = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.phase == bindparam("of_phase"))
    .values(rung_at=bindparam("due"), attempts=claim.c.attempts + 1)
)


class Sending(Protocol):
    """What it takes to send: `workers.tasks.Frontend`."""

    @property
    def engine(self) -> Engine:
        """The front-end's database."""

    def send(self, task: str, lane: str, message: messages.Message, shown: dict[str, object]) -> bool:
        """Send one sealed message; False when the broker is away."""

    def now(self) -> datetime:
        """The business moment."""

    @property
    def outbox(self) -> Outbox:
        """Sends claims to the centre."""


def send_prepare(
    frontend: Sending, totals: Sequence[ClaimTotals], *, policy_version: str, catalogue_version: str
) -> int:
    """Ask the centre to prepare these claims; how many it was asked for."""
    sent = 0
    for part in _parts(totals):
        asked = PrepareAsked(policy_version=policy_version, catalogue_version=catalogue_version, claims=tuple(part))
        sent += len(part) * frontend.send(lanes.CLAIMS_PREPARE, lanes.SETTLE, asked, _shown(part))
    return sent


def send_due(frontend: Sending, *, now: float, after_seconds: float, institution_code: str = "") -> int:
    """Send decisions that are new or unanswered for a while, and ask about claims that were sent to be prepared and
    were not answered, or whose time is up; how many. Of one institution or all."""
    due = _DUE_OF if institution_code else _DUE
    moments = {"at": frontend.now(), "rung_before": now - after_seconds, "asked_before": now - ASK_ANYWAY_SECONDS}
    with reading(frontend.engine) as connection:
        found = connection.execute(due, {"code": institution_code, **moments}).all()
    if not found:
        return 0
    with frontend.engine.begin() as connection:
        execute_many(connection, _SENT, [_mark(row, now, after_seconds) for row in found])
    return _decide(frontend, found) + ask(frontend, [_key(row) for row in found if row.phase == Phase.PREPARE])


def ask(frontend: Sending, keys: Sequence[ClaimKey]) -> int:
    """Ask the centre what it has under these keys; about how many."""
    return sum(
        len(part) * frontend.send(lanes.OUTCOMES_ASK, lanes.SETTLE, OutcomeAsked(keys=tuple(part)), _shown(part))
        for part in _parts(keys)
    )


def send_again(frontend: Sending, claim_ids: Collection[int]) -> int:
    """Send the totals of these claims again, which the centre does not know; how many."""
    with reading(frontend.engine) as connection:
        batches, whole = _totals(connection, claim_ids)
    sent = sum(
        frontend.outbox.send_lines(claims, prepare=phase != Phase.SETTLE) for phase, claims in whole.items() if claims
    )
    for (phase, policy_version, catalogue_version), totals in batches.items():
        if phase != Phase.SETTLE:
            sent += send_prepare(frontend, totals, policy_version=policy_version, catalogue_version=catalogue_version)
            continue
        for part in _parts(totals):
            submitted = TotalsSubmitted(
                policy_version=policy_version, catalogue_version=catalogue_version, claims=tuple(part)
            )
            sent += len(part) * frontend.send(lanes.CLAIMS_SETTLE, lanes.SETTLE, submitted, _shown(part))
    return sent


def _totals(
    connection: Connection, claim_ids: Collection[int]
) -> tuple[dict[tuple[str, str, str], list[ClaimTotals]], dict[str, list[ClaimLines]]]:
    """By phase: what goes as totals, with its versions, and what goes with its lines."""
    rows = connection.execute(
        select(
            claim.c.claim_id,
            claim.c.phase,
            claim.c.policy_version,
            claim.c.catalogue_version,
            claim.c.totals,
            claim.c.sent_lines,
        ).where(
            claim.c.claim_id.in_(claim_ids),
            claim.c.state.in_((ClaimState.TOTALLED, ClaimState.PREPARED)),
            claim.c.phase != Phase.CANCEL,
            claim.c.contra_of.is_(None),
        )
    )
    batches: dict[tuple[str, str, str], list[ClaimTotals]] = defaultdict(list)
    whole: dict[str, dict[int, ClaimTotals]] = defaultdict(dict)
    for row in rows:
        totals = unpack(row.totals, ClaimTotals)
        if row.sent_lines:
            whole[row.phase][row.claim_id] = totals
        else:
            batches[row.phase, row.policy_version, row.catalogue_version].append(totals)
    return batches, {phase: lines.read(connection, of_phase) for phase, of_phase in whole.items()}


def _decide(frontend: Sending, found: Sequence[Any]) -> int:
    decisions = [OutcomeDecision(*_key(row), row.phase == Phase.CONFIRM) for row in found if row.phase != Phase.PREPARE]
    return sum(
        len(part)
        * frontend.send(lanes.CLAIMS_DECIDE, lanes.SETTLE, OutcomeDecided(decisions=tuple(part)), _shown(part))
        for part in _parts(decisions)
    )


def _mark(row: Any, now: float, after_seconds: float) -> dict[str, Any]:
    wait = min(after_seconds * (2 ** min(row.attempts, 10) - 1), LONGEST_WAIT_SECONDS)
    return {"id": row.claim_id, "of_phase": row.phase, "due": now + wait}


def _key(row: Any) -> ClaimKey:
    return ClaimKey(row.institution_code, row.visit_no, row.charge_batch_no)


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), CLAIMS_PER_ENVELOPE):
        yield rows[start : start + CLAIMS_PER_ENVELOPE]


def _shown(part: Sequence[ClaimTotals | ClaimKey | OutcomeDecision]) -> dict[str, object]:
    """What Flower may show of a message: where from and how many; the visit when there is one only."""
    institutions = {each.institution_code for each in part}
    show: dict[str, object] = {"claims": len(part)}
    if len(institutions) == 1:
        show["institution"] = part[0].institution_code
    if len(part) == 1:
        show["visit"] = part[0].visit_no
    return show
