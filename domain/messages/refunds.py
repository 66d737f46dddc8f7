"""Taking a settlement back, and what the centre corrects of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from domain.messages.claims import ClaimAnswer, ClaimTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAsked:
    """A front-end asks the centre to take a settlement back, and to settle what is kept of it: both or neither."""

    KIND: ClassVar[str] = "refund.asked"
    VERSION: ClassVar[int] = 1

    institution_code: str
    visit_no: str
    charge_batch_no: int
    contra_batch_no: int
    """The charge batch number of the contra settlement: the key of this request."""
    reason: str
    policy_version: str
    catalogue_version: str
    kept: tuple[ClaimTotals, ...] = ()
    """The totals of the kept lines, under a batch number of their own; none or one."""
    kept_lines: tuple[bytes, ...] = ()
    """The kept lines themselves, in their canonical bytes: the centre splits them by what is in force there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAnswered:
    """The centre took a settlement back, or says why not."""

    KIND: ClassVar[str] = "refund.answered"
    VERSION: ClassVar[int] = 1

    institution_code: str
    visit_no: str
    charge_batch_no: int
    contra_batch_no: int
    refusal: str = ""
    detail: str = ""
    answers: tuple[ClaimAnswer, ...] = ()
    """That of the contra settlement, amounts with the other sign; then that of the kept lines."""
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementCorrected:
    """The centre corrected a settlement because one before it was taken back: by a contra and a new settlement."""

    KIND: ClassVar[str] = "settlement.corrected"
    VERSION: ClassVar[int] = 1

    correction_no: int
    institution_code: str
    visit_no: str
    charge_batch_no: int
    """What was corrected."""
    reason: str
    answers: tuple[ClaimAnswer, ...]
    """That of the contra settlement, then that of the new one, under charge batch numbers of the centre's own."""
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionHeard:
    """A front-end has recorded a correction."""

    KIND: ClassVar[str] = "correction.heard"
    VERSION: ClassVar[int] = 1

    correction_no: int
