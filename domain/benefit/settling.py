"""The benefit (医疗待遇) of one claim: from local totals to who pays what. The steps are the calculation.

The order is that of the notes on policy: what the catalogue leaves to the person, the institution's part, items with
an amount of their own, the pre-pay of the visit, deductible, shared bands up to the cap, full cover, upper layers, and
the account for what is left. Each part moves fen in one matrix (`domain.settlement`), and every amount of the result
is read off it (`domain.projection`).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from domain.accumulators import year_of
from domain.benefit.account import use_account, use_account_first
from domain.benefit.calculation import Calculation, Exact, stay_labels
from domain.benefit.deductible import charge_deductible, count_stay
from domain.benefit.items import institution_part, pool_items, share_items
from domain.benefit.layers import relieve
from domain.benefit.sharing import Sharer, charges_at, share_out
from domain.money import half_up
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce
from domain.policy.rules import SHARE_SCALE, Cap, FullCover, Rules, Shares, VisitPrePay
from domain.projection import exchange_amounts
from domain.settlement import (
    FUND_PREFIX,
    IN_SCOPE,
    OVER_CAP,
    OVER_PRICE_LIMIT,
    OWN_EXPENSE,
    PERSON,
    PRE_SELF_PAY,
    SEGMENTS,
    SHARED,
    AccumulatorEntry,
    Cell,
    Occasion,
    Person,
    Settlement,
    Step,
)
from domain.totals import LocalTotals

_CATALOGUE = "catalogue"


class NegativeTotals(Exception):
    """Nothing is settled below zero: giving back is a contra settlement, and code 21 stops the rest at the door."""

    def __init__(self, totals: LocalTotals) -> None:
        super().__init__(f"totals of {totals.total_fen} fen over {totals.line_count} lines")


class IdentityBroken(Exception):
    """A result that does not add up must not leave this file; the totals it was made from may not add up either."""

    def __init__(self, names: list[str], totals: LocalTotals, settlement: Settlement) -> None:
        super().__init__(f"{', '.join(names)} broken: {totals} gave {settlement}")


def accumulator_keys(person: Person, occasion: Occasion, policy: PolicyBook) -> tuple[str, ...]:
    """The accumulators `settle` may look at for this person on this occasion; those that have no row yet are 0.

    None where no policy covers the case: settling it is refused.
    """
    try:
        rules = policy.rules_of(person, occasion)
    except NoPolicyInForce:
        return ()
    labels = stay_labels(rules, occasion)
    if not labels:
        return rules.reads
    return rules.reads + tuple([f"{counted.stay_key}{labels[counted.part]}" for counted in rules.stay_reads])


def settle(
    totals: LocalTotals,
    person: Person,
    accumulators: Mapping[str, int],
    policy: PolicyBook,
    occasion: Occasion,
) -> Settlement:
    """Say who pays what of a claim, with the steps that led there.

    Raises NoPolicyInForce when no policy covers the day or the case (CaseNotCovered, with the reasons),
    NegativeTotals, and IdentityBroken when the result would not add up.
    """
    rules = policy.rules_of(person, occasion)
    if totals.total_fen < 0:
        raise NegativeTotals(totals)
    calculation = Calculation(totals, person, accumulators, rules=rules, occasion=occasion)
    _open(calculation)
    if totals.in_scope_fen > 0:
        _settle_scope(calculation, rules)
    elif totals.in_scope_fen:
        # Reversals can leave the odd fen below zero when each line is rounded: the person gets it back, no fund moves.
        _stays_with_the_person(calculation, "shared", rules.shares.cited)
    if rules.full_cover is not None:
        _cover_fully(calculation, rules.full_cover)
    _relieve_by_layers(calculation, rules, person)
    return _result(calculation)


def _open(calculation: Calculation) -> None:
    """Put every fen at the person, as the line split has cut them."""
    totals = calculation.totals
    if totals.own_expense_fen:
        calculation.opens("own-expense", OWN_EXPENSE, _CATALOGUE, totals.own_expense_fen)
    if totals.over_limit_fen:
        calculation.opens("over-limit", OVER_PRICE_LIMIT, _CATALOGUE, totals.over_limit_fen)
    if totals.pre_self_pay_fen:
        calculation.opens("pre-self-pay", PRE_SELF_PAY, _CATALOGUE, totals.pre_self_pay_fen)
    if totals.in_scope_fen:
        calculation.opens("in-scope", IN_SCOPE, _CATALOGUE, totals.in_scope_fen)


def _settle_scope(calculation: Calculation, rules: Rules) -> None:
    """Share what is in scope between the person, the institution and the basic fund."""
    _refuse_over_year_end(calculation, rules)
    if rules.no_benefit is not None:
        _stays_with_the_person(calculation, "entitlement", rules.no_benefit)
        return
    if rules.institution is not None:
        institution_part(calculation, rules.institution)
    if rules.items:
        pool_items(calculation, rules)
    if rules.item_shares:
        share_items(calculation, rules)
    if rules.visit_prepay is not None:
        _prepay_visit(calculation, rules.visit_prepay)
    use_account_first(calculation, calculation.person)
    if rules.stay_counters:
        count_stay(calculation)
    calculation.entered = calculation.at(IN_SCOPE)
    if calculation.entered > 0:
        if rules.deductible is not None:
            charge_deductible(calculation, rules.deductible)
        _share_scope(calculation, rules)


def _relieve_by_layers(calculation: Calculation, rules: Rules, person: Person) -> None:
    """Let the upper layers pay in their order, and the account before those that come after it."""
    if not rules.layers:
        use_account(calculation, person)
        return
    left = {segment: calculation.at(segment) for segment in SEGMENTS}
    for layer in rules.layers:
        if not layer.after_account:
            relieve(calculation, layer, left)
    use_account(calculation, person)
    for layer in rules.layers:
        if layer.after_account:
            relieve(calculation, layer, {})


def _stays_with_the_person(calculation: Calculation, rule: str, cited: tuple[str, str]) -> None:
    amount = calculation.at(IN_SCOPE)
    calculation.add(Step(rule, *cited, amount, "", amount, IN_SCOPE, PERSON, SHARED, PERSON))


def _refuse_over_year_end(calculation: Calculation, rules: Rules) -> None:
    """A stay over the end of the benefit year must be settled at it first, where the policy says so."""
    split, occasion = rules.split_at_year_end, calculation.occasion
    if split is None or occasion.started is None:
        return
    starts = rules.year_starts
    if year_of(occasion.started, starts) != year_of(occasion.day, starts) and not calculation.before(split.counted):
        raise calculation.refused("split_at_year_end", f"按 {split.cited.fact}，跨医疗年度的住院须先按年度末结算")


def _prepay_visit(calculation: Calculation, rule: VisitPrePay) -> None:
    """The pre-pay of a cross-region or referred visit, on what is in scope of the whole stay."""
    amount = calculation.at(IN_SCOPE)
    before = calculation.before(rule.counted)
    paid = half_up((before + amount) * rule.share, SHARE_SCALE) - half_up(before * rule.share, SHARE_SCALE)
    carry = str(Fraction(before * rule.share, SHARE_SCALE)) if before else ""
    step = Step(
        "pre-self-pay-visit", *rule.cited, amount, rule.ratio, paid, IN_SCOPE, PERSON, rule.segment, PERSON,
        carry=carry,
    )  # fmt: skip
    calculation.add(step)


def _share_scope(calculation: Calculation, rules: Rules) -> None:
    """Share what is left of the charges in scope, band by band up to the cap; over the cap is the person's."""
    shares = rules.shares
    calculation.over_exact = _over_charge_caps(calculation, rules.caps)
    base = calculation.at(IN_SCOPE)
    if base > 0:
        calculation.moves("shared", shares.cited, base, segment=IN_SCOPE, to=SHARED)
        start, origin = _place(calculation, shares)
        start = max(start, origin)  # counts that contradict each other leave nothing below the first band
        sharer = Sharer(rules.fund, SHARED, rules.caps)
        calculation.over_exact += share_out(calculation, shares, sharer, (start, start + base, origin))
    calculation.over = calculation.at(OVER_CAP)


