"""Claims of every sort for every policy set there is, and for offices nobody has: what engine and checker agree on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import cycle, pairwise
from pathlib import Path
from typing import NamedTuple

from domain.benefit import settle
from domain.policy import PolicyBook
from domain.policy.facts import ALL_VISITS, CaseNotCovered, Fact, NoPolicyInForce, PolicySet
from domain.policy.reading import parse
from domain.settlement import Occasion, Person, Settlement
from domain.totals import GroupTotal, LocalTotals
from tests.support.office import account, cap, deductible, office, share

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("policies/*.toml"), *ROOT.glob("tests/policies/*.toml")])
CATEGORIES = {"employee": ("1", "2", "3", "5"), "resident": ("70", "71", "75")}
RANKS = ("section", "county", "department")


class Settled(NamedTuple):
    """One claim and what the engine made of it."""

    settlement: Settlement
    totals: LocalTotals
    person: Person
    accumulators: dict[str, int]
    policy: PolicyBook
    occasion: Occasion


def published() -> list[PolicyBook]:
    """Every policy set of this repository, a book each."""
    return [PolicyBook([parse(file.read_text())]) for file in FILES]


def settled_claims(books: list[PolicyBook], *, seed: int, count: int) -> Iterator[Settled]:
    """So many settled claims, in turn from each book and from offices made up on the way."""
    dice = random.Random(seed)
    made = 0
    for book in cycle([*books, None, None, None]):
        if made >= count:
            return
        office_of_claims = book or _made_up(dice)
        for _ in range(20):
            for settled in _history(dice, office_of_claims):
                yield settled
                made += 1


def _history(dice: random.Random, book: PolicyBook) -> Iterator[Settled]:
    """A person's claims one after the other, the accumulators and the account running on."""
    policy = book.sets[0]
    fact = dice.choice([fact for fact in policy.facts if fact.kind in ("share", "full_cover")])
    person, occasion = _person(dice, policy, fact), _occasion(dice, policy, fact)
    accumulators: dict[str, int] = {}
    for _ in range(dice.randrange(1, 5)):
        occasion = occasion._replace(
            visit_no=f"V{dice.randrange(2)}", ends=occasion.day + timedelta(dice.randrange(99))
        )
        totals = _totals(dice, policy)
        try:
            settlement = settle(totals, person, accumulators, book, occasion)
        except (CaseNotCovered, NoPolicyInForce):
            return
        yield Settled(settlement, totals, person, accumulators, book, occasion)
        accumulators = {**accumulators, **{key: before + applied for key, before, applied in settlement.entries}}


def _person(dice: random.Random, policy: PolicySet, fact: Fact) -> Person:
    scheme = dice.choice(fact.insured)
    return Person(
        scheme=scheme,
        category=dice.choice(sorted(fact.persons or CATEGORIES[scheme])),
        account_balance_fen=dice.choice((0, 5_000, 10**6)),
        civil_servant=dice.random() < 0.3,
        rank=dice.choice(RANKS),
        groups=_some(dice, policy),
        age=dice.randrange(95),
        family_balance_fen=dice.choice((0, 3_000)),
    )


def _occasion(dice: random.Random, policy: PolicySet, fact: Fact) -> Occasion:
    last = fact.last_day or date(2026, 11, 22)
    day = fact.first_day + timedelta(dice.randrange(max(1, (last - fact.first_day).days + 1)))
    needed = frozenset(names[0] for names in fact.conditions if ":" not in names[0])
    diseases = sorted(name[8:] for name in policy.asks_for if name.startswith("disease:"))
    return Occasion(
        visit_type=dice.choice(sorted(fact.visits or ALL_VISITS)),
        institution_level=dice.choice(sorted(fact.levels or (0, 1, 2, 3))),
        day=day,
        started=day - timedelta(dice.randrange(3)),
        conditions=needed | _some(dice, policy),
        disease=dice.choice([*diseases, ""]),
    )


