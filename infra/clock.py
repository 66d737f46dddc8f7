"""The only place that reads the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Clock:
    """Business time: the wall clock, or a day replayed faster than it happened.

    `starts_at` is the business moment at the real moment `epoch` (Unix seconds); `speed` is business seconds per
    real second. Leases and ages of messages are real seconds: they come from `seconds()`.
    """

    starts_at: datetime | None = None
    epoch: float = 0.0
    speed: float = 1.0

    def now(self) -> datetime:
        """The business moment, aware, in Asia/Shanghai."""
        if self.starts_at is None:
            return datetime.now(SHANGHAI)
        return self.starts_at + timedelta(seconds=(time.time() - self.epoch) * self.speed)

    def seconds(self) -> float:
        """Real Unix seconds."""
        return time.time()

    def written(self) -> str:
        """The clock as the setting JIESUAN_CLOCK; empty for the wall clock."""
        if self.starts_at is None:
            return ""
        return f"{self.starts_at.isoformat()}@{self.epoch!r}x{self.speed!r}"


def clock_from(setting: str) -> Clock:
    """Read JIESUAN_CLOCK: "2026-03-02T07:30:00+08:00@1764000000.0x240.0", or empty for the wall clock.

    Raises ValueError naming the form.
    """
    if not setting:
        return Clock()
    try:
        moment, rest = setting.split("@")
        epoch, speed = rest.split("x")
        starts_at = datetime.fromisoformat(moment).astimezone(SHANGHAI)
        return Clock(starts_at, float(epoch), float(speed))
    except ValueError as error:
        raise ValueError("JIESUAN_CLOCK reads MOMENT@EPOCHxSPEED, for example ...T07:30+08:00@0.0x240.0") from error
