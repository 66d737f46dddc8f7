"""The clearing tick: opens periods, closes what the calendar says is due, and confirms what nobody objected to."""

from __future__ import annotations

import logging
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, select

from center import partitions
from center.backup import epochs
from center.clearing import calendar, closing, opening, periods
from center.clearing.periods import CannotStep
from center.clearing.sums import BooksDiffer, NotPayable
from center.clearing.tables import clearing_period
from center.partitions import Place
from center.settling.records import cursor_of
from center.tables import lease
from center.ticks import ticked
from center.transactions import in_transaction
from domain.clearing import PeriodState
from infra.lease import take

log = logging.getLogger("center")

LEASE = "clearing"
LEASE_SECONDS = 60.0

BY = "清算日历"
"""Who closes and confirms by the calendar."""


class Ticked(NamedTuple):
    """What a tick did."""

    opened: int = 0
    closed: int = 0
    refused: int = 0
    confirmed: int = 0


def tick(engine: Engine, *, at: datetime, now: float, holder: str, pool: int = 0) -> Ticked:
    """Do what is due, each period in a transaction of its own; days that were missed are caught up in their order.
    With a new year the numbers of the year begin: once its partitions are committed, because a sequence is set at once,
    for everybody.

    A closing the books refuse is logged and tried again by the next tick; its flow waits, the others go on. Nothing
    while another holder ticks; two ticks at once do no harm, each step is compared and set.
    """

    year = Place(pool, at.year)

    def is_ours(connection: Connection) -> bool:
        if take(connection, lease, name=LEASE, holder=holder, now=now, seconds=LEASE_SECONDS) is None:
            return False
        ticked(connection, LEASE, now)
        if not epochs.current(cursor_of(connection)).is_open:
            return False  # what the restored centre lacks comes first
        partitions.prepare(connection, [year])
        return True

    def prepare(connection: Connection) -> tuple[int, list[int]]:
        partitions.begin_year(connection, year)
        opened = opening.open_due(connection, calendar.load(connection), at.date())
        return opened, opening.due_to_close(connection, at.date())

    if not in_transaction(engine, is_ours):
        return Ticked()
    opened, due = in_transaction(engine, prepare)
    closed = sum(_closed(engine, period_no, at) for period_no in due)
    confirmed = in_transaction(engine, lambda connection: _confirm_unopposed(connection, at))
    return Ticked(opened, closed, len(due) - closed, confirmed)


def _closed(engine: Engine, period_no: int, at: datetime) -> bool:
    try:
        closing.close(engine, period_no, by=BY, reason="到期关账", at=at)
    except (BooksDiffer, NotPayable) as error:
        log.error("closing_refused", extra={"period": period_no, "why": str(error)})
    except CannotStep as error:
        log.warning("closing_waits", extra={"period": period_no, "why": str(error)})
    else:
        return True
    return False


def _confirm_unopposed(connection: Connection, at: datetime) -> int:
    """Confirm what was closed long enough ago and nobody objected to; how many."""
    set_now = calendar.load(connection)
    columns = clearing_period.c
    waiting = connection.execute(
        select(columns.period_no, columns.first_day, columns.closed_at)
        .where(columns.state == str(PeriodState.CLOSED), columns.objected_at.is_(None))
        .order_by(columns.institution_code, columns.period_no)
    ).all()
    due = [
        row.period_no
        for row in waiting
        if _is_past(set_now.confirmed_from(row.first_day, row.closed_at.astimezone(at.tzinfo).date()), at.date())
    ]
    for period_no in due:
        periods.confirm(connection, period_no, by=BY, reason="逾期无异议", at=at)
    return len(due)


def _is_past(day: date | None, today: date) -> bool:
    return day is not None and day <= today