def _some(dice: random.Random, policy: PolicySet) -> frozenset[str]:
    """A few of the conditions the set asks for."""
    return frozenset(
        name for name in sorted(policy.asks_for) if dice.random() < 0.1 and not name.startswith("disease:")
    )


def _totals(dice: random.Random, policy: PolicySet) -> LocalTotals:
    parts = [dice.choice((0, 0, dice.randrange(10**6))) for _ in range(3)]
    scope = dice.choice((0, 1, dice.randrange(10**5), dice.randrange(10**7), dice.randrange(6 * 10**7)))
    items = sorted({fact.values["item"] for fact in policy.facts if "item" in fact.values})
    group = GroupTotal(dice.choice(items), part := dice.randrange(scope + 1), 0, 0, 0, part) if items else None
    return LocalTotals(sum(parts) + scope, *parts, scope, 5, b"", (group,) if group else ())


def _made_up(dice: random.Random) -> PolicyBook:
    """An office that has whatever the dice say of bands, caps and layers."""
    facts = _bands(dice)
    facts.append(deductible(_yuan(dice, 2_000), dice.choice(("visit", "stay", "month", "year"))))
    both = ', insured = ["employee", "resident"]'
    may_have = (
        cap(_yuan(dice, 50_000), basis=dice.choice(("fund_paid", "charges", "in_scope"))),
        cap(_yuan(dice, 5_000), dice.choice(("visit", "month", "quarter"))),
        f'kind = "self_share_factor", factor = "{_ratio(dice)}"',
        f'kind = "pre_self_pay_visit", ratio = "{_ratio(dice)}"',
        f'kind = "deductible_nth_stay", stays = [2, 99], factor = "{_ratio(dice)}"',
        'kind = "deductible_again", days = 30',
        f'kind = "institution_share", amount = "{_yuan(dice, 90_000)}", per = "stay"',
        f'kind = "subsidy", scheme = "civil_servant", ratio = "{_ratio(dice)}", basis = "left_by_layers_before"',
        f'kind = "person_cap", scheme = "assistance", amount = "{_yuan(dice, 9_000)}", per = "year", beyond = "0.1000"',
        account(*dice.sample(("deductible", "shared", "over_cap", "pre_self_pay", "own_expense"), 3)),
        f'kind = "layer_share", scheme = "enterprise", keeps = "{_ratio(dice)}"{both}',
    )
    facts += [fact for fact in may_have if dice.random() < 0.35]
    if dice.random() < 0.5:
        at_cap = f'scheme = "large_amount", when = "pooled_cap_reached"{both}'
        facts.append(f'kind = "layer_share", {at_cap}, ratio = "{_ratio(dice)}"')
    if dice.random() < 0.5:
        facts.append(
            f'kind = "threshold", scheme = "serious_illness"{both}, per = "year", amount = "{_yuan(dice, 20_000)}"'
        )
        facts.append(f'kind = "layer_share", scheme = "serious_illness"{both}, ratio = "{_ratio(dice)}"')
        facts.append(cap(_yuan(dice, 90_000), more=f', scheme = "serious_illness"{both}'))
    return office(*facts, rest=dice.choice(("fund", "person")), place=dice.choice(("band", "fund_share")))


def _bands(dice: random.Random) -> list[str]:
    borders = sorted({dice.randrange(100, 200_000) for _ in range(dice.randrange(4))})
    basis = dice.choice(("in_scope", "after_deductible"))
    return [
        share(_ratio(dice), f"{low}.00", None if high is None else f"{high}.00", f', basis = "{basis}"')
        for low, high in pairwise([0, *borders, None])
    ]


def _ratio(dice: random.Random) -> str:
    return f"0.{dice.randrange(10_000):04d}"


def _yuan(dice: random.Random, most: int) -> str:
    return f"{dice.randrange(most)}.{dice.randrange(100):02d}"
