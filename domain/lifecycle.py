"""The states of a claim and of a visit at their front-end, and the steps between them."""

from __future__ import annotations

from enum import StrEnum


class ClaimState(StrEnum):
    """Where a claim stands. Open states are those in which somebody still owes the claim a step."""

    HELD = "held"
    """Durably stored, to be settled later, on the institution's word."""
    ACCEPTED = "accepted"
    """Durably stored, its lines not checked yet."""
    TOTALLED = "totalled"
    """Lines checked and added up, or on their way to be; the centre's answer is awaited. This is the outbox."""
    PREPARED = "prepared"
    """The centre has computed it and holds its person; the institution is to confirm or cancel it in time."""
    SETTLED = "settled"
    """The centre's settlement is recorded."""
    RETURNED = "returned"
    """A line failed its checks, here or at the centre: back to the institution, with the code of each line."""
    REFUSED = "refused"
    """The centre refused it, or we failed on it: parked with its code until a person looks."""
    CANCELLED = "cancelled"
    """Cancelled by the institution, or prepared and not confirmed in time. Nothing was settled; its key is used up."""


OPEN = frozenset({ClaimState.ACCEPTED, ClaimState.TOTALLED})
FINAL = frozenset({ClaimState.SETTLED, ClaimState.RETURNED, ClaimState.REFUSED, ClaimState.CANCELLED})

STEPS: dict[ClaimState, frozenset[ClaimState]] = {
    ClaimState.HELD: frozenset({ClaimState.ACCEPTED, ClaimState.CANCELLED}),
    ClaimState.ACCEPTED: frozenset(
        {ClaimState.TOTALLED, ClaimState.RETURNED, ClaimState.REFUSED, ClaimState.CANCELLED}
    ),
    ClaimState.TOTALLED: frozenset(
        {
            ClaimState.PREPARED,
            ClaimState.SETTLED,
            ClaimState.REFUSED,
            ClaimState.CANCELLED,
            ClaimState.RETURNED,  # its lines were checked at the centre (`domain.ways`)
            ClaimState.ACCEPTED,  # other reference data is in force at the centre: totalled again
        }
    ),
    ClaimState.PREPARED: frozenset({ClaimState.SETTLED, ClaimState.CANCELLED}),
    ClaimState.SETTLED: frozenset(),
    ClaimState.RETURNED: frozenset(),
    ClaimState.REFUSED: frozenset(),
    ClaimState.CANCELLED: frozenset({ClaimState.SETTLED}),
}

ASKED_AGAIN = (ClaimState.REFUSED, ClaimState.ACCEPTED)
"""The one way back, on the institution's word and for batches of registered visits only: the claim goes to the centre
once more under its own key with its own lines, as a submission of its own number. A refusal that was told stays the
answer of every copy up to that number, so it is settled once, and never behind the back of who was told."""


GIVEN_UP = (ClaimState.REFUSED, ClaimState.RETURNED)
"""The other way out for a refused batch of a registered visit: its institution gives it up and its lines are free. It
keeps its refusal, which stays the centre's answer too."""


class VisitState(StrEnum):
    """Where a registered visit stands (INV-51, AMB-37, AMB-51). Only stays are discharged or settled finally."""

    OPEN = "open"
    """Registered; charges come in."""
    SETTLED = "settled"
    """Its final settlement was asked for; the discharge is still to come, charges are not."""
    DISCHARGED = "discharged"
    """Discharged; its final settlement is still to come, and until then reversals of what was charged."""
    CLOSED = "closed"
    """Discharged, and its final settlement asked for."""
    CANCELLED = "cancelled"
    """Taken back before any line was imported."""


class VisitStep(StrEnum):
    """What can be done with a visit."""

    CHARGE = "charge"
    REVERSE = "reverse"
    """A charge line with a negative quantity."""
    SETTLE = "settle"
    """An interim settlement, or one of an outpatient visit."""
    SETTLE_FINALLY = "settle_finally"
    DISCHARGE = "discharge"
    CANCEL = "cancel"
    REFUND = "refund"


ALLOWED: dict[VisitState, frozenset[VisitStep]] = {
    VisitState.OPEN: frozenset(VisitStep),
    VisitState.SETTLED: frozenset({VisitStep.DISCHARGE, VisitStep.REFUND}),
    VisitState.DISCHARGED: frozenset({VisitStep.REVERSE, VisitStep.SETTLE_FINALLY, VisitStep.REFUND}),
    VisitState.CLOSED: frozenset({VisitStep.REFUND}),
    VisitState.CANCELLED: frozenset(),
}

AFTER: dict[tuple[VisitState, VisitStep], VisitState] = {
    (VisitState.OPEN, VisitStep.SETTLE_FINALLY): VisitState.SETTLED,
    (VisitState.DISCHARGED, VisitStep.SETTLE_FINALLY): VisitState.CLOSED,
    (VisitState.OPEN, VisitStep.DISCHARGE): VisitState.DISCHARGED,
    (VisitState.SETTLED, VisitStep.DISCHARGE): VisitState.CLOSED,
    (VisitState.OPEN, VisitStep.CANCEL): VisitState.CANCELLED,
}
"""The steps that move a visit; the others leave it where it stands."""

REOPENED: dict[VisitState, VisitState] = {
    VisitState.SETTLED: VisitState.OPEN,
    VisitState.CLOSED: VisitState.DISCHARGED,
}
"""Where a visit stands again when its final settlement did not come about, or was refunded."""
