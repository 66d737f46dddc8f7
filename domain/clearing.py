"""Clearing (清算): what the centre pays apart, in which periods, and what of it is withheld."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain.money import portion
from domain.visit import VisitType


class ClearingType(StrEnum):
    """The national dictionary clr_type, as far as visits of the exchange lead to it."""

    OUTPATIENT = "11"
    INPATIENT = "21"
    PHARMACY = "41"


WORDS = {ClearingType.OUTPATIENT: "门诊", ClearingType.INPATIENT: "住院", ClearingType.PHARMACY: "药店购药"}

SCHEMES = {"employee": ("310", "职工基本医疗保险"), "resident": ("390", "城乡居民基本医疗保险")}
"""The national dictionary insutype and its words, by scheme."""

_OF = {
    VisitType.INPATIENT: ClearingType.INPATIENT,
    VisitType.SPECIFIC_OUTPATIENT: ClearingType.OUTPATIENT,
    VisitType.OUTPATIENT: ClearingType.OUTPATIENT,
    VisitType.PHARMACY: ClearingType.PHARMACY,
}


def clearing_type(visit_type: VisitType | str) -> ClearingType:
    """Under which clearing type a visit is paid. Raises ValueError for a visit type there is not (JZLB)."""
    return _OF[VisitType(visit_type)]


class PeriodState(StrEnum):
    """Where a period of an institution, a scheme and a clearing type stands."""

    OPEN = "open"
    """Takes up what is settled; nothing is owed of it yet."""
    CLOSED = "closed"
    """Added up in a clearing; the institution looks at it."""
    CONFIRMED = "confirmed"
    """The institution agrees, or has not objected in time."""
    PAID = "paid"
    """Paid; what is wrong with it goes into a later period."""


EDGES: dict[PeriodState, frozenset[PeriodState]] = {
    PeriodState.OPEN: frozenset({PeriodState.CLOSED}),
    PeriodState.CLOSED: frozenset({PeriodState.CONFIRMED, PeriodState.OPEN}),
    PeriodState.CONFIRMED: frozenset({PeriodState.PAID, PeriodState.OPEN}),
    PeriodState.PAID: frozenset(),
}
"""The way back to open is a contra of the clearing, which stays in the ledger with it."""

STATE_WORDS = {
    PeriodState.OPEN: "未关账",
    PeriodState.CLOSED: "已关账",
    PeriodState.CONFIRMED: "已确认",
    PeriodState.PAID: "已拨付",
}


class Flow(NamedTuple):
    """What is cleared for itself."""

    institution_code: str
    scheme: str
    clearing_type: str


class CalendarRule(NamedTuple):
    """When periods end and close, for periods that begin on `since` or later."""

    since: date
    end_day: int
    """The day of the month a period ends on, 1 to 31; the last of the month where it has no such day."""
    closing_workdays: int
    """A period closes on so many working days after its end."""
    objection_workdays: int | None = None
    """So many working days after closing a period without objection counts as confirmed; None: never by itself."""


class Period(NamedTuple):
    """Days that are cleared together, both included."""

    first_day: date
    last_day: date
    rule: CalendarRule

    @property
    def name(self) -> str:
        """The month it ends in, as 清算年月."""
        return f"{self.last_day:%Y-%m}"


def periods(rules: Sequence[CalendarRule], until: date) -> Iterator[Period]:
    """The periods of a calendar, without a gap, from the first rule's day to the period that holds `until`.

    A rule is in force for every period that begins on its day or later, until the next one is.
    """
    ordered = sorted(rules, key=lambda rule: rule.since)
    first_day = ordered[0].since if ordered else until + timedelta(days=1)
    while first_day <= until:
        rule = next(rule for rule in reversed(ordered) if rule.since <= first_day)
        last_day = _end_on_or_after(first_day, rule.end_day)
        yield Period(first_day, last_day, rule)
        first_day = last_day + timedelta(days=1)


def _end_on_or_after(day: date, end_day: int) -> date:
    end = _end_in(day.year, day.month, end_day)
    if end >= day:
        return end
    return _end_in(day.year + day.month // 12, day.month % 12 + 1, end_day)


def _end_in(year: int, month: int, end_day: int) -> date:
    return date(year, month, min(end_day, monthrange(year, month)[1]))


def withheld(funds: Mapping[str, int], share_1e4: int, held: Mapping[str, int]) -> dict[str, int]:
    """What of each fund layer's amount is withheld (预留), in fen: its share of it, rounded half up.

    A layer that comes out negative, because more was taken back than paid, gives its share back, and never more than is
    `held` of it.
    """
    kept = {layer: portion(amount_fen, share_1e4) for layer, amount_fen in funds.items()}
    return {layer: max(kept_fen, -max(held.get(layer, 0), 0)) for layer, kept_fen in kept.items()}
