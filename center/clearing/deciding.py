"""What an institution says of its clearing, over the link: taken once, and answered the same however often it comes."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from center.backup import epochs
from center.clearing import periods
from center.clearing.periods import CannotStep, PeriodRow
from center.clearing.tables import clearing_decision
from center.served import institutions_of
from center.settling.records import cursor_of
from domain.clearing import PeriodState
from domain.clearings import MOST_BY, MOST_REASON, REFUSED_WORDS, Decision, Refused
from domain.messages import ClearingDecided, ClearingHeard
from infra.codec import UnreadableMessage

log = logging.getLogger("center")

_BIGINT = 2**63
_COLUMNS = clearing_decision.c


def decided(connection: Connection, said: ClearingDecided, *, frontend: str, at: datetime) -> ClearingHeard:
    """Confirm the clearing or object to it in the institution's name, and say what became of it.

    Only for institutions the front-end speaks for. The same decision once more is given the stored answer; of two
    objections the one made later stands, whichever comes first. Raises UnreadableMessage for a decision no front-end of
    ours writes.
    """
    _require_storable(said)
    if said.institution_code not in institutions_of(connection, frontend):
        log.warning("clearing_of_another", extra={"frontend": frontend})
        return _heard(connection, said, Refused.UNKNOWN)
    try:
        period = periods.locked(connection, said.period_no)
    except CannotStep:
        return _heard(connection, said, Refused.UNKNOWN)
    if period.institution_code != said.institution_code:
        return _heard(connection, said, Refused.UNKNOWN)
    stored = connection.execute(select(_COLUMNS.code).where(*_same(said))).scalar()
    if stored is not None:
        return _heard(connection, said, Refused(stored))
    code = _why_not(connection, period, said)
    if code is Refused.NO:
        _take(connection, period, said, at)
    connection.execute(
        insert(clearing_decision).values(
            period_no=said.period_no,
            clearing_no=said.clearing_no,
            decision=said.decision,
            decided_at=said.decided_at,
            frontend=frontend,
            said_by=said.by,
            reason=said.reason,
            code=str(code),
            heard_at=at,
        )
    )
    return _heard(connection, said, code)


def _require_storable(said: ClearingDecided) -> None:
    fits = (
        said.decision in set(Decision)
        and 0 <= said.period_no < _BIGINT
        and 0 <= said.clearing_no < _BIGINT
        and 0 < len(said.by.strip()) <= MOST_BY
        and len(said.reason) <= MOST_REASON
        and (said.by + said.reason).isprintable()
        and (said.decision == Decision.CONFIRM or bool(said.reason.strip()))
    )
    if not fits:
        raise UnreadableMessage("a decision about a clearing that is none")


def _same(said: ClearingDecided) -> list[Any]:
    return [
        _COLUMNS.period_no == said.period_no,
        _COLUMNS.clearing_no == said.clearing_no,
        _COLUMNS.decision == said.decision,
        _COLUMNS.decided_at == said.decided_at,
    ]


def _why_not(connection: Connection, period: PeriodRow, said: ClearingDecided) -> Refused:
    if period.clearing_no is None:
        return Refused.OPEN
    if period.clearing_no != said.clearing_no:
        return Refused.ANOTHER
    if said.decision == Decision.CONFIRM:
        return Refused.NO
    if period.state != PeriodState.CLOSED:
        return Refused.CONFIRMED
    later = select(_COLUMNS.period_no).where(
        _COLUMNS.period_no == said.period_no,
        _COLUMNS.clearing_no == said.clearing_no,
        _COLUMNS.decision == Decision.OBJECT,
        _COLUMNS.code == Refused.NO,
        _COLUMNS.decided_at > said.decided_at,
    )
    return Refused.OVERTAKEN if connection.execute(later.limit(1)).first() else Refused.NO


def _take(connection: Connection, period: PeriodRow, said: ClearingDecided, at: datetime) -> None:
    """A confirmation of what is confirmed already, by time or by the office, changes nothing more."""
    by = f"{said.institution_code} {said.by.strip()}"
    if said.decision == Decision.OBJECT:
        periods.objected(connection, period.period_no, by=by, reason=said.reason, at=at)
    elif period.state == PeriodState.CLOSED:
        periods.confirm(connection, period.period_no, by=by, reason=said.reason or "机构确认", at=at)


def _heard(connection: Connection, said: ClearingDecided, code: Refused) -> ClearingHeard:
    return ClearingHeard(
        institution_code=said.institution_code,
        period_no=said.period_no,
        clearing_no=said.clearing_no,
        decision=said.decision,
        decided_at=said.decided_at,
        code=str(code),
        words=REFUSED_WORDS.get(code, ""),
        epoch=epochs.current(cursor_of(connection)).number,
    )
