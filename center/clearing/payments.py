"""Payment (拨付): what a confirmed period comes to leaves the bank; a second person has approved it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from center.clearing import periods
from center.clearing.periods import CannotStep, PeriodRow
from center.clearing.tables import clearing
from center.ledger import documents
from center.ledger.documents import Document
from center.settling.records import cursor_of
from domain import ledger
from domain.clearing import PeriodState

PAYMENT = "payment"


def to_pay(connection: Connection, period: PeriodRow) -> int:
    """What is to be paid of a confirmed period, in fen; 0 where it is negative and was carried. Raises CannotStep."""
    if period.state != PeriodState.CONFIRMED:
        raise CannotStep(f"清算期 {period.period_no} 不是已确认未拨付，不能拨付")
    periods.require_not_frozen(connection, period.flow)
    due_fen: int = connection.execute(
        select(clearing.c.due_fen).where(clearing.c.clearing_no == period.clearing_no)
    ).scalar_one()
    return max(due_fen, 0)


def pay(
    connection: Connection, period_no: int, *, by: str, approved_by: str, reason: str, at: datetime
) -> tuple[int | None, int]:
    """Pay a confirmed period; the document's number, None where nothing was left to pay, and the amount in fen.

    Raises CannotStep.
    """
    period = periods.locked(connection, period_no)
    amount_fen = to_pay(connection, period)
    number = None
    if amount_fen:
        number = documents.post(
            cursor_of(connection),
            Document(
                kind=PAYMENT,
                **period.flow._asdict(),
                day=at.date(),
                made_by=by,
                approved_by=approved_by,
                reason=reason,
                amount_fen=amount_fen,
                refers_to=period.clearing_no,
            ),
            [(ledger.cleared(*period.flow), amount_fen), (ledger.bank(period.scheme), -amount_fen)],
            at=at,
        )
    periods.step(connection, period, PeriodState.PAID, payment_no=number, paid_at=at)
    return number, amount_fen
