"""Prepared, confirmed, cancelled; and what became of a claim nobody heard of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple

from domain.messages.claims import ClaimAnswer, ClaimKey, ClaimTotals


class OutcomeDecision(NamedTuple):
    """What an institution decided about a claim: to be settled as it was prepared, or not to be settled at all."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    confirm: bool


class ToldOutcome(NamedTuple):
    """What the centre has under a claim's key, and why it did not do what was asked, if it did not."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    state: str
    """domain.outcomes.OutcomeState."""
    refusal: str = ""
    detail: str = ""
    answer: ClaimAnswer | None = None
    """prepared: what it would be settled to, without a number; confirmed: what it was settled to."""
    seconds_left: int = 0
    """prepared: how long the centre holds it from now on, by its own clock."""
    submission: int = 0
    """refused: the number of the submission that was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareAsked:
    """A front-end asks the centre to compute claims and hold their persons, until they are confirmed or cancelled."""

    KIND: ClassVar[str] = "prepare.asked"
    VERSION: ClassVar[int] = 1

    policy_version: str
    catalogue_version: str
    claims: tuple[ClaimTotals, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeDecided:
    """Institutions decided about claims: confirm what was prepared, or cancel, known to the centre or not."""

    KIND: ClassVar[str] = "outcome.decided"
    VERSION: ClassVar[int] = 1

    decisions: tuple[OutcomeDecision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeAsked:
    """A front-end asks what became of claims whose answer it does not have."""

    KIND: ClassVar[str] = "outcome.asked"
    VERSION: ClassVar[int] = 1

    keys: tuple[ClaimKey, ...]
    asked_at: datetime | None = None
    """By the front-end's clock; the answer says it again. Asked without keys it only wants to know who hears it."""
    skew_seconds: int = 0
    """How far the centre's clock was ahead of the front-end's when that was last measured, for certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeTold:
    """The centre says what it has under these keys, after doing what it was asked to do, if anything."""

    KIND: ClassVar[str] = "outcome.told"
    VERSION: ClassVar[int] = 1

    outcomes: tuple[ToldOutcome, ...]
    epoch: int = 1
    wanted: tuple[str, ...] = ()
    """As in `ClaimsAnswered`."""
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    """By the centre's clock."""
    unopened: bool = False
    """Something came under this front-end's name that was not sealed with its key."""
