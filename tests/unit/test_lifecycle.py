"""The states of a claim and of a visit: every state is reached, and from every open state there is a way to an end."""

from __future__ import annotations

import pytest

from domain.lifecycle import (
    AFTER,
    ALLOWED,
    ASKED_AGAIN,
    FINAL,
    OPEN,
    REOPENED,
    STEPS,
    ClaimState,
    VisitState,
    VisitStep,
)
from domain.refusals import STATE_WORDS, STEP_WORDS, VISIT_SENTENCE, VisitRefusal, not_in_this_state


def reachable(state):
    seen, waiting = set(), [state]
    while waiting:
        for following in STEPS[waiting.pop()] - seen:
            seen.add(following)
            waiting.append(following)
    return seen


def test_every_state_has_its_steps():
    assert set(STEPS) == set(ClaimState)
    assert reachable(ClaimState.HELD) == set(ClaimState) - {ClaimState.HELD}


@pytest.mark.parametrize("state", ClaimState)
def test_no_step_leads_back_from_a_final_state_to_an_open_one(state):
    if state in FINAL:
        assert set(STEPS[state]) <= FINAL
    assert not (state in FINAL and state in OPEN)
    if state not in FINAL:
        assert reachable(state) & FINAL


@pytest.mark.parametrize("state", ClaimState)
def test_no_step_leads_back_but_to_be_totalled_again(state):
    again = {ClaimState.ACCEPTED, ClaimState.TOTALLED}
    assert state not in reachable(state) or state in again
    if state not in again | {ClaimState.HELD}:
        assert not reachable(state) & again


def test_a_claim_on_hold_owes_nobody_a_step():
    assert ClaimState.HELD not in OPEN


def test_only_the_institution_leads_a_refused_claim_back():
    assert ASKED_AGAIN == (ClaimState.REFUSED, ClaimState.ACCEPTED)
    assert ASKED_AGAIN[1] not in STEPS[ASKED_AGAIN[0]]


# ── Visits ──


def test_what_a_visit_allows_is_said_of_every_state():
    assert set(ALLOWED) == set(VisitState)
    assert ALLOWED[VisitState.OPEN] == set(VisitStep)
    assert not ALLOWED[VisitState.CANCELLED]
    for state, step in AFTER:
        assert step in ALLOWED[state]


def test_a_stay_is_closed_whichever_comes_first_discharge_or_final_settlement():
    for first, second in [
        (VisitStep.DISCHARGE, VisitStep.SETTLE_FINALLY),
        (VisitStep.SETTLE_FINALLY, VisitStep.DISCHARGE),
    ]:
        assert AFTER[AFTER[VisitState.OPEN, first], second] is VisitState.CLOSED


def test_a_final_settlement_that_is_taken_back_leads_to_where_it_was_asked_for():
    for (state, step), after in AFTER.items():
        if step is VisitStep.SETTLE_FINALLY:
            assert REOPENED[after] is state


def test_after_the_final_settlement_no_charge_comes_in():
    for state in REOPENED:
        assert not ALLOWED[state] & {VisitStep.CHARGE, VisitStep.REVERSE, VisitStep.SETTLE}


def test_every_reason_has_its_sentence():
    assert set(VISIT_SENTENCE) == set(VisitRefusal)
    assert set(STATE_WORDS) == set(VisitState)
    assert set(STEP_WORDS) == set(VisitStep)
    assert not_in_this_state(VisitState.CLOSED, VisitStep.CHARGE).words == "就诊现为“已办结”，不能再记费用"
