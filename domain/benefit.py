"""The benefit (医疗待遇) of one claim: from local totals to who pays what. The steps are the calculation.

Every amount of a result is the sum of the outputs of its steps (`FIELDS`), so nothing is computed beside them. The
basic layer is settled here: deductible, bands, cap of the year, personal account.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from domain.money import half_up
from domain.policy import PolicyBook
from domain.policy_facts import ALL_VISITS, SHARE_SCALE, Band, Cap, Case, Rules
from domain.settlement import AccumulatorEntry, Occasion, Person, Settlement, Step
from domain.totals import LocalTotals
from domain.visit import VisitType

OWN_EXPENSE = "own-expense"
OVER_LIMIT = "over-limit"
PRE_SELF_PAY = "pre-self-pay"
DEDUCTIBLE = "deductible"
FUND_SHARE = "fund-share"
SELF_SHARE = "self-share"
OVER_CAP = "over-cap"
ACCOUNT = "account"

# Which rules' outputs make up which amount. What is over the cap is an amount of its own, CXZFJE, for a stay and for
# specific outpatient care; ordinary outpatient and pharmacy results leave CXZFJE empty (INV-23, AMB-14), so there it
# is part of what the person pays of the charges in scope, GRZFJE2.
FIELDS: dict[str, tuple[str, ...]] = {
    "fund_pay_fen": (FUND_SHARE,),
    "account_pay_fen": (ACCOUNT,),
    "deductible_fen": (DEDUCTIBLE,),
    "own_pay_fen": (OWN_EXPENSE, OVER_LIMIT, PRE_SELF_PAY),
    "self_pay_fen": (DEDUCTIBLE, SELF_SHARE),
    "over_cap_fen": (OVER_CAP,),
}
WITHOUT_OVER_CAP = frozenset({VisitType.OUTPATIENT, VisitType.PHARMACY})

# Which segment of an account fact an output belongs to.
_SEGMENT = {
    OWN_EXPENSE: "own_expense",
    OVER_LIMIT: "over_price_limit",
    PRE_SELF_PAY: "pre_self_pay",
    DEDUCTIBLE: "deductible",
    SELF_SHARE: "shared",
    OVER_CAP: "over_cap",
}

_CATALOGUE = "catalogue"


class NegativeTotals(Exception):
    """Nothing is settled below zero: giving back is a contra settlement, and code 21 stops the rest at the door."""

    def __init__(self, totals: LocalTotals) -> None:
        super().__init__(f"totals of {totals.total_fen} fen over {totals.line_count} lines")


class IdentityBroken(Exception):
    """A result that does not add up must not leave this file; the totals it was made from may not add up either."""

    def __init__(self, names: list[str], totals: LocalTotals, settlement: Settlement) -> None:
        super().__init__(f"{', '.join(names)} broken: {totals} gave {settlement}")


@lru_cache(maxsize=1024)
def fund_key(visit_type: VisitType, year: int) -> str:
    """The accumulator of what the basic fund has paid for visits of this type in the year."""
    return f"basic:{visit_type.value}:fund:-:{year}"


@lru_cache(maxsize=1024)
def deductible_key(visit_type: VisitType, year: int) -> str:
    """The accumulator of the deductible charged on visits of this type in the year."""
    return f"basic:{visit_type.value}:deductible:-:{year}"


def accumulator_keys(person: Person, occasion: Occasion) -> tuple[str, ...]:
    """The accumulators `settle` may look at for this person on this occasion; those that have no row yet are 0.

    A cap or a deductible may count several visit types together, so all four are named.
    """
    return _keys_of(occasion.day.year)


@lru_cache(maxsize=64)
def _keys_of(year: int) -> tuple[str, ...]:
    return tuple(sorted(key(visit, year) for key in (fund_key, deductible_key) for visit in ALL_VISITS))


def settle(
    totals: LocalTotals,
    person: Person,
    accumulators: Mapping[str, int],
    policy: PolicyBook,
    occasion: Occasion,
) -> Settlement:
    """Say who pays what of a claim, with the steps that led there.

    One call is one bill: a deductible per visit or stay is charged once in it. Raises NoPolicyInForce when no policy
    covers the day or the case, NegativeTotals, and IdentityBroken when the result would not add up.
    """
    visit_type, level, day = occasion
    rules = policy.rules_for(Case(person.scheme, person.category, person.civil_servant, visit_type, level, day))

    if totals.total_fen < 0:
        raise NegativeTotals(totals)
    steps = _out_of_scope(totals)
    if totals.in_scope_fen > 0:
        _share_out(totals.in_scope_fen, accumulators, rules, day.year, steps)
    elif totals.in_scope_fen:
        # Reversals can leave the odd fen below zero when each line is rounded: the person gets it back, no fund moves.
        steps.append(Step(SELF_SHARE, "", "", totals.in_scope_fen, "", totals.in_scope_fen))
    _use_account(person.account_balance_fen, rules, steps)

    settlement = _projected(totals, accumulators, rules, occasion, steps)
    broken = settlement.broken_identities()
    if broken:
        raise IdentityBroken(broken, totals, settlement)
    return settlement


def _out_of_scope(totals: LocalTotals) -> list[Step]:
    """What the catalogue leaves to the person before any policy speaks."""
    parts = (
        (OWN_EXPENSE, totals.own_expense_fen),
        (OVER_LIMIT, totals.over_limit_fen),
        (PRE_SELF_PAY, totals.pre_self_pay_fen),
    )
    return [Step(rule, "", _CATALOGUE, totals.total_fen, "", amount) for rule, amount in parts if amount]


def _share_out(in_scope_fen: int, accumulators: Mapping[str, int], rules: Rules, year: int, steps: list[Step]) -> None:
    """Share what is in scope between person and fund: deductible first, then band by band up to the cap."""
    charged = 0
    if (deductible := rules.deductible) is not None:
        before = sum(accumulators.get(deductible_key(visit, year), 0) for visit in deductible.counted_with)
        charged = min(max(0, deductible.amount_fen - before), in_scope_fen)
        steps.append(Step(DEDUCTIBLE, deductible.fact, deductible.source, in_scope_fen, "", charged))

    room = _tightest_cap(accumulators, rules, year)
    for band in rules.bands:
        low = max(band.low_fen, charged)
        high = in_scope_fen if band.high_fen is None else min(band.high_fen, in_scope_fen)
        if high > low:
            paid = _share_band(high - low, band, room, rules.rest_goes_to_fund, steps)
            room = Room(room.cap, room.left_fen - paid)


class Room(NamedTuple):
    """The cap that leaves least of the year's money, and how much it leaves. Without a cap there is room for all."""

    cap: Cap | None
    left_fen: int


