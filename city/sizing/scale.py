"""From one clinic to the nation: what a day asks of the centre, reckoned from our own measurements.

Settlements a day are the nation's 18 million, 34 million at its peak, by the head; the busiest hour has the share the
load model gives it. What follows is measured per claim and multiplied, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from city.sizing.needs import BUSIEST_HOUR, measured

NATION_INSURED = 1_330_000_000
NATION_A_DAY, NATION_AT_PEAK = 18_000_000, 34_000_000
LINES_A_CLAIM = 20
"""As measured; an outpatient visit has about five, a stay hundreds."""

PLACES = {
    "a clinic of 40 visits a day": None,
    "a city of 2.75 million (Guangzhou 2005)": 2_750_000,
    "a city of 20 million": 20_000_000,
    "a province of 100 million": 100_000_000,
    "the nation, 1.33 billion": NATION_INSURED,
}
CLINIC_A_DAY, CLINIC_AT_PEAK = 40, 75


class Scale(NamedTuple):
    """What a place asks: settlements, then computed from the measurements per claim."""

    place: str
    a_day: int
    peak_day: int
    a_second: float
    """In the busiest hour of the peak day."""
    cores_batched: float
    """Centre and database together, busy, where messages carry what waits at one busy front-end."""
    cores_alone: float
    """The same where each message carries one claim, as from thousands of quiet front-ends."""
    stored_gb_a_year: float
    """At the centre, without detail."""
    detail_gb_a_day: float
    """On the links of the place together, off the peak."""


def scales() -> Iterator[Scale]:
    """One row a place."""
    figures = measured()
    cpu = figures["cpu_us_a_claim"]
    stored = figures["stored_bytes_a_claim"]["centre"]
    detail = figures["link_bytes_a_claim"]["detail"]
    for place, insured in PLACES.items():
        share = 1.0 if insured is None else insured / NATION_INSURED
        a_day = CLINIC_A_DAY if insured is None else round(NATION_A_DAY * share)
        peak = CLINIC_AT_PEAK if insured is None else round(NATION_AT_PEAK * share)
        a_second = peak * BUSIEST_HOUR / 3600
        yield Scale(
            place=place,
            a_day=a_day,
            peak_day=peak,
            a_second=a_second,
            cores_batched=a_second * cpu["centre"] / 1e6,
            cores_alone=a_second * cpu["centre, one claim a message"] / 1e6,
            stored_gb_a_year=a_day * 365 * stored / 1e9,
            detail_gb_a_day=a_day * detail / 1e9,
        )


def table() -> str:
    """The rows as they stand in docs/scaling.md."""
    lines = [
        "| place | settlements a day | on the peak day | a second, busiest hour | cores busy, batched |"
        " cores busy, one claim a message | GB a year at the centre | GB of detail a day |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.place} | {row.a_day:,} | {row.peak_day:,} | {_plain(row.a_second)} | {_plain(row.cores_batched)} |"
        f" {_plain(row.cores_alone)} | {_plain(row.stored_gb_a_year)} | {_plain(row.detail_gb_a_day)} |"
        for row in scales()
    ]
    return "\n".join(lines)


def _plain(value: float) -> str:
    """Two significant digits, written out."""
    return f"{value:,.0f}" if value >= 10 else f"{float(f'{value:.2g}'):.7f}".rstrip("0").rstrip(".")
