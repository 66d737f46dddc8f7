"""Sharing a front-end: nobody with work waits longer than a round, service follows the weights, nobody gets nothing."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.fairness import (
    CALM_LOOKS,
    LEAST_QUANTUM,
    LOWEST,
    NOISY_IN_FLIGHT,
    Conduct,
    effective_weight,
    granted,
    is_noisy,
    judged,
    left_over,
    noisy_from,
    takes,
    turn_of,
    work_of,
)

BATCH = 20
WEIGHTS = st.lists(st.integers(1, 100), min_size=2, max_size=12)


class Round:
    """A desk and the bells of its tenants, taken in turn; each tenant has all the claims in the world."""

    def __init__(self, quanta, sizes):
        self.quanta, self.sizes = quanta, sizes
        self.left = [0] * len(quanta)
        self.served = [0] * len(quanta)
        self.claims = [0] * len(quanta)
        self.skipped = [0] * len(quanta)

    def play(self):
        for tenant, quantum in enumerate(self.quanta):
            grant = granted(self.left[tenant], quantum, is_alone=False)
            waiting = [next(self.sizes[tenant]) for _ in range(4 * quantum // LEAST_QUANTUM + 4)]
            taken = takes(grant, waiting)
            used = sum(waiting[:taken])
            self.left[tenant] = left_over(grant, used, quantum, more_waits=True)
            self.served[tenant] += used
            self.claims[tenant] += taken
            self.skipped[tenant] = 0 if taken else self.skipped[tenant] + 1


def endless(size):
    while True:
        yield size


@given(WEIGHTS, st.integers(0, LOWEST), st.integers(1, 40))
def test_a_tenant_whose_claims_fit_its_quantum_is_served_in_every_round(weights, lowered, rounds):
    quanta = [turn_of(weight, lowered, batch=BATCH).work for weight in weights]
    desk = Round(quanta, [endless(LEAST_QUANTUM) for _ in weights])
    for _ in range(rounds):
        desk.play()
        assert desk.skipped == [0] * len(weights)


@given(WEIGHTS, st.lists(st.integers(11, 2000), min_size=12, max_size=12), st.integers(1, 60))
@settings(max_examples=60)
def test_service_is_within_a_quantum_and_a_claim_of_the_weights(weights, sizes, rounds):
    quanta = [turn_of(weight, 0, batch=BATCH).work for weight in weights]
    desk = Round(quanta, [endless(size) for size in sizes])
    for done in range(1, rounds + 1):
        desk.play()
        for tenant, quantum in enumerate(quanta):
            assert abs(desk.served[tenant] - done * quantum) <= max(quantum, sizes[tenant])
            assert desk.skipped[tenant] <= -(-sizes[tenant] // quantum), "a debt is paid, then it is its turn again"


@given(st.integers(1, 100), st.integers(0, 10), st.integers(1, 1000))
def test_whatever_its_weight_and_however_noisy_a_tenant_has_a_turn(weight, lowered, batch):
    turn = turn_of(weight, lowered, batch=batch)

    assert turn.claims >= 1
    assert turn.work >= LEAST_QUANTUM
    assert turn.in_flight >= turn.claims
    assert effective_weight(weight, lowered) > 0


@given(st.integers(1, 99), st.integers(0, LOWEST))
def test_a_greater_weight_is_never_less_of_a_turn_and_a_lowered_one_never_more(weight, lowered):
    assert turn_of(weight + 1, lowered, batch=BATCH).work >= turn_of(weight, lowered, batch=BATCH).work
    assert turn_of(weight, lowered + 1, batch=BATCH).work <= turn_of(weight, lowered, batch=BATCH).work


def test_an_ordinary_turn_is_the_front_ends_batch():
    turn = turn_of(10, 0, batch=BATCH)

    assert (turn.claims, turn.work, turn.in_flight) == (20, 20 * work_of(20), 80)
    assert turn_of(30, 0, batch=BATCH).claims == 60
    assert turn_of(10, 2, batch=BATCH).claims == 5


def test_who_is_alone_owes_nothing_and_is_owed_nothing():
    assert granted(-5000, 600, is_alone=True) == 600
    assert granted(-500, 600, is_alone=False) == 100
    assert left_over(600, 5600, 600, more_waits=True) == -5000
    assert left_over(600, 100, 600, more_waits=False) == 0
    assert left_over(1200, 100, 600, more_waits=True) == 600


FAIR = Fraction(1, 24)


@pytest.mark.parametrize(
    ("share", "fair", "in_flight", "noisy"),
    [
        pytest.param(Fraction(1, 2), FAIR, 400, True, id="half of the time, of 24 alike"),
        pytest.param(Fraction(1, 2), FAIR, NOISY_IN_FLIGHT - 1, False, id="busy, but nothing piles up"),
        pytest.param(Fraction(1, 10), FAIR, 400, False, id="a tenth is allowed"),
        pytest.param(Fraction(1, 2), Fraction(3, 5), 400, False, id="its weight is worth it"),
        pytest.param(Fraction(1), Fraction(1), 9999, False, id="the only one there is"),
        pytest.param(Fraction(1, 3), Fraction(1, 6), 9999, False, id="one of six on an ordinary morning"),
    ],
)
def test_noisy_is_who_takes_more_than_is_fair_and_piles_up(share, fair, in_flight, noisy):
    assert is_noisy(share=share, fair=fair, in_flight=in_flight) is noisy


def test_what_is_much_for_a_front_end_of_short_turns_is_little_for_one_of_long_turns():
    assert [noisy_from(10, batch=batch) for batch in (5, 20, 300)] == [30, 40, 600]


@given(st.lists(st.booleans(), max_size=60))
def test_a_weight_goes_down_step_by_step_and_comes_back_step_by_step(looks):
    conduct, calm = Conduct(), 0
    for noisy in looks:
        before = conduct
        conduct = judged(before, share=Fraction(int(noisy), 2), fair=FAIR, in_flight=100)
        assert abs(conduct.lowered - before.lowered) <= 1
        assert 0 <= conduct.lowered <= LOWEST
        calm = 0 if noisy else calm + 1
        if noisy:
            assert conduct.lowered == min(before.lowered + 1, LOWEST)
        if conduct.lowered < before.lowered:
            assert calm >= CALM_LOOKS
    for _ in range(LOWEST * CALM_LOOKS):
        conduct = judged(conduct, share=Fraction(0), fair=FAIR, in_flight=0)
    assert conduct.lowered == 0
