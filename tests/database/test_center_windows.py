"""Slices: one at a time, under a lease, within the budget of the hour, never nothing; lateness as it is measured."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, time, timedelta

import pytest
from sqlalchemy import insert, text, update

from center import lateness
from center.tables import lease, upload_window
from center.uploading import granting, marks
from center.uploading.tables import upload_mark, upload_pace
from domain.pace import FULL, SMALL, START
from infra.clock import SHANGHAI
from infra.lease import take
from tests.support.center import CLINIC, FRONTEND, HOSPITAL, OTHER_FRONTEND, fill_center, rows_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=SHANGHAI)
LANE = "settle"
HOURLY = {"lines_per_hour": 36_400, "bytes_per_hour": 37 << 20}
"""36,000 lines beside the two small slices."""

WINDOWS = [
    {"name": "noon", "opens": time(12), "closes": time(14), **HOURLY},
    {"name": "noon-shared", "opens": time(13), "closes": time(14), "frontend": OTHER_FRONTEND, **HOURLY},
    {"name": "night", "opens": time(18), "closes": time(8), **HOURLY},
    {"name": "off", "opens": time(0), "closes": time(23), "active": False, **HOURLY},
]


@pytest.fixture(scope="module", autouse=True)
def filled(center_engine):
    fill_center(center_engine)
    with center_engine.begin() as connection:
        connection.execute(insert(upload_window), [{"frontend": "*", "active": True, **row} for row in WINDOWS])


@pytest.fixture(autouse=True)
def nothing_granted(center_engine):
    with center_engine.begin() as connection:
        for table in ("upload_grant", "upload_hour", "upload_mark", "upload_pace", "lease", "lane_health"):
            connection.execute(text(f"DELETE FROM {table}"))


@pytest.fixture
def due(center_engine):
    """So many lines of each front-end's institution are due, as they were counted a moment ago; at this pace."""

    def due(pace=FULL, **lines):
        with center_engine.begin() as connection:
            connection.execute(text("DELETE FROM upload_mark"))
            connection.execute(text("DELETE FROM upload_pace"))
            rows = [
                {"institution_code": code, "frontend": frontend, "due_claims": 1, "due_lines": lines[short],
                 "overdue_claims": 0, "oldest_due_at": NOON}
                for short, code, frontend in (("own", HOSPITAL, FRONTEND), ("shared", CLINIC, OTHER_FRONTEND))
                if lines.get(short)
            ]  # fmt: skip
            if rows:
                connection.execute(insert(upload_mark), rows)
            connection.execute(
                insert(upload_pace).values(one=1, pace=pace, waiting_seconds=0, ticked_at=1000.0, counted_at=1e12)
            )

    return due


@pytest.fixture
def tick(center_engine, monkeypatch):
    monkeypatch.setattr(marks, "count_when_due", lambda *_, **__: None)

    def tick(at=NOON, now=1000.0, holder="beat-1", waiting_age=0.0, tick_length=timedelta(minutes=1)):
        with center_engine.begin() as connection:
            return granting.tick(
                connection,
                at=at,
                now=now,
                holder=holder,
                settle_waiting_age=waiting_age,
                settle_late_seconds=2.0,
                tick_length=tick_length,
                deadline=timedelta(hours=24),
            )

    return tick


def after(**span):
    return NOON + timedelta(**span)


def test_who_has_detail_shares_the_budget_and_who_has_none_gets_the_small_slice(tick, due):
    due(own=10**6)

    granted = dict(tick())

    assert set(granted) == {FRONTEND, OTHER_FRONTEND}
    own, other = granted[FRONTEND], granted[OTHER_FRONTEND]
    assert (own.window, own.fence, own.lines) == ("noon", 1, 600), "a minute of 36,000 lines an hour"
    assert own.bytes == ((37 << 20) - 2 * SMALL.bytes) // 60
    assert (other.lines, other.bytes) == SMALL
    assert own.cut_off == after(minutes=1)


def test_who_has_sent_all_gets_a_small_slice_more_for_receipts_that_were_lost(center_engine, tick, due):
    """The centre has all of it; what the front-end has no receipt for it sends again, and is answered again."""
    due(own=600)
    assert dict(tick())[FRONTEND].lines == 600
    with center_engine.begin() as connection:
        assert granting.count_received(connection, FRONTEND, fence=1, lines=600, size=9_000, at=NOON)
    due()
    granted = [(seconds, dict(tick(after(seconds=seconds))).get(FRONTEND)) for seconds in range(10, 1_000, 10)]

    assert [(seconds, (slice_.lines, slice_.bytes)) for seconds, slice_ in granted if slice_] == [(60, SMALL)]


