"""Recording what the centre answered. A claim leaves the outbox here and nowhere else."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, or_, select, tuple_, update

from domain.lifecycle import GIVEN_UP, ClaimState
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, DetailReceived
from domain.refusals import HOLDS, STALE, Refusal
from infra.codec import pack, unpack
from infra.database import execute_many
from workers import line_answers
from workers.detail_states import DETAIL_AT_CENTER, DETAIL_MISMATCH
from workers.tables import claim

_KEY = (claim.c.visit_no == bindparam("visit"), claim.c.charge_batch_no == bindparam("batch"))

# A settlement the centre committed is recorded also where it was cancelled meanwhile: money has moved. What was refused
# stays refused, here as there, unless it was sent again on purpose; or the office orders its result to be recorded.
_MAY_BE_SETTLED = or_(
    *(claim.c.state == state for state in (ClaimState.TOTALLED, ClaimState.PREPARED, ClaimState.CANCELLED))
)
_MAY_BE_ORDERED = or_(
    _MAY_BE_SETTLED,
    claim.c.state == GIVEN_UP[0],
    and_(claim.c.state == GIVEN_UP[1], claim.c.refusal.is_not(None)),
)
_RECORD = (
    update(claim)
    .where(*_KEY)
    .values(
        state=ClaimState.SETTLED,
        refusal=None,
        waits_for=None,
        handed_back=False,
        answer=bindparam("packed"),
        settled_at=bindparam("at"),
        settled_day=bindparam("day"),
        fund_pay_fen=bindparam("fund"),
        account_pay_fen=bindparam("account"),
        rung_at=0,
    )
)
_SETTLED = _RECORD.where(_MAY_BE_SETTLED)
_SETTLED_BY_ORDER = _RECORD.where(_MAY_BE_ORDERED)
_REFUSED = (
    update(claim)
    .where(*_KEY, claim.c.state == ClaimState.TOTALLED, claim.c.submission <= bindparam("number"))
    .where(claim.c.contra_of.is_(None))  # a refund is refused by its own answer: `workers.refund`
    .values(
        state=bindparam("to"),
        answer=bindparam("packed"),
        refusal=bindparam("code"),
        waits_for=None,
        submission=bindparam("number"),
        refused_at=bindparam("at"),
    )
)
_HELD_UP = update(claim).where(*_KEY, claim.c.state == ClaimState.TOTALLED).values(waits_for=bindparam("code"))
_GO_ON = HOLDS | STALE
_TO: dict[str, ClaimState] = {Refusal.CANCELLED: ClaimState.CANCELLED, Refusal.PREPARE_EXPIRED: ClaimState.CANCELLED}
"""Where a refusal leads that is not `refused`."""
_DETAIL = (
    update(claim)
    .where(*_KEY, claim.c.state == ClaimState.SETTLED, claim.c.detail_state != DETAIL_AT_CENTER)
    .values(detail_state=bindparam("received"))
)


def record_answers(connection: Connection, answered: ClaimsAnswered, *, at: datetime, is_ordered: bool = False) -> int:
    """Record the answers of the centre; how many were new. A repeated or late answer changes nothing.

    A refusal that only holds a claim up is noted for whoever asks; the claim stays in the outbox. So it does when the
    refusal is of an earlier submission of it, and when its totals are stale (`workers.retotal`). `is_ordered`: the
    office has a settlement recorded, whatever was told.
    """
    numbers = {(visit_no, batch_no): number for visit_no, batch_no, number in answered.resubmitted}
    settled = [_settled(answer, at) for answer in answered.answers if not answer.refusal]
    refused = [
        {
            "visit": answer.visit_no,
            "batch": answer.charge_batch_no,
            "packed": pack(answer),
            "code": answer.refusal,
            "to": _TO.get(answer.refusal, ClaimState.REFUSED),
            "number": numbers.get((answer.visit_no, answer.charge_batch_no), 0),
            "at": at,
        }
        for answer in answered.answers
        if answer.refusal and answer.refusal not in _GO_ON and not answer.failed
    ]
    failed = [answer for answer in answered.answers if answer.failed]
    held_up = [
        {"visit": answer.visit_no, "batch": answer.charge_batch_no, "code": answer.refusal}
        for answer in answered.answers
        if answer.refusal in HOLDS
    ]
    recorded = 0
    if any(answer.split for answer in answered.answers):
        line_answers.record_splits(connection, answered.answers, at=at)
    if settled:
        recorded += execute_many(connection, _SETTLED_BY_ORDER if is_ordered else _SETTLED, settled)
    if refused:
        recorded += connection.execute(_REFUSED, refused).rowcount
    if failed:
        recorded += line_answers.record_failed(connection, failed, numbers, at=at)
    if held_up:
        execute_many(connection, _HELD_UP, held_up)
    return recorded


def doubted(connection: Connection, answered: ClaimsAnswered) -> list[str]:
    """The persons of claims we settled ourselves and the centre settled otherwise, or not: what we hold of them is
    not what the centre has. To be asked before the answers are recorded."""
    doubtful = [
        answer for answer in answered.answers if answer.recomputed or (answer.refusal and answer.refusal not in HOLDS)
    ]
    if not doubtful:
        return []
    keys = [(answer.visit_no, answer.charge_batch_no) for answer in doubtful]
    rows = connection.execute(
        select(claim.c.totals).where(
            tuple_(claim.c.visit_no, claim.c.charge_batch_no).in_(keys),
            claim.c.state == ClaimState.TOTALLED,
            claim.c.local.is_not(None),
        )
    ).scalars()
    return sorted({unpack(totals, ClaimTotals).citizen_id_no for totals in rows if totals is not None})


def record_receipts(connection: Connection, received: DetailReceived) -> int:
    """Record which claims' detail is at the centre, and which it found not to be the detail; how many were new."""
    if not received.receipts:
        return 0
    return connection.execute(
        _DETAIL,
        [
            {
                "visit": receipt.visit_no,
                "batch": receipt.charge_batch_no,
                "received": DETAIL_AT_CENTER if receipt.accepted else DETAIL_MISMATCH,
            }
            for receipt in received.receipts
        ],
    ).rowcount


def _settled(answer: ClaimAnswer, at: datetime) -> dict[str, object]:
    settled_at = answer.settled_at or at
    return {
        "visit": answer.visit_no,
        "batch": answer.charge_batch_no,
        "packed": pack(answer),
        "at": settled_at,
        "day": settled_at.date(),
        "fund": answer.fund_pay_fen,
        "account": answer.account_pay_fen,
    }
