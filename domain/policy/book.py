"""The policy book (政策库): the policy sets of one pool, asked for the rules of a case on a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import islice
from typing import Any

from domain.money import PRICE_SCALE
from domain.policy.compiling import compile_rules
from domain.policy.facts import (
    ANY_DISEASE,
    ANY_INSTITUTION,
    SCHEMES,
    Case,
    CaseNotCovered,
    Fact,
    NoPolicyInForce,
    PolicySet,
    Reason,
)
from domain.policy.rules import Rules
from domain.policy.selection import most_special
from domain.settlement import Occasion, Person
from domain.totals import LineRules
from domain.visit import VisitType

RESIDENTS = frozenset({"70", "71", "72", "73", "74", "75"})
"""Person categories of residents; all others are employees."""

MAX_REMEMBERED = 5_000
"""Rules kept in memory, by case and by what was asked: both come from outside, so there is no end to them. The rules of
a case take 6 to 9 kB, so that a book stays below 100 MB however long its process lives."""

NOBODY: frozenset[str] = frozenset()


def scheme_of(person_category: str) -> str:
    """The scheme of a person category, where nobody has asked for the entitlement."""
    return "resident" if person_category in RESIDENTS else "employee"


class PolicyBook:
    """The policy sets of one pool, and the rules made from them."""

    def __init__(self, sets: Iterable[PolicySet]) -> None:
        self.sets = tuple(sets)
        self._rules: dict[Case, Rules | CaseNotCovered] = {}
        self._asked: dict[tuple[object, ...], Rules] = {}
        self._in_force: dict[tuple[str, date], PolicySet] = {}
        self._lines: dict[Case, LineRules] = {}

    def in_force_on(self, scheme: str, day: date) -> PolicySet:
        """The one set that covers the scheme on the day. Raises NoPolicyInForce."""
        known = self._in_force.get((scheme, day))
        if known is not None:
            return known
        covering = [each for each in self.sets if scheme in SCHEMES and each.covers(scheme, day)]
        if not covering:
            raise NoPolicyInForce(scheme, day)
        if len(covering) > 1:
            raise TwoPoliciesInForce(scheme, day, (each.version for each in covering))
        _make_room(self._in_force)
        self._in_force[scheme, day] = covering[0]
        return covering[0]

    def rules_for(self, case: Case) -> Rules:
        """The rules of the case, made once. Raises NoPolicyInForce or CaseNotCovered."""
        rules = self._rules.get(case)
        if rules is None:
            _make_room(self._rules)
            policy = self.in_force_on(case.scheme, case.day)
            try:
                rules = compile_rules(policy, case)
            except CaseNotCovered as not_covered:
                rules = not_covered
            self._rules[case] = rules
        if isinstance(rules, CaseNotCovered):
            raise CaseNotCovered(*rules.told)
        return rules

    def rules_of(self, person: Person, occasion: Occasion) -> Rules:
        """The rules for a person on an occasion. Raises NoPolicyInForce or CaseNotCovered."""
        visit_type, level, day, institution, _no, _from, _to, _final, conditions, *named, _transfer = occasion
        asked = (
            person.scheme, person.category, person.civil_servant, person.rank, person.groups, person.age,
            visit_type, level, day, institution, conditions, *named,
        )  # fmt: skip
        rules = self._asked.get(asked)
        if rules is None:
            rules = self.rules_for(self.case_of(person, occasion))
            _make_room(self._asked)
            self._asked[asked] = rules
        return rules

    def case_of(self, person: Person, occasion: Occasion) -> Case:
        """The case a person is on an occasion, as far as the policy in force asks for it. Raises NoPolicyInForce."""
        policy = self.in_force_on(person.scheme, occasion.day)
        said = {
            *person.groups,
            *occasion.conditions,
            *(
                f"{kind}:{value}"
                for kind, value in (
                    ("disease", occasion.disease),
                    ("rank", person.rank),
                    ("institution", occasion.institution_code),
                    ("registration_kind", occasion.registration_kind),
                    ("medical_type", occasion.medical_type),
                )
                if value
            ),
        }
        asked = policy.asks_for
        whole = tuple(f"{kind.removesuffix('*')}" for kind in (ANY_DISEASE, ANY_INSTITUTION) if kind in asked)
        holds = frozenset(name for name in said if name in asked or name.startswith(("rank:", *whole)))
        return Case(
            person.scheme,
            person.category,
            person.civil_servant,
            occasion.visit_type,
            occasion.institution_level,
            occasion.day,
            holds,
            person.age if policy.asks_age else None,
        )

    def line_rules(self, scheme: str, category: str, visit_type: VisitType, level: int, day: date) -> LineRules:
        """How lines are split for this person on this occasion. Raises NoPolicyInForce."""
        case = Case(scheme, category, False, visit_type, level, day)
        rules = self._lines.get(case)
        if rules is None:
            _make_room(self._lines)
            rules = self._lines[case] = _line_rules(self.in_force_on(scheme, day), case)
        return rules

    def day_that_counts(
        self, scheme: str, *, settled_on: date, started: date | None = None, ends: date | None = None
    ) -> date:
        """The day whose policy counts for a stay: of settlement, unless the set says discharge or admission.

        Raises NoPolicyInForce when no set covers the scheme on the day of settlement.
        """
        policy = self.in_force_on(scheme, settled_on)
        said = [
            fact.values["day"]
            for fact in policy.facts
            if fact.kind == "year_end" and "day" in fact.values and scheme in fact.insured
            if fact.in_force_on(settled_on)
        ]
        chosen = {"discharge": ends, "admission": started}.get(said[0]) if said else None
        return chosen or settled_on


class TwoPoliciesInForce(NoPolicyInForce):
    """More than one set covers the day: which of them holds is for the office to say."""

    def __init__(self, scheme: str, day: date, versions: Iterable[str]) -> None:
        Exception.__init__(self, f"scheme {scheme!r} on {day} is covered by {' and by '.join(versions)}")


def _make_room(remembered: dict[Any, Any]) -> None:
    """Forget the oldest quarter of a full memory: what is asked for still is made anew."""
    if len(remembered) >= MAX_REMEMBERED:
        for key in list(islice(remembered, 1 + MAX_REMEMBERED // 4)):
            del remembered[key]


def _line_rules(policy: PolicySet, case: Case) -> LineRules:
    """The line split the facts say. What holds of a visit besides its case is not asked: lines are split before it."""
    facts = [fact for fact in policy.facts if fact.concerns(case) and fact.holds(NOBODY, None)]
    split = _only([fact for fact in facts if fact.kind == "line_split"], policy, case)
    rounding = _only(
        [fact for fact in facts if fact.kind == "rounding" and fact.values["place"] == "line"], policy, case
    )
    values = {} if split is None else split.values
    return LineRules(
        limit_first=values.get("price_limit", "before_pre_self_pay") == "before_pre_self_pay",
        over_limit_is_own=values.get("over_limit") == "own_expense",
        digits=2 if rounding is None else rounding.values.get("digits", 2),
        ratios=_ratios(facts, policy, case),
        kept_prices=_kept_prices(facts, policy, case),
        groups=frozenset(
            fact.values["item"] for fact in policy.facts if "item" in fact.values and fact.in_force_on(case.day)
        ),
        person_groups=(case.category, case.scheme),
    )


def _ratios(facts: list[Fact], policy: PolicySet, case: Case) -> dict[str, int]:
    """The ratios of class B that replace the catalogue's, by benefit group."""
    by_group: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.kind == "pre_self_pay" and fact.values.get("ratio_from") == "policy":
            by_group.setdefault(fact.values.get("item", ""), []).append(fact)
    ratios = {}
    for group, found in by_group.items():
        said = _only(found, policy, case)
        if said is not None and said.values.get("grade", 2) == 2:
            if said.values.get("ratio") is None:
                raise _refused("unknown_amount", f"{said} 的自付比例未知，政策中尚待填写", [said], policy, case)
            ratios[group] = said.values["ratio"]
    return ratios


def _kept_prices(facts: list[Fact], policy: PolicySet, case: Case) -> dict[str, int]:
    """What of the price of each unit the person pays first, by benefit group, in 1/10000 yuan."""
    by_group: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.kind == "pre_self_pay" and "amount" in fact.values:
            by_group.setdefault(fact.values["item"], []).append(fact)
    kept = {}
    for group, found in by_group.items():
        said = _only(found, policy, case)
        if said is not None:
            if said.values["amount"] is None:
                raise _refused("unknown_amount", f"{said} 的金额未知，政策中尚待填写", [said], policy, case)
            kept[group] = said.values["amount"] * (PRICE_SCALE // 100)
    return kept


def _only(facts: list[Fact], policy: PolicySet, case: Case) -> Fact | None:
    best = most_special(facts)
    if len(best) > 1:
        words = f"{'、'.join(map(str, best))} 对同一情形有不同规定"
        raise _refused("two_facts", words, best, policy, case)
    return best[0] if best else None


def _refused(code: str, words: str, facts: list[Fact], policy: PolicySet, case: Case) -> CaseNotCovered:
    return CaseNotCovered(policy.version, case, [Reason(code, tuple(fact.number for fact in facts), words)])
