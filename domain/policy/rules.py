"""The rules (规则) of one case: what the facts came to, all that settling needs to know of them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from domain.settlement import Step

SHARE_SCALE = 10**12
"""Shares are counted in 10^-12: a ratio and two factors of four decimals each, multiplied, stay exact."""

RATIO_SCALE = 10_000


class Cited(NamedTuple):
    """The facts a rule was made of, by number and kind, and their sources."""

    fact: str
    source: str


class Counted(NamedTuple):
    """Accumulators that count together. The key of a stay ends with the slash its visit number comes after."""

    keys: tuple[str, ...] = ()
    stay_key: str = ""
    part: str = ""
    """Of a stay counted in parts: settlement_period or year."""


class Nth(NamedTuple):
    """What the deductible is from the `low`th to the `high`th stay: an amount, a factor on the standard, or less."""

    low: int
    high: int
    amount_fen: int | None
    factor: int
    less_fen: int
    """Off the standard for the `low`th stay, twice for the next, ..."""
    at_least_fen: int
    """What it does not fall below."""
    counter: str
    """The tag of the stays it counts."""
    cited: Cited


class Deductible(NamedTuple):
    """What the person pays first."""

    amount_fen: int
    counted: Counted
    standards: tuple[Step, ...]
    """The steps that worked out the amount, where more than one fact did."""
    nth: tuple[Nth, ...]
    again_days: int
    again_as_next_stay: bool
    again: Cited
    total_fen: int | None
    """The most of a period over all stays."""
    total_counted: Counted
    on_transfer: str
    """top_up, continue or new."""
    cited: Cited


class Band(NamedTuple):
    """The fund's share of what lies between two borders."""

    low_fen: int | Fraction
    high_fen: int | Fraction | None
    share: int
    """In 1/SHARE_SCALE."""
    ratio: str
    cited: Cited


class Cap(NamedTuple):
    """The most a fund pays in a period; `basis` says what is counted."""

    amount_fen: int
    basis: str
    """fund_paid, charges (shared ones) or in_scope."""
    counted: Counted
    with_funds: tuple[str, ...]
    """The funds whose money counts."""
    cited: Cited


class Shares(NamedTuple):
    """Bands and how they are measured and rounded."""

    bands: tuple[Band, ...]
    basis: str
    """in_scope (deductible inside the first band), after_deductible, fund_paid."""
    before: tuple[Counted, Counted, Counted]
    """What of the period was in scope, deductible and over the cap before: where in the bands this claim begins. With
    basis fund_paid: what the fund paid of it, and nothing."""
    rest: str
    """fund or person: who takes the rest."""
    once: bool
    """Rounded once over all bands, not band by band."""
    cited: Cited
    mode: str = "half_up"
    """Of `domain.money.ROUNDINGS`."""

    @property
    def told_rest(self) -> str:
        """Who takes the rest, as a step tells it: with the way of rounding where it is not half up."""
        return self.rest if self.mode == "half_up" else f"{self.rest} {self.mode}"


class Layer(NamedTuple):
    """An upper layer: a fund that relieves the person of a part of what the layers before left."""

    fund: str
    at_cap: bool
    after_account: bool
    base: str
    """in_scope_with_person (what the basic fund left), left_by_layers_before, or in_scope (all that was in scope)."""
    segments: tuple[str, ...]
    """What counts into the base."""
    relieves: tuple[str, ...]
    """What it pays of, in this order."""
    threshold_fen: int
    counted: Counted
    base_name: str
    """What the base is counted under, as in `Written.what`."""
    shares: Shares
    caps: tuple[Cap, ...]
    keeps: int | None
    """What the person keeps of the base, in 1/SHARE_SCALE, where the layer is stated so."""
    keeps_ratio: str
    cited: Cited


class ItemRule(NamedTuple):
    """A benefit group of items (or the whole claim: group "") that a fund pays a fixed amount or a ratio of."""

    group: str
    fund: str
    amount_fen: int | None
    share: int
    ratio: str
    per_day: bool
    not_below_fen: int
    above_fen: int
    up_to_fen: int | None
    covers: tuple[str, ...]
    rest_in_scope: bool
    """What is not pooled goes on in scope; else it stays with the person."""
    times: int | None
    count_key: str
    refuses: bool
    """Refuse the claim when the count is full; else just do not pool."""
    cited: Cited


class ItemShare(NamedTuple):
    """A benefit group of items with a share of its own, before and without the deductible."""

    group: str
    shares: Shares


class StayCounter(NamedTuple):
    """What counts the stays of a year, and keeps the number of this one."""

    tag: str
    year_key: str
    stay_key: str


class InstitutionRule(NamedTuple):
    """What the institution bears by rule: over a fixed price, or a ratio."""

    amount_fen: int | None
    per_day: bool
    """The fixed price is of one day of the stay."""
    share: int
    ratio: str
    of_total: bool
    group: str
    counted: Counted
    cited: Cited


class VisitPrePay(NamedTuple):
    """The pre-pay of a whole visit, before the deductible."""

    share: int
    ratio: str
    segment: str
    counted: Counted
    cited: Cited


class FullCover(NamedTuple):
    """Segments a fund bears wholly for a group."""

    fund: str
    segments: tuple[str, ...]
    cited: Cited


class AccountRule(NamedTuple):
    """Which segments the personal account may pay, in this order, and whether relatives' accounts may help."""

    segments: tuple[str, ...]
    family: str
    """after, before, or empty: not at all."""
    first: bool
    """It pays of what is in scope before the deductible, and the fund shares only what it leaves."""
    cited: Cited


class YearEnd(NamedTuple):
    """A stay over the end of the benefit year is settled at it; what it had in scope before shows that it was."""

    counted: Counted
    cited: Cited


class Written(NamedTuple):
    """An accumulator the settlement moves: `what` names the amount, basic:fund, basic:in_scope, visit:total, ..."""

    what: str
    key: str
    """Of a stay: as `Counted.stay_key`."""
    of_stay: bool
    part: str


class Rules(NamedTuple):
    """The policy of one case."""

    version: str
    scheme: str
    no_benefit: Cited | None
    institution: InstitutionRule | None
    visit_prepay: VisitPrePay | None
    items: tuple[ItemRule, ...]
    item_shares: tuple[ItemShare, ...]
    stay_counters: tuple[StayCounter, ...]
    full_cover: FullCover | None
    fund: str
    """The fund of the first layer: basic, unless a full-cover fund stands in for it."""
    deductible: Deductible | None
    shares: Shares
    caps: tuple[Cap, ...]
    layers: tuple[Layer, ...]
    account: AccountRule | None
    item_account: tuple[str, ...]
    """Item groups the account may not pay."""
    split_at_year_end: YearEnd | None
    year_starts: tuple[int, int]
    writes: tuple[Written, ...]
    reads: tuple[str, ...]
    """The keys the settlement may look at, but those of the stay."""
    stay_reads: tuple[Counted, ...]
