"""Policy facts (政策条款): the dated facts of a pool's policy set, the cases they concern, the rules they make.

A city's rules are data; these are their shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from domain.visit import VisitType

SHARE_SCALE = 100_000_000
"""Shares of a band are counted in hundred-millionths: a ratio and a factor of four decimals each, multiplied."""

_RATIO_SCALE = 10_000

VISITS: dict[str, VisitType] = {
    "inpatient": VisitType.INPATIENT,
    "specific_outpatient": VisitType.SPECIFIC_OUTPATIENT,
    "outpatient": VisitType.OUTPATIENT,
    "pharmacy": VisitType.PHARMACY,
}
ALL_VISITS = tuple(VISITS.values())

BASIC = "basic"
SCHEMES = ("employee", "resident")
LAYERS = ("large_amount", "retiree_supplement", "serious_illness", "civil_servant", "assistance")
"""The layers above the basic fund; in a policy file their names stand where a scheme does."""

SEGMENTS = ("own_expense", "over_price_limit", "pre_self_pay", "deductible", "shared", "over_cap")
"""What the person pays, cut as an account fact may name it. `in_scope` stands for the last three."""

# These say nothing about who pays what of a claim's totals: the line split takes the first share of class B from the
# catalogue's own row, and giving back has its own documents.
NOT_OF_A_SETTLEMENT = frozenset({"pre_self_pay", "refund"})


class NoPolicyInForce(Exception):
    """No policy of this scheme covers the day."""

    def __init__(self, scheme: str, day: date) -> None:
        super().__init__(f"no policy of scheme {scheme!r} is in force on {day}")


class CaseNotCovered(NoPolicyInForce):
    """A policy is in force, but it has no answer, or more than one, or one not built yet, for this case."""

    def __init__(self, version: str, case: Case, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        Exception.__init__(self, f"{version} does not settle {case}: " + "; ".join(self.reasons))


class Case(NamedTuple):
    """What the rules depend on."""

    scheme: str
    category: str
    civil_servant: bool
    visit_type: VisitType
    institution_level: int
    day: date

    def __str__(self) -> str:
        servant = ", civil servant" if self.civil_servant else ""
        return (
            f"scheme {self.scheme}, category {self.category}{servant}, visit type {self.visit_type.value},"
            f" level {self.institution_level}, {self.day}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One dated fact of a policy set. What it does not name, it holds for."""

    number: int
    kind: str
    scheme: str
    visits: frozenset[VisitType] | None
    persons: frozenset[str] | None
    levels: frozenset[int] | None
    conditions: tuple[str, ...]
    """What must be true besides: `second_stay`, `disease:diabetes`, `rank:county`, ..."""
    first_day: date
    last_day: date | None
    source: str
    assumed: bool
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return f"#{self.number} {self.kind}"

    def concerns(self, case: Case) -> bool:
        """Whether the fact is about this case, as far as person, visit, institution and day go."""
        return (
            (self.visits is None or case.visit_type in self.visits)
            and (self.levels is None or case.institution_level in self.levels)
            and (self.persons is None or case.category in self.persons)
            and self._concerns_scheme(case)
            and self.in_force_on(case.day)
        )

    def in_force_on(self, day: date) -> bool:
        """Whether the day is among the fact's days, both ends included."""
        return self.first_day <= day and (self.last_day is None or day <= self.last_day)

    def _concerns_scheme(self, case: Case) -> bool:
        if self.scheme == "civil_servant":
            return case.civil_servant
        if self.scheme in ("large_amount", "retiree_supplement"):
            return case.scheme == "employee"
        if self.scheme == "serious_illness":
            return case.scheme == "resident"
        return self.scheme in ("any", "assistance", case.scheme)


class Deductible(NamedTuple):
    """What the person pays first. `counted_with`: the visit types whose deductibles of the year count together."""

    amount_fen: int
    counted_with: tuple[VisitType, ...]
    fact: str
    source: str


class Band(NamedTuple):
    """The fund's share of what lies between two borders of the amount in scope, deductible included."""

    low_fen: int
    high_fen: int | None
    share: int
    """In 1/SHARE_SCALE."""
    ratio: str
    fact: str
    source: str


class Cap(NamedTuple):
    """The most the fund pays in a year over these visit types."""

    amount_fen: int
    counted_with: tuple[VisitType, ...]
    fact: str
    source: str


class Rules(NamedTuple):
    """The policy of one case: all that `domain.benefit.settle` needs to know of it."""

    version: str
    scheme: str
    deductible: Deductible | None
    bands: tuple[Band, ...]
    caps: tuple[Cap, ...]
    account_pays: frozenset[str]
    account_fact: str
    account_source: str
    rest_goes_to_fund: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """One policy file: a pool's dated facts."""

    set_id: str
    version: str
    region: str
    title: str
    sources: Mapping[str, str]
    facts: tuple[Fact, ...]

    def covers(self, scheme: str, day: date) -> bool:
        """Whether the set says on this day what the fund shares with a person of the scheme."""
        return any(
            fact.kind == "share" and fact.scheme in ("any", scheme) and fact.in_force_on(day) for fact in self.facts
        )
