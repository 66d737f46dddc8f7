"""Working days in China: holidays, the weekends worked in their stead, and what the office sets against both."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.workdays import NoSuchDay, is_workday, moved_weekends, workday_after


@pytest.mark.parametrize(
    ("day", "worked"),
    [
        pytest.param(date(2026, 3, 2), True, id="a Monday"),
        pytest.param(date(2026, 3, 7), False, id="a Saturday"),
        pytest.param(date(2026, 2, 17), False, id="Spring Festival"),
        pytest.param(date(2026, 2, 20), False, id="off for a weekend worked"),
        pytest.param(date(2026, 2, 14), True, id="the Saturday worked for it"),
        pytest.param(date(2026, 2, 28), True, id="and the other one"),
        pytest.param(date(2026, 10, 1), False, id="National Day"),
        pytest.param(date(2026, 10, 7), False, id="its last day, moved"),
        pytest.param(date(2026, 9, 20), True, id="the Sunday worked for it"),
        pytest.param(date(2026, 10, 10), True, id="the Saturday worked for it, after"),
        pytest.param(date(2027, 10, 1), False, id="National Day of a year without notice"),
    ],
)
def test_a_day_is_worked_or_not(day, worked):
    assert is_workday(day) is worked


@pytest.mark.parametrize(
    ("day", "count", "found"),
    [
        pytest.param(date(2026, 1, 31), 5, date(2026, 2, 6), id="an ordinary month"),
        pytest.param(date(2026, 2, 12), 5, date(2026, 2, 26), id="over Spring Festival, by a Saturday worked"),
        pytest.param(date(2026, 9, 30), 5, date(2026, 10, 13), id="over National Day, by a Saturday worked"),
        pytest.param(date(2025, 12, 31), 1, date(2026, 1, 4), id="over New Year, on a Sunday worked"),
    ],
)
def test_so_many_working_days_after(day, count, found):
    assert workday_after(day, count) == found


def test_the_office_has_the_last_word():
    exceptions = {date(2026, 10, 12): False, date(2026, 10, 5): True}

    assert workday_after(date(2026, 9, 30), 5, exceptions) == date(2026, 10, 13)
    assert is_workday(date(2026, 10, 5), exceptions)
    assert workday_after(date(2026, 9, 30), 1, exceptions) == date(2026, 10, 5)


def test_it_is_said_for_which_years_the_moved_weekends_are_known():
    assert date(2026, 10, 10) in moved_weekends(2026)
    assert moved_weekends(2040) == ()


@pytest.mark.parametrize("count", [0, -1, 1000])
def test_a_working_day_that_is_none_is_refused(count):
    with pytest.raises(NoSuchDay):
        workday_after(date(2026, 1, 1), count)


@given(st.dates(date(2020, 1, 1), date(2030, 12, 31)), st.integers(1, 40))
def test_between_a_day_and_the_nth_working_day_after_it_there_are_n(day, count):
    found = workday_after(day, count)

    between = [day + timedelta(days=step) for step in range(1, (found - day).days + 1)]
    assert sum(map(is_workday, between)) == count
    assert is_workday(found)
