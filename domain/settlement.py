"""The values a benefit settlement (医疗待遇结算) is made of: who, on what occasion, who pays what, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from domain.visit import VisitType


class Occasion(NamedTuple):
    """What the benefit depends on besides the person: the kind of visit, the institution's level 0 to 3, the day."""

    visit_type: VisitType
    institution_level: int
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The insured person as the centre knows them; no name and no identity number, the rules need neither."""

    scheme: str
    """employee or resident."""
    category: str
    """人员类别 RYLB."""
    account_balance_fen: int = 0
    civil_servant: bool = False


class AccumulatorEntry(NamedTuple):
    """One movement of a yearly accumulator, in fen.

    The key reads fund:visit type:segment:disease:period, for example "basic:3:fund:-:2026".
    """

    key: str
    before_fen: int
    applied_fen: int


class Step(NamedTuple):
    """One step of the calculation: the rule, the policy fact and its source, what went in and what came out (fen)."""

    rule: str
    fact: str
    source: str
    input_fen: int
    ratio: str
    output_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Who pays what of one claim, in fen, under the names of MZJS and FYJS (2.1.3.2.3)."""

    total_fen: int
    """ZYZJE"""
    fund_pay_fen: int
    """SBZFJE"""
    account_pay_fen: int
    """ZHZFJE, part of the person's share (AMB-12)"""
    pre_self_pay_fen: int
    """BFXMZFJE, part of own_pay_fen (AMB-11)"""
    deductible_fen: int
    """QFJE, part of self_pay_fen"""
    own_pay_fen: int
    """GRZFJE1"""
    self_pay_fen: int
    """GRZFJE2"""
    over_cap_fen: int = 0
    """CXZFJE; written empty for outpatient and pharmacy (AMB-14)"""
    institution_share_fen: int = 0
    """YYFDJE"""
    scheme: str = ""
    """Whose fund pays: employee or resident."""
    entries: tuple[AccumulatorEntry, ...] = ()
    steps: tuple[Step, ...] = field(default=(), compare=False)

    @property
    def person_share_fen(self) -> int:
        """GRZFJE3 (INV-18)."""
        return self.own_pay_fen + self.self_pay_fen + self.over_cap_fen

    @property
    def cash_fen(self) -> int:
        """What the person pays at the counter (INV-22)."""
        return self.person_share_fen - self.account_pay_fen

    def broken_identities(self) -> list[str]:
        """The names of the identities INV-19 to INV-23 this result breaks: none, unless we are at fault."""
        held = {
            "INV-19": self.total_fen == self.fund_pay_fen + self.person_share_fen + self.institution_share_fen,
            "INV-20": _within(self.deductible_fen, self.self_pay_fen),
            "INV-21": _within(self.pre_self_pay_fen, self.own_pay_fen),
            "INV-22": _within(self.account_pay_fen, self.person_share_fen),
        }
        return [name for name, holds in held.items() if not holds]


def _within(part: int, whole: int) -> bool:
    return min(0, whole) <= part <= max(0, whole)
