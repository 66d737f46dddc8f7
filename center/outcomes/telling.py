"""What a front-end is told of a claim: the row of its outcome, its settlement, or that it is not known here."""

from __future__ import annotations

from datetime import datetime
from math import ceil

from center.outcomes.rows import Key, OutcomeRow
from center.settling.settle import refused_answer
from center.settling.well_formed import Refused, refuse
from domain.messages import ClaimAnswer, ToldOutcome
from domain.outcomes import REFUSED_AFTER, OutcomeState
from domain.refusals import Refusal
from infra.codec import unpack


def told_of(row: OutcomeRow, *, at: datetime, refused: Refused | None = None) -> ToldOutcome:
    """The outcome as it stands; past its time a prepared claim is told as expired, whoever notes it first."""
    state = OutcomeState(row.state)
    if state is OutcomeState.PREPARED and row.expires_at is not None and row.expires_at <= at:
        state = OutcomeState.EXPIRED
    if refused is None and state in REFUSED_AFTER:
        refused = refuse(REFUSED_AFTER[state])
    left = 0
    if state is OutcomeState.PREPARED and row.expires_at is not None:
        left = ceil((row.expires_at - at).total_seconds())
    answered = state in (OutcomeState.PREPARED, OutcomeState.CONFIRMED)
    return ToldOutcome(
        *row.key,
        state,
        "" if refused is None else str(refused.refusal),
        "" if refused is None else refused.detail,
        unpack(row.answer, ClaimAnswer) if answered else None,
        left,
    )


def told_settled(key: Key, answer: bytes, refused: Refused | None = None) -> ToldOutcome:
    """The claim is settled, in one phase or in two: the answer as it was given."""
    told = ToldOutcome(*key, OutcomeState.CONFIRMED, answer=unpack(answer, ClaimAnswer))
    return told if refused is None else told._replace(refusal=str(refused.refusal), detail=refused.detail)


def told_refused(key: Key, refused: Refused) -> ToldOutcome:
    """The claim is refused, now or when it came."""
    number = refused.stored or 0
    told = ToldOutcome(*key, OutcomeState.REFUSED, str(refused.refusal), refused.detail, submission=number)
    return told._replace(answer=refused_answer(*key[1:], refused)) if refused.failed else told


def told_unknown(key: Key, refused: Refused | None = None) -> ToldOutcome:
    """Nothing is here under this key."""
    told = ToldOutcome(*key, OutcomeState.UNKNOWN)
    return told if refused is None else told._replace(refusal=str(refused.refusal), detail=refused.detail)


def not_to_be_cancelled(answer: bytes) -> Refused:
    """Why what is settled is not cancelled: it is taken back by a contra settlement."""
    return refuse(Refusal.SETTLED_ALREADY, held=str(unpack(answer, ClaimAnswer).settlement_no))
