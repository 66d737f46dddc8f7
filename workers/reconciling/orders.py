"""A front-end's part of a repair: each order is carried out once; what came of it is told as often as it is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from domain.lifecycle import ASKED_AGAIN, ClaimState
from domain.messages import ClaimAnswer, ClaimsAnswered, RefundAnswered, RepairDone, RepairOrdered
from domain.repairs import Repair
from workers import contra_claims, refund
from workers.contra_claims import Made
from workers.deliver import record_answers
from workers.detail_states import DETAIL_DUE
from workers.numbers import wait_for_turn
from workers.reconciling.tables import repair_notice
from workers.tables import claim, hand_out
from workers.visits.handout import Kind

log = logging.getLogger("frontend")

LONGEST_WORDS = 600
UNKNOWN = "前置机没有此笔"


class Notice(NamedTuple):
    """What was done about a difference."""

    order_no: int
    institution_code: str
    repair: str
    visit_no: str
    charge_batch_no: int
    words: str
    done: bool
    outcome: str
    done_at: datetime


def notices(connection: Connection, institution_code: str, *, limit: int) -> list[Notice]:
    """What was done about an institution's differences, newest first."""
    columns = repair_notice.c
    query = select(repair_notice).where(columns.institution_code == institution_code)
    return [Notice(*row) for row in connection.execute(query.order_by(columns.order_no.desc()).limit(limit))]


def carry_out(connection: Connection, ordered: RepairOrdered, *, at: datetime) -> RepairDone:
    """Do what is ordered, or say why it cannot be done. An order that comes again is answered as before."""
    wait_for_turn(connection)
    columns = repair_notice.c
    before = connection.execute(
        select(columns.done, columns.outcome).where(columns.order_no == ordered.order_no)
    ).first()
    if before is not None:
        return RepairDone(order_no=ordered.order_no, done=before.done, words=before.outcome)
    done, words = _WORK.get(ordered.repair, _unknown)(connection, ordered, at)
    connection.execute(
        insert(repair_notice).values(
            order_no=ordered.order_no,
            institution_code=ordered.institution_code,
            repair=ordered.repair,
            visit_no=ordered.visit_no,
            charge_batch_no=ordered.charge_batch_no,
            words=ordered.words[:LONGEST_WORDS],
            done=done,
            outcome=words,
            done_at=at,
        )
    )
    log.info("repair_carried_out", extra={"order": ordered.order_no, "repair": ordered.repair, "done": done})
    return RepairDone(order_no=ordered.order_no, done=done, words=words)


Outcome = tuple[bool, str]


def _query(connection: Connection, ordered: RepairOrdered, at: datetime) -> Outcome:
    """Whether nobody here knows of it; what the front-end has, the centre may not take back."""
    row = _claim(connection, ordered, ordered.charge_batch_no)
    return (True, UNKNOWN) if row is None else (False, f"前置机有此笔，状态 {row.state}")


def _resend(connection: Connection, ordered: RepairOrdered, at: datetime) -> Outcome:
    """Record the answer if it never came, and hand the result to the institution once more."""
    row = _claim(connection, ordered, ordered.charge_batch_no)
    if row is None or ordered.answer is None:
        return False, UNKNOWN
    recorded = record_answers(connection, ClaimsAnswered(answers=(ordered.answer,)), at=at, is_ordered=True)
    _hand_out_again(connection, row)
    return True, "结果已补记，并重新交给机构" if recorded else "前置机已有结果，重新交给机构"


def _send_contra(connection: Connection, ordered: RepairOrdered, at: datetime) -> Outcome:
    """Record the centre's own contra settlement beside its original, and hand its result to the institution."""
    answer = ordered.answer
    original = _claim(connection, ordered, ordered.contra_of)
    if original is None or answer is None:
        return True, f"{UNKNOWN}，无须记反向结算"
    row = _claim(connection, ordered, answer.charge_batch_no)
    if row is None:
        _write_contra(connection, ordered, answer, at)
        return True, "反向结算已记账，并交给机构"
    if row.state == ClaimState.TOTALLED:
        _record_contra(connection, ordered, answer, at)
    _hand_out_again(connection, row)
    return True, "前置机已有反向结算，重新交给机构"


