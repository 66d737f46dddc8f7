"""What settling feels of detail upload: p99 from submission to result with slices running against without, in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time as time_of_day
from statistics import median
from typing import Any

from sqlalchemy import delete, func, insert, select

from center.tables import detail, upload_grant, upload_window
from domain.timetable import DEFAULT_WINDOWS
from infra.database import reading
from tests.bench import latency
from tests.bench.site import Site, Stuck

SLICE_SECONDS = 10
TURNS = 3
NIGHT = next(window for window in DEFAULT_WINDOWS if window.name == "night")
"""Its budget is the whole city's; here one front-end has it alone."""


def run(site: Site, per_second: float, seconds: float, *, first: int) -> dict[str, Any]:
    """The same arrivals with the window shut and with it open and detail due, `2 * TURNS` times so many claims."""
    count = round(per_second * seconds)
    turns: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
    lines, spent = 0, 0.0
    for turn in range(TURNS):
        start = first + 2 * turn * count
        turns["without"].append(latency.run(site, per_second, seconds, first=start))
        with _window(site):
            _until_detail_comes(site)
            before, began = _lines(site), time.monotonic()
            turns["with"].append(latency.run(site, per_second, seconds, first=start + count))
            lines, spent = lines + _lines(site) - before, spent + time.monotonic() - began
    pairs = zip(turns["with"], turns["without"], strict=True)
    ratio = median(with_["p99_ms"] / without["p99_ms"] for with_, without in pairs)
    return {
        "claims": 2 * TURNS * count,
        "offered_per_second": round(per_second),
        "p99_ms": {way: round(median(turn["p99_ms"] for turn in found), 1) for way, found in turns.items()},
        "p50_ms": {way: round(median(turn["p50_ms"] for turn in found), 1) for way, found in turns.items()},
        "ratio": round(ratio, 2),
        "lines_uploaded_per_second": round(lines / spent),
        "budget_lines_per_second": round(NIGHT.lines_per_hour / 3600),
        "turns": turns,
    }


@contextmanager
def _window(site: Site) -> Iterator[None]:
    """The budget of the night, all day, for a while."""
    with site.center.begin() as connection:
        connection.execute(
            insert(upload_window).values(
                name="bench",
                opens=time_of_day(),
                closes=time_of_day(),
                lines_per_hour=NIGHT.lines_per_hour,
                bytes_per_hour=NIGHT.bytes_per_hour,
                slice_seconds=SLICE_SECONDS,
            )
        )
    try:
        yield
    finally:
        with site.center.begin() as connection:
            connection.execute(delete(upload_window))
        time.sleep(SLICE_SECONDS + 1)  # the slice that was granted runs to its end
        with site.center.begin() as connection:
            connection.execute(delete(upload_grant))


def _until_detail_comes(site: Site, *, within: float = 60.0) -> None:
    before, until = _lines(site), time.monotonic() + within
    while _lines(site) == before:
        if time.monotonic() > until:
            raise Stuck("no detail comes though the window is open")
        time.sleep(0.2)


def _lines(site: Site) -> int:
    """Lines of detail at the centre."""
    with reading(site.center) as connection:
        return int(connection.execute(select(func.sum(detail.c.line_count))).scalar() or 0)
