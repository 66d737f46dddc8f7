"""What an institution decides about a claim (确认、取消): noted once, durably, and asked of the centre until answered.

What is noted is the claim's phase, by compare-and-set: of two who decide at once one is first, and the other hears so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer
from domain.outcomes import PHASES, Phase
from domain.refusals import Refusal, sentence
from infra.codec import pack
from workers import audit
from workers.claims import split_claim_no
from workers.moving.standing import against_unknown_key
from workers.numbers import wait_for_turn
from workers.tables import claim, tombstone
from workers.visit_steps import NotReady
from workers.visits.rows import CHANNEL as REGISTERED


class Against(StrEnum):
    """Why a claim is not confirmed, or not cancelled; nothing was changed by asking."""

    NOT_PREPARED = "claim-not-prepared"
    EXPIRED = "claim-expired"
    CANCELLED = "claim-cancelled"
    REFUSED = "claim-refused"
    SETTLED = "claim-settled"
    CONFIRMING = "claim-confirming"
    OF_A_VISIT = "claim-of-visit"


@dataclass(frozen=True, slots=True)
class Decided:
    """It is decided, now or before; `state` is where the claim stands. Ring the bell where it is new."""

    claim_id: int
    visit_no: str
    charge_batch_no: int
    state: ClaimState
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Buried:
    """No claim came under the key; one that still comes is not accepted."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The institution has no claim of this number."""


Decision = Decided | Against | Unknown

_CLAIM = select(
    claim.c.claim_id,
    claim.c.institution_code,
    claim.c.visit_no,
    claim.c.charge_batch_no,
    claim.c.state,
    claim.c.phase,
    claim.c.kind,
    claim.c.channel,
    claim.c.refusal,
)
_NOT_SENT = (ClaimState.HELD, ClaimState.ACCEPTED)
_SENT = (ClaimState.TOTALLED, ClaimState.PREPARED)
_ENDED_OTHERWISE = (ClaimState.RETURNED, ClaimState.REFUSED)


def confirm(
    engine: Engine,
    institution_code: str,
    number: str,
    *,
    at: datetime,
    by: str | None = None,
    reason: str | None = None,
) -> Decision:
    """Note that a prepared claim is to be settled: the HIS has booked it. `by` is who says so in its place."""
    with engine.begin() as connection:
        wait_for_turn(connection)
        found = _find(connection, institution_code, number)
        if found is None:
            return Unknown()
        state = ClaimState(found.state)
        if state is ClaimState.SETTLED:
            return _decided(found, is_new=False)
        if state is ClaimState.CANCELLED or found.phase == Phase.CANCEL:
            return Against.EXPIRED if found.refusal == Refusal.PREPARE_EXPIRED else Against.CANCELLED
        if state in _ENDED_OTHERWISE:
            return Against.REFUSED
        if state is not ClaimState.PREPARED:
            return Against.NOT_PREPARED
        return _decide(connection, found, Phase.CONFIRM, (ClaimState.PREPARED,), at=at, by=by, reason=reason)


def cancel(
    engine: Engine,
    institution_code: str,
    number: str,
    *,
    at: datetime,
    by: str | None = None,
    reason: str | None = None,
) -> Decision:
    """Note that a claim is not to be settled. What the centre has not seen is cancelled at once; for the rest the
    centre's answer decides, which may be that it was settled before."""
    with engine.begin() as connection:
        wait_for_turn(connection)
        found = _find(connection, institution_code, number)
        return Unknown() if found is None else _cancelled(connection, found, at=at, by=by, reason=reason)