def _resubmit(connection: Connection, ordered: RepairOrdered, at: datetime) -> Outcome:
    """Send the claim again under its own key; one that was refused goes its whole way again."""
    row = _claim(connection, ordered, ordered.charge_batch_no)
    if row is None:
        return False, f"{UNKNOWN}，请机构以原就医登记号重新提交"
    was, becomes = ASKED_AGAIN
    states = {was: becomes, ClaimState.TOTALLED: ClaimState.TOTALLED, ClaimState.ACCEPTED: ClaimState.ACCEPTED}
    if row.state not in states:
        return False, f"前置机有此笔，状态 {row.state}，不能重新提交"
    connection.execute(
        update(claim)
        .where(claim.c.claim_id == row.claim_id, claim.c.state == row.state)
        .values(
            state=states[ClaimState(row.state)],
            refused_at=None,
            rung_at=0,
            attempts=0,
            submission=claim.c.submission + int(row.state == was),
        )
    )
    return True, "已按原就医登记号和费用批次重新提交"


def _upload_again(connection: Connection, ordered: RepairOrdered, at: datetime) -> Outcome:
    """Let the lines the claim was settled from go up in the next slice."""
    row = _claim(connection, ordered, ordered.charge_batch_no)
    if row is None or row.state != ClaimState.SETTLED:
        return False, UNKNOWN
    connection.execute(update(claim).where(claim.c.claim_id == row.claim_id).values(detail_state=DETAIL_DUE))
    return True, "明细待下一个上传时段重新上传"


def _tell(connection: Connection, ordered: RepairOrdered, at: datetime) -> Outcome:
    """The institution reads it with its differences."""
    return True, "已通知机构"


def _unknown(connection: Connection, ordered: RepairOrdered, at: datetime) -> Outcome:
    return False, "本版本前置机不能办理此事项"


_WORK: dict[str, Callable[[Connection, RepairOrdered, datetime], Outcome]] = {
    Repair.QUERY_THEN_CONTRA: _query,
    Repair.RESEND_ANSWER: _resend,
    Repair.SEND_CONTRA: _send_contra,
    Repair.RESUBMIT: _resubmit,
    Repair.UPLOAD_AGAIN: _upload_again,
    Repair.REVERSE_AT_INSTITUTION: _tell,
}


def _claim(connection: Connection, ordered: RepairOrdered, charge_batch_no: int) -> Any:
    return connection.execute(
        select(claim).where(
            claim.c.institution_code == ordered.institution_code,
            claim.c.visit_no == ordered.visit_no,
            claim.c.charge_batch_no == charge_batch_no,
        )
    ).first()


def _hand_out_again(connection: Connection, row: Any) -> None:
    connection.execute(update(claim).where(claim.c.claim_id == row.claim_id).values(handed_back=False))
    connection.execute(
        update(hand_out)
        .where(
            hand_out.c.visit_no == row.visit_no,
            hand_out.c.kind == Kind.RESULT,
            hand_out.c.number == row.charge_batch_no,
        )
        .values(handed_at=None)
    )


def _write_contra(connection: Connection, ordered: RepairOrdered, answer: ClaimAnswer, at: datetime) -> None:
    claims = contra_claims.claims_of(connection, ordered.visit_no)
    original = next(row for row in claims if row.charge_batch_no == ordered.contra_of)
    versions = original.policy_version, original.catalogue_version
    made = Made(answer.charge_batch_no, f"repair:{ordered.order_no}", at, *versions)
    contra_claims.write(connection, original, [contra_claims.contra_row(original, made, reason=ordered.words)])
    _record_contra(connection, ordered, answer, at)


def _record_contra(connection: Connection, ordered: RepairOrdered, answer: ClaimAnswer, at: datetime) -> None:
    answered = RefundAnswered(
        institution_code=ordered.institution_code,
        visit_no=ordered.visit_no,
        charge_batch_no=ordered.contra_of,
        contra_batch_no=answer.charge_batch_no,
        answers=(answer,),
    )
    refund.record(connection, answered, at=at)
