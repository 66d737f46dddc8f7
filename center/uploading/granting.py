"""Slices (时间片): a tick, under a lease, gives each front-end whose window is open and whose slice is over the next.

A slice is so many lines and bytes until its cut-off, under a fencing number. What all front-ends of a window get in an
hour stays within its budget: a small slice for each, whatever happens, and of the rest as much as the pace lets
through (`domain.pace`), shared out among those that have detail to send (`domain.upload_shares`).
"""

from __future__ import annotations

import logging
import math
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from center import served
from center.tables import institution, lease, upload_grant
from center.ticks import ticked
from center.uploading import marks, windows
from center.uploading import shares as shared_out
from center.uploading.tables import upload_hour, upload_pace
from domain import pace as pacing
from domain.messages import UploadGranted
from domain.pace import HOUR, Budget
from domain.timetable import Calendar, Opening, UploadWindow, open_window, opening
from domain.upload_shares import Member, Shares, by_frontend, lines_of
from infra.lease import take

log = logging.getLogger("center")

LEASE = "windows"
LEASE_SECONDS = 30.0

TICK_SHARE = 0.9
"""A slice is at least this part of a tick long: it is over when the next tick comes."""

LAST_SLICE_AFTER = timedelta(seconds=40)
"""When nothing is due any more a front-end gets one small slice more, longer after its last one than it waits for
receipts: those that were lost it asks for with it, by sending the detail again."""

SPREAD = 2
"""Front-ends that are due at once are granted over the length of a slice divided by this, not in one tick."""

FLOOR_WITHIN = 0.75
"""While settling is late the small slices are spread over this part of the hour."""

Last = Row[*tuple[Any, ...]]


def tick(
    connection: Connection,
    *,
    at: datetime,
    now: float,
    holder: str,
    settle_waiting_age: float,
    settle_late_seconds: float,
    tick_length: timedelta,
    deadline: timedelta,
    last_slice_after: timedelta = LAST_SLICE_AFTER,
) -> list[tuple[str, UploadGranted]]:
    """Grant the slices that are due and return them by front-end: none while another holder ticks.

    `at` is the business moment, `now` real seconds; `settle_waiting_age` says how long, in real seconds, a settlement
    waits at present, and `settle_late_seconds` from when on that is late. `tick_length`, of business time, is how
    often this is called; `deadline` after how long detail is overdue. Run twice at one moment, it grants once.
    """
    if take(connection, lease, name=LEASE, holder=holder, now=now, seconds=LEASE_SECONDS) is None:
        return []
    ticked(connection, LEASE, now)
    pace = _next_pace(connection, now, settle_waiting_age, settle_late_seconds)
    marks.count_when_due(connection, at=at, now=now, deadline=deadline)
    timetable, is_workday = windows.active(connection), windows.calendar(connection)
    shares = shared_out.load(connection)
    members = _members(connection)
    frontends = sorted({*served.frontends(connection), *(member.frontend for member in members)})
    last = {row.frontend: row for row in connection.execute(select(upload_grant))}

    granted: list[tuple[str, UploadGranted]] = []
    for window, group in _by_window(timetable, frontends, at, is_workday):
        opened = opening(window, at, is_workday)
        assert opened is not None
        of_group = [member for member in members if member.frontend in group]
        turn = _Turn(connection, window, opened, at, pace, tick_length, shares, of_group, group, last_slice_after)
        granted += turn.grant(last)
    return granted


