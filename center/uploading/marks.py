"""High-water marks (水位): up to when the detail of each institution is here, counted from the books themselves.

What is due is what was settled and has neither its detail nor an open case that says why. Counting looks back to the
oldest that was due when it was last counted, and a day further, so it costs what is outstanding, not what is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from center.reconciling.cases import Kind
from center.settling.records import cursor_of
from center.uploading.tables import upload_mark, upload_pace

log = logging.getLogger("center")

LEAST_SECONDS = 2.0
"""Counted at most so often (real seconds)."""

MOST_SECONDS = 60.0
"""Counted at least so often, whatever it costs: a count that was slow by chance, because the database had just been
started again, must not hold back the next for minutes, while slices go to front-ends that owe nothing any more."""

SHARE_OF_TIME = 50
"""Between the two, counting takes at most one part in so many of the time."""

LOOK_BACK = timedelta(days=1)
"""What was being committed while it was counted is found the next time."""

ALARM_EVERY = timedelta(hours=1)

_DUE = f"""
SELECT s.institution_code, s.frontend, count(*), sum(s.line_count)::bigint,
       count(*) FILTER (WHERE s.settled_at < %(deadline)s), min(s.settled_at)
FROM settlement s
WHERE s.settled_day >= %(since)s AND s.kind = 'normal'
  AND NOT EXISTS (SELECT FROM detail d WHERE d.settlement_no = s.settlement_no)
  AND NOT EXISTS (SELECT FROM difference_case c WHERE c.kind = '{Kind.DETAIL_MISMATCH}' AND c.visit_no = s.visit_no
                  AND c.charge_batch_no = s.charge_batch_no AND c.closed_at IS NULL)
GROUP BY 1, 2 ORDER BY 1, 2
"""


class Mark(NamedTuple):
    """How far the detail of one institution is, of what one front-end settled."""

    institution_code: str
    frontend: str
    due_claims: int
    due_lines: int
    overdue_claims: int
    oldest_due_at: datetime
    """Everything settled before is here."""

    def lag(self, at: datetime) -> timedelta:
        """How long the oldest has been due."""
        return max(timedelta(), at - self.oldest_due_at)


def due(connection: Connection, *, at: datetime, deadline: timedelta) -> list[Mark]:
    """What is due now, by institution and front-end; who owes nothing is not in it."""
    cursor = cursor_of(connection)
    cursor.execute(_DUE, {"since": _since(connection), "deadline": at - deadline})
    return [Mark(*row) for row in cursor.fetchall()]


def marks(connection: Connection) -> list[Mark]:
    """As they were counted last."""
    columns = upload_mark.c
    rows = connection.execute(
        select(
            columns.institution_code, columns.frontend, columns.due_claims, columns.due_lines, columns.overdue_claims,
            columns.oldest_due_at,
        )
        .where(columns.due_claims > 0)
        .order_by(columns.institution_code, columns.frontend)
    )  # fmt: skip
    return [Mark(*row) for row in rows]


def count_when_due(connection: Connection, *, at: datetime, now: float, deadline: timedelta) -> None:
    """Count again, unless that was just done or costs too much to be done so soon; and tell of what is overdue.

    `now` is real seconds. The row of the pace has to be there.
    """
    counted = connection.execute(select(upload_pace.c.counted_at, upload_pace.c.counting_seconds)).one()
    wait = min(max(LEAST_SECONDS, SHARE_OF_TIME * counted.counting_seconds), MOST_SECONDS)
    if counted.counted_at is not None and counted.counted_at <= now < counted.counted_at + wait:
        return
    began = _clock(connection)
    found = due(connection, at=at, deadline=deadline)
    took = max(0.0, (_clock(connection) - began).total_seconds())
    _keep(connection, found, at)
    oldest = min((mark.oldest_due_at for mark in found), default=at)
    connection.execute(
        update(upload_pace).values(
            counted_at=now, counting_seconds=took, due_since=(min(oldest, at) - LOOK_BACK).date()
        )
    )


def _keep(connection: Connection, found: Sequence[Mark], at: datetime) -> None:
    """Write the marks, and say what is overdue: of each institution once an hour, and when it no longer is."""
    columns = upload_mark.c
    stored = {(row.institution_code, row.frontend): row._asdict() for row in connection.execute(select(upload_mark))}
    new = {}
    for mark in found:
        key = mark.institution_code, mark.frontend
        said = stored.get(key, {}).get("alarmed_at")
        new[key] = {**mark._asdict(), "alarmed_at": _alarm(mark, said, at)}
    for key in stored.keys() - new.keys():
        if stored[key]["alarmed_at"] is not None:
            log.info("detail_caught_up", extra={"institution": key[0], "frontend": key[1]})
    gone = [key for key in stored if key not in new]
    if gone:
        connection.execute(delete(upload_mark).where(tuple_(columns.institution_code, columns.frontend).in_(gone)))
    changed = [row for key, row in new.items() if stored.get(key) != row]
    if changed:
        adding = upsert(upload_mark)
        values = {name: adding.excluded[name] for name in changed[0] if name not in ("institution_code", "frontend")}
        connection.execute(
            adding.on_conflict_do_update(index_elements=["institution_code", "frontend"], set_=values), changed
        )


def _alarm(mark: Mark, said_at: datetime | None, at: datetime) -> datetime | None:
    """Say that detail is overdue, unless that was said within the hour; when it was said last."""
    if not mark.overdue_claims:
        if said_at is not None:
            log.info("detail_caught_up", extra={"institution": mark.institution_code, "frontend": mark.frontend})
        return None
    if said_at is not None and at - said_at < ALARM_EVERY:
        return said_at
    hours = mark.lag(at) // timedelta(hours=1)
    shown = {"institution": mark.institution_code, "frontend": mark.frontend, "claims": mark.overdue_claims}
    log.error("detail_overdue", extra={**shown, "hours": hours})
    return at


def _since(connection: Connection) -> date:
    """The day to look back to."""
    since: date | None = connection.execute(select(upload_pace.c.due_since)).scalar()
    return since or date.min


def _clock(connection: Connection) -> datetime:
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment
