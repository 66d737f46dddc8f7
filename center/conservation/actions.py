"""Releasing a frozen flow (解除冻结): one operator proposes it, another one approves, and held claims settle again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from center.approving import proposals
from center.approving.actions import Action, CannotDo, Payload
from center.conservation import crediting
from center.conservation.findings import EVERY
from center.conservation.tables import frozen_flow
from center.ledger import audit
from domain.clearing import WORDS, ClearingType

RELEASE = "flow.release"
NUMBERS = "freeze_nos"
SCHEMES = {"employee": "职工医保", "resident": "居民医保", EVERY: "各险种", "": "不分险种"}
_MOST_NAMED = 5


def propose_release(connection: Connection, freeze_no: int, *, by: str, reason: str, at: datetime) -> int:
    """Propose to release the flow this finding freezes, with all its findings of this moment; the proposal's number.

    Raises CannotDo, CannotPropose, AlreadyProposed.
    """
    first = connection.execute(select(frozen_flow).where(frozen_flow.c.freeze_no == freeze_no)).first()
    if first is None or first.released_at is not None:
        raise CannotDo(f"没有冻结 {freeze_no}，或已解除")
    same = [frozen_flow.c[name] == first._mapping[name] for name in ("institution_code", "scheme", "clearing_type")]
    same.append(frozen_flow.c.person_no.is_not_distinct_from(first.person_no))
    numbers = connection.execute(
        select(frozen_flow.c.freeze_no).where(*same, frozen_flow.c.released_at.is_(None)).order_by("freeze_no")
    ).scalars()
    payload = {NUMBERS: list(numbers)}
    return proposals.propose(
        connection,
        RELEASE,
        payload,
        by=by,
        reason=reason,
        institution_code=first.institution_code,
        effect=predict(connection, payload, at=at),
        at=at,
    )


def predict(connection: Connection, payload: Payload, *, at: datetime) -> str:
    """Which flow settles again, and what stays as it is. Raises CannotDo."""
    rows = _rows(connection, payload)
    named = "；".join(row.why for row in rows[:_MOST_NAMED])
    more = f"；另有 {len(rows) - _MOST_NAMED} 处" if len(rows) > _MOST_NAMED else ""
    return f"{flow_words(rows[0])}恢复结算；账上 {len(rows)} 处不符按现状放行：{named}{more}"


def execute(
    connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
) -> str:
    """Release it. Raises CannotDo."""
    rows = _rows(connection, payload)
    connection.execute(
        update(frozen_flow)
        .where(frozen_flow.c.freeze_no.in_([row.freeze_no for row in rows]), frozen_flow.c.released_at.is_(None))
        .values(released_at=at, released_by=by, approved_by=approved_by, release_reason=f"申请 {proposal_no}")
    )
    audit.note(
        connection,
        by=approved_by,
        action=RELEASE,
        subject=flow_words(rows[0]),
        reason=f"申请 {proposal_no}，{by} 提请",
        institution_code=rows[0].institution_code,
        at=at,
        details={"proposal": proposal_no, "findings": len(rows), "proposed_by": by},
    )
    return f"{flow_words(rows[0])}已恢复结算，放行 {len(rows)} 处不符"


def flow_words(row: Row[Any]) -> str:
    """A frozen flow as an operator reads it; of a person their number at the centre, never a name."""
    if row.person_no is not None:
        return f"参保人 {row.person_no} 的结算"
    if not row.institution_code:
        return "无单据的账目（不冻结结算）"
    place = "各机构" if row.institution_code == EVERY else row.institution_code
    of_type = row.clearing_type
    type_words = WORDS[ClearingType(of_type)] if of_type in set(ClearingType) else "各类别"
    return f"{place} {SCHEMES.get(row.scheme, row.scheme)} {type_words} 的结算"


def _rows(connection: Connection, payload: Payload) -> Sequence[Row[Any]]:
    """The findings to release, locked. Raises CannotDo."""
    numbers = sorted(int(number) for number in payload[NUMBERS])
    query = select(frozen_flow).where(frozen_flow.c.freeze_no.in_(numbers)).order_by(frozen_flow.c.freeze_no)
    rows = connection.execute(query.with_for_update()).all()
    if not rows or len(rows) != len(numbers):
        raise CannotDo("申请所列的冻结不存在")
    if any(row.released_at is not None for row in rows):
        raise CannotDo("申请所列的冻结已解除")
    return rows


ACTIONS: Mapping[str, Action] = {RELEASE: Action("解除冻结", predict, execute), **crediting.ACTIONS}
