"""The cases a policy set speaks about, a few that stand for all: what `policy check` and `policy diff` ask it for.

Two cases that exactly the same facts concern are one case to the set, so one of them is looked at. A set has days on
which it changes; the first day of each stretch stands for the stretch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta

from domain.policy.facts import ALL_VISITS, SCHEMES, Case, Fact, PolicySet
from domain.settlement import Occasion, Person

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "employee": ("1", "2", "3", "4", "5", "7"),
    "resident": ("70", "71", "72", "73", "74", "75"),
}
"""人员类别 RYLB by scheme (2.1.3.2.1): 在职, 退休, 离休, 1至4级工残, 无业, 退职; six groups of residents."""

LEVELS = (0, 1, 2, 3)
AN_AGE = 40
"""Where a set asks for the age, that of a person nothing special is said about, most likely."""
A_GREAT_AGE = 100
"""Where a share grows with the age, that of a person it has grown for to the end."""
A_DISEASE = "disease:any"
"""Stands for a disease no fact names, where something is counted per disease."""

_ONE_DAY = timedelta(days=1)


def days_of_change(facts: Iterable[Fact]) -> tuple[date, ...]:
    """The days on which a fact begins, or the day after one ended, in order."""
    days = set()
    for fact in facts:
        days.add(fact.first_day)
        if fact.last_day is not None and fact.last_day < date.max:
            days.add(fact.last_day + _ONE_DAY)
    return tuple(sorted(days))


def plain_cases(policy: PolicySet, days: Iterable[date]) -> Iterator[Case]:
    """Every case without conditions, on each of the days: schemes, categories, visits, levels."""
    servants = (False, True) if any(fact.scheme == "civil_servant" for fact in policy.facts) else (False,)
    for day in days:
        for scheme in SCHEMES:
            for category in CATEGORIES[scheme]:
                for servant in servants:
                    for visit in ALL_VISITS:
                        for level in LEVELS:
                            yield Case(scheme, category, servant, visit, level, day)


def cases(policy: PolicySet, days: Iterable[date] = ()) -> list[Case]:
    """One case for each combination of facts that can concern one together, with each condition a fact asks for.

    Conditions are tried one fact at a time: the case of no condition, and for every fact the fewest that make it hold.
    """
    seen: set[tuple[object, ...]] = set()
    found: list[Case] = []
    for case in plain_cases(policy, days or days_of_change(policy.facts)):
        concerned = [fact for fact in policy.facts if fact.concerns(case)]
        numbers = tuple(fact.number for fact in concerned)
        if not numbers or (case.scheme, case.visit_type, numbers) in seen:
            continue
        seen.add((case.scheme, case.visit_type, numbers))
        found.extend(_with_conditions(case, concerned, AN_AGE if policy.asks_age else None))
    return found


def _with_conditions(case: Case, concerned: list[Fact], age: int | None) -> Iterator[Case]:
    ways = [(frozenset[str](), age)]
    for fact in concerned:
        ways.extend((holds, _an_age(fact, age)) for holds in _ways_to_hold(fact))
    for holds, its_age in dict.fromkeys(ways):
        yield case._replace(holds=holds, age=its_age)


def _ways_to_hold(fact: Fact) -> Iterator[frozenset[str]]:
    """The fewest conditions that make the fact hold, each alternative once; none for a `not:`."""
    if fact.values.get("per_disease") and not any(
        name.startswith("disease:") for names in fact.conditions for name in names
    ):
        yield frozenset({A_DISEASE})
    needed = [names for names in fact.conditions if not any(name.startswith("not:") for name in names)]
    first = frozenset(names[0] for names in needed)
    yield first
    for names in needed:
        for name in names[1:]:
            yield first - {names[0]} | {name}


def _an_age(fact: Fact, age: int | None) -> int | None:
    if "over_age" in fact.values:
        return max(A_GREAT_AGE, fact.age_from or 0) if fact.age_to is None else fact.age_to
    if not fact.has_age:
        return age
    return fact.age_from if fact.age_from is not None else fact.age_to


def person_of(case: Case) -> Person:
    """A person of the case, with money enough on every account."""
    return Person(
        scheme=case.scheme,
        category=case.category,
        civil_servant=case.civil_servant,
        rank=case.valued("rank"),
        groups=frozenset(name for name in case.holds if ":" not in name),
        age=case.age,
    )


def occasion_of(case: Case) -> Occasion:
    """A visit of the case."""
    return Occasion(
        case.visit_type,
        case.institution_level,
        case.day,
        institution_code=case.valued("institution"),
        conditions=frozenset(name for name in case.holds if ":" not in name or name.startswith("class:")),
        disease=case.valued("disease"),
        registration_kind=case.valued("registration_kind"),
        medical_type=case.valued("medical_type"),
    )