def _place(calculation: Calculation, shares: Shares) -> tuple[Exact, int]:
    """Where in the bands this claim begins, and where in them the fund's part of the period began."""
    scope, deducted, over = shares.before
    before = calculation.before(scope)
    if shares.basis == "fund_paid":
        return charges_at(shares.bands, before), 0
    under_cap = before - calculation.before(over) if before else 0
    charged = calculation.before(deducted) if before else 0
    if shares.basis == "in_scope":
        return under_cap + calculation.charged, charged + calculation.charged
    return under_cap - charged, 0


def _over_charge_caps(calculation: Calculation, caps: tuple[Cap, ...]) -> int:
    """Charges beyond a cap that counts charges never come to the fund."""
    moved = 0
    for cap in caps:
        if cap.basis != "fund_paid":
            amount = calculation.at(IN_SCOPE)
            before = calculation.before(cap.counted) + (calculation.charged if cap.basis == "in_scope" else 0)
            over = max(0, amount - max(0, cap.amount_fen - before))
            if over:
                step = Step(
                    "over-cap-charges", *cap.cited, amount, "", over, IN_SCOPE, PERSON, OVER_CAP, PERSON,
                    cap.amount_fen, before,
                )  # fmt: skip
                calculation.add(step)
                moved += over
    return moved


