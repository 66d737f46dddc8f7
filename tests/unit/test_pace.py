"""How fast detail travels: never above the budget, never below the floor, the slower the later settling is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.institution_class import CLASSES, Size
from domain.pace import (
    FULL,
    HOUR,
    OUTAGE_SECONDS,
    SECONDS_TO_FULL,
    SMALL,
    START,
    Budget,
    ceiling,
    earned_in,
    floor_of,
    next_pace,
    rest_of,
    slice_of,
)
from domain.upload_shares import Member, Shares, by_frontend, lines_of

LATE = 2.0
PACES = st.integers(0, FULL)
SECONDS = st.floats(0, 1e4)
BUDGETS = st.builds(Budget, lines=st.integers(1, 10**8), bytes=st.integers(1, 10**11))


@pytest.mark.parametrize(
    ("waiting", "leaves"),
    [(0.0, FULL), (0.5, FULL), (1.25, 500), (2.0, 0), (60.0, 0)],
)
def test_settling_leaves_all_while_it_is_calm_and_nothing_when_it_is_late(waiting, leaves):
    assert ceiling(waiting, LATE) == leaves


def test_it_stops_at_once_and_comes_back_in_half_a_minute():
    assert next_pace(FULL, waiting_seconds=2.0, late_seconds=LATE, since_last_seconds=2.0) == 0
    pace, seconds = 0, 0.0
    while pace < FULL:
        pace = next_pace(pace, waiting_seconds=0.1, late_seconds=LATE, since_last_seconds=2.0)
        seconds += 2.0
    assert SECONDS_TO_FULL <= seconds <= SECONDS_TO_FULL + 2


def test_after_an_outage_it_begins_slowly_whatever_it_was():
    for pace in (START, FULL):
        after = next_pace(pace, waiting_seconds=0, late_seconds=LATE, since_last_seconds=OUTAGE_SECONDS + 1)
        assert after == START


@given(PACES, SECONDS, SECONDS, SECONDS)
def test_the_later_the_slower(pace, waiting, more, since):
    slow, fast = (
        next_pace(pace, waiting_seconds=age, late_seconds=LATE, since_last_seconds=since)
        for age in (waiting + more, waiting)
    )
    assert 0 <= slow <= fast <= FULL


@given(BUDGETS, st.integers(1, 400))
def test_floors_and_rest_are_the_budget(budget, frontends):
    floor, rest = floor_of(budget, frontends), rest_of(budget, frontends)
    assert floor.plus(Budget(0, 0)) == floor.at_most(SMALL)
    assert budget.is_enough_for(Budget(floor.lines * frontends, floor.bytes * frontends).plus(rest))
    if budget.is_enough_for(SMALL.part(frontends, 1)):
        assert floor == SMALL


@given(BUDGETS, st.lists(st.tuples(PACES, st.integers(1, 3600)), min_size=1, max_size=200))
def test_slice_after_slice_a_front_end_gets_no_more_than_it_has_earned(share, ticks):
    """However the pace changes and whenever it is looked: at most what the time is worth, and the newest slice."""
    now, granted = timedelta(), [(timedelta(), slice_of(share, pace=FULL, length=timedelta(seconds=60)))]
    for pace, seconds in ticks:
        now += timedelta(seconds=seconds)
        since, last = granted[-1]
        wait = earned_in(last, share, pace=pace)
        if wait is not None and now - since >= wait:
            granted.append((now, slice_of(share, pace=pace, length=timedelta(seconds=60))))
    whole = granted[-1][0] / HOUR
    earned = sum(slice_.lines for _, slice_ in granted[:-1]), sum(slice_.bytes for _, slice_ in granted[:-1])
    assert earned[0] <= share.lines * whole + 1e-3 * len(granted)
    assert earned[1] <= share.bytes * whole + 1e-3 * len(granted)


@given(BUDGETS, PACES, st.integers(1, 3600))
def test_a_slice_is_at_most_its_share_and_at_least_a_small_one(share, pace, seconds):
    quota = slice_of(share, pace=pace, length=timedelta(seconds=seconds))
    assert share.is_enough_for(quota)
    assert quota.is_enough_for(SMALL.at_most(share))


def test_without_pace_or_share_nothing_is_earned():
    assert earned_in(SMALL, Budget(10**6, 10**9), pace=0) is None
    assert earned_in(SMALL, Budget(0, 10**9), pace=FULL) is None


# ── Shares ────────────────────────────────────────────────────────────────────────────────────────────────

MEMBERS = st.lists(
    st.builds(
        Member,
        institution_code=st.integers(0, 10**6).map(str),
        frontend=st.sampled_from(["F1", "F2", "F3"]),
        size=st.sampled_from([*Size, "unheard-of"]),
        due_lines=st.integers(1, 10**6),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda member: member.institution_code,
)


def member(code, size, frontend="F1"):
    return Member(code, frontend, size, 1000)


def test_classes_have_their_business_and_institutions_of_one_class_the_same():
    members = [member("A", Size.EXTRA_LARGE), member("B", Size.LARGE), member("C", Size.MEDIUM),
               member("D", Size.SMALL, "F2"), member("E", Size.SMALL, "F2")]  # fmt: skip
    parts = Shares().split(Budget(10_000, 10**6), members)
    assert [part.lines for part in parts.values()] == [6200, 2700, 700, 200, 200]
    assert by_frontend(parts) == {"F1": Budget(9600, 960_000), "F2": Budget(400, 40_000)}
    assert sum(class_.business_percent for class_ in CLASSES.values()) == 100


def test_a_class_without_detail_leaves_its_part_to_the_others():
    parts = Shares().split(Budget(970, 970), [member("C", Size.MEDIUM), member("D", Size.SMALL)])
    assert [part.lines for part in parts.values()] == [617, 352]


def test_weights_of_an_institution_and_a_front_end():
    members = [member("A", Size.LARGE), member("B", Size.LARGE), member("C", Size.LARGE, "F2")]
    shares = Shares(institutions={"A": 50}, frontends={"F2": 300})
    assert [part.lines for part in shares.split(Budget(900, 900), members).values()] == [100, 200, 600]


@given(BUDGETS, MEMBERS)
def test_the_parts_are_never_more_than_the_budget_and_lose_less_than_one_each(budget, members):
    parts = Shares().split(budget, members)
    lines = sum(part.lines for part in parts.values())
    assert budget.lines - len(members) < lines <= budget.lines
    assert sum(part.bytes for part in parts.values()) <= budget.bytes


def test_a_slice_is_shared_among_the_institutions_of_a_front_end():
    members = [member("A", Size.LARGE), member("B", Size.SMALL)]
    parts = Shares().split(Budget(31_000, 31_000), members)
    assert lines_of(Budget(310, 1), members, parts) == (("A", 270), ("B", 40))
    assert lines_of(Budget(310, 1), members[:1], parts) == (), "one alone needs no shares"
