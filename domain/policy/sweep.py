"""Trying bills of every size in one case: which facts a bill can reach, and where a dearer bill costs the person less.

Between two borders what the person pays is a straight line: the same rules with the same facts, each either at its
limit or not. So borders are found exactly, by halving between two bills that took different ways, down to two bills
that are one fen apart. A line that falls is found by its two ends: there two funds pay for the same fen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from domain.benefit import settle
from domain.money import MAX_FEN
from domain.policy import PolicyBook
from domain.policy.cases import occasion_of, person_of
from domain.policy.facts import Case, Fact
from domain.settlement import Settlement, Step
from domain.totals import LocalTotals

_FACTS = re.compile(r"#([0-9]+) ([a-z_]+)")
_LAYING_OUT = frozenset({"shared", "layer-base"})
_BANDS = frozenset({"share", "layer_share", "subsidy"})
_FAR_ABOVE = 20
"""Bills are tried up to so many times the largest amount a fact names: beyond every limit a share can lead to."""
_LEAST_TOP_FEN = 10_000_000


class Drop(NamedTuple):
    """A bill and a dearer one, of which the dearer leaves the person paying less: a fen apart, or on one line. Fen."""

    bill_fen: int
    person_fen: int
    dearer_bill_fen: int
    dearer_person_fen: int
    facts: tuple[int, ...]
    """The facts by which the two differ."""


class Sweep(NamedTuple):
    """What trying bills of every size showed."""

    facts: frozenset[int]
    """The facts some bill reached."""
    drops: tuple[Drop, ...]


def sweep(case: Case, policy: PolicyBook, facts: Iterable[Fact], used: Mapping[str, int] | None = None) -> Sweep:
    """Settle bills wholly in scope from one fen up, and look at every border between them."""
    amounts = [fact.values[key] or 0 for fact in facts for key in ("amount", "high") if fact.values.get(key)]
    top = min(MAX_FEN, max([_LEAST_TOP_FEN, *(_FAR_ABOVE * amount for amount in amounts)]))
    trial = _Trial(case, policy, used or {})
    starts = sorted({1, top, *(min(amount, top) for amount in amounts if amount)})
    for low, high in pairwise(starts):
        trial.between(low, high)
    return Sweep(frozenset(trial.facts), tuple(trial.drops))


class _Tried(NamedTuple):
    bill_fen: int
    person_fen: int
    funds: int
    """How many pay. Each rounds its own part: the same fen more may be rounded up by two of them, which is no law."""
    way: tuple[object, ...]
    facts: frozenset[int]


class _Trial:
    def __init__(self, case: Case, policy: PolicyBook, used: Mapping[str, int]) -> None:
        self.person, self.occasion = person_of(case), occasion_of(case)
        self.policy, self.used = policy, used
        self.facts: set[int] = set()
        self.drops: list[Drop] = []
        self._tried: dict[int, _Tried] = {}

    def between(self, low_fen: int, high_fen: int) -> None:
        low, high = self._at(low_fen), self._at(high_fen)
        if low.way == high.way or high_fen - low_fen == 1:
            if high.person_fen < low.person_fen - max(0, high.funds - 1):
                facts = low.facts ^ high.facts or high.facts
                self.drops.append(Drop(low_fen, low.person_fen, high_fen, high.person_fen, tuple(sorted(facts))))
            return
        middle = (low_fen + high_fen) // 2
        self.between(low_fen, middle)
        self.between(middle, high_fen)

    def _at(self, bill_fen: int) -> _Tried:
        known = self._tried.get(bill_fen)
        if known is None:
            totals = LocalTotals(bill_fen, 0, 0, 0, bill_fen, 1, b"")
            settlement = settle(totals, self.person, self.used, self.policy, self.occasion)
            facts = cited(settlement)
            self.facts |= facts
            way = tuple(map(_way, settlement.steps))
            known = _Tried(bill_fen, settlement.person_share_fen, len(settlement.funds()), way, facts)
            self._tried[bill_fen] = known
        return known


def cited(settlement: Settlement) -> frozenset[int]:
    """The numbers of the facts that decided something in a settlement.

    The steps that lay out what is to be shared name every band there is, reached or not.
    """
    return frozenset(
        int(number)
        for step in settlement.steps
        for number, kind in _FACTS.findall(step.fact)
        if not (step.rule in _LAYING_OUT and kind in _BANDS)
    )


def _way(step: Step) -> tuple[object, ...]:
    """What kind of step it was: its rule and facts, and whether it went to a limit."""
    limit = step.limit_fen
    return (
        step.rule, step.fact, step.ratio, step.segment, step.to_payer,
        step.output_fen == 0, step.output_fen == step.input_fen, limit is not None and step.output_fen == limit,
    )  # fmt: skip
