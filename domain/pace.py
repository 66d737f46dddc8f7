"""How fast detail may travel (上传速度): the budget while settling is well, less when it is late, never nothing.

Two parts of every hour's budget: a *floor*, one small slice for each front-end, which is given however late settling
is (interactive before batch, with a floor); and the rest, of which the pace lets through between nothing and all.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

FULL, START = 1000, 100
"""The pace in thousandths of the rest: all of it, and what begins after an outage."""

CALM = 4
"""Settling is calm while a settlement waits less than one part in so many of what counts as late."""

SECONDS_TO_FULL = 30.0
"""So long the pace takes from nothing to all (real seconds): whoever was held up does not come all at once."""

OUTAGE_SECONDS = 60.0
"""Nobody rang for so long: what has piled up meanwhile begins slowly."""

HOUR = timedelta(hours=1)


class Budget(NamedTuple):
    """How many lines, and how many bytes on the link."""

    lines: int
    bytes: int

    def is_enough_for(self, other: Budget) -> bool:
        """Whether the other fits in, on both counts."""
        return self.lines >= other.lines and self.bytes >= other.bytes

    def plus(self, other: Budget) -> Budget:
        """Both together."""
        return Budget(self.lines + other.lines, self.bytes + other.bytes)

    def minus(self, other: Budget) -> Budget:
        """What is left, at least nothing."""
        return Budget(max(0, self.lines - other.lines), max(0, self.bytes - other.bytes))

    def at_most(self, other: Budget) -> Budget:
        """The smaller on each count."""
        return Budget(min(self.lines, other.lines), min(self.bytes, other.bytes))

    def part(self, numerator: int, denominator: int) -> Budget:
        """That part of it, rounded down."""
        return Budget(self.lines * numerator // denominator, self.bytes * numerator // denominator)


SMALL = Budget(lines=200, bytes=64 * 1024)
"""A small slice: about ten visits. What cannot starve is at least this an hour."""


def next_pace(pace: int, *, waiting_seconds: float, late_seconds: float, since_last_seconds: float) -> int:
    """The pace after this tick, 0 to FULL: at once down to what settling leaves, upwards only by and by.

    `waiting_seconds` says how long a settlement waits at present, `late_seconds` from when on that is late (stop).
    """
    begun = min(pace, START) if since_last_seconds > OUTAGE_SECONDS else pace
    step = max(1, int(FULL * min(max(since_last_seconds, 0.0), OUTAGE_SECONDS) / SECONDS_TO_FULL))
    if since_last_seconds > OUTAGE_SECONDS:
        step = 0
    return max(0, min(begun + step, ceiling(waiting_seconds, late_seconds)))


def ceiling(waiting_seconds: float, late_seconds: float) -> int:
    """The highest pace that settling leaves: FULL while it is calm, 0 when it is late, in a line between."""
    calm = late_seconds / CALM
    if waiting_seconds <= calm:
        return FULL
    if waiting_seconds >= late_seconds:
        return 0
    return int(FULL * (late_seconds - waiting_seconds) / (late_seconds - calm))


def floor_of(window: Budget, frontends: int) -> Budget:
    """The small slice each front-end has coming in every hour of the window: as much as the budget can bear."""
    return SMALL.at_most(window.part(1, max(1, frontends)))


def rest_of(window: Budget, frontends: int) -> Budget:
    """What is left of an hour's budget when every front-end's small slice is set aside."""
    floor = floor_of(window, frontends)
    return window.minus(Budget(floor.lines * frontends, floor.bytes * frontends))


def slice_of(share: Budget, *, pace: int, length: timedelta) -> Budget:
    """What a slice of this length carries of a front-end's share of the rest of an hour.

    A slice that would be smaller than a small one is a small one, or the share where that is less still: it is earned
    over a longer time (`earned_in`).
    """
    wanted = share.part(pace * (length // timedelta(milliseconds=1)), FULL * (HOUR // timedelta(milliseconds=1)))
    return wanted if wanted.is_enough_for(SMALL) else SMALL.at_most(share)


def earned_in(granted: Budget, share: Budget, *, pace: int) -> timedelta | None:
    """After how long, at this pace, a front-end with this share has earned another slice; None: not at all."""
    rate = share.part(pace, FULL)
    if min(rate) <= 0:
        return None
    return max(HOUR * granted.lines / rate.lines, HOUR * granted.bytes / rate.bytes)
