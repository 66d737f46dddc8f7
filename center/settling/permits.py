"""The office's permission for one refund that the policy leaves to it: too late, or by the accumulators of today."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Connection, insert, select

from center.ledger import audit
from center.tables import refund_permit, settlement

LONGEST_REASON = 200


class CannotPermit(Exception):
    """There is nothing to permit, or not so; the message is for the clerk."""


def permit(
    connection: Connection, visit_no: str, charge_batch_no: int, *, by: str, reason: str, until: date, at: datetime
) -> int:
    """Let this settlement be taken back until the end of a day; the number of the permission. Raises CannotPermit.

    It is recorded for good and does not take the settlement back: the institution asks again.
    """
    if not 0 < len(reason) <= LONGEST_REASON:
        raise CannotPermit(f"请写明理由，至多 {LONGEST_REASON} 字")
    if until < at.date():
        raise CannotPermit(f"期限 {until} 已过")
    columns = settlement.c
    settled = connection.execute(
        select(columns.settlement_no).where(
            columns.visit_no == visit_no, columns.charge_batch_no == charge_batch_no, columns.kind == "normal"
        )
    ).scalar()
    if settled is None:
        raise CannotPermit("中心没有这笔结算")
    taken_back = connection.execute(select(columns.settlement_no).where(columns.contra_of == settled)).scalar()
    if taken_back is not None:
        raise CannotPermit(f"该笔结算已退费（反向结算单号 {taken_back}）")
    written = insert(refund_permit).values(
        visit_no=visit_no,
        charge_batch_no=charge_batch_no,
        permitted_by=by,
        reason=reason,
        permitted_at=at,
        until=until,
    )
    number: int = connection.execute(written.returning(refund_permit.c.permit_no)).scalar_one()
    audit.note(
        connection,
        by=by,
        action="refund.unlock",
        subject=f"{visit_no}/{charge_batch_no}",
        reason=reason,
        at=at,
        details={"permit": number, "settlement": settled, "until": until.isoformat()},
    )
    return number


def is_permitted(connection: Connection, visit_no: str, charge_batch_no: int, *, today: date) -> bool:
    """Whether a permission for this settlement holds today."""
    columns = refund_permit.c
    held = select(columns.permit_no).where(
        columns.visit_no == visit_no, columns.charge_batch_no == charge_batch_no, columns.until >= today
    )
    return connection.execute(held.limit(1)).first() is not None
