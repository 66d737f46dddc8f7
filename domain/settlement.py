"""The values a benefit settlement (医疗待遇结算) is made of: who, on what occasion, who pays what, and why.

The calculation is a sequence of steps. Most of them move fen between the cells of one matrix, segment of the charges
by payer; it begins empty, the opening steps put every fen at the person, and each later step moves some of them on.
So all parts always add up to the total, and every amount of a result is a sum of cells.

THE STEP GRAMMAR

A step that names `to_segment` moves `output_fen` from the cell (`segment`, `payer`) to (`to_segment`, `to_payer`); an
opening step has no cell it comes from. A step without `to_segment` moves nothing: it works out an amount for later
steps. `fact` names the facts by number and kind (`#4 share, #7 share_add`), in the order they were applied; `source`
names their sources. Amounts are fen. `input_fen` is the amount the rule looked at; where that is no whole number of
fen, `exact` is it as a fraction `n/d`, and `input_fen` is it rounded half up. In the formulas below input means
`exact` where it is given, and `round` is half up, away from zero, unless `rest` ends in another way (`person down`,
`fund up`). `carry` is what the same rounding has counted before, exactly: of this band, or of all bands where the
policy rounds once; nothing stands for 0.

    rule                 cites                     what it comes to (output)
    own-expense, over-limit, pre-self-pay,         the part of the totals; opens the segment at the person
      in-scope           the catalogue
    institution-fixed    institution_share         max(0, before + input - limit) - max(0, before - limit), at most the
                                                   cell; limit is the fixed price; in_scope@person -> @institution
    institution-share    institution_share         round(ratio * input); in_scope@person -> in_scope@institution
    pooled-item          fixed_pooled_amount       the item's charges; in_scope@person -> fixed_item@person
    pooled-fixed         fixed_pooled_amount,      what is left of limit, at most the cell; limit is what is pooled of
                         limit_count               the fee (input): the fact's amount, at most the fee, or its ratio of
                                                   fee - above, rounded; x@person -> x@fund, x = fixed_item first
    pre-self-pay-visit   pre_self_pay_visit        round(carry + ratio * input) - round(carry); in_scope@person ->
                                                   pre_self_pay_visit (or self_pay_visit) @person
    standard             deductible, factor,       no move: the deductible due. The first gives the fact's amount; each
                         nth_stay, again           later one round(ratio * input), or the amount its fact names; of
                                                   deductible_again input + limit, the standard once more; of one that
                                                   falls by stays max(limit, input - before): limit the least, before
                                                   what is taken off
    deductible-total     the deductible's facts    no move: min(input, max(0, limit - before)), what the total of the
                                                   year allows of what is left
    deductible           the deductible's facts    min(max(0, limit - before), input): limit is what is due, before what
                                                   was charged of it; in_scope@person -> deductible@person
    over-cap-charges     cap (charges, in_scope)   max(0, input - max(0, limit - before)); in_scope@person -> over_cap
    shared               the layer's share facts   all of it: in_scope@person -> shared@person; for a layer that starts
                                                   at the cap, over_cap@person -> large_amount@person
    over-cap             cap, and the band's       limit is the money left under the tightest cap; it covers w =
                         share                     (limit + d) / ratio, d = round(carry) - carry where rest is person,
                                                   the opposite where it is fund. round(input - w), input being all that
                                                   is left from this band on; shared (large_amount) @person -> over_cap
    fund-share           share, points, factors    rest person: round(carry + ratio * input) - round(carry); rest fund:
                                                   input - (round(carry + (1 - ratio) * input) - round(carry)), carry
                                                   being the person's. Where limit is given: limit, an over-cap step
                                                   stands before it. shared (large_amount) @person -> @fund:<fund>
    full-cover           full_cover                the whole cell: x@person -> x@fund:<fund>
    layer-base           the layer's facts         no move: what an upper layer is measured on in this claim; before is
                                                   what was counted earlier in the period, limit the threshold
    layer-share          layer_share or subsidy,   no move: round(carry + ratio * input) - round(carry) over the part of
                         points, factors           (before, before + base] that lies in the band and above the threshold
    layer-keeps          layer_share or subsidy    no move: max(0, input - round(ratio * limit)): input is what is left,
                                                   limit the base of which the person keeps the ratio
    layer-cap            cap of the layer          no move: limit, the room; input is what the shares came to
    relief               the layer's facts         min(input, the cell): x@person -> x@fund:<layer>, segment after
                                                   segment; input is what is still to be paid
    entitlement          entitlement               all of it: in_scope@person -> shared@person; no fund pays
    account              account_pays              min(limit, input): x@person -> x@account (or family_account); limit
                                                   is what is left of the balance, input the cell. An account that pays
                                                   first: in_scope@person -> shared@account

A step's `ratio` is the exact decimal after points and factors: the fund's share is
(1 - (1 - min(ratio + points, ceiling)) * self_share_factor) * share_factor. Points over an age count for each year.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import NamedTuple

from domain.visit import VisitType

# ── Segments and payers ───────────────────────────────────────────────────────────────────────────────────

OWN_EXPENSE = "own_expense"
OVER_PRICE_LIMIT = "over_price_limit"
PRE_SELF_PAY = "pre_self_pay"
PRE_SELF_PAY_VISIT = "pre_self_pay_visit"
IN_SCOPE = "in_scope"
SELF_PAY_VISIT = "self_pay_visit"
FIXED_ITEM = "fixed_item"
DEDUCTIBLE = "deductible"
SHARED = "shared"
LARGE_AMOUNT = "large_amount"
OVER_CAP = "over_cap"

OUT_OF_SCOPE = (OWN_EXPENSE, OVER_PRICE_LIMIT, PRE_SELF_PAY)
"""全自费, 超限价, 部分项目自付: what the catalogue leaves to the person, GRZFJE1."""
IN_SCOPE_SEGMENTS = (PRE_SELF_PAY_VISIT, SELF_PAY_VISIT, FIXED_ITEM, DEDUCTIBLE, SHARED, LARGE_AMOUNT, OVER_CAP)
"""What `in_scope` is cut into. The pre-pay of a visit is GRZFJE1 (BFXMZFJE) where it stands in `pre_self_pay_visit`;
items with an amount of their own, 起付线, 共付段 and 大病段 are GRZFJE2, 超共付段 is CXZFJE."""
SEGMENTS = (*OUT_OF_SCOPE, *IN_SCOPE_SEGMENTS)
"""In a finished settlement nothing is left in `in_scope` but what an institution bears of it."""

PERSON = "person"
ACCOUNT = "account"
FAMILY_ACCOUNT = "family_account"
INSTITUTION = "institution"
FUND_PREFIX = "fund:"
BASIC_FUND = "fund:basic"

WITHOUT_OVER_CAP = frozenset({VisitType.OUTPATIENT, VisitType.PHARMACY})
"""Results of these visits leave CXZFJE empty (INV-23, AMB-14): what is over the cap is part of GRZFJE2 there."""


class Cell(NamedTuple):
    """One cell of the matrix: who bears how many fen of a segment of the charges."""

    segment: str
    payer: str
    amount_fen: int


# ── What goes in ──────────────────────────────────────────────────────────────────────────────────────────


class Occasion(NamedTuple):
    """What the benefit depends on besides the person: the visit, the institution, the day whose policy counts."""

    visit_type: VisitType
    institution_level: int
    """0 primary or community, 1, 2, 3."""
    day: date
    institution_code: str = ""
    visit_no: str = ""
    """JYDJH; what is counted per visit or stay is counted under it. Empty: nothing of the visit was settled before."""
    started: date | None = None
    """First day of the stay; `day` when left out."""
    ends: date | None = None
    """Discharge, or the last day charged; `day` when left out."""
    final: bool = True
    conditions: frozenset[str] = frozenset()
    """What holds of the visit: unfiled, delivery, prescription, class:2, ..."""
    disease: str = ""
    registration_kind: str = ""
    medical_type: str = ""
    transferred_from: str = ""
    """The visit number of the first stay of a chain of transfers this stay continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The insured person as the centre knows them; no name and no identity number, the rules need neither."""

    scheme: str
    """employee or resident."""
    category: str
    """人员类别 RYLB."""
    account_balance_fen: int = 0
    civil_servant: bool = False
    rank: str = ""
    groups: frozenset[str] = frozenset()
    """What holds of the person: poverty_relief, family_doctor_signed, ..."""
    age: int | None = None
    family_balance_fen: int = 0
    """What the accounts of relatives may pay for this person (家庭共济)."""


# ── What comes out ────────────────────────────────────────────────────────────────────────────────────────


class AccumulatorEntry(NamedTuple):
    """One movement of an accumulator (`domain.accumulators`), in fen; of stays and counts, in whole numbers."""

    key: str
    before_fen: int
    applied_fen: int


class Step(NamedTuple):
    """One step of the calculation; the grammar stands at the top of this file."""

    rule: str
    fact: str = ""
    source: str = ""
    input_fen: int = 0
    ratio: str = ""
    output_fen: int = 0
    segment: str = ""
    payer: str = ""
    to_segment: str = ""
    to_payer: str = ""
    limit_fen: int | None = None
    before_fen: int = 0
    exact: str = ""
    carry: str = ""
    rest: str = ""
    """fund or person: who takes the rest of the rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Who pays what of one claim, in fen, under the names of MZJS and FYJS (2.1.3.2.3)."""

    total_fen: int
    """ZYZJE"""
    fund_pay_fen: int
    """SBZFJE: all funds together"""
    account_pay_fen: int
    """ZHZFJE, part of the person's share (AMB-12); with what relatives' accounts paid"""
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
    category: str = ""
    policy_version: str = ""
    cells: tuple[Cell, ...] = ()
    """The matrix, without its empty cells, in the order of SEGMENTS."""
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

    def matrix(self) -> dict[tuple[str, str], int]:
        """Who bears how many fen of which segment: (segment, payer) to fen, without empty cells."""
        return {(segment, payer): amount for segment, payer, amount in self.cells}

    def funds(self) -> dict[str, int]:
        """What each fund pays: basic, large_amount, ... to fen, without those that pay nothing."""
        paid: defaultdict[str, int] = defaultdict(int)
        for _segment, payer, amount in self.cells:
            if payer.startswith(FUND_PREFIX):
                paid[payer.removeprefix(FUND_PREFIX)] += amount
        return {fund: amount for fund, amount in paid.items() if amount}

    def negated(self, accumulators: Mapping[str, int] | None = None) -> Settlement:
        """The contra settlement (冲正): every amount, cell and movement with the other sign.

        The movements start from `accumulators`, or from where the original left them.
        """
        amounts = {name: -getattr(self, name) for name in AMOUNTS}
        return replace(
            self,
            **amounts,
            cells=tuple(Cell(segment, payer, -amount) for segment, payer, amount in self.cells),
            entries=tuple(
                AccumulatorEntry(key, before + applied if accumulators is None else accumulators.get(key, 0), -applied)
                for key, before, applied in self.entries
            ),
            steps=tuple(
                step._replace(input_fen=-step.input_fen, output_fen=-step.output_fen)
                for step in self.steps
                if step.to_segment
            ),
        )

    def broken_identities(self) -> list[str]:
        """The names of the identities (invariants.md, setlinfo) this result breaks: none, unless we are at fault."""
        cells, share = self.cells, self.person_share_fen
        held = (
            self.cash_fen + self.account_pay_fen == share,
            self.total_fen == self.fund_pay_fen + share + self.institution_share_fen,
            _within(self.deductible_fen, self.self_pay_fen),
            _within(self.pre_self_pay_fen, self.own_pay_fen),
            _within(self.account_pay_fen, share),
            not cells or sum([cell[2] for cell in cells if cell[1].startswith(FUND_PREFIX)]) == self.fund_pay_fen,
            not cells or sum([cell[2] for cell in cells]) == self.total_fen,
        )
        return [] if all(held) else [name for name, holds in zip(_IDENTITIES, held, strict=True) if not holds]


_IDENTITIES = ("INV-18", "INV-19", "INV-20", "INV-21", "INV-22", "setlinfo-2", "setlinfo-5")
AMOUNTS = (
    "total_fen", "fund_pay_fen", "account_pay_fen", "pre_self_pay_fen", "deductible_fen", "own_pay_fen",
    "self_pay_fen", "over_cap_fen", "institution_share_fen",
)  # fmt: skip
"""The flat amounts of a settlement."""


def cells_of(steps: Iterable[Step]) -> dict[tuple[str, str], int]:
    """The matrix the steps lead to, without empty cells: the meaning of their moves."""
    cells: defaultdict[tuple[str, str], int] = defaultdict(int)
    for step in steps:
        if step.to_segment:
            cells[step.to_segment, step.to_payer] += step.output_fen
            if step.segment:
                cells[step.segment, step.payer] -= step.output_fen
    return {cell: amount for cell, amount in cells.items() if amount}


def _within(part: int, whole: int) -> bool:
    return 0 <= part <= whole or 0 >= part >= whole