def _tightest_cap(accumulators: Mapping[str, int], rules: Rules, year: int) -> Room:
    room = Room(None, 0)
    for cap in rules.caps:
        left = cap.amount_fen
        for visit in cap.counted_with:
            left -= accumulators.get(fund_key(visit, year), 0)
        if room.cap is None or left < room.left_fen:
            room = Room(cap, max(0, left))
    return room


def _share_band(portion_fen: int, band: Band, room: Room, rest_goes_to_fund: bool, steps: list[Step]) -> int:
    """Share one band's portion and return what the fund pays of it. The side that is not rounded takes the rest."""
    if rest_goes_to_fund:
        fund = portion_fen - half_up(portion_fen * (SHARE_SCALE - band.share), SHARE_SCALE)
    else:
        fund = half_up(portion_fen * band.share, SHARE_SCALE)

    cap, left = room
    if cap is not None and fund > left:
        # The charges the cap's rest still covers are left / share, a fraction of a fen; only what is over is rounded.
        over = half_up(portion_fen * band.share - left * SHARE_SCALE, band.share)
        steps.append(Step(OVER_CAP, cap.fact, cap.source, portion_fen, "", over))
        portion_fen -= over
        fund = left

    if portion_fen:
        steps.append(Step(FUND_SHARE, band.fact, band.source, portion_fen, band.ratio, fund))
        steps.append(Step(SELF_SHARE, band.fact, band.source, portion_fen, "", portion_fen - fund))
    return fund


def _use_account(balance_fen: int, rules: Rules, steps: list[Step]) -> None:
    """Let the personal account pay what it may of the person's share, as far as it goes."""
    if balance_fen <= 0 or not rules.account_pays:
        return
    share = may_pay = 0
    for step in steps:
        segment = _SEGMENT.get(step.rule)
        if segment is not None:
            share += step.output_fen
            if segment in rules.account_pays:
                may_pay += step.output_fen
    payable = min(share, may_pay)
    if payable > 0:
        paid = min(balance_fen, payable)
        steps.append(Step(ACCOUNT, rules.account_fact, rules.account_source, payable, "", paid))


def _projected(
    totals: LocalTotals, accumulators: Mapping[str, int], rules: Rules, occasion: Occasion, steps: list[Step]
) -> Settlement:
    """The flat fields of the result as sums of the steps' outputs, and the accumulators that move."""
    taken: defaultdict[str, int] = defaultdict(int)
    for step in steps:
        taken[step.rule] += step.output_fen
    amount = {name: sum([taken[rule] for rule in rules_of]) for name, rules_of in FIELDS.items()}
    if occasion.visit_type in WITHOUT_OVER_CAP:
        amount["self_pay_fen"] += amount["over_cap_fen"]
        amount["over_cap_fen"] = 0

    year = occasion.day.year
    moved = [(fund_key(occasion.visit_type, year), amount["fund_pay_fen"])]
    if rules.deductible is not None and rules.deductible.counted_with:
        moved.append((deductible_key(occasion.visit_type, year), amount["deductible_fen"]))
    entries = [AccumulatorEntry(key, accumulators.get(key, 0), applied) for key, applied in moved if applied]

    own = amount["own_pay_fen"]
    # An of-which cannot leave its whole, even where reversals left the odd fen of different signs (INV-21).
    pre = min(max(taken[PRE_SELF_PAY], min(0, own)), max(0, own))
    return Settlement(
        total_fen=totals.total_fen,
        pre_self_pay_fen=pre,
        scheme=rules.scheme,
        entries=tuple(entries),
        steps=tuple(steps),
        **amount,
    )
