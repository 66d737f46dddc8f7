"""The calculation (计算过程) of one settlement: the matrix, the steps that fill it, and what was counted before."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from domain.accumulators import year_of
from domain.policy.facts import Case, CaseNotCovered, Reason
from domain.policy.rules import Cap, Cited, Counted, Rules
from domain.settlement import PERSON, Occasion, Person, Step
from domain.totals import LocalTotals

DAYS_OF_A_PERIOD = 90
"""A settlement period of a long stay, where no fact of the deductible says otherwise."""

Exact = int | Fraction
"""An amount in fen; a fraction where a cap cuts through one."""


class Calculation:
    """What one settlement has come to so far. Every move of fen is a step, and there is no other way to move one."""

    __slots__ = (
        "accumulators", "bases", "cells", "charged", "counts", "entered", "large_exact", "occasion", "over",
        "over_exact", "paid", "person", "rules", "stays", "steps", "totals",
    )  # fmt: skip

    def __init__(
        self, totals: LocalTotals, person: Person, accumulators: Mapping[str, int], *, rules: Rules, occasion: Occasion
    ) -> None:
        self.totals, self.person, self.accumulators = totals, person, accumulators
        self.rules, self.occasion = rules, occasion
        self.cells: dict[tuple[str, str], int] = {}
        self.steps: list[Step] = []
        self.paid: dict[str, int] = {}
        """What each fund has paid in this claim, by its name."""
        self.entered = 0
        """What of the charges in scope came to the deductible and the shared part."""
        self.charged = 0
        """The deductible charged."""
        self.over_exact: Exact = 0
        """What is over the cap of the basic fund, exactly."""
        self.over = 0
        """The same in whole fen."""
        self.large_exact: Exact = 0
        """What came to the layer at the cap, exactly."""
        self.bases: dict[str, int] = {}
        """What upper layers were measured on, by the name it is counted under."""
        self.counts: dict[str, int] = {}
        """Stays and items counted, by key."""
        self.stays = stay_labels(rules, occasion)

    def refused(self, code: str, words: str) -> CaseNotCovered:
        """What to raise when the rules themselves refuse the claim."""
        person, occasion = self.person, self.occasion
        case = Case(person.scheme, person.category, person.civil_servant, *occasion[:3])
        return CaseNotCovered(self.rules.version, case, [Reason(code, (), words)])

    def at(self, segment: str) -> int:
        """What of a segment the person still bears."""
        return self.cells.get((segment, PERSON), 0)

    def add(self, step: Step) -> None:
        """Take a step: what it moves, moves."""
        self.steps.append(step)
        if step[8]:  # to_segment
            cells, amount = self.cells, step[5]
            if step[6]:  # segment
                cells[step[6], step[7]] -= amount
            to = step[8], step[9]
            cells[to] = cells.get(to, 0) + amount

    def opens(self, rule: str, segment: str, source: str, amount: int) -> None:
        """Put a part of the totals at the person."""
        self.add(Step(rule, "", source, self.totals.total_fen, "", amount, "", "", segment, PERSON))

    def moves(self, rule: str, cited: Cited, amount: int, *, segment: str, to: str) -> None:
        """Move an amount the person bears on to another segment."""
        self.add(Step(rule, *cited, amount, "", amount, segment, PERSON, to, PERSON))

    def pays(self, fund: str, step: Step) -> None:
        """Take a step that moves an amount to a fund."""
        self.add(step)
        self.paid[fund] = self.paid.get(fund, 0) + step.output_fen

    def before(self, counted: Counted) -> int:
        """What was counted before this claim."""
        accumulators = self.accumulators
        if counted.stay_key:
            key = self.stay_key(counted.stay_key, counted.part)
            return accumulators.get(key, 0) if key else 0
        found = 0
        for key in counted.keys:
            found += accumulators.get(key, 0)
        return found

    def stay_key(self, key: str, part: str = "") -> str:
        """The key of this stay; empty where the visit has no number, so that nothing is counted of it."""
        label = self.stays.get(part, "")
        return f"{key}{label}" if label else ""

    def room(self, caps: tuple[Cap, ...]) -> tuple[Cap | None, int]:
        """Of the caps on fund money, the one that leaves least, and what it leaves."""
        tightest: Cap | None = None
        least = 0
        for cap in caps:
            if cap.basis == "fund_paid":
                left = cap.amount_fen - self.before(cap.counted)
                for fund in cap.with_funds:
                    left -= self.paid.get(fund, 0)
                if tightest is None or left < least:
                    tightest, least = cap, left
        return tightest, max(0, least)


def stay_labels(rules: Rules, occasion: Occasion) -> dict[str, str]:
    """How this stay is called in keys: as a whole, and by the parts it is counted in."""
    visit_no = occasion.visit_no
    deductible = rules.deductible
    if occasion.transferred_from and deductible is not None and deductible.on_transfer != "new":
        visit_no = occasion.transferred_from
    if not visit_no:
        return {}
    labels = {"": visit_no}
    if any(counted.part for counted in rules.stay_reads):
        started = occasion.started or occasion.day
        days = ((occasion.ends or occasion.day) - started).days
        period = 1 + max(0, days - 1) // ((deductible.again_days if deductible else 0) or DAYS_OF_A_PERIOD)
        labels["settlement_period"] = f"{visit_no}/{period}"
        labels["year"] = f"{visit_no}/{year_of(occasion.day, rules.year_starts)}"
    return labels


def text_of(amount: Exact) -> str:
    """An amount as a step carries it: nothing for 0, and a fraction in lowest terms."""
    return str(amount) if amount else ""
