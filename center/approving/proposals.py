"""Proposing (提请): an action is written down with its reason and what it would do; nothing is done yet."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, insert, select, text

from center.approving.actions import Payload
from center.approving.tables import OPEN, proposal
from center.ledger import audit

OPEN_FOR = timedelta(days=7)
"""What nobody decided in this time has to be proposed again."""
LONGEST_REASON = 200
LONGEST_NAME = 40
CITY = "*"

_PROPOSING = 7372
"""The class of advisory locks under which an action and its payload are proposed once."""


class CannotPropose(Exception):
    """The proposal is incomplete; the message is for the clerk."""


class AlreadyProposed(Exception):
    """The same is open already, under this number."""

    def __init__(self, proposal_no: int) -> None:
        self.proposal_no = proposal_no
        super().__init__(f"同样的申请 {proposal_no} 还在等待复核")


class Proposal(NamedTuple):
    """A row of `proposal`, its columns in their order."""

    proposal_no: int
    action: str
    institution_code: str
    payload: dict[str, Any]
    effect: str
    reason: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    state: str
    decided_by: str | None
    decided_at: datetime | None
    outcome: str
    failed_at: datetime | None
    proposed_from: str
    decided_from: str

    def is_open(self, at: datetime) -> bool:
        """Whether it still waits for somebody to decide it."""
        return self.state == OPEN and at < self.expires_at


def propose(
    connection: Connection,
    action: str,
    payload: Payload,
    *,
    by: str,
    reason: str,
    institution_code: str,
    effect: str,
    at: datetime,
) -> int:
    """Write a proposal down and return its number; it waits for somebody else, `OPEN_FOR` long.

    `effect` is what the action's `predict` says now. Raises CannotPropose, AlreadyProposed.
    """
    by, reason = by.strip(), reason.strip()
    if not 0 < len(by) <= LONGEST_NAME:
        raise CannotPropose("请写明经办人：--by")
    if not 0 < len(reason) <= LONGEST_REASON:
        raise CannotPropose(f"请写明理由，至多 {LONGEST_REASON} 字")
    values = dict(payload)
    connection.execute(
        text("SELECT pg_advisory_xact_lock(:class, hashtext(:action))"), {"class": _PROPOSING, "action": action}
    )
    columns = proposal.c
    same = select(columns.proposal_no).where(
        columns.action == action, columns.payload == values, columns.state == OPEN, columns.expires_at > at
    )
    open_already = connection.execute(same.limit(1)).scalar()
    if open_already is not None:
        raise AlreadyProposed(open_already)
    written = insert(proposal).values(
        action=action,
        institution_code=institution_code,
        payload=values,
        effect=effect,
        reason=reason,
        proposed_by=by,
        proposed_at=at,
        expires_at=at + OPEN_FOR,
        proposed_from=audit.STATION,
    )
    number: int = connection.execute(written.returning(columns.proposal_no)).scalar_one()
    audit.note(
        connection,
        by=by,
        action="approval.propose",
        subject=str(number),
        reason=reason,
        at=at,
        details={"action": action, "institution": institution_code},
    )
    return number


def find(connection: Connection, proposal_no: int) -> Proposal | None:
    """The proposal under this number."""
    return _first(connection, select(proposal).where(proposal.c.proposal_no == proposal_no))


def locked(connection: Connection, proposal_no: int) -> Proposal | None:
    """The same, locked until the transaction ends: whoever decides it is alone with it."""
    return _first(connection, select(proposal).where(proposal.c.proposal_no == proposal_no).with_for_update())


def listed(
    connection: Connection, *, at: datetime, all_states: bool = False, institution_code: str = "", most: int = 200
) -> list[Proposal]:
    """The proposals that wait, oldest first; or the newest of all, decided and expired ones with them."""
    columns = proposal.c
    wanted = select(proposal).limit(most)
    if institution_code:
        wanted = wanted.where(columns.institution_code == institution_code)
    if all_states:
        wanted = wanted.order_by(columns.proposal_no.desc())
    else:
        wanted = wanted.where(columns.state == OPEN, columns.expires_at > at).order_by(columns.proposal_no)
    return [Proposal._make(row) for row in connection.execute(wanted)]


def _first(connection: Connection, wanted: Select[Any]) -> Proposal | None:
    row = connection.execute(wanted).first()
    return None if row is None else Proposal._make(row)
