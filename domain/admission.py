"""The token bucket that stands before an institution's doors (R37): how many claims it may hand in, and how fast.

A bucket is kept as one moment: when it will be full again. So it costs one number a row, needs nothing that ticks, and
is the same for every process that reads the row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """So many claims a second on the long run, and so many at once; both above zero."""

    per_second: int
    burst: int

    @property
    def seconds_to_fill(self) -> float:
        """How long an empty bucket takes to fill."""
        return self.burst / self.per_second


def retry_after(rate: Rate, full_at: float, *, now: float) -> float:
    """Seconds until the bucket holds a claim; 0 when it does. Moments are seconds of one clock."""
    wait = full_after(rate, full_at, now=now) - now - rate.seconds_to_fill
    return wait if wait > _HAIR else 0.0


def full_after(rate: Rate, full_at: float, *, now: float) -> float:
    """When the bucket is full again once a claim has been taken from it, which is to be asked for before.

    A bucket that is to be full later than an empty one was written by a clock ahead of this one: it counts as
    full, because it would else keep everybody out until this clock has caught up.
    """
    a_claim = 1 / rate.per_second
    of_this_clock = full_at <= now + rate.seconds_to_fill + 2 * _HAIR
    return max(full_at if of_this_clock else now, now) + a_claim


_HAIR = 1e-5
"""What adding up parts of a second may come out too long."""
