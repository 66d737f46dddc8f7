"""The outcome of a claim that is settled in two phases (预结算、确认、取消), and of one nobody has heard of."""

from __future__ import annotations

from enum import StrEnum

from domain.refusals import Refusal


class OutcomeState(StrEnum):
    """What the centre has under a claim's key."""

    PREPARED = "prepared"
    """Computed, its person held, nothing posted: to be confirmed or cancelled before it expires."""
    CONFIRMED = "confirmed"
    """Settled; of a one-phase claim too."""
    CANCELLED = "cancelled"
    """Taken back before it was settled; also where nothing was known of it yet (a tombstone)."""
    EXPIRED = "expired"
    """Neither confirmed nor cancelled in time, by the centre's clock."""
    REFUSED = "refused"
    """Refused and parked; sent again it is decided anew."""
    UNKNOWN = "unknown"
    """The centre has nothing under this key: send it again, under this key."""


EDGES: dict[OutcomeState, frozenset[OutcomeState]] = {
    OutcomeState.PREPARED: frozenset({OutcomeState.CONFIRMED, OutcomeState.CANCELLED, OutcomeState.EXPIRED}),
}
"""Where a stored outcome may go from where it is, each edge once; from anywhere else it goes nowhere."""

REFUSED_AFTER: dict[OutcomeState, Refusal] = {
    OutcomeState.CANCELLED: Refusal.CANCELLED,
    OutcomeState.EXPIRED: Refusal.PREPARE_EXPIRED,
}
"""Why a key that came to this is not settled, prepared or confirmed any more."""


class Phase(StrEnum):
    """What a front-end asks the centre about a claim next."""

    SETTLE = "settle"
    """Settle it, at once and for good."""
    PREPARE = "prepare"
    """Compute it and hold its person; then the institution decides."""
    CONFIRM = "confirm"
    """The institution has booked it: settle what was prepared."""
    CANCEL = "cancel"
    """The institution does not want it: whatever became of it, it is not to be settled."""


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.SETTLE: frozenset({Phase.CANCEL}),
    Phase.PREPARE: frozenset({Phase.CONFIRM, Phase.CANCEL}),
    Phase.CONFIRM: frozenset(),
    Phase.CANCEL: frozenset(),
}
"""What may be asked after what. An institution decides once."""
