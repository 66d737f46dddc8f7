"""The four classes of institutions (特大型、大型、中型、小型) by how much business they have (section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Size(StrEnum):
    """The class of an institution; the values are stored and travel in messages."""

    EXTRA_LARGE = "extra_large"
    LARGE = "large"
    MEDIUM = "medium"
    SMALL = "small"


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeClass:
    """What section 3.1 says of a class: its upper ends, which belong to it (AMB-44), and its share of the business."""

    name_zh: str
    discharges_a_year: int | None
    visits_a_day: int | None
    business_percent: int


CLASSES = {
    Size.SMALL: SizeClass(name_zh="小型", discharges_a_year=800, visits_a_day=200, business_percent=4),
    Size.MEDIUM: SizeClass(name_zh="中型", discharges_a_year=1_500, visits_a_day=600, business_percent=7),
    Size.LARGE: SizeClass(name_zh="大型", discharges_a_year=7_000, visits_a_day=3_600, business_percent=27),
    Size.EXTRA_LARGE: SizeClass(name_zh="特大型", discharges_a_year=None, visits_a_day=None, business_percent=62),
}
"""Smallest first. Shares add up to 100 (AMB-45)."""


def size_of(*, discharges_a_year: int, visits_a_day: int) -> Size:
    """The class of an institution with so many discharges a year and outpatient visits on an average day.

    The higher class of the two measures (AMB-44). Raises ValueError for a negative number.
    """
    if discharges_a_year < 0 or visits_a_day < 0:
        raise ValueError("a negative number of patients")
    for size, class_ in CLASSES.items():
        if class_.discharges_a_year is None or class_.visits_a_day is None:
            return size
        if discharges_a_year <= class_.discharges_a_year and visits_a_day <= class_.visits_a_day:
            return size
    raise AssertionError("the largest class has no upper end")
