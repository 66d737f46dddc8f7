"""The states of a claim: every state is reached, and from every open state there is a way to an end."""

from __future__ import annotations

import pytest

from domain.lifecycle import FINAL, OPEN, STEPS, ClaimState


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
def test_no_step_leads_back(state):
    assert state not in reachable(state)


def test_a_claim_on_hold_owes_nobody_a_step():
    assert ClaimState.HELD not in OPEN
