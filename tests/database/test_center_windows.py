"""Upload windows and lateness: one slice at a time, under a lease, and nothing while settling is late."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, time, timedelta

import pytest
from sqlalchemy import insert, text

from center import lateness, windows
from center.tables import lease, upload_window
from infra.clock import SHANGHAI
from infra.lease import take
from tests.support.center import FRONTEND, OTHER_FRONTEND, fill_center, rows_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=SHANGHAI)
LANE = "settle"


@pytest.fixture(scope="module", autouse=True)
def filled(center_engine):
    fill_center(center_engine)
    rows = [
        {"name": "noon", "opens": time(12), "closes": time(14), "lines_per_tick": 500},
        {"name": "noon-shared", "opens": time(13), "closes": time(14), "lines_per_tick": 80},
        {"name": "night", "opens": time(18), "closes": time(8), "lines_per_tick": 2000},
        {"name": "off", "opens": time(0), "closes": time(23), "lines_per_tick": 9},
    ]
    rows = [{"frontend": "*", "active": True, **row} for row in rows]
    rows[1]["frontend"], rows[3]["active"] = OTHER_FRONTEND, False
    with center_engine.begin() as connection:
        connection.execute(insert(upload_window), rows)


@pytest.fixture(autouse=True)
def nothing_granted(center_engine):
    with center_engine.begin() as connection:
        connection.execute(text("DELETE FROM upload_grant"))
        connection.execute(text("DELETE FROM lease"))
        connection.execute(text("DELETE FROM lane_health"))


@pytest.fixture
def tick(center_engine):
    def tick(at=NOON, now=1000.0, holder="beat-1", waiting_age=0.0, connection=None):
        arguments = {
            "at": at,
            "now": now,
            "holder": holder,
            "settle_waiting_age": waiting_age,
            "settle_late_seconds": 2.0,
            "slice_length": timedelta(minutes=8),
        }
        if connection is not None:
            return windows.tick(connection, **arguments)
        with center_engine.begin() as own:
            return windows.tick(own, **arguments)

    return tick


def test_every_front_end_gets_a_slice_of_the_window_open_for_it(tick):
    granted = dict(tick())

    assert set(granted) == {FRONTEND, OTHER_FRONTEND}
    assert (granted[FRONTEND].window, granted[FRONTEND].lines, granted[FRONTEND].fence) == ("noon", 500, 1)
    assert granted[FRONTEND].cut_off == NOON + timedelta(minutes=8)


def test_its_own_window_goes_before_the_one_for_everybody(tick):
    granted = dict(tick(at=NOON + timedelta(hours=1)))

    assert granted[OTHER_FRONTEND].window == "noon-shared"
    assert granted[FRONTEND].window == "noon"


def test_a_tick_twice_grants_once_and_the_next_slice_follows_the_last(tick):
    first = tick()

    assert tick() == []
    assert tick(at=NOON + timedelta(minutes=7, seconds=59)) == []
    second = tick(at=NOON + timedelta(minutes=8))

    assert [slice_.fence for _, slice_ in first + second] == [1, 1, 2, 2]


@pytest.mark.parametrize("at", [NOON - timedelta(seconds=1), NOON + timedelta(hours=2)])
def test_nothing_is_granted_outside_a_window(tick, at):
    assert tick(at=at) == []


def test_a_slice_ends_with_its_window(tick):
    granted = dict(tick(at=NOON + timedelta(hours=1, minutes=55)))

    assert granted[FRONTEND].cut_off == NOON + timedelta(hours=2)


def test_nothing_is_granted_while_settling_is_late(center_engine, tick):
    assert tick(waiting_age=2.1) == []
    assert rows_of(center_engine, "SELECT 1 FROM upload_grant") == []
    assert len(tick(waiting_age=2.0)) == 2


def test_only_one_of_two_schedules_grants(tick):
    assert len(tick(holder="beat-1")) == 2
    later = NOON + timedelta(minutes=10)
    assert tick(holder="beat-2", at=later, now=1001.0) == []
    assert len(tick(holder="beat-2", at=later, now=1000.0 + windows.LEASE_SECONDS + 1)) == 2


def test_a_schedule_that_slept_past_its_lease_grants_nothing(center_engine, tick):
    tick(holder="beat-1")
    wakes_at = 1000.0 + windows.LEASE_SECONDS + 2
    with center_engine.begin() as connection:
        take(connection, lease, name=windows.LEASE, holder="beat-2", now=wakes_at - 1, seconds=windows.LEASE_SECONDS)

    assert tick(holder="beat-1", at=NOON + timedelta(minutes=10), now=wakes_at) == []


def test_schedules_at_the_same_moment_grant_once(center_engine, tick):
    """Whoever comes second waits for the lease row of the first, and then finds it taken."""
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            with center_engine.begin() as connection:
                connection.execute(text("DELETE FROM lease"))
                connection.execute(text("DELETE FROM upload_grant"))
            grants = list(pool.map(lambda beat: tick(holder=f"beat-{beat}"), range(4)))
            assert sorted(len(granted) for granted in grants) == [0, 0, 0, 2]


def test_lines_count_for_the_opening_they_were_granted_in(center_engine, tick):
    tick()
    tick(at=NOON + timedelta(minutes=8))
    with center_engine.begin() as connection:
        good = NOON + timedelta(minutes=9)
        assert windows.count_received(connection, FRONTEND, fence=1, lines=30, at=good)
        assert windows.count_received(connection, FRONTEND, fence=2, lines=12, at=good)
        assert not windows.count_received(connection, FRONTEND, fence=3, lines=1, at=good)
        assert not windows.count_received(connection, FRONTEND, fence=2, lines=1, at=NOON + timedelta(hours=2))
        assert not windows.count_received(connection, "stranger", fence=1, lines=1, at=good)
    granted = "SELECT lines_granted, lines_received FROM upload_grant WHERE frontend = :frontend"
    assert rows_of(center_engine, granted, frontend=FRONTEND) == [(1000, 42)]

    tick(at=NOON.replace(hour=18))
    with center_engine.begin() as connection:
        assert not windows.count_received(connection, FRONTEND, fence=2, lines=1, at=NOON.replace(hour=18, minute=1))
    assert rows_of(center_engine, granted, frontend=FRONTEND) == [(2000, 0)]


def test_a_tick_is_remembered(center_engine, tick):
    tick(now=1234.5)

    assert rows_of(center_engine, "SELECT at FROM tick WHERE name = 'windows'") == [(1234.5,)]


# ── Lateness ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def at(center_engine):
    """Do something about the settle lane at a moment."""

    def at(now, what, **values):
        with center_engine.begin() as connection:
            return what(connection, LANE, now=now, **values)

    return at


def test_a_lane_nobody_probed_yet_is_not_late(at):
    assert at(100.0, lateness.waiting_age) == 0.0


def test_a_probe_that_came_back_says_how_long_messages_wait(at):
    at(100.0, lateness.probe_due)
    at(103.0, lateness.probe_back, sent_at=100.0)

    assert at(104.0, lateness.waiting_age) == 3.0

    assert at(104.0, lateness.probe_due)
    at(104.2, lateness.probe_back, sent_at=104.0)
    assert at(105.0, lateness.waiting_age) == pytest.approx(0.2)


def test_a_probe_that_is_away_has_waited_at_least_so_long(at):
    at(100.0, lateness.probe_due)

    assert at(100.5, lateness.waiting_age) == 0.5
    assert at(160.0, lateness.waiting_age) == 60.0


def test_one_probe_is_under_way_at_a_time_unless_it_may_be_lost(at):
    assert at(100.0, lateness.probe_due)
    assert not at(102.0, lateness.probe_due)
    lost = 100.0 + lateness.PROBE_LOST_SECONDS + 1
    assert at(lost, lateness.probe_due)
    assert at(lost + 1, lateness.waiting_age) == lost + 1 - 100.0

    at(lost + 1, lateness.probe_back, sent_at=lost)
    assert at(lost + 1, lateness.waiting_age) == 1.0


def test_a_late_probe_does_not_hide_the_newer_one_still_under_way(at):
    at(100.0, lateness.probe_due)
    at(120.0, lateness.probe_due)
    at(125.0, lateness.probe_back, sent_at=100.0)

    assert at(126.0, lateness.waiting_age) == 25.0
    assert at(150.0, lateness.waiting_age) == 30.0
