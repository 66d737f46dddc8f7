"""The clock: the wall's, or a day replayed faster; leases never depend on which."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from infra.clock import SHANGHAI, Clock, clock_from

MORNING = datetime(2026, 3, 2, 7, 30, tzinfo=SHANGHAI)


def test_without_a_setting_it_is_the_wall_clock():
    now = clock_from("").now()

    assert now.tzinfo is SHANGHAI
    assert abs(now.timestamp() - time.time()) < 5
    assert clock_from("").written() == ""


def test_a_replayed_day_starts_where_it_is_told_and_runs_at_its_speed():
    clock = Clock(MORNING, time.time() - 10, 240.0)

    assert clock.now() - MORNING == pytest.approx(timedelta(seconds=2400), abs=timedelta(seconds=240))
    assert clock.now().tzinfo is SHANGHAI


def test_leases_are_counted_in_real_seconds_whatever_day_is_played():
    assert abs(Clock(MORNING, 0.0, 240.0).seconds() - time.time()) < 5


def test_the_setting_reads_back_as_it_was_written():
    clock = Clock(MORNING, 1764000000.125, 240.0)

    assert clock_from(clock.written()) == clock


def test_a_moment_of_another_zone_is_the_same_moment():
    assert clock_from("2026-03-01T23:30:00+00:00@0x1").starts_at == MORNING


@pytest.mark.parametrize(
    "setting", ["now", "2026-03-02T07:30:00+08:00", "2026-03-02@1764000000", "@x", "a@bxc", "1@2x3x4"]
)
def test_anything_else_is_refused_with_the_form_it_should_have(setting):
    with pytest.raises(ValueError, match="MOMENT@EPOCHxSPEED"):
        clock_from(setting)
