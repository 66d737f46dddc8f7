"""What changes between two policy sets: facts added, removed and changed, and the cases that come out otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from domain.benefit import settle
from domain.policy import PolicyBook
from domain.policy.cases import cases, days_of_change, occasion_of, person_of
from domain.policy.facts import Case, Fact, NoPolicyInForce, PolicySet
from domain.totals import LocalTotals

BILLS_FEN = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
"""Bills wholly in scope by which two sets are compared: 100 yuan to a million."""


class FactChange(NamedTuple):
    """A fact of the old set (None: added), of the new one (None: removed), and the keys that differ."""

    old: Fact | None
    new: Fact | None
    keys: Mapping[str, tuple[Any, Any]]


class CaseChange(NamedTuple):
    """A case and the first bill of which the person pays another part; None where a set does not settle it. Fen."""

    case: Case
    bill_fen: int
    old_person_fen: int | None
    new_person_fen: int | None


def compare_facts(old: PolicySet, new: PolicySet) -> list[FactChange]:
    """Facts that differ. A fact is found again by what it is about, where it stands does not matter."""
    left, right = list(old.facts), list(new.facts)
    changes = []
    for alike in (_all_of, _about_and_days, _about):
        for fact in tuple(left):
            found = next((other for other in right if alike(other) == alike(fact)), None)
            if found is None:
                continue
            left.remove(fact)
            right.remove(found)
            if differing := _differing(fact, found):
                changes.append(FactChange(fact, found, differing))
    changes += [FactChange(fact, None, {}) for fact in left]
    changes += [FactChange(None, fact, {}) for fact in right]
    return sorted(changes, key=lambda change: (change.old is None, (change.old or change.new or old.facts[0]).number))


def compare_cases(old: PolicySet, new: PolicySet) -> list[CaseChange]:
    """Cases either set speaks about in which some bill comes out otherwise, each combination of facts once."""
    days = sorted({*days_of_change(old.facts), *days_of_change(new.facts)})
    books = PolicyBook([old]), PolicyBook([new])
    changes, seen = [], set()
    for case in dict.fromkeys((*cases(old, days), *cases(new, days))):
        about = case._replace(day=date.min)
        if about in seen:
            continue
        for bill in BILLS_FEN:
            before, after = (_person_pays(case, bill, book) for book in books)
            if before != after:
                seen.add(about)
                changes.append(CaseChange(case, bill, before, after))
                break
    return changes


def _person_pays(case: Case, bill_fen: int, book: PolicyBook) -> int | None:
    totals = LocalTotals(bill_fen, 0, 0, 0, bill_fen, 1, b"")
    try:
        return settle(totals, person_of(case), {}, book, occasion_of(case)).person_share_fen
    except NoPolicyInForce:
        return None


def _about(fact: Fact) -> tuple[Any, ...]:
    """What a fact is about, whatever it says and since when."""
    return (
        fact.kind, fact.scheme, fact.visits, fact.persons, fact.levels, fact.insured, fact.conditions, fact.age_from,
        fact.age_to, *(fact.values.get(key) for key in ("low", "item", "stays", "place", "per", "counter", "use")),
    )  # fmt: skip


def _about_and_days(fact: Fact) -> tuple[Any, ...]:
    return (*_about(fact), fact.first_day)


def _all_of(fact: Fact) -> tuple[Any, ...]:
    return (*_about_and_days(fact), fact.last_day, fact.source, fact.assumed, _sorted(fact.values.items()))


def _sorted(items: Iterable[tuple[str, Any]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, repr(value)) for key, value in items))


def _differing(old: Fact, new: Fact) -> dict[str, tuple[Any, Any]]:
    pairs: dict[str, tuple[Any, Any]] = {
        "from": (old.first_day, new.first_day),
        "to": (old.last_day, new.last_day),
        "src": (old.source, new.source),
        "assumed": (old.assumed, new.assumed),
        **{key: (old.values.get(key), new.values.get(key)) for key in sorted({*old.values, *new.values})},
    }
    return {key: (before, after) for key, (before, after) in pairs.items() if before != after}
