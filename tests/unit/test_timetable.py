"""Which upload window is open at a moment, and when it closes; which overlap; the hours of a week."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.timetable import (
    DEFAULT_WINDOWS,
    UploadWindow,
    hours_of,
    open_window,
    opening,
    overlaps,
)
from domain.workdays import is_workday

SHANGHAI = ZoneInfo("Asia/Shanghai")


def window(name="night", opens=time(18), closes=time(8), **change):
    return UploadWindow(name=name, opens=opens, closes=closes, lines_per_hour=1_000, bytes_per_hour=50_000, **change)


NIGHT = window()


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def found(windows, frontend, moment):
    return open_window(windows, frontend, moment, is_workday)


@pytest.mark.parametrize(
    ("moment", "name", "closes"),
    [
        pytest.param("2026-03-02 07:59:59.999999", "night", "2026-03-02 08:00", id="the last moment of the night"),
        pytest.param("2026-03-02 08:00", None, None, id="the morning peak begins"),
        pytest.param("2026-03-02 11:59", None, None, id="the morning peak"),
        pytest.param("2026-03-02 12:00", "noon", "2026-03-02 14:00", id="noon"),
        pytest.param("2026-03-02 14:00", None, None, id="the afternoon peak begins"),
        pytest.param("2026-03-02 18:00", "night", "2026-03-03 08:00", id="the evening"),
        pytest.param("2026-02-28 23:59", "night", "2026-03-01 08:00", id="over the end of a month"),
        pytest.param("2026-03-01 00:00", "night", "2026-03-01 08:00", id="midnight"),
    ],
)
def test_the_default_windows_keep_clear_of_the_peaks(moment, name, closes):
    open_now = found(DEFAULT_WINDOWS, "F1", at(moment))
    assert (open_now and open_now.name) == name
    if open_now is not None:
        assert opening(open_now, at(moment), is_workday).closes == at(closes)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        pytest.param("2026-03-06 19:00", True, id="Friday evening"),
        pytest.param("2026-03-07 07:00", True, id="Saturday morning belongs to Friday's window"),
        pytest.param("2026-03-07 19:00", False, id="Saturday evening"),
        pytest.param("2026-03-08 07:00", False, id="Sunday morning"),
        pytest.param("2026-03-09 07:00", False, id="Monday morning belongs to Sunday"),
        pytest.param("2026-03-09 18:00", True, id="Monday evening"),
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_it_opens(moment, is_open):
    weekdays = window(days="12345")
    assert (found([weekdays], "F1", at(moment)) is weekdays) == is_open


@pytest.mark.parametrize(
    ("day", "workday", "off"),
    [
        pytest.param("2026-03-02", True, False, id="a Monday"),
        pytest.param("2026-03-07", False, True, id="a Saturday"),
        pytest.param("2026-05-01", False, True, id="Labour Day, a Friday"),
        pytest.param("2026-05-09", True, False, id="a Saturday worked in its stead"),
    ],
)
def test_working_days_are_those_of_the_calendar(day, workday, off):
    noon = at(f"{day} 12:30")
    day_window, off_window = (window(opens=time(12), closes=time(14), days=days) for days in "WH")
    assert (found([day_window], "F1", noon) is not None) == workday
    assert (found([off_window], "F1", noon) is not None) == off
    assert found([window(opens=time(12), closes=time(14), days="HW")], "F1", noon) is not None


def test_the_night_of_a_working_day_runs_into_the_holiday():
    """The evening of 30 April 2026, a Thursday; the day after is Labour Day."""
    nights = window(days="W")
    assert found([nights], "F1", at("2026-05-01 07:00")) is nights
    assert found([nights], "F1", at("2026-05-01 19:00")) is None


def test_a_front_ends_own_window_comes_before_everybodys():
    own = window("own", time(20), time(22), frontend="F1")
    assert found([NIGHT, own], "F1", at("2026-03-02 21:00")) is own
    assert found([NIGHT, own], "F1", at("2026-03-02 22:00")) is NIGHT
    assert found([NIGHT, own], "F2", at("2026-03-02 21:00")) is NIGHT
    assert found([own], "F2", at("2026-03-02 21:00")) is None


def test_a_window_that_closes_when_it_opens_is_open_all_day():
    always = window("always", time(6), time(6))
    assert opening(always, at("2026-03-02 05:59"), is_workday).closes == at("2026-03-02 06:00")
    assert opening(always, at("2026-03-02 06:00"), is_workday).closes == at("2026-03-03 06:00")


WINDOWS = st.builds(
    window,
    opens=st.times().map(lambda moment: moment.replace(microsecond=0)),
    closes=st.times().map(lambda moment: moment.replace(microsecond=0)),
    days=st.sets(st.sampled_from("1234567WH"), min_size=1).map("".join),
)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)).map(lambda moment: moment.replace(tzinfo=SHANGHAI))


@given(WINDOWS, MOMENTS)
def test_an_opening_holds_its_moment_and_ends_within_a_day(some, moment):
    if (found_now := opening(some, moment, is_workday)) is not None:
        assert found_now.opened <= moment < found_now.closes <= found_now.opened + timedelta(days=1)
        assert opening(some, found_now.opened, is_workday) == found_now


# ── Overlaps ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("one", "other", "crosses"),
    [
        pytest.param({"closes": time(8)}, {"opens": time(8), "closes": time(12)}, False, id="one after the other"),
        pytest.param({}, {"opens": time(7), "closes": time(9)}, True, id="the end of a night"),
        pytest.param({"days": "1"}, {"opens": time(7), "closes": time(9), "days": "2"}, True, id="the day after"),
        pytest.param({"days": "1"}, {"opens": time(7), "closes": time(9), "days": "1"}, False, id="not the day itself"),
        pytest.param({"days": "7"}, {"opens": time(7), "closes": time(9), "days": "1"}, True, id="over the weekend"),
        pytest.param({"days": "W"}, {"days": "H"}, False, id="working days and days off"),
        pytest.param({"days": "W"}, {"days": "6"}, True, id="a Saturday may be worked"),
        pytest.param({"days": "W"}, {"opens": time(7), "closes": time(9), "days": "H"}, True, id="into a day off"),
        pytest.param({}, {"frontend": "F1"}, False, id="a front-end's own lies in everybody's"),
        pytest.param({"frontend": "F1"}, {"frontend": "F1", "opens": time(23)}, True, id="two of one front-end"),
    ],
)
def test_windows_that_could_be_open_at_once_overlap(one, other, crosses):
    assert overlaps(window(**one), window("other", **other)) == crosses
    assert overlaps(window("other", **other), window(**one)) == crosses


@given(WINDOWS, WINDOWS, MOMENTS)
def test_windows_that_do_not_overlap_are_never_open_at_once(one, other, moment):
    both = opening(one, moment, is_workday) and opening(other, moment, is_workday)
    assert not (both and not overlaps(one, other))


# ── The hours of a week ───────────────────────────────────────────────────────────────────────────────────

MONDAY = at("2026-03-02 00:00")


def test_the_hours_of_a_day_with_what_they_carry():
    windows = [window("noon", time(12, 15), time(14), days="W"), NIGHT]

    hours = list(hours_of(windows, "F1", MONDAY, 1, is_workday))

    assert [hour.window for hour in hours] == ["night"] * 8 + [""] * 4 + ["noon"] * 2 + [""] * 4 + ["night"] * 6
    noon = hours[12]
    assert (noon.minutes, noon.lines, noon.bytes) == (45, 750, 37_500)
    assert sum(hour.lines for hour in hours) == 14_000 + 1_750


def test_an_hour_two_windows_share_comes_twice():
    windows = [window("early", time(8), time(8, 20)), window("late", time(8, 30), time(9))]
    shared = [hour for hour in hours_of(windows, "F1", MONDAY, 1, is_workday) if hour.window]
    assert [(hour.window, hour.minutes) for hour in shared] == [("early", 20), ("late", 30)]


@given(st.lists(WINDOWS, max_size=3), st.dates(date(2024, 1, 1), date(2026, 12, 20)))
def test_the_hours_of_a_week_come_in_order_and_hold_no_more_than_an_hour(windows, day):
    named = [UploadWindow(**{**{field: getattr(each, field) for field in each.__slots__}, "name": f"w{number}"})
             for number, each in enumerate(windows)]  # fmt: skip
    midnight = datetime.combine(day, time(), SHANGHAI)
    hours = list(hours_of(named, "F1", midnight, 2, is_workday))
    assert all(one.begins <= other.begins for one, other in pairwise(hours))
    for begins in {hour.begins for hour in hours}:
        assert sum(hour.minutes for hour in hours if hour.begins == begins) <= 61, "each rounded by itself"
