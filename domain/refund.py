"""Refund (退费, 冲正): what a policy says of taking a settlement back, and the answer that takes one back (§11)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from domain.accumulators import year_of
from domain.messages import ClaimAnswer
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce, PolicySet
from domain.settlement import Cell
from domain.visit import STAYS, VisitType

LAST_FIRST, ANY = "last_first", "any"
"""`later` of a refund fact: while a later settlement of the person stands it is refused, or it may be any."""


class RefundRules(NamedTuple):
    """When a settlement may be taken back."""

    last_first: bool
    across_years: bool = True
    across_months: bool = True
    free_days: int | None = None
    """So many days after the settlement; None: any time."""
    of_today: bool = False
    """The refund is computed by the accumulators of its own day; else it mirrors the original."""
    year_starts: tuple[int, int] = (1, 1)

    def year_of(self, day: date) -> int:
        """The benefit year of a day."""
        return year_of(day, self.year_starts)

    def is_in_time(self, settled: date, today: date) -> bool:
        """Whether the days since the settlement are not too many, and its month is not over where that counts."""
        same_month = (settled.year, settled.month) == (today.year, today.month)
        return (self.across_months or same_month) and (
            self.free_days is None or (today - settled).days <= self.free_days
        )


def refund_rules(policy: PolicyBook, scheme: str, visit_type: VisitType, settled: date) -> RefundRules:
    """What the `refund` facts in force on the day of the settlement say; where they say nothing: stays last first,
    outpatient visits in any order, at any time."""
    rules = RefundRules(last_first=visit_type in STAYS)
    try:
        in_force = policy.in_force_on(scheme, settled)
    except NoPolicyInForce:
        return rules
    rules = rules._replace(year_starts=_year_starts(in_force, scheme, settled))
    for fact in in_force.facts:
        concerns = fact.visits is None or visit_type in fact.visits
        if fact.kind == "refund" and concerns and scheme in fact.insured and fact.in_force_on(settled):
            rules = _with(rules, fact.values)
    return rules


def taken_back(original: ClaimAnswer) -> ClaimAnswer:
    """The original's answer with every amount and every cell negated. Its numbers, its time, what it started from and
    its movements are the contra's own, for the caller to replace."""
    return original._replace(
        fund_pay_fen=-original.fund_pay_fen,
        account_pay_fen=-original.account_pay_fen,
        deductible_fen=-original.deductible_fen,
        self_pay_fen=-original.self_pay_fen,
        over_cap_fen=-original.over_cap_fen,
        institution_share_fen=-original.institution_share_fen,
        cells=tuple(Cell(segment, payer, -fen) for segment, payer, fen in original.cells),
        recomputed="",
    )


def _with(rules: RefundRules, values: Mapping[str, object]) -> RefundRules:
    later, days = values.get("later"), values.get("free_days")
    return rules._replace(
        last_first=rules.last_first if later is None else later == LAST_FIRST,
        across_years=rules.across_years and values.get("across_years") is not False,
        across_months=rules.across_months and values.get("across_months") is not False,
        free_days=days if isinstance(days, int) else rules.free_days,
        of_today=rules.of_today or values.get("accumulators") == "of_today",
    )


def _year_starts(policy: PolicySet, scheme: str, day: date) -> tuple[int, int]:
    dated = (
        fact.values["starts"]
        for fact in policy.facts
        if fact.kind == "benefit_year" and scheme in fact.insured and fact.in_force_on(day)
    )
    return next(dated, policy.year_starts)
