"""What an institution of a class asks of its front-end server and its line, reckoned from our own measurements.

The volumes are the upper ends of section 3.1; the extra-large class has none and is reckoned at twice its lower end.
How a day is spread is the assumption of the load model: its busiest hour, on a Monday of a busy month.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import ceil, floor
from pathlib import Path
from typing import Any

from domain.institution_class import CLASSES, Size

MEASURED = Path(__file__).with_name("measured.json")

BUSIEST_HOUR = 0.175
"""Of a day's visits: 9 to 10 o'clock in the load model."""
PEAK_DAY = 1.75
"""A Monday (1.25) of a busy season (1.4) against an average day, as the load model has them."""
LINES_OUTPATIENT, LINES_STAY = 5, 300
DAYS_OPEN, YEARS_KEPT = 365, 2
SECONDS_A_DAY = 86_400
TENANTS = 30
"""Institutions on a shared server, at most (section 3.3); each reckoned at the upper end of small."""
HALF = 0.5
"""No machine is planned to be busier than this in its busiest hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Of one front-end server: in the busiest hour, by the day, and for the years its claims are kept."""

    visits_a_day: int
    stays_a_year: int
    claims_a_second: float
    claims_a_second_and_core: int
    """What a core takes when it does nothing else."""
    cores: int
    memory_mib: int
    disk_gb: int
    link_bytes_a_day: int
    idle_bytes_a_day: int
    """Of them, what the connections carry on a day on which nobody comes."""
    detail_bytes_a_day: int
    link_bits_a_second_peak: int


@cache
def measured() -> dict[str, Any]:
    """The figures of the last whole `make bench`."""
    figures: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return figures


def needs(size: Size | None) -> Needs:
    """What a class needs; None is a shared server with TENANTS small institutions."""
    visits, stays = _volume(size)
    figures = measured()
    claims_a_day = visits * PEAK_DAY + stays / DAYS_OPEN * PEAK_DAY
    a_second = claims_a_day * BUSIEST_HOUR / 3600
    front_end_us = max(figures["cpu_us_a_claim"]["front-end, DBF"], figures["cpu_us_a_claim"]["front-end, API"])
    lines_a_day = (visits * LINES_OUTPATIENT + stays / DAYS_OPEN * LINES_STAY) * PEAK_DAY
    line = 1 / figures["lines_a_claim"]
    detail = lines_a_day * figures["link_bytes_a_claim"]["detail"] * line
    # Off the peak a message carries one claim: the dearer figure is the honest one for a single institution.
    totals = claims_a_day * figures["link_bytes_a_claim"]["totals and answer, alone"]
    idle = figures["link_idle_bytes_a_second"]
    stored = figures["stored_bytes_a_claim"]["front-end"] * line
    return Needs(
        visits_a_day=visits,
        stays_a_year=stays,
        claims_a_second=round(a_second, 2),
        claims_a_second_and_core=floor(1e6 / front_end_us),
        cores=max(1, ceil(a_second * front_end_us / 1e6 / HALF)),
        memory_mib=ceil(figures["memory_mib"]["front-end"] / HALF),
        disk_gb=ceil(lines_a_day / PEAK_DAY * DAYS_OPEN * YEARS_KEPT * stored / 1e9 / HALF),
        link_bytes_a_day=round(totals + detail + idle * SECONDS_A_DAY),
        idle_bytes_a_day=idle * SECONDS_A_DAY,
        detail_bytes_a_day=round(detail),
        link_bits_a_second_peak=round((totals * BUSIEST_HOUR / 3600 + idle) * 8),
    )


def _volume(size: Size | None) -> tuple[int, int]:
    """Outpatient visits on an average day and stays a year."""
    if size is None:
        small = CLASSES[Size.SMALL]
        return (small.visits_a_day or 0) * TENANTS, (small.discharges_a_year or 0) * TENANTS
    class_ = CLASSES[size]
    if class_.visits_a_day is None or class_.discharges_a_year is None:
        below = CLASSES[Size.LARGE]
        return (below.visits_a_day or 0) * 2, (below.discharges_a_year or 0) * 2
    return class_.visits_a_day, class_.discharges_a_year
