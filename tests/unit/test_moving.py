"""The steps of a move: in their order, each only when its facts are there, and never two open doors."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.moving import (
    BUNDLES_UNDER_WAY,
    CAN_BE_ABORTED,
    UNDER_WAY,
    WORDS,
    Facts,
    Kind,
    MoveState,
    after,
    sides,
    waits_for,
    wanted_bundle,
)
from domain.terms import Standing

PREPARING, CLOSING, HANDING, DRAINING, FINISHED, ABORTED = MoveState
READY, TOLD = Facts(target_ready=True), Facts(source_told=True)
JOINS = Facts(kind=Kind.JOINS, target_ready=True)


@pytest.mark.parametrize(
    ("state", "facts", "following"),
    [
        pytest.param(PREPARING, Facts(), PREPARING, id="the target is not ready"),
        pytest.param(PREPARING, TOLD, PREPARING, id="whatever the source says"),
        pytest.param(PREPARING, READY, CLOSING, id="ready: the source closes"),
        pytest.param(PREPARING, JOINS, PREPARING, id="a part: the source counts in parts first"),
        pytest.param(PREPARING, JOINS._replace(source_told=True), HANDING, id="a part: nothing closes"),
        pytest.param(CLOSING, READY, CLOSING, id="the source has not said that it is closed"),
        pytest.param(CLOSING, TOLD, HANDING, id="closed: what travels, travels"),
        pytest.param(HANDING, Facts(taken=2, kept=2), HANDING, id="all that came is there, but not all came"),
        pytest.param(HANDING, Facts(taken=2, kept=1, whole_at=2), HANDING, id="the target has not all of it"),
        pytest.param(HANDING, Facts(taken=3, kept=2, whole_at=2), DRAINING, id="whole: the target opens"),
        pytest.param(HANDING, Facts(kind=Kind.JOINS, taken=1, kept=1, whole_at=1), FINISHED, id="a part: that is all"),
        pytest.param(DRAINING, Facts(taken=3, kept=3, whole_at=2), DRAINING, id="the source holds something open"),
        pytest.param(DRAINING, Facts(taken=3, kept=2, whole_at=2, drained=True), DRAINING, id="a bundle is under way"),
        pytest.param(DRAINING, Facts(taken=3, kept=3, whole_at=2, drained=True), FINISHED, id="seen through"),
        pytest.param(FINISHED, Facts(True, True, True, 9, 9, 9, True), FINISHED, id="over"),
        pytest.param(ABORTED, Facts(target_ready=True, source_told=True), ABORTED, id="taken back"),
    ],
)
def test_a_step_follows_when_its_facts_are_there(state, facts, following):
    assert after(state, facts) is following


@pytest.mark.parametrize(
    ("state", "kind", "source", "target"),
    [
        (PREPARING, Kind.REPLACES, "open", "moving_in"),
        (CLOSING, Kind.REPLACES, "moving_out", "moving_in"),
        (HANDING, Kind.REPLACES, "moving_out", "moving_in"),
        (DRAINING, Kind.REPLACES, "moved", "open"),
        (FINISHED, Kind.REPLACES, "moved", "open"),
        (ABORTED, Kind.REPLACES, "open", "moved"),
        (HANDING, Kind.JOINS, "open", "moving_in"),
        (FINISHED, Kind.JOINS, "open", "open"),
        (HANDING, Kind.MERGES, "moving_out", "open"),
        (ABORTED, Kind.MERGES, "open", "open"),
    ],
)
def test_how_both_front_ends_stand(state, kind, source, target):
    assert sides(state, kind) == (Standing(source), Standing(target))


def test_bundles_are_asked_for_one_by_one_and_only_so_many_wait():
    assert wanted_bundle(CLOSING, Facts()) == 0
    assert wanted_bundle(HANDING, Facts()) == 1
    assert wanted_bundle(HANDING, Facts(taken=BUNDLES_UNDER_WAY, kept=0)) == 0
    assert wanted_bundle(DRAINING, Facts(taken=7, kept=6, whole_at=2)) == 8
    assert wanted_bundle(HANDING, Facts(kind=Kind.JOINS, taken=1, whole_at=1)) == 0


def test_every_state_has_words_and_says_what_it_waits_for():
    assert set(WORDS) == set(MoveState)
    assert all(waits_for(state, Facts()) for state in UNDER_WAY)
    assert waits_for(FINISHED, Facts()) == ""


class AMove(RuleBasedStateMachine):
    """Facts become true in any order, and come late: what has travelled is never stranded."""

    def __init__(self):
        super().__init__()
        self.state, self.facts, self.bundles = PREPARING, Facts(), 3

    @rule(kind=st.sampled_from(Kind))
    @precondition(lambda self: self.facts == Facts() and self.state is PREPARING)
    def is_of_kind(self, kind):
        self.facts = self.facts._replace(kind=kind)

    @rule(fact=st.sampled_from(["target_ready", "source_told"]), yes=st.booleans())
    def is_told(self, fact, yes):
        self.facts = self.facts._replace(**{fact: yes})

    @rule()
    @precondition(lambda self: wanted_bundle(self.state, self.facts))
    def a_bundle_comes(self):
        number = wanted_bundle(self.state, self.facts)
        assert number == self.facts.taken + 1
        whole_at = self.facts.whole_at or (number if number >= self.bundles else 0)
        self.facts = self.facts._replace(taken=number, whole_at=whole_at, drained=False)

    @rule()
    @precondition(lambda self: self.facts.kept < self.facts.taken)
    def a_bundle_is_kept(self):
        self.facts = self.facts._replace(kept=self.facts.kept + 1)

    @rule()
    @precondition(lambda self: self.state is DRAINING)
    def the_source_is_empty(self):
        self.facts = self.facts._replace(drained=True)

    @rule()
    @precondition(lambda self: self.state in CAN_BE_ABORTED)
    def is_taken_back(self):
        assert self.facts.taken == 0
        self.state = ABORTED

    @rule()
    def goes_on(self):
        before = list(MoveState).index(self.state)
        self.state = after(self.state, self.facts)
        assert list(MoveState).index(self.state) >= before

    @invariant()
    def no_two_doors_are_open_and_nothing_is_stranded(self):
        source, target = sides(self.state, self.facts.kind)
        opens = [source, target].count(Standing.OPEN)
        assert opens <= 1 or self.facts.kind is not Kind.REPLACES
        if self.facts.kind is Kind.REPLACES and target is Standing.OPEN:
            assert 0 < self.facts.whole_at <= self.facts.kept
        if self.state is FINISHED:
            assert self.facts.kept == self.facts.taken


AMove.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAMove = AMove.TestCase
