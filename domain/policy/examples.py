"""Worked examples (算例) a policy file holds itself: a case, a bill, and what it must settle to, to the fen.

`[[example]]` tables stand beside the facts they prove. An example names a person, a visit and a bill (charge lines, or
the totals of lines split already), what the year has used up before, and the amounts expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from domain.benefit import settle
from domain.catalogue import Matched
from domain.money import yuan
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce
from domain.settlement import FUND_PREFIX, Occasion, Person, Settlement
from domain.totals import LocalTotals, total_up
from domain.visit import ChargeLine, pack_lines

AMOUNTS = (
    "total", "fund_pay", "account_pay", "pre_self_pay", "deductible", "own_pay", "self_pay", "over_cap", "person_share",
    "institution_share", "cash",
)  # fmt: skip
"""The amounts of a result an example may expect, named as in the exchange without their unit."""

CLASS_TOTALS = ("own_expense", "over_limit", "in_scope")
"""Amounts of the bill itself an example with charge lines may expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One worked example. Amounts are fen."""

    number: int
    """Its position among the examples of the file, from 1."""
    example_id: str
    title: str
    person: Person
    occasion: Occasion
    bill: LocalTotals | tuple[tuple[ChargeLine, Matched], ...]
    """Totals of lines that are split already, or the lines, each with its item in the catalogue."""
    accumulators: Mapping[str, int]
    follows: str
    """The example whose result this one starts from, such as the first stay of the year; or empty."""
    amounts: Mapping[str, int]
    """Of AMOUNTS and CLASS_TOTALS."""
    funds: Mapping[str, int]
    """What each fund pays; where any is named, the others pay nothing."""
    cells: Mapping[tuple[str, str], int]
    """Segment and payer of the matrix; a fund by its layer's name."""
    accumulators_after: Mapping[str, int]
    refused: str | None = None
    """The claim must be refused, and the reason hold these words."""


class Difference(NamedTuple):
    """One value that came out otherwise than the example says. Both as they are printed."""

    what: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an example."""

    example: Example
    differences: tuple[Difference, ...]
    settlement: Settlement | None = None
    totals: LocalTotals | None = None
    used: Mapping[str, int] = field(default_factory=dict)
    """The accumulators before, and after."""
    accumulators: Mapping[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether everything came out as the example says."""
        return not self.differences


def run(examples: Sequence[Example], policy: PolicyBook) -> list[Outcome]:
    """Settle the examples in order; each may start from the result of an earlier one."""
    done: dict[str, Outcome] = {}
    for example in examples:
        done[example.example_id] = _run(example, policy, done)
    return list(done.values())


def _run(example: Example, policy: PolicyBook, done: Mapping[str, Outcome]) -> Outcome:
    used = dict(done[example.follows].accumulators) if example.follows else {}
    used.update(example.accumulators)
    try:
        totals = _totals(example, policy)
        settlement = settle(totals, example.person, used, policy, example.occasion)
    except NoPolicyInForce as refused:
        expected = "settled" if example.refused is None else f"refused: {example.refused}"
        differs = example.refused is None or example.refused not in str(refused)
        wrong = (Difference("outcome", expected, f"refused: {refused}"),) if differs else ()
        return Outcome(example=example, differences=wrong, accumulators=used)
    if example.refused is not None:
        wrong = (Difference("outcome", f"refused: {example.refused}", "settled"),)
        return Outcome(example=example, differences=wrong, settlement=settlement, accumulators=used)
    after = dict(used)
    for entry in settlement.entries:
        after[entry.key] = after.get(entry.key, 0) + entry.applied_fen
    differences = tuple(_differences(example, totals, settlement, after))
    return Outcome(
        example=example,
        differences=differences,
        settlement=settlement,
        totals=totals,
        used=used,
        accumulators=after,
    )


def _totals(example: Example, policy: PolicyBook) -> LocalTotals:
    if isinstance(example.bill, LocalTotals):
        return example.bill
    who, on = example.person, example.occasion
    rules = policy.line_rules(who.scheme, who.category, on.visit_type, on.institution_level, on.day)
    return total_up(example.bill, pack_lines([line for line, _ in example.bill]), rules)


def _differences(
    example: Example, totals: LocalTotals, settlement: Settlement, after: Mapping[str, int]
) -> Iterable[Difference]:
    matrix, funds = settlement.matrix(), settlement.funds()
    for name, expected in example.amounts.items():
        source = totals if name in CLASS_TOTALS else settlement
        yield from _compared(name, expected, getattr(source, f"{name}_fen"))
    for layer in {**example.funds, **(funds if example.funds else {})}:
        yield from _compared(f"funds.{layer}", example.funds.get(layer, 0), funds.get(layer, 0))
    for (segment, payer), expected in example.cells.items():
        borne = sum(matrix.get((segment, name), 0) for name in (payer, f"{FUND_PREFIX}{payer}"))
        yield from _compared(f"cells.{segment}.{payer}", expected, borne)
    for key, expected in example.accumulators_after.items():
        yield from _compared(f"accumulators_after.{key}", expected, after.get(key, 0))


def _compared(what: str, expected: int, found: int) -> Iterable[Difference]:
    if expected != found:
        yield Difference(what, yuan(expected), yuan(found))