def count_received(connection: Connection, frontend: str, *, fence: int, lines: int, size: int, at: datetime) -> bool:
    """Count lines and bytes that came under a slice; False when it belongs to an opening of the window that is over.

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
        .values(
            lines_received=upload_grant.c.lines_received + lines,
            bytes_received=upload_grant.c.bytes_received + size,
        )
    )
    return counted.rowcount == 1


def _next_pace(connection: Connection, now: float, waiting_age: float, late_seconds: float) -> int:
    before = connection.execute(select(upload_pace.c.pace, upload_pace.c.ticked_at)).first()
    pace = pacing.next_pace(
        pacing.START if before is None else before.pace,
        waiting_seconds=waiting_age,
        late_seconds=late_seconds,
        since_last_seconds=0.0 if before is None else now - before.ticked_at,
    )
    if pace == 0 and (before is None or before.pace > 0):
        log.warning("upload_yields_to_settling", extra={"waiting_seconds": round(waiting_age, 3)})
    row = {"pace": pace, "waiting_seconds": waiting_age, "ticked_at": now}
    adding = insert(upload_pace).values(one=1, **row)
    connection.execute(adding.on_conflict_do_update(index_elements=["one"], set_=row))
    return pace


def _members(connection: Connection) -> list[Member]:
    """The institutions with detail to send, as they were counted last."""
    rows = connection.execute(select(institution.c.institution_code, institution.c.size))
    sizes: dict[str, str] = {row.institution_code: row.size for row in rows}
    return [
        Member(mark.institution_code, mark.frontend, sizes.get(mark.institution_code, ""), mark.due_lines)
        for mark in marks.marks(connection)
    ]


def _by_window(
    timetable: Sequence[UploadWindow], frontends: Sequence[str], at: datetime, is_workday: Calendar
) -> list[tuple[UploadWindow, list[str]]]:
    groups: dict[UploadWindow, list[str]] = defaultdict(list)
    for frontend in frontends:
        window = open_window(timetable, frontend, at, is_workday)
        if window is not None:
            groups[window].append(frontend)
    return list(groups.items())


@dataclass(slots=True)
class _Turn:
    """One window at one tick: who of its front-ends is due, and for how much."""

    connection: Connection
    window: UploadWindow
    opened: Opening
    at: datetime
    pace: int
    tick_length: timedelta
    shares: Shares
    members: Sequence[Member]
    """Of these front-ends, those that have detail to send."""
    frontends: Sequence[str]
    last_slice_after: timedelta

    def grant(self, last: Mapping[str, Last]) -> list[tuple[str, UploadGranted]]:
        """The slices of this tick, written down."""
        budget = Budget(self.window.lines_per_hour, self.window.bytes_per_hour)
        floor, rest = (part(budget, len(self.frontends)) for part in (pacing.floor_of, pacing.rest_of))
        parts = self.shares.split(rest, self.members)
        share_of, spent = by_frontend(parts), self._spent()
        granted: list[tuple[str, UploadGranted]] = []
        for frontend in sorted(self.frontends, key=lambda name: _jitter(name, last.get(name))):
            newest = last.get(frontend)
            if len(granted) >= self._most:
                break
            if newest is not None and self.at < newest.cut_off:
                continue
            own = [member for member in self.members if member.frontend == frontend]
            quota = self._earned(share_of.get(frontend), newest, rest.minus(spent))
            if quota is not None:
                quota = _no_more_than_due(quota, sum(member.due_lines for member in own))
                spent = spent.plus(quota)
            elif self._owes_floor(frontend, newest):
                quota = floor
            elif not own and self._owes_last(newest) and rest.minus(spent).is_enough_for(floor):
                quota, spent = floor, spent.plus(floor)
            if quota is None or min(quota) <= 0:
                continue
            row = self._row(newest, quota, is_floor=quota is floor)
            self._write(frontend, row)
            granted.append(
                (
                    frontend,
                    UploadGranted(
                        window=self.window.name,
                        fence=row["fence"],
                        lines=row["lines"],
                        cut_off=row["cut_off"],
                        bytes=row["bytes"],
                        shares=lines_of(quota, own, parts),
                    ),
                )
            )
        self._keep_spent(spent)
        return granted

    @property
    def _length(self) -> timedelta:
        return max(self.window.slice_length, self.tick_length * TICK_SHARE)

    @property
    def _most(self) -> int:
        """How many are granted in one tick: what is due at once comes one after the other."""
        return max(1, math.ceil(SPREAD * len(self.frontends) * (self.tick_length / self._length)))

    @property
    def _hour(self) -> datetime:
        """When the hour of the opening began that it is now."""
        return self.opened.opened + (self.at - self.opened.opened) // HOUR * HOUR

    def _is_of_this_opening(self, newest: Last | None) -> bool:
        return newest is not None and (newest.window, newest.closes_at) == (self.window.name, self.opened.closes)

    def _earned(self, share: Budget | None, newest: Last | None, left: Budget) -> Budget | None:
        """The slice the front-end has earned of its share; None while it has not, or this hour's budget is used up."""
        if share is None or self.pace <= 0:
            return None
        if newest is not None and self._is_of_this_opening(newest) and not newest.is_floor:
            wait = pacing.earned_in(Budget(newest.lines, newest.bytes), share, pace=self.pace)
            if wait is None or self.at - newest.granted_at < wait:
                return None
        quota = pacing.slice_of(share, pace=self.pace, length=self._length)
        least = pacing.SMALL.at_most(share)
        quota = quota.at_most(left)
        return quota if min(quota) > 0 and quota.is_enough_for(least) else None

    def _owes_floor(self, frontend: str, newest: Last | None) -> bool:
        """Whether the front-end has had no slice in this hour yet, and its moment for the small one has come."""
        if newest is not None and self._is_of_this_opening(newest) and newest.granted_at >= self._hour:
            return False
        if self.pace > 0:
            return True
        hour = min(HOUR, self.opened.closes - self._hour)
        return self.at >= self._hour + hour * FLOOR_WITHIN * _phase(f"{frontend}/{self._hour.isoformat()}")

    def _owes_last(self, newest: Last | None) -> bool:
        """Whether its last slice brought detail, was no small one, and is so long over that receipts are missed."""
        return (
            self.pace > 0
            and newest is not None
            and self._is_of_this_opening(newest)
            and not newest.is_floor
            and newest.lines_received > 0
            and self.at - newest.granted_at >= self.last_slice_after
        )

    def _row(self, newest: Last | None, quota: Budget, *, is_floor: bool) -> dict[str, Any]:
        fence = 1 if newest is None else newest.fence + 1
        row: dict[str, Any] = {
            "window": self.window.name,
            "fence": fence,
            "first_fence": fence,
            "lines": quota.lines,
            "bytes": quota.bytes,
            "is_floor": is_floor,
            "granted_at": self.at,
            "cut_off": min(self.at + self._length, self.opened.closes),
            "closes_at": self.opened.closes,
            "lines_granted": quota.lines,
            "bytes_granted": quota.bytes,
            "lines_received": 0,
            "bytes_received": 0,
        }
        if newest is not None and self._is_of_this_opening(newest):
            row["first_fence"] = newest.first_fence
            row["lines_received"], row["bytes_received"] = newest.lines_received, newest.bytes_received
            row["lines_granted"] += newest.lines_granted
            row["bytes_granted"] += newest.bytes_granted
        return row

    def _write(self, frontend: str, row: Mapping[str, Any]) -> None:
        adding = insert(upload_grant).values(frontend=frontend, **row)
        self.connection.execute(adding.on_conflict_do_update(index_elements=["frontend"], set_=row))

    def _spent(self) -> Budget:
        """What this hour's rest has been used of so far."""
        columns = upload_hour.c
        row = self.connection.execute(
            select(columns.lines, columns.bytes).where(columns.window == self.window.name, columns.began == self._hour)
        ).first()
        return Budget(0, 0) if row is None else Budget(*row)

    def _keep_spent(self, spent: Budget) -> None:
        row = {"began": self._hour, "lines": spent.lines, "bytes": spent.bytes}
        adding = insert(upload_hour).values(window=self.window.name, **row)
        self.connection.execute(adding.on_conflict_do_update(index_elements=["window"], set_=row))


def _no_more_than_due(quota: Budget, due_lines: int) -> Budget:
    """What a front-end with so many lines due can use of a slice: the rest of the budget is left to others."""
    if due_lines >= quota.lines:
        return quota
    part = quota.part(due_lines, quota.lines)
    return quota.at_most(Budget(max(part.lines, pacing.SMALL.lines), max(part.bytes, pacing.SMALL.bytes)))


def _phase(words: str) -> float:
    """Somewhere between 0 and 1, always the same for the same words."""
    return zlib.crc32(words.encode()) / 2**32


def _jitter(frontend: str, newest: Last | None) -> float:
    """The order of a tick: another with every slice, so that nobody is always the first."""
    return _phase(f"{frontend}/{0 if newest is None else newest.fence}")
