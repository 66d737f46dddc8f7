"""Upload windows (分时段上传): detail travels away from the peak, in slices that the centre grants and can end.

Windows are rows an operator edits. Each tick, under a lease, gives every front-end whose window is open and whose
last slice is over the next slice: so many lines until its cut-off. While settling is late nobody is given anything.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from center.tables import institution, lease, upload_grant, upload_window
from center.tables import tick as tick_table
from domain.messages import UploadGranted
from domain.timetable import UploadWindow, cut_off, open_window
from infra.lease import take

log = logging.getLogger("center")

LEASE = "windows"
LEASE_SECONDS = 30.0


def tick(
    connection: Connection,
    *,
    at: datetime,
    now: float,
    holder: str,
    settle_waiting_age: float,
    settle_late_seconds: float,
    slice_length: timedelta,
) -> list[tuple[str, UploadGranted]]:
    """Grant the slices that are due and return them by front-end: none while another holder ticks, or settling is late.

    `at` is the business moment, `now` real seconds; `settle_waiting_age` says how long, in real seconds, a settlement
    waits at present, and `settle_late_seconds` from when on that is late. Run twice at one moment, it grants once.
    """
    fence = take(connection, lease, name=LEASE, holder=holder, now=now, seconds=LEASE_SECONDS)
    if fence is None:
        return []
    ticked(connection, LEASE, now)
    if settle_waiting_age > settle_late_seconds:
        log.warning("upload_yields_to_settling", extra={"waiting_seconds": round(settle_waiting_age, 3)})
        return []
    windows = _windows(connection)
    last = {row.frontend: row for row in connection.execute(select(upload_grant))}
    frontends = connection.execute(
        select(institution.c.frontend).where(institution.c.active).distinct().order_by(institution.c.frontend)
    ).scalars()

    granted = []
    for frontend in frontends:
        window = open_window(windows, frontend, at)
        newest = last.get(frontend)
        if window is not None and (newest is None or at >= newest.cut_off):
            row = _next_slice(window, newest, at, slice_length)
            adding = insert(upload_grant).values(frontend=frontend, **row)
            connection.execute(adding.on_conflict_do_update(index_elements=["frontend"], set_=row))
            slice_ = UploadGranted(window=window.name, fence=row["fence"], lines=row["lines"], cut_off=row["cut_off"])
            granted.append((frontend, slice_))
    return granted


def count_received(connection: Connection, frontend: str, *, fence: int, lines: int, at: datetime) -> bool:
    """Count lines that came under a slice; False when the slice belongs to an opening of the window that is over.

    Slices of the same opening are all good: what was sent late in one may arrive during the next.
    """
    counted = connection.execute(
        update(upload_grant)
        .where(
            upload_grant.c.frontend == frontend,
            upload_grant.c.first_fence <= fence,
            upload_grant.c.fence >= fence,
            upload_grant.c.closes_at > at,
        )
        .values(lines_received=upload_grant.c.lines_received + lines)
    )
    return counted.rowcount == 1


def ticked(connection: Connection, name: str, now: float) -> None:
    """Note that the schedule rang."""
    adding = insert(tick_table).values(name=name, at=now)
    connection.execute(adding.on_conflict_do_update(index_elements=["name"], set_={"at": now}))


def _windows(connection: Connection) -> list[UploadWindow]:
    rows = connection.execute(select(upload_window).where(upload_window.c.active).order_by(upload_window.c.name))
    return [
        UploadWindow(
            name=row.name,
            opens=row.opens,
            closes=row.closes,
            lines_per_tick=row.lines_per_tick,
            weekdays=row.weekdays,
            frontend=row.frontend,
        )
        for row in rows
    ]


def _next_slice(
    window: UploadWindow, last: Row[*tuple[Any, ...]] | None, at: datetime, slice_length: timedelta
) -> dict[str, Any]:
    """The row of the slice after the last one: another of the same opening of the window, or the first of a new one."""
    closes_at = cut_off(window, at)
    fence = 1 if last is None else last.fence + 1
    first_fence, lines_granted, lines_received = fence, 0, 0
    if last is not None and (last.window, last.closes_at) == (window.name, closes_at):
        first_fence, lines_granted, lines_received = last.first_fence, last.lines_granted, last.lines_received
    return {
        "window": window.name,
        "fence": fence,
        "first_fence": first_fence,
        "lines": window.lines_per_tick,
        "granted_at": at,
        "cut_off": min(at + slice_length, closes_at),
        "closes_at": closes_at,
        "lines_granted": lines_granted + window.lines_per_tick,
        "lines_received": lines_received,
    }