def _cover_fully(calculation: Calculation, rule: FullCover) -> None:
    """Let the fund of a full-cover group bear what the person still bears of the segments it covers."""
    for segment in rule.segments:
        amount = calculation.at(segment)
        if amount > 0:
            payer = f"{FUND_PREFIX}{rule.fund}"
            step = Step("full-cover", *rule.cited, amount, "", amount, segment, PERSON, segment, payer)
            calculation.pays(rule.fund, step)
            if segment == OVER_CAP:
                calculation.over_exact = 0


# ── The result ────────────────────────────────────────────────────────────────────────────────────────────

_ORDER = {segment: place for place, segment in enumerate((*SEGMENTS, IN_SCOPE))}


def _result(calculation: Calculation) -> Settlement:
    """The result as the matrix gives it, and the accumulators that move."""
    cells = [Cell(segment, payer, amount) for (segment, payer), amount in calculation.cells.items() if amount]
    if len(cells) > 1:
        cells.sort(key=lambda cell: (_ORDER[cell[0]], cell[1]))
    flat = exchange_amounts(cells, calculation.occasion.visit_type)
    settlement = Settlement(
        total_fen=flat.total_fen,
        fund_pay_fen=flat.fund_pay_fen,
        account_pay_fen=flat.account_pay_fen,
        pre_self_pay_fen=flat.pre_self_pay_fen,
        deductible_fen=flat.deductible_fen,
        own_pay_fen=flat.own_pay_fen,
        self_pay_fen=flat.self_pay_fen,
        over_cap_fen=flat.over_cap_fen,
        institution_share_fen=flat.institution_share_fen,
        scheme=calculation.person.scheme,
        category=calculation.person.category,
        policy_version=calculation.rules.version,
        cells=tuple(cells),
        entries=_entries(calculation),
        steps=tuple(calculation.steps),
    )
    broken = settlement.broken_identities()
    if flat.total_fen != calculation.totals.total_fen:
        broken.append("setlinfo-5")
    if broken:
        raise IdentityBroken(broken, calculation.totals, settlement)
    return settlement


def _entries(calculation: Calculation) -> tuple[AccumulatorEntry, ...]:
    """What the claim adds to the accumulators, each from where it stood."""
    amounts = {
        "basic:deductible": calculation.charged,
        "basic:in_scope": calculation.entered,
        "basic:over_cap": calculation.over,
        "basic:charges": calculation.entered - calculation.charged - calculation.over,
        "visit:in_scope": calculation.totals.in_scope_fen,
        "visit:total": calculation.totals.total_fen,
        **calculation.bases,
    }
    for fund, paid in calculation.paid.items():
        amounts[f"{fund}:fund"] = paid
    moved = []
    accumulators, counts = calculation.accumulators, calculation.counts
    for what, named, of_stay, part in calculation.rules.writes:
        key = calculation.stay_key(named, part) if of_stay else named
        applied = counts[key] if key in counts else amounts.get(what, 0)
        if applied and key:
            moved.append(AccumulatorEntry(key, accumulators.get(key, 0), applied))
    return tuple(moved)
