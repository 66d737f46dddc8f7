"""Deciding a prepared claim in the place of its institution (代为确认、取消): proposed by one, approved by another."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from center.approving import proposals
from center.approving.actions import Action, CannotDo, Payload
from center.ledger import audit
from center.outcomes import rows
from center.outcomes.decide import decide_one
from center.outcomes.rows import Key, OutcomeRow
from center.served import frontend_of
from center.settling import records
from domain.messages import ClaimAnswer, OutcomeDecision
from domain.money import yuan
from domain.outcomes import OutcomeState
from infra.codec import unpack

FORCE = "outcome.force"
_WORDS = {True: "确认", False: "取消"}


def propose_force(connection: Connection, key: Key, *, confirm: bool, by: str, reason: str, at: datetime) -> int:
    """Propose to confirm or cancel a prepared claim; the proposal's number. Raises CannotDo, CannotPropose,
    AlreadyProposed."""
    payload = {"institution_code": key[0], "visit_no": key[1], "charge_batch_no": key[2], "confirm": confirm}
    return proposals.propose(
        connection,
        FORCE,
        payload,
        by=by,
        reason=reason,
        institution_code=key[0],
        effect=predict(connection, payload, at=at),
        at=at,
    )


def predict(connection: Connection, payload: Payload, *, at: datetime) -> str:
    """What would be booked, or that nothing would. Raises CannotDo."""
    row = _prepared(connection, payload, at)
    answer = unpack(row.answer, ClaimAnswer)
    number = f"{row.visit_no}-{row.charge_batch_no}"
    if not payload["confirm"]:
        return f"预结算 {number} 取消，不发生结算，参保人解除占用"
    return (
        f"预结算 {number} 按原结果入账：基金支付 {yuan(answer.fund_pay_fen)}，账户支付 {yuan(answer.account_pay_fen)}"
    )


def execute(
    connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
) -> str:
    """Confirm or cancel it. Raises CannotDo."""
    row = _prepared(connection, payload, at)
    confirm = bool(payload["confirm"])
    decision = OutcomeDecision(row.institution_code, row.visit_no, row.charge_batch_no, confirm)
    frontend = frontend_of(connection, row.institution_code) or row.frontend
    told = decide_one(records.cursor_of(connection), decision, frontend=frontend, at=at, by=approved_by)
    done = OutcomeState.CONFIRMED if confirm else OutcomeState.CANCELLED
    if told.state != done:
        raise CannotDo(told.detail or f"该笔现为 {told.state}")
    number = f"{row.visit_no}-{row.charge_batch_no}"
    audit.note(
        connection,
        by=approved_by,
        action=FORCE,
        subject=number,
        reason=f"申请 {proposal_no}，{by} 提请",
        institution_code=row.institution_code,
        at=at,
        details={"proposal": proposal_no, "proposed_by": by, "decision": _WORDS[confirm]},
    )
    return f"预结算 {number} 已代为{_WORDS[confirm]}"


def _prepared(connection: Connection, payload: Payload, at: datetime) -> OutcomeRow:
    key: Key = (str(payload["institution_code"]), str(payload["visit_no"]), int(payload["charge_batch_no"]))
    row = rows.read(records.cursor_of(connection), [key]).get(key)
    if row is None or row.state != OutcomeState.PREPARED:
        raise CannotDo(f"中心没有待确认的预结算 {key[1]}-{key[2]}")
    if row.expires_at is None or row.expires_at <= at:
        raise CannotDo(f"预结算 {key[1]}-{key[2]} 已过确认时限，不能再确认，也无须取消")
    return row


ACTIONS: Mapping[str, Action] = {FORCE: Action("代为确认或取消预结算", predict, execute)}
