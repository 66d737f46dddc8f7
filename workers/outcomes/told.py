"""Recording what the centre told of claims by their own keys. Told again, or late, it changes nothing.

The rule (docs/outcomes.md): settled, cancelled, expired, refused: the claim is finished so. Prepared: it waits for its
institution, and what the institution has decided already is asked of the centre next. Not known there, or refused
there as it was submitted earlier: it is sent again, under the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, tuple_, update

from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, OutcomeTold, ToldOutcome
from domain.outcomes import OutcomeState, Phase
from domain.refusals import HOLDS, STALE, Refusal
from infra.codec import pack, unpack
from workers import line_answers, retotal
from workers.deliver import record_answers
from workers.retotal import Retotalling
from workers.tables import claim

_ITS_OWN = (Phase.SETTLE, Phase.PREPARE)
_WAITING = (ClaimState.TOTALLED, ClaimState.PREPARED)
_FOUND = select(
    claim.c.claim_id,
    claim.c.visit_no,
    claim.c.charge_batch_no,
    claim.c.state,
    claim.c.phase,
    claim.c.answer,
    claim.c.totals,
    claim.c.local,
    claim.c.submission,
).where(claim.c.contra_of.is_(None))
"""Not a refund nor what is kept of one: those are one request, and one answer tells both (`workers.refund`)."""


@dataclass(slots=True)
class Recorded:
    """What is to be done after what was told is recorded and committed."""

    recorded: int = 0
    again: list[int] = field(default_factory=list)
    """Claims the centre does not know: their totals are to be sent again."""
    is_due: bool = False
    """A decision waits that can be sent now."""
    doubted: list[str] = field(default_factory=list)
    """Persons of whom the centre does not have what we counted into their lease."""
    stale: Retotalling = field(default_factory=Retotalling)
    """Claims that are totalled again."""


def record(connection: Connection, told: OutcomeTold, *, at: datetime) -> Recorded:
    """Record each outcome where the claim still waits for it."""
    came = Recorded()
    rows = _rows(connection, told.outcomes)
    for outcome in told.outcomes:
        row = rows.get((outcome.visit_no, outcome.charge_batch_no))
        if row is not None:
            _record_one(connection, outcome, row, came, at=at)
    numbers = {(each.visit_no, each.charge_batch_no): each.submission for each in told.outcomes}
    stale = [ClaimAnswer(*each[1:3], each.refusal, each.detail) for each in told.outcomes if each.refusal in STALE]
    came.stale = retotal.take_back(connection, stale, numbers, wanted=told.wanted, at=at)
    return came


def _rows(connection: Connection, outcomes: Sequence[ToldOutcome]) -> dict[tuple[str, int], Any]:
    keys = [(each.visit_no, each.charge_batch_no) for each in outcomes]
    if not keys:
        return {}
    found = connection.execute(_FOUND.where(tuple_(claim.c.visit_no, claim.c.charge_batch_no).in_(keys)))
    return {(row.visit_no, row.charge_batch_no): row for row in found}


def _record_one(connection: Connection, outcome: ToldOutcome, row: Any, came: Recorded, *, at: datetime) -> None:
    if outcome.refusal in HOLDS:
        _move(connection, row, _WAITING, waits_for=outcome.refusal)
        return
    if outcome.state == OutcomeState.REFUSED and outcome.submission < row.submission:
        _send_again(row, came)  # as it is submitted now it has not come, or had to wait
        return
    if outcome.refusal in STALE and row.phase in _ITS_OWN:
        return  # totalled again by itself: `workers.retotal`
    match OutcomeState(outcome.state):
        case OutcomeState.CONFIRMED if outcome.answer is not None:
            came.recorded += record_answers(connection, ClaimsAnswered(answers=(outcome.answer,)), at=at)
        case OutcomeState.CANCELLED | OutcomeState.EXPIRED:
            came.recorded += _end(connection, outcome, row, ClaimState.CANCELLED, _WAITING, refused_at=at)
            if row.local is not None and row.totals is not None:
                came.doubted.append(unpack(row.totals, ClaimTotals).citizen_id_no)
        case OutcomeState.REFUSED if outcome.answer is not None and outcome.answer.failed:
            numbers = {(outcome.visit_no, outcome.charge_batch_no): outcome.submission}
            came.recorded += line_answers.record_failed(connection, [outcome.answer], numbers, at=at)
        case OutcomeState.REFUSED:
            number = outcome.submission
            values = {"submission": number, "refused_at": at}
            came.recorded += _end(connection, outcome, row, ClaimState.REFUSED, (ClaimState.TOTALLED,), **values)
        case OutcomeState.PREPARED if outcome.answer is not None:
            _record_prepared(connection, outcome, outcome.answer, row, came, at=at)
        case OutcomeState.UNKNOWN:
            _send_again(row, came)
        case _:
            pass


def _send_again(row: Any, came: Recorded) -> None:
    if row.state in _WAITING and row.phase != Phase.CANCEL:
        came.again.append(row.claim_id)


def _record_prepared(
    connection: Connection, outcome: ToldOutcome, answer: ClaimAnswer, row: Any, came: Recorded, *, at: datetime
) -> None:
    """The claim waits for its institution from here on. Prepared once more, because a restored centre had forgotten it,
    it must come to what was told before; else it is cancelled: nobody confirms amounts they have not seen."""
    if row.phase == Phase.SETTLE:
        return
    if answer.split is not None:
        line_answers.record_splits(connection, [answer], at=at)
    values: dict[str, Any] = {"waits_for": None, "expires_at": at + timedelta(seconds=outcome.seconds_left)}
    if row.state == ClaimState.TOTALLED:
        values |= {"state": ClaimState.PREPARED, "answer": pack(answer)}
    elif row.answer is not None and unpack(row.answer, ClaimAnswer) != answer and row.phase != Phase.CANCEL:
        values |= {"phase": Phase.CANCEL, "decided_at": at, "decided_by": "prepared-otherwise"}
    phase = values.get("phase", row.phase)
    if phase != Phase.PREPARE:
        values |= {"attempts": 0, "rung_at": 0}
        came.is_due = True
    came.recorded += _move(connection, row, _WAITING, **values)


def _end(
    connection: Connection,
    outcome: ToldOutcome,
    row: Any,
    to: ClaimState,
    states: Sequence[ClaimState],
    **values: Any,
) -> int:
    code = outcome.refusal or Refusal.CANCELLED
    answer = ClaimAnswer(row.visit_no, row.charge_batch_no, code, outcome.detail)
    return _move(connection, row, states, state=to, refusal=code, answer=pack(answer), waits_for=None, **values)


def _move(connection: Connection, row: Any, states: Sequence[ClaimState], **values: Any) -> int:
    return connection.execute(
        update(claim)
        .where(claim.c.claim_id == row.claim_id, claim.c.state.in_(states), claim.c.phase == row.phase)
        .values(**values)
    ).rowcount
