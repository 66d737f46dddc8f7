"""Which upload window is open at a moment, and when it closes."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.timetable import DEFAULT_WINDOWS, UploadWindow, WindowClosed, cut_off, open_window

SHANGHAI = ZoneInfo("Asia/Shanghai")

NIGHT = UploadWindow(name="night", opens=time(18), closes=time(8), lines_per_tick=100)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


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
    found = open_window(DEFAULT_WINDOWS, "F1", at(moment))
    assert (found and found.name) == name
    if found is not None:
        assert cut_off(found, at(moment)) == at(closes)


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
    workdays = UploadWindow(name="workdays", opens=time(18), closes=time(8), lines_per_tick=1, weekdays="12345")
    assert (open_window([workdays], "F1", at(moment)) is workdays) == is_open


def test_a_front_ends_own_window_comes_before_everybodys():
    own = UploadWindow(name="own", opens=time(20), closes=time(22), lines_per_tick=1, frontend="F1")
    assert open_window([NIGHT, own], "F1", at("2026-03-02 21:00")) is own
    assert open_window([NIGHT, own], "F1", at("2026-03-02 22:00")) is NIGHT
    assert open_window([NIGHT, own], "F2", at("2026-03-02 21:00")) is NIGHT
    assert open_window([own], "F2", at("2026-03-02 21:00")) is None


def test_a_window_that_closes_when_it_opens_is_open_all_day():
    always = UploadWindow(name="always", opens=time(6), closes=time(6), lines_per_tick=1)
    assert cut_off(always, at("2026-03-02 05:59")) == at("2026-03-02 06:00")
    assert cut_off(always, at("2026-03-02 06:00")) == at("2026-03-03 06:00")


def test_a_closed_window_has_no_cut_off():
    with pytest.raises(WindowClosed, match="'night' is not open at 2026-03-02T12:00"):
        cut_off(NIGHT, at("2026-03-02 12:00"))


@given(
    st.times(),
    st.times(),
    st.sets(st.sampled_from("1234567")).map("".join),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
)
def test_an_open_window_closes_within_a_day(opens, closes, weekdays, moment):
    window = UploadWindow(name="w", opens=opens, closes=closes, lines_per_tick=1, weekdays=weekdays)
    now = moment.replace(tzinfo=SHANGHAI)
    if open_window([window], "F1", now) is not None:
        end = cut_off(window, now)
        assert now < end
        assert (end - now).total_seconds() <= 86_400
        assert open_window([window], "F1", end) is None or opens == closes
