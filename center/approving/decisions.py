"""Deciding (复核): somebody else approves a proposal, and it is done in the same transaction; or rejects it. Once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, select, update

from center.approving import proposals
from center.approving.actions import Action, CannotDo
from center.approving.proposals import LONGEST_NAME, LONGEST_REASON, Proposal
from center.approving.registry import ACTIONS
from center.approving.tables import APPROVED, OPEN, REJECTED, STALE, proposal
from center.ledger import audit
from center.transactions import in_transaction

log = logging.getLogger("center")

STATE_WORDS = {OPEN: "待复核", APPROVED: "已批准并执行", REJECTED: "已退回", STALE: "账已变动，作废"}


class CannotDecide(Exception):
    """It cannot be decided, or not by this person; nothing was changed. The message is for the clerk."""


class Outcome(NamedTuple):
    """What became of the proposal."""

    proposal_no: int
    state: str
    """approved; rejected; stale, the books have moved; open, it could not be done."""
    words: str
    """What was done, or why not, in Chinese."""


def approve(
    engine: Engine,
    proposal_no: int,
    *,
    by: str,
    at: datetime,
    actions: Mapping[str, Action] = ACTIONS,
    by_login: bool = False,
) -> Outcome:
    """Have the proposal done, if `by` is not who proposed it and it would still do what it said. Raises CannotDecide.

    `by_login`: nor may it come from the login and machine it was proposed from, whatever names are given.
    Its effect is predicted again; when the books have moved, it is closed as stale and nothing is done. When it
    cannot be done, it stays open and the outcome says why. An exception of the action's own making is noted with the
    proposal and raised: that is ours to mend.
    """

    def approve_now(connection: Connection) -> Outcome:
        found = _to_decide(connection, proposal_no, by, at)
        if by_login and connection.execute(select(audit.STATION)).scalar() == found.proposed_from:
            raise CannotDecide(f"提请和复核是同一系统用户（{found.proposed_from}），须由另一人以自己的登录办理")
        action = actions.get(found.action)
        if action is None:
            raise CannotDecide(f"申请 {proposal_no} 的事项 {found.action} 本版本不能执行")
        try:
            with connection.begin_nested():
                state, words = _done_or_stale(connection, found, action, by=by.strip(), at=at)
        except CannotDo as why:
            return _failed(connection, found, str(why), by=by, at=at)
        return _decided(connection, found, state, words, by=by, at=at)

    try:
        outcome = in_transaction(engine, approve_now)
    except CannotDecide:
        raise
    except Exception as error:
        _note_fault(engine, proposal_no, type(error).__name__, by=by, at=at)
        raise
    log.info("proposal_decided", extra={"proposal": proposal_no, "state": outcome.state})
    return outcome


def reject(engine: Engine, proposal_no: int, *, by: str, reason: str, at: datetime) -> Outcome:
    """Send the proposal back; nothing of it is done. Raises CannotDecide."""
    reason = reason.strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        raise CannotDecide(f"退回要写明理由，至多 {LONGEST_REASON} 字")

    def reject_now(connection: Connection) -> Outcome:
        found = _to_decide(connection, proposal_no, by, at)
        return _decided(connection, found, REJECTED, reason, by=by, at=at)

    return in_transaction(engine, reject_now)


def _to_decide(connection: Connection, proposal_no: int, by: str, at: datetime) -> Proposal:
    """The proposal, locked, open, and somebody else's."""
    found = proposals.locked(connection, proposal_no)
    if found is None:
        raise CannotDecide(f"没有申请 {proposal_no}")
    if found.state != OPEN:
        raise CannotDecide(f"申请 {proposal_no} {STATE_WORDS[found.state]}（{found.decided_by}）")
    if not found.is_open(at):
        raise CannotDecide(f"申请 {proposal_no} 已于 {found.expires_at:%Y-%m-%d %H:%M} 过期，请重新提请")
    if not 0 < len(by.strip()) <= LONGEST_NAME:
        raise CannotDecide("请写明复核人：--by")
    if by.strip().casefold() == found.proposed_by.casefold():
        raise CannotDecide("不能复核自己提请的事项，须由另一人办理")
    return found


def _done_or_stale(
    connection: Connection, found: Proposal, action: Action, *, by: str, at: datetime
) -> tuple[str, str]:
    """The state it comes to, and the words. Raises CannotDo."""
    now = action.predict(connection, found.payload, at=at)
    if now != found.effect:
        return STALE, f"提请之后账已变动，现在的结果是：{now}"
    done = action.execute(
        connection, found.payload, proposal_no=found.proposal_no, by=found.proposed_by, approved_by=by, at=at
    )
    return APPROVED, done


def _decided(connection: Connection, found: Proposal, state: str, words: str, *, by: str, at: datetime) -> Outcome:
    """Close it, from open only."""
    closed = (
        update(proposal)
        .where(proposal.c.proposal_no == found.proposal_no, proposal.c.state == OPEN)
        .values(state=state, decided_by=by.strip(), decided_at=at, outcome=words, decided_from=audit.STATION)
    )
    if connection.execute(closed).rowcount != 1:
        raise CannotDecide(f"申请 {found.proposal_no} 已由他人办理")
    _note(connection, found, state, words, by=by, at=at)
    return Outcome(found.proposal_no, state, words)


def _failed(connection: Connection, found: Proposal, words: str, *, by: str, at: datetime) -> Outcome:
    """It could not be done: it stays open, with the reason."""
    failed = (
        update(proposal)
        .where(proposal.c.proposal_no == found.proposal_no, proposal.c.state == OPEN)
        .values(outcome=words, failed_at=at)
    )
    connection.execute(failed)
    _note(connection, found, "failed", words, by=by, at=at)
    return Outcome(found.proposal_no, OPEN, words)


def _note_fault(engine: Engine, proposal_no: int, error: str, *, by: str, at: datetime) -> None:
    def note_now(connection: Connection) -> None:
        found = proposals.locked(connection, proposal_no)
        if found is not None and found.state == OPEN:
            _failed(connection, found, f"程序内部错误 {error}", by=by, at=at)

    in_transaction(engine, note_now)


_DECISIONS = {
    APPROVED: "approval.approve",
    REJECTED: "approval.reject",
    STALE: "approval.stale",
    "failed": "approval.failed",
}


def _note(connection: Connection, found: Proposal, state: str, words: str, *, by: str, at: datetime) -> None:
    audit.note(
        connection,
        by=by.strip(),
        action=_DECISIONS[state],
        subject=str(found.proposal_no),
        reason=words if state == REJECTED else found.reason,
        at=at,
        details={"action": found.action, "institution": found.institution_code, "proposed_by": found.proposed_by},
    )
