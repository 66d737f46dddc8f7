"""What an institution says of a clearing: kept, sent until the centre has heard it, once however often it is said."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from domain.clearing import PeriodState
from domain.clearings import Decision, Refused, ToldClearing
from domain.messages import ClearingDecided, ClearingHeard
from infra import lanes
from workers.clearings import held
from workers.clearings.tables import said_of_clearing
from workers.numbers import wait_for_turn
from workers.reconciling.books import Asking

log = logging.getLogger("frontend")

AT_ONCE = 50
LONGEST_WAIT_SECONDS = 600.0

_COLUMNS = said_of_clearing.c


class Said(NamedTuple):
    """What an institution said last of a clearing, and what the centre answered."""

    clearing_no: int
    decision: str
    said_by: str
    reason: str
    decided_at: datetime
    heard_at: datetime | None
    code: str
    words: str

    @property
    def state(self) -> str:
        """sent, taken or refused."""
        return "sent" if self.heard_at is None else "refused" if self.code else "taken"


class CannotSay(Exception):
    """Nothing was kept. Says why, by its code (`domain.clearings.Refused`)."""

    def __init__(self, code: Refused) -> None:
        self.code = code
        super().__init__(str(code))


def say(
    engine: Engine,
    institution_code: str,
    period_no: int,
    *,
    clearing_no: int,
    decision: Decision,
    by: str,
    reason: str,
    at: datetime,
) -> bool:
    """Keep what the institution says; durable when it returns. False where it has just said the same.

    Raises CannotSay where what the centre told last rules it out; whether it is taken the centre decides.
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        found = held.find(connection, institution_code, period_no)
        if found is None:
            raise CannotSay(Refused.UNKNOWN)
        last = newest(connection, institution_code, period_no)
        if last is not None and last.clearing_no == clearing_no and last.code == Refused.NO:
            if (last.decision, last.said_by, last.reason) == (decision, by, reason):
                return False
            if last.decision == Decision.CONFIRM:
                raise CannotSay(Refused.CONFIRMED)
        _require_possible(found.clearing, clearing_no, decision)
        moment = at if last is None else max(at, last.decided_at + timedelta(microseconds=1))
        connection.execute(
            insert(said_of_clearing).values(
                institution_code=institution_code,
                period_no=period_no,
                decided_at=moment,
                clearing_no=clearing_no,
                decision=str(decision),
                said_by=by,
                reason=reason,
            )
        )
    log.info("clearing_decided", extra={"institution": institution_code, "decision": str(decision)})
    return True


def _require_possible(clearing: ToldClearing, clearing_no: int, decision: Decision) -> None:
    if not clearing.head.clearing_no:
        raise CannotSay(Refused.OPEN)
    if clearing.head.clearing_no != clearing_no:
        raise CannotSay(Refused.ANOTHER)
    if clearing.head.state != PeriodState.CLOSED:
        raise CannotSay(Refused.CONFIRMED)


def newest(connection: Connection, institution_code: str, period_no: int) -> Said | None:
    """What the institution said last of a period, if anything."""
    row = connection.execute(
        select(*[_COLUMNS[name] for name in Said._fields])
        .where(_COLUMNS.institution_code == institution_code, _COLUMNS.period_no == period_no)
        .order_by(_COLUMNS.decided_at.desc())
        .limit(1)
    ).first()
    return None if row is None else Said._make(row)


def send_due(frontend: Asking, *, now: float, after_seconds: float) -> int:
    """Send what is not heard yet, the oldest first; how many. Each waits longer after every sending."""
    with frontend.engine.begin() as connection:
        due = connection.execute(_DUE, {"now": now}).all()
        for row in due:
            patience = min(after_seconds * 2 ** min(row.attempts, 10), LONGEST_WAIT_SECONDS)
            connection.execute(
                update(said_of_clearing)
                .where(*_of(row.institution_code, row.period_no, row.decided_at))
                .values(rung_at=now + patience, attempts=row.attempts + 1)
            )
    return sum(_send(frontend, row) for row in due)


def record(connection: Connection, heard: ClearingHeard, *, at: datetime) -> bool:
    """Keep what the centre answered; False where nothing of the kind was said."""
    wait_for_turn(connection)
    recorded = connection.execute(
        update(said_of_clearing)
        .where(
            *_of(heard.institution_code, heard.period_no, heard.decided_at),
            _COLUMNS.clearing_no == heard.clearing_no,
            _COLUMNS.decision == heard.decision,
        )
        .values(heard_at=at, code=heard.code[:24], words=heard.words[:200])
    )
    return recorded.rowcount == 1


def send_again_since(connection: Connection, since: datetime) -> None:
    """A restored centre has forgotten what it heard since: whatever it had taken is sent again."""
    connection.execute(
        update(said_of_clearing)
        .where(_COLUMNS.heard_at >= since, _COLUMNS.code == Refused.NO)
        .values(heard_at=None, rung_at=0, attempts=0)
    )


_DUE = (
    select(said_of_clearing)
    .where(_COLUMNS.heard_at.is_(None), _COLUMNS.rung_at <= bindparam("now"))
    .order_by(_COLUMNS.decided_at)
    .limit(AT_ONCE)
)


def _of(institution_code: str, period_no: int, decided_at: datetime) -> list[Any]:
    return [
        _COLUMNS.institution_code == institution_code,
        _COLUMNS.period_no == period_no,
        _COLUMNS.decided_at == decided_at,
    ]


def _send(frontend: Asking, row: Any) -> bool:
    said = ClearingDecided(
        institution_code=row.institution_code,
        period_no=row.period_no,
        clearing_no=row.clearing_no,
        decision=row.decision,
        by=row.said_by,
        reason=row.reason,
        decided_at=row.decided_at,
    )
    shown: dict[str, object] = {"institution": row.institution_code, "period": row.period_no}
    return frontend.send(lanes.CLEARINGS_DECIDE, lanes.ADMIN, said, shown)
