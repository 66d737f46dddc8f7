"""Working days in China (工作日): weekends, public holidays, and the weekends that are worked in their stead.

The days of a year are those of the `holidays` package, which follows the notices of the State Council; a notice comes
in the autumn before its year. What a notice moves later, and what the city closes on its own, the office sets as
exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache

from holidays import HolidayBase, country_holidays

SATURDAY = 5


class NoSuchDay(ValueError):
    """So many working days after a day do not come within two years."""


def is_workday(day: date, exceptions: Mapping[date, bool] = {}) -> bool:
    """Whether the day is worked: as the office says in `exceptions`, else as the State Council does."""
    if day in exceptions:
        return exceptions[day]
    of_the_year = _year(day.year)
    return day not in of_the_year and (day.weekday() < SATURDAY or day in of_the_year.weekend_workdays)


def workday_after(day: date, count: int, exceptions: Mapping[date, bool] = {}) -> date:
    """The `count`th working day after the day, which is not counted itself. Raises NoSuchDay."""
    if count < 1:
        raise NoSuchDay(f"the {count}. working day after {day}")
    found = day
    for _ in range(731):
        found += timedelta(days=1)
        count -= is_workday(found, exceptions)
        if count == 0:
            return found
    raise NoSuchDay(f"no such working day within two years after {day}")


def moved_weekends(year: int) -> tuple[date, ...]:
    """The Saturdays and Sundays of the year that are worked; empty while no notice for the year is known."""
    return tuple(sorted(day for day in _year(year).weekend_workdays if day.year == year))


@cache
def _year(year: int) -> HolidayBase:
    return country_holidays("CN", years=year)
