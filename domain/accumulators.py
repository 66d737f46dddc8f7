"""Accumulators (累计): what a person has used up of limits and deductibles, and the grammar of their keys.

A key reads fund:visit type:segment:tag:period, for example `basic:3:fund:-:2026`.

    fund        basic, the name of an upper layer, or `visit` for what was counted before any fund spoke
    visit type  JZLB of the visits it counts
    segment     what is counted, in fen: fund (money the fund paid), deductible (charged), in_scope (charges in scope,
                deductible inside), over_cap (charges over the cap), charges (in scope, after deductible, under the
                cap), total, base (what an upper layer is measured on), due (the deductible a stay began with);
                as a plain count: stays, stay_no, count
    tag         - for all, else the disease, the item group, or =name of a counter a fact keeps apart
    period      2026 (benefit year, by the calendar year it begins in), 2026Q3, 2026-07, 2026-07-15,
                stay/<visit_no>, and stay/<visit_no>/<n> where a stay is counted in parts

A key that has no row counts as 0.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import NamedTuple

FUND = "fund"
DEDUCTIBLE = "deductible"
IN_SCOPE = "in_scope"
OVER_CAP = "over_cap"
CHARGES = "charges"
TOTAL = "total"
BASE = "base"
DUE = "due"
STAYS = "stays"
STAY_NO = "stay_no"
COUNT = "count"

ALL = "-"
"""The tag of what is counted over everything."""


class AccumulatorKey(NamedTuple):
    """The five parts of a key."""

    fund: str
    visit_type: str
    segment: str
    tag: str
    period: str

    def __str__(self) -> str:
        return ":".join(self)


class NotAKey(ValueError):
    """The text is not the key of an accumulator."""


def read_key(text: str) -> AccumulatorKey:
    """Read a key. Raises NotAKey."""
    parts = text.split(":")
    if len(parts) != len(AccumulatorKey._fields) or not all(parts):
        raise NotAKey("a key reads fund:visit type:segment:tag:period")
    return AccumulatorKey(*parts)


def key(fund: str, visit_type: str, segment: str, tag: str, period: str) -> str:
    """Write a key."""
    return f"{fund}:{visit_type}:{segment}:{tag or ALL}:{period}"


@lru_cache(maxsize=1024)
def fund_key(visit_type: str, year: int) -> str:
    """The accumulator of what the basic fund has paid for visits of this type in the year."""
    return key("basic", visit_type, FUND, ALL, str(year))


@lru_cache(maxsize=1024)
def deductible_key(visit_type: str, year: int) -> str:
    """The accumulator of the deductible charged on visits of this type in the year."""
    return key("basic", visit_type, DEDUCTIBLE, ALL, str(year))


def year_of(day: date, starts: tuple[int, int]) -> int:
    """The benefit year of a day, named by the calendar year it begins in; `starts` is its first month and day."""
    return day.year if (day.month, day.day) >= starts else day.year - 1


def period_of(per: str, day: date, starts: tuple[int, int]) -> str:
    """The period a day lies in: per year, quarter, month or day."""
    if per == "year":
        return str(year_of(day, starts))
    if per == "quarter":
        return f"{day.year}Q{(day.month + 2) // 3}"
    if per == "month":
        return f"{day.year}-{day.month:02d}"
    if per == "day":
        return day.isoformat()
    raise ValueError(f"no calendar period: {per}")


def stay_of(visit_no: str, part: str = "") -> str:
    """The period of one stay or visit, or of a part of it (a settlement period, a year)."""
    return f"stay/{visit_no}/{part}" if part else f"stay/{visit_no}"
