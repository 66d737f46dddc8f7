"""The states of a claim at its front-end and the steps between them."""

from __future__ import annotations

from enum import StrEnum


class ClaimState(StrEnum):
    """Where a claim stands. Open states are those in which somebody still owes the claim a step."""

    HELD = "held"
    """Durably stored, to be settled later, on the institution's word."""
    ACCEPTED = "accepted"
    """Durably stored, its lines not checked yet."""
    TOTALLED = "totalled"
    """Lines checked and added up; the centre's answer is awaited. This is the outbox."""
    SETTLED = "settled"
    """The centre's settlement is recorded."""
    RETURNED = "returned"
    """A line failed its checks: back to the institution, with the code of each line."""
    REFUSED = "refused"
    """The centre refused it, or we failed on it: parked with its code until a person looks."""


OPEN = frozenset({ClaimState.ACCEPTED, ClaimState.TOTALLED})
FINAL = frozenset({ClaimState.SETTLED, ClaimState.RETURNED, ClaimState.REFUSED})

STEPS: dict[ClaimState, frozenset[ClaimState]] = {
    ClaimState.HELD: frozenset({ClaimState.ACCEPTED}),
    ClaimState.ACCEPTED: frozenset({ClaimState.TOTALLED, ClaimState.RETURNED, ClaimState.REFUSED}),
    ClaimState.TOTALLED: frozenset({ClaimState.SETTLED, ClaimState.REFUSED}),
    ClaimState.SETTLED: frozenset(),
    ClaimState.RETURNED: frozenset(),
    ClaimState.REFUSED: frozenset({ClaimState.SETTLED}),
}
