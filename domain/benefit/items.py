"""What is settled before the deductible: the institution's part, item groups with amounts or shares of their own."""

from __future__ import annotations

from domain.benefit.calculation import Calculation
from domain.benefit.sharing import Sharer, share_out
from domain.money import half_up
from domain.policy.rules import SHARE_SCALE, InstitutionRule, ItemRule, Rules
from domain.settlement import (
    FIXED_ITEM,
    FUND_PREFIX,
    IN_SCOPE,
    INSTITUTION,
    OVER_PRICE_LIMIT,
    OWN_EXPENSE,
    PERSON,
    PRE_SELF_PAY,
    SHARED,
    Step,
)

_PART_OF_GROUP = {OWN_EXPENSE: 2, OVER_PRICE_LIMIT: 3, PRE_SELF_PAY: 4, IN_SCOPE: 5}
"""Where a segment stands in a `GroupTotal`, counted from its name."""


def institution_part(calculation: Calculation, rule: InstitutionRule) -> None:
    """What the institution bears by rule (YYFDJE): over a fixed price of the stay, or a ratio."""
    scope = calculation.at(IN_SCOPE)
    if rule.amount_fen is None:
        base = scope if not rule.group else _of_group(calculation, rule.group, IN_SCOPE)
        amount = half_up(base * rule.share, SHARE_SCALE)
        step = Step("institution-share", *rule.cited, base, rule.ratio, min(amount, scope))
    else:
        base = calculation.totals.total_fen if rule.of_total else scope
        price = rule.amount_fen * (_days(calculation) if rule.per_day else 1)
        before = calculation.before(rule.counted)
        over = max(0, before + base - price) - max(0, before - price)
        step = Step("institution-fixed", *rule.cited, base, "", min(over, scope), limit_fen=price, before_fen=before)
    if step.output_fen > 0:
        calculation.add(step._replace(segment=IN_SCOPE, payer=PERSON, to_segment=IN_SCOPE, to_payer=INSTITUTION))


def pool_items(calculation: Calculation, rules: Rules) -> None:
    """Let the fund pay the fixed amount, or the ratio, of each item group of the claim that has one."""
    for rule in rules.items:
        fee = min(sum(_of_group(calculation, rule.group, segment) for segment in rule.covers), _left(calculation, rule))
        if fee > 0:
            _pool(calculation, rules, rule, fee)


def _pool(calculation: Calculation, rules: Rules, rule: ItemRule, fee: int) -> None:
    pooled = _pooled(calculation, rule, fee)
    cap, room = calculation.room(rules.caps)
    if cap is not None:
        pooled = min(pooled, room)
    scope = min(_of_group(calculation, rule.group, IN_SCOPE), calculation.at(IN_SCOPE))
    item = min(pooled, scope) if rule.rest_in_scope else scope
    if item > 0:
        calculation.moves("pooled-item", rule.cited, item, segment=IN_SCOPE, to=FIXED_ITEM)
    if rule.count_key and pooled:
        calculation.counts[rule.count_key] = 1
    left = pooled
    payer = f"{FUND_PREFIX}{rule.fund}"
    for segment in (FIXED_ITEM, *(segment for segment in rule.covers if segment != IN_SCOPE)):
        there = (
            item if segment == FIXED_ITEM else min(_of_group(calculation, rule.group, segment), calculation.at(segment))
        )
        paid = min(left, max(0, there))
        if paid:
            step = Step(
                "pooled-fixed", *rule.cited, fee, rule.ratio, paid, segment, PERSON, segment, payer, pooled,
                rule.not_below_fen,
            )  # fmt: skip
            calculation.pays(rule.fund, step)
            left -= paid


def _pooled(calculation: Calculation, rule: ItemRule, fee: int) -> int:
    """What the fund pays of the item: nothing of a fee below the least, never more than the fee."""
    if rule.times is not None and calculation.accumulators.get(rule.count_key, 0) >= rule.times:
        if rule.refuses:
            words = f"按 {rule.cited.fact}，{rule.group} 统筹支付次数已满（{rule.times} 次）"
            raise calculation.refused("limit_reached", words)
        return 0
    if fee < rule.not_below_fen:
        return 0
    if rule.amount_fen is None:
        pooled = half_up(max(0, fee - rule.above_fen) * rule.share, SHARE_SCALE)
        return pooled if rule.up_to_fen is None else min(pooled, rule.up_to_fen)
    return min(rule.amount_fen * (_days(calculation) if rule.per_day else 1), fee)


def _days(calculation: Calculation) -> int:
    """The days of the stay so far, at least one."""
    started = calculation.occasion.started or calculation.occasion.day
    return max(1, ((calculation.occasion.ends or calculation.occasion.day) - started).days)


def share_items(calculation: Calculation, rules: Rules) -> None:
    """Share item groups that have a share of their own; they take no deductible, and count into the caps."""
    for rule in rules.item_shares:
        amount = min(_of_group(calculation, rule.group, IN_SCOPE), calculation.at(IN_SCOPE))
        if amount > 0:
            calculation.moves("shared", rule.shares.cited, amount, segment=IN_SCOPE, to=SHARED)
            share_out(calculation, rule.shares, Sharer(rules.fund, SHARED, rules.caps), (0, amount, 0))


def _of_group(calculation: Calculation, group: str, segment: str) -> int:
    """What an item group has in a segment; the whole claim where no group is named."""
    if not group:
        return calculation.at(segment)
    for total in calculation.totals.groups:
        if total.group == group:
            return max(0, int(total[_PART_OF_GROUP[segment]]))
    return 0


def _left(calculation: Calculation, rule: ItemRule) -> int:
    return sum(max(0, calculation.at(segment)) for segment in rule.covers)
