"""The bucket before an institution's doors: never more than its burst and its rate, never less for who waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.admission import Rate, full_after, retry_after

RATES = st.builds(Rate, st.integers(1, 90), st.integers(1, 90))
PAUSES = st.lists(st.floats(0, 3, allow_nan=False), max_size=8)


class Bucket:
    """What a door keeps: one number."""

    def __init__(self, rate, full_at=0.0):
        self.rate, self.full_at = rate, full_at

    def take(self, now):
        if retry_after(self.rate, self.full_at, now=now):
            return False
        self.full_at = full_after(self.rate, self.full_at, now=now)
        return True

    def takes_at_once(self, now):
        taken = 0
        while self.take(now):
            taken += 1
        return taken


@pytest.mark.parametrize(("rate", "burst"), [(1, 1), (20, 200), (50, 7), (500, 500)])
def test_a_full_bucket_lets_in_its_burst_and_then_one_for_each_part_of_a_second(rate, burst):
    bucket = Bucket(Rate(rate, burst))

    assert bucket.takes_at_once(1000.0) == burst
    assert bucket.takes_at_once(1000.0 + 3.5 / rate) == min(3, burst)
    assert bucket.takes_at_once(5000.0) == burst


@given(RATES, PAUSES)
def test_in_any_time_no_more_come_in_than_the_burst_and_the_rate_allow(rate, pauses):
    bucket, now, taken = Bucket(rate), 1e9, []
    for pause in pauses:
        now += pause
        taken += [now] * bucket.takes_at_once(now)

    for first, since in enumerate(taken):
        for last in range(first, len(taken), 7):
            assert last - first + 1 <= rate.burst + (taken[last] - since) * rate.per_second + 1e-3


@given(RATES, PAUSES)
def test_who_waits_as_long_as_it_is_told_comes_in(rate, pauses):
    bucket, now = Bucket(rate), 1e9
    for pause in pauses:
        now += pause
        bucket.takes_at_once(now)
        wait = retry_after(rate, bucket.full_at, now=now)
        assert 0 < wait <= 1 / rate.per_second + 3e-5
        assert bucket.take(now + wait + 1e-5)


@given(RATES, st.floats(0, 1e7, allow_nan=False), st.floats(0, 1e7, allow_nan=False))
def test_a_clock_that_was_ahead_keeps_nobody_out_for_longer_than_an_empty_bucket_does(rate, ahead, later):
    full_at = 1e9 + rate.seconds_to_fill + ahead

    assert retry_after(rate, full_at, now=1e9 + later) <= 1 / rate.per_second + 3e-5
    assert Bucket(rate, full_at).takes_at_once(full_at + 1e-3) >= rate.burst - 1
