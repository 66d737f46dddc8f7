"""Telling front-ends of corrections: each is sent until its front-end says that it has recorded it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from center.backup import epochs
from center.correcting.tables import correction
from center.settling import records
from center.tables import settlement
from domain.messages import ClaimAnswer, CorrectionHeard, SettlementCorrected
from infra.codec import unpack

MOST_AT_ONCE = 200
LONGEST_WAIT_SECONDS = 600.0

_corrected, _contra, _resettled = settlement.alias(), settlement.alias(), settlement.alias()
_DUE = (
    select(
        correction.c.correction_no,
        correction.c.frontend,
        correction.c.attempts,
        correction.c.institution_code,
        correction.c.visit_no,
        _corrected.c.charge_batch_no,
        _contra.c.reason,
        _contra.c.answer.label("contra"),
        _resettled.c.answer.label("resettled"),
    )
    .join(_corrected, _corrected.c.settlement_no == correction.c.settlement_no)
    .join(_contra, _contra.c.settlement_no == correction.c.contra_no)
    .join(_resettled, _resettled.c.settlement_no == correction.c.resettled_no)
    .where(correction.c.heard_at.is_(None), correction.c.due_at <= bindparam("now"))
    .order_by(correction.c.correction_no)
    .limit(MOST_AT_ONCE)
    .with_for_update(of=correction, skip_locked=True)
)
_TOLD = (
    update(correction)
    .where(correction.c.correction_no == bindparam("number"))
    .values(due_at=bindparam("due"), attempts=correction.c.attempts + 1)
)


def due(connection: Connection, *, now: float, after_seconds: float) -> list[tuple[str, SettlementCorrected]]:
    """What is to be told now, and to which front-end; it is told again when nothing is heard, after a while that
    doubles. In the order the corrections were made: a visit may have been corrected twice."""
    rows = connection.execute(_DUE, {"now": now}).all()
    if not rows:
        return []
    epoch = epochs.current(records.cursor_of(connection)).number
    waits = [min(after_seconds * 2 ** min(row.attempts, 10), LONGEST_WAIT_SECONDS) for row in rows]
    told = [{"number": row.correction_no, "due": now + wait} for row, wait in zip(rows, waits, strict=True)]
    connection.execute(_TOLD, told)
    return [
        (
            row.frontend,
            SettlementCorrected(
                correction_no=row.correction_no,
                institution_code=row.institution_code,
                visit_no=row.visit_no,
                charge_batch_no=row.charge_batch_no,
                reason=row.reason,
                answers=(unpack(row.contra, ClaimAnswer), unpack(row.resettled, ClaimAnswer)),
                epoch=epoch,
            ),
        )
        for row in rows
    ]


def heard(connection: Connection, message: CorrectionHeard, *, frontend: str, at: datetime) -> bool:
    """Note that the front-end has recorded it; False when it was noted before, or is another front-end's."""
    noted = (
        update(correction)
        .where(
            correction.c.correction_no == message.correction_no,
            correction.c.frontend == frontend,
            correction.c.heard_at.is_(None),
        )
        .values(heard_at=at)
    )
    return bool(connection.execute(noted).rowcount)