def test_two_of_one_class_share_evenly_and_a_weight_moves_the_border(center_engine, tick, due):
    due(own=10**6, shared=10**6)
    assert {name: slice_.lines for name, slice_ in tick()} == {FRONTEND: 300, OTHER_FRONTEND: 300}

    with center_engine.begin() as connection:
        connection.execute(text("INSERT INTO upload_share VALUES ('frontend', :name, 200)"), {"name": FRONTEND})
    try:
        granted = dict(tick(at=after(minutes=2)))
        assert {name: slice_.lines for name, slice_ in granted.items()} == {FRONTEND: 400, OTHER_FRONTEND: 200}
    finally:
        with center_engine.begin() as connection:
            connection.execute(text("DELETE FROM upload_share"))


def test_who_had_more_than_its_share_is_now_waits_until_it_has_earned_it(tick, due):
    """600 lines while it was alone; its half of the budget is 300 a minute."""
    due(own=10**6)
    assert dict(tick())[FRONTEND].lines == 600

    due(own=10**6, shared=10**6)
    assert FRONTEND not in dict(tick(at=after(minutes=1)))
    assert FRONTEND not in dict(tick(at=after(seconds=119)))
    assert dict(tick(at=after(minutes=2)))[FRONTEND].lines == 300


def test_its_own_window_goes_before_the_one_for_everybody(tick, due):
    due(own=10**6, shared=10**6)

    granted = dict(tick(at=after(hours=1)))

    assert (granted[OTHER_FRONTEND].window, granted[FRONTEND].window) == ("noon-shared", "noon")
    assert granted[OTHER_FRONTEND].lines > granted[FRONTEND].lines / 2, "a budget of its own"


def test_a_tick_twice_grants_once_and_the_next_slice_follows_the_last(tick, due):
    due(own=10**6, shared=10**6)
    first = tick()

    assert tick() == []
    assert tick(at=after(seconds=59)) == []
    second = tick(at=after(minutes=1))

    assert [slice_.fence for _, slice_ in first + second] == [1, 1, 2, 2]


@pytest.mark.parametrize("at", [NOON - timedelta(seconds=1), NOON + timedelta(hours=2)])
def test_nothing_is_granted_outside_a_window(tick, due, at):
    due(own=10**6)
    assert tick(at=at) == []


def test_a_slice_ends_with_its_window(tick, due):
    due(own=10**6)
    granted = dict(tick(at=after(hours=1, minutes=59, seconds=30)))

    assert granted[FRONTEND].cut_off == after(hours=2)


def test_a_slice_is_no_larger_than_what_is_due(tick, due):
    due(own=250)

    assert dict(tick())[FRONTEND].lines == 250


# ── Yielding, and never nothing ───────────────────────────────────────────────────────────────────────────


