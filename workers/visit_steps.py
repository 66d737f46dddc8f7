"""What becomes of a step of a visit, for every door: it was taken, or every reason why not."""

from __future__ import annotations

from dataclasses import dataclass

from domain.refusals import Reason, VisitRefusal, reason


@dataclass(frozen=True, slots=True)
class Done:
    """The step was taken, now or before: taking it twice is taking it once."""

    visit_no: str


@dataclass(frozen=True, slots=True)
class Registered:
    """The visit is registered under this number; `is_new` unless the same was registered before."""

    visit_no: str
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Settling:
    """The visit's unsettled lines are a claim now, durably stored; `is_new` unless it was asked for before."""

    claim_id: int
    visit_no: str
    charge_batch_no: int
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """A final settlement with no line left to settle: the visit's last settlement is its final one."""

    visit_no: str
    charge_batch_no: int


@dataclass(frozen=True, slots=True)
class Refunding:
    """A refund is under way: what takes the settlement back, and what is settled anew of it (None: nothing)."""

    visit_no: str
    charge_batch_no: int
    contra_batch_no: int
    resettled_batch_no: int | None
    contra_claim_id: int
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class NotReady:
    """The step was not taken, for all these reasons; nothing was changed."""

    reasons: tuple[Reason, ...]

    @property
    def codes(self) -> tuple[VisitRefusal, ...]:
        """The reasons' codes, in their order."""
        return tuple(each.code for each in self.reasons)

    @property
    def words(self) -> str:
        """All reasons in one Chinese sentence."""
        return "；".join(each.words for each in self.reasons)


def not_ready(refusal: VisitRefusal, held: object = "", sent: str = "") -> NotReady:
    """One reason against it."""
    return NotReady((reason(refusal, held, sent),))