def cancel_key(engine: Engine, institution_code: str, key: str, *, at: datetime) -> Decision | Buried | NotReady:
    """The same by the key the institution sent its claim under, whether it came or not.

    What never came is buried only by the front-end that would take it; another says who that is, or that the claim may
    be on its way here.
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        found = connection.execute(
            _CLAIM.where(claim.c.institution_code == institution_code, claim.c.idempotency_key == key)
        ).first()
        if found is not None:
            return _cancelled(connection, found, at=at)
        if is_buried(connection, institution_code, key):
            return Buried()
        elsewhere = against_unknown_key(connection, institution_code, key)
        if elsewhere is not None:
            return elsewhere
        connection.execute(
            insert(tombstone).values(institution_code=institution_code, idempotency_key=key, cancelled_at=at)
        )
        return Buried()


def is_buried(connection: Connection, institution_code: str, key: str) -> bool:
    """Whether the key was cancelled before a claim came under it."""
    of_key = tombstone.c.institution_code == institution_code, tombstone.c.idempotency_key == key
    return connection.execute(select(tombstone.c.cancelled_at).where(*of_key)).first() is not None


def _find(connection: Connection, institution_code: str, number: str) -> Any:
    key = split_claim_no(number)
    if key is None:
        return None
    return connection.execute(
        _CLAIM.where(
            claim.c.institution_code == institution_code,
            claim.c.visit_no == key[0],
            claim.c.charge_batch_no == key[1],
        )
    ).first()


def _cancelled(
    connection: Connection, found: Any, *, at: datetime, by: str | None = None, reason: str | None = None
) -> Decision:
    state = ClaimState(found.state)
    if state is ClaimState.SETTLED:
        return Against.SETTLED
    if state is ClaimState.CANCELLED or found.phase == Phase.CANCEL or state in _ENDED_OTHERWISE:
        return _decided(found, is_new=False)
    if found.channel == REGISTERED or found.kind != "normal":
        return Against.OF_A_VISIT
    if found.phase == Phase.CONFIRM:
        return Against.CONFIRMING
    if state in _SENT:
        return _decide(connection, found, Phase.CANCEL, _SENT, at=at, by=by, reason=reason)
    return _cancelled_here(connection, found, at=at, by=by, reason=reason)


def _cancelled_here(
    connection: Connection, found: Any, *, at: datetime, by: str | None, reason: str | None
) -> Decision:
    """Cancel what the centre has not seen; should the desk have taken it meanwhile, as what was sent."""
    answer = ClaimAnswer(found.visit_no, found.charge_batch_no, str(Refusal.CANCELLED), sentence(Refusal.CANCELLED))
    moved = connection.execute(
        update(claim)
        .where(claim.c.claim_id == found.claim_id, claim.c.state.in_(_NOT_SENT))
        .values(
            state=ClaimState.CANCELLED,
            phase=Phase.CANCEL,
            refusal=Refusal.CANCELLED,
            answer=pack(answer),
            decided_at=at,
            decided_by=by,
            reason=reason,
        )
    ).rowcount
    if not moved:  # the desk has taken it meanwhile, and sends it
        again = connection.execute(_CLAIM.where(claim.c.claim_id == found.claim_id)).one()
        return _cancelled(connection, again, at=at, by=by, reason=reason)
    _note(connection, found, Phase.CANCEL, at=at, by=by, reason=reason)
    return Decided(found.claim_id, found.visit_no, found.charge_batch_no, ClaimState.CANCELLED, is_new=False)


def _decide(
    connection: Connection,
    found: Any,
    to: Phase,
    states: Collection[ClaimState],
    *,
    at: datetime,
    by: str | None,
    reason: str | None,
) -> Decision:
    """Note the decision where none is noted, and let it be sent at once."""
    moved = connection.execute(
        update(claim)
        .where(
            claim.c.claim_id == found.claim_id,
            claim.c.state.in_(states),
            claim.c.phase.in_([phase for phase, following in PHASES.items() if to in following]),
        )
        .values(phase=to, decided_at=at, decided_by=by, reason=reason, attempts=0, rung_at=0, waits_for=None)
    ).rowcount
    if moved:
        _note(connection, found, to, at=at, by=by, reason=reason)
    return _decided(found, is_new=bool(moved))


def _note(connection: Connection, found: Any, to: Phase, *, at: datetime, by: str | None, reason: str | None) -> None:
    """Write down who decided in the institution's place; what the institution says itself stands with the claim."""
    if by is not None:
        audit.note(
            connection,
            by=by,
            action=f"claim.{to}",
            subject=f"{found.visit_no}-{found.charge_batch_no}",
            reason=reason or "",
            institution_code=found.institution_code,
            at=at,
        )


def _decided(found: Any, *, is_new: bool) -> Decided:
    return Decided(found.claim_id, found.visit_no, found.charge_batch_no, ClaimState(found.state), is_new)