def test_while_settling_is_late_there_is_the_small_slice_of_each_hour_and_nothing_else(tick, due):
    due(own=10**6, shared=10**6)

    granted = [
        (name, minute, slice_)
        for minute in range(0, 120, 3)
        for name, slice_ in tick(at=after(minutes=minute), now=1000.0 + minute, waiting_age=2.1)
    ]

    assert {slice_.lines for _, _, slice_ in granted} == {SMALL.lines}
    hours = {name: [minute // 60 for each, minute, _ in granted if each == name] for name in (FRONTEND, OTHER_FRONTEND)}
    assert hours == {FRONTEND: [0, 1], OTHER_FRONTEND: [0, 1]}
    assert len({minute for _, minute, _ in granted}) == 4, "not all at once"


def test_it_comes_back_by_and_by(tick, due):
    due(pace=0, own=10**9)

    lines = [
        slice_.lines
        for turn in range(1, 40)
        for name, slice_ in tick(at=after(minutes=turn), now=1000.0 + turn)
        if name == FRONTEND
    ]

    assert lines[0] == SMALL.lines
    assert lines == sorted(lines)
    assert lines[-1] == 600


def test_between_calm_and_late_it_is_less(tick, due):
    due(own=10**6)
    assert dict(tick(waiting_age=1.25))[FRONTEND].lines == 300


def test_after_an_outage_it_begins_slowly(center_engine, tick, due):
    due(own=10**9)
    tick(now=1000.0)

    tick(at=after(minutes=30), now=2800.0)

    assert rows_of(center_engine, "SELECT pace FROM upload_pace") == [(START,)]


def test_in_an_hour_never_more_than_the_budget(center_engine, tick, due):
    """Shares move from one to the other within the hour, ticks come as they like: the budget of the hour holds."""
    lines = size = 0
    for turn in range(120):
        due(**{("own", "shared")[turn % 2]: 10**6})  # each finds itself alone, and takes it for the whole
        for _, slice_ in tick(at=after(seconds=30 * turn), tick_length=timedelta(seconds=30)):
            lines += slice_.lines
            size += slice_.bytes
    assert 30_000 < lines <= HOURLY["lines_per_hour"]
    assert size <= HOURLY["bytes_per_hour"]


def test_those_that_are_due_at_once_are_granted_one_after_the_other(center_engine, tick, due):
    due(own=10**6, shared=10**6)

    turns = [tick(at=after(seconds=second), tick_length=timedelta(seconds=1)) for second in range(3)]

    assert [len(granted) for granted in turns] == [1, 1, 0]


# ── Two schedules, or none ────────────────────────────────────────────────────────────────────────────────


def test_only_one_of_two_schedules_grants(tick):
    assert len(tick(holder="beat-1")) == 2
    later = after(hours=1)
    assert tick(holder="beat-2", at=later, now=1001.0) == []
    assert len(tick(holder="beat-2", at=later, now=1000.0 + granting.LEASE_SECONDS + 1)) == 2


def test_a_schedule_that_slept_past_its_lease_grants_nothing(center_engine, tick):
    tick(holder="beat-1")
    wakes_at = 1000.0 + granting.LEASE_SECONDS + 2
    with center_engine.begin() as connection:
        take(connection, lease, name=granting.LEASE, holder="beat-2", now=wakes_at - 1, seconds=granting.LEASE_SECONDS)

    assert tick(holder="beat-1", at=after(hours=1), now=wakes_at) == []


def test_schedules_at_the_same_moment_grant_once(center_engine, tick):
    """Whoever comes second waits for the lease row of the first, and then finds it taken."""
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            with center_engine.begin() as connection:
                connection.execute(text("DELETE FROM lease"))
                connection.execute(text("DELETE FROM upload_grant"))
            grants = list(pool.map(lambda beat: tick(holder=f"beat-{beat}"), range(4)))
            assert sorted(len(granted) for granted in grants) == [0, 0, 0, 2]


def test_a_schedule_that_rings_twice_as_often_or_stops_for_a_while_grants_no_more(tick, due):
    due(own=10**9)
    doubled = [
        slice_ for second in range(0, 600, 20) for _, slice_ in tick(at=after(seconds=second)) if slice_.fence > 1
    ]
    assert sum(slice_.lines for slice_ in doubled) <= 600 * 10

    [(_, slice_)] = [each for each in tick(at=after(minutes=40)) if each[0] == FRONTEND]
    assert slice_.lines == 600, "what was not granted meanwhile does not come on top"


def test_lines_and_bytes_count_for_the_opening_they_were_granted_in(center_engine, tick, due):
    due(own=10**6)
    tick()
    tick(at=after(minutes=1))
    with center_engine.begin() as connection:
        good = after(minutes=2)

        def count(frontend, fence, lines, at):
            return granting.count_received(connection, frontend, fence=fence, lines=lines, size=10 * lines, at=at)

        assert count(FRONTEND, 1, 30, good)
        assert count(FRONTEND, 2, 12, good)
        assert not count(FRONTEND, 3, 1, good)
        assert not count(FRONTEND, 2, 1, after(hours=2))
        assert not count("stranger", 1, 1, good)
    counted = (
        "SELECT lines_granted, bytes_granted >= 1000000, lines_received, bytes_received"
        " FROM upload_grant WHERE frontend = :frontend"
    )
    assert rows_of(center_engine, counted, frontend=FRONTEND) == [(1200, True, 42, 420)]

    evening = NOON.replace(hour=18)
    tick(at=evening)
    with center_engine.begin() as connection:
        late = evening + timedelta(minutes=1)
        assert not granting.count_received(connection, FRONTEND, fence=2, lines=1, size=1, at=late)
    assert rows_of(center_engine, counted, frontend=FRONTEND) == [(600, False, 0, 0)]


def test_a_tick_is_remembered(center_engine, tick):
    tick(now=1234.5)

    assert rows_of(center_engine, "SELECT at FROM tick WHERE name = 'windows'") == [(1234.5,)]


def test_a_window_is_found_by_the_calendar(center_engine, tick, due):
    due(own=10**6)
    with center_engine.begin() as connection:
        connection.execute(update(upload_window).where(upload_window.c.name == "noon").values(days="H"))
    try:
        assert tick() == [], "a Monday that is worked"
        labour_day = NOON.replace(month=5, day=1)
        assert {slice_.window for _, slice_ in tick(at=labour_day)} == {"noon"}
    finally:
        with center_engine.begin() as connection:
            connection.execute(update(upload_window).where(upload_window.c.name == "noon").values(days="1234567"))


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
