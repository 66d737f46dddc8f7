"""The periods of a calendar leave no day out, and what is withheld gives back what it took."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clearing import EDGES, CalendarRule, PeriodState, clearing_type, periods, withheld

MONTHS = CalendarRule(date(2026, 1, 1), 31, 5)


def ends(rules, until):
    return [(period.name, period.last_day) for period in periods(rules, until)]


@pytest.mark.parametrize(
    ("rules", "until", "found"),
    [
        pytest.param([MONTHS], date(2026, 3, 1), [("2026-01", date(2026, 1, 31)), ("2026-02", date(2026, 2, 28)),
                     ("2026-03", date(2026, 3, 31))], id="months"),
        pytest.param([CalendarRule(date(2026, 1, 26), 25, 5)], date(2026, 2, 26),
                     [("2026-02", date(2026, 2, 25)), ("2026-03", date(2026, 3, 25))], id="to the 25th"),
        pytest.param([CalendarRule(date(2027, 12, 5), 29, 5)], date(2028, 3, 1),
                     [("2027-12", date(2027, 12, 29)), ("2028-01", date(2028, 1, 29)), ("2028-02", date(2028, 2, 29)),
                      ("2028-03", date(2028, 3, 29))], id="over the year, a leap one"),
        pytest.param([MONTHS, CalendarRule(date(2026, 2, 10), 25, 5)], date(2026, 3, 26),
                     [("2026-01", date(2026, 1, 31)), ("2026-02", date(2026, 2, 28)), ("2026-03", date(2026, 3, 25)),
                      ("2026-04", date(2026, 4, 25))], id="another rule, from the next period on"),
        pytest.param([], date(2026, 3, 1), [], id="no rule, no period"),
        pytest.param([MONTHS], date(2025, 12, 31), [], id="before the first rule"),
    ],
)  # fmt: skip
def test_periods_of_a_calendar(rules, until, found):
    assert ends(rules, until) == found


@given(
    st.lists(
        st.builds(CalendarRule, st.dates(date(2024, 1, 1), date(2027, 12, 31)), st.integers(1, 31), st.just(5)),
        min_size=1,
        max_size=4,
        unique_by=lambda rule: rule.since,
    )
)
def test_periods_follow_each_other_without_a_gap(rules):
    found = list(periods(rules, date(2028, 6, 30)))

    assert found[0].first_day == min(rule.since for rule in rules)
    for one, other in pairwise(found):
        assert one.first_day <= one.last_day
        assert other.first_day == one.last_day + timedelta(days=1)
        assert (one.last_day - one.first_day).days <= 31
    assert found[-1].last_day >= date(2028, 6, 30)


@given(
    st.dictionaries(st.sampled_from(["basic", "large_amount"]), st.integers(-(10**9), 10**9)),
    st.integers(0, 10_000),
)
def test_a_share_taken_back_whole_is_given_back_whole(funds, share_1e4):
    kept = withheld(funds, share_1e4, {})
    taken = {layer: max(fen, 0) for layer, fen in funds.items()}
    back = withheld({layer: -fen for layer, fen in taken.items()}, share_1e4, withheld(taken, share_1e4, {}))

    assert all(0 <= kept[layer] <= max(funds[layer], 0) for layer in funds)
    assert back == {layer: -fen for layer, fen in withheld(taken, share_1e4, {}).items()}


def test_never_more_is_given_back_than_is_held():
    assert withheld({"basic": -100_000}, 500, {"basic": 1234}) == {"basic": -1234}
    assert withheld({"basic": -100_000}, 500, {}) == {"basic": 0}


def test_every_state_is_left_to_states_there_are_and_paid_is_the_end():
    assert set(EDGES) == set(PeriodState)
    assert all(edges <= set(PeriodState) for edges in EDGES.values())
    assert EDGES[PeriodState.PAID] == frozenset()


@pytest.mark.parametrize(("visit_type", "kind"), [("1", "21"), ("2", "11"), ("3", "11"), ("4", "41")])
def test_visits_are_cleared_by_type(visit_type, kind):
    assert clearing_type(visit_type) == kind
