"""Policy facts (政策条款): the dated facts of a pool's policy set and the cases they concern.

A city's rules are data; these are their shapes. What the facts come to for one case stands in `domain.policy.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

from domain.visit import VisitType

VISITS: dict[str, VisitType] = {
    "inpatient": VisitType.INPATIENT,
    "specific_outpatient": VisitType.SPECIFIC_OUTPATIENT,
    "outpatient": VisitType.OUTPATIENT,
    "pharmacy": VisitType.PHARMACY,
}
ALL_VISITS = tuple(VISITS.values())

BASIC = "basic"
SCHEMES = ("employee", "resident")
LAYERS: dict[str, tuple[str, ...]] = {
    "large_amount": ("employee",),
    "retiree_supplement": ("employee",),
    "serious_illness": ("resident",),
    "enterprise": SCHEMES,
    "civil_servant": SCHEMES,
    "assistance": SCHEMES,
    "other": SCHEMES,
}
"""The layers above the basic fund in the order they pay, with the schemes whose insured they serve unless a fact says
`insured`; in a policy file their names stand where a scheme does."""

ANY_DISEASE = "disease:*"
ANY_INSTITUTION = "institution:*"
"""Among the conditions a set asks for: it counts something per disease, or per institution."""


class Reason(NamedTuple):
    """Why a case is not settled: a code for machines, the facts concerned by number, Chinese words for the cashier."""

    code: str
    facts: tuple[int, ...]
    words: str

    def __str__(self) -> str:
        return self.words


class NoPolicyInForce(Exception):
    """No policy of this scheme covers the day."""

    def __init__(self, scheme: str, day: date) -> None:
        super().__init__(f"no policy of scheme {scheme!r} is in force on {day}")


class CaseNotCovered(NoPolicyInForce):
    """A policy is in force, but it has no answer, or more than one, for this case."""

    def __init__(self, version: str, case: Case, reasons: Iterable[Reason]) -> None:
        self.reasons = tuple(reasons)
        self.told = version, case, self.reasons
        Exception.__init__(self, f"{version} does not settle {case}: " + "; ".join(map(str, self.reasons)))


class Case(NamedTuple):
    """What the rules depend on."""

    scheme: str
    category: str
    civil_servant: bool
    visit_type: VisitType
    institution_level: int
    day: date
    holds: frozenset[str] = frozenset()
    """The conditions that hold: `unfiled`, `disease:diabetes`, `rank:county`, `institution:H01`, ..."""
    age: int | None = None

    def __str__(self) -> str:
        servant = ", civil servant" if self.civil_servant else ""
        holding = "".join(f", {name}" for name in sorted(self.holds))
        return (
            f"scheme {self.scheme}, category {self.category}{servant}, visit type {self.visit_type.value},"
            f" level {self.institution_level}, {self.day}{holding}"
        )

    def valued(self, kind: str) -> str:
        """The value of a condition such as `disease:diabetes`, or an empty text."""
        prefix = f"{kind}:"
        return next((name[len(prefix) :] for name in sorted(self.holds) if name.startswith(prefix)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One dated fact of a policy set. What it does not name, it holds for."""

    number: int
    kind: str
    scheme: str
    visits: frozenset[VisitType] | None
    persons: frozenset[str] | None
    levels: frozenset[int] | None
    insured: tuple[str, ...]
    """The schemes whose insured it is about."""
    conditions: tuple[tuple[str, ...], ...]
    """What must hold besides: of each tuple one name, `not:` before a name that must not."""
    age_from: int | None
    age_to: int | None
    first_day: date
    last_day: date | None
    source: str
    assumed: bool
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return f"#{self.number} {self.kind}"

    @property
    def specificity(self) -> int:
        """How many conditions it names: of facts of one kind, the most special ones hold."""
        return len(self.conditions) + self.has_age

    @property
    def has_age(self) -> bool:
        return self.age_from is not None or self.age_to is not None

    @property
    def asks_age(self) -> bool:
        """Whether nothing can be said of it without the age."""
        return self.has_age or "over_age" in self.values

    def concerns(self, case: Case) -> bool:
        """Whether the fact is about this case, as far as person, visit, institution and day go."""
        return (
            (self.visits is None or case.visit_type in self.visits)
            and (self.levels is None or case.institution_level in self.levels)
            and (self.persons is None or case.category in self.persons)
            and case.scheme in self.insured
            and (self.scheme != "civil_servant" or case.civil_servant)
            and self.in_force_on(case.day)
        )

    def holds(self, holding: frozenset[str], age: int | None) -> bool:
        """Whether its conditions hold; what nobody says does not hold."""
        for names in self.conditions:
            if not any((name[4:] not in holding) if name.startswith("not:") else (name in holding) for name in names):
                return False
        if self.has_age:
            return age is not None and (self.age_from or 0) <= age <= (999 if self.age_to is None else self.age_to)
        return True

    def in_force_on(self, day: date) -> bool:
        """Whether the day is among the fact's days, both ends included."""
        return self.first_day <= day and (self.last_day is None or day <= self.last_day)


@dataclass(frozen=True, kw_only=True)
class PolicySet:
    """One policy file: a pool's dated facts."""

    set_id: str
    version: str
    region: str
    title: str
    year_starts: tuple[int, int]
    """Month and day the benefit year begins."""
    sources: Mapping[str, str]
    conditions: Mapping[str, Mapping[str, Any]]
    """The conditions the set declares, name to title and `of` (visit or person)."""
    facts: tuple[Fact, ...]

    def covers(self, scheme: str, day: date) -> bool:
        """Whether the set says on this day what a fund pays for a person of the scheme."""
        return any(
            fact.kind in ("share", "full_cover") and scheme in fact.insured and fact.in_force_on(day)
            for fact in self.facts
        )

    @cached_property
    def asks_for(self) -> frozenset[str]:
        """The conditions its facts ask for; no other needs to be known of a case."""
        names = {name.removeprefix("not:") for fact in self.facts for names in fact.conditions for name in names}
        if any(fact.values.get("per_disease") for fact in self.facts):
            names.add(ANY_DISEASE)
        if any(fact.values.get("per_institution") for fact in self.facts):
            names.add(ANY_INSTITUTION)
        return frozenset(names)

    @cached_property
    def asks_age(self) -> bool:
        """Whether any fact depends on the age."""
        return any(fact.asks_age for fact in self.facts)
