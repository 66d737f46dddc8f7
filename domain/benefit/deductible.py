"""The deductible (起付标准): what is due for this stay, what of it was charged before, what is charged now."""

from __future__ import annotations

from domain.accumulators import DUE, key
from domain.benefit.calculation import Calculation
from domain.money import half_up, unscaled
from domain.policy.rules import RATIO_SCALE, Cited, Deductible, Nth
from domain.settlement import DEDUCTIBLE, IN_SCOPE, PERSON, Step


def count_stay(calculation: Calculation) -> None:
    """Count this stay among the stays of the year, once, and keep its number."""
    for counter in calculation.rules.stay_counters:
        stay_key = calculation.stay_key(counter.stay_key)
        if not stay_key or not calculation.accumulators.get(stay_key, 0):
            calculation.counts[counter.year_key] = 1
            if stay_key:
                calculation.counts[stay_key] = calculation.accumulators.get(counter.year_key, 0) + 1


def charge_deductible(calculation: Calculation, rule: Deductible) -> None:
    """Charge what is left of the deductible, at most what is in scope."""
    due, cited = _due(calculation, rule)
    if due <= 0:
        return
    amount = calculation.at(IN_SCOPE)
    before = calculation.before(rule.counted)
    if rule.total_fen is not None:
        charged = calculation.before(rule.total_counted)
        left = max(0, due - before)
        allowed = min(left, max(0, rule.total_fen - charged))
        calculation.add(
            Step("deductible-total", *cited, left, "", allowed, limit_fen=rule.total_fen, before_fen=charged)
        )
        due = before + allowed
    taken = min(max(0, due - before), amount)
    calculation.add(Step("deductible", *cited, amount, "", taken, IN_SCOPE, PERSON, DEDUCTIBLE, PERSON, due, before))
    calculation.charged = taken


def _due(calculation: Calculation, rule: Deductible) -> tuple[int, Cited]:
    """The deductible due for the stay so far, and the facts it comes from."""
    carried = _carried_on(calculation, rule)
    if carried is not None:
        return carried, rule.cited
    for step in rule.standards:
        calculation.add(step)
    due, cited = _standard(calculation, rule, 0, rule.cited)
    if not rule.again_days:
        return due, cited
    started = calculation.occasion.started or calculation.occasion.day
    days = ((calculation.occasion.ends or calculation.occasion.day) - started).days
    for time in range(1, 1 + max(0, days - 1) // rule.again_days):
        more, _ = _standard(calculation, rule, time if rule.again_as_next_stay else 0, rule.cited)
        calculation.add(Step("standard", *rule.again, due, "", due + more, limit_fen=more))
        due += more
        cited = _both(cited, rule.again)
    return due, cited


def _standard(calculation: Calculation, rule: Deductible, later: int, cited: Cited) -> tuple[int, Cited]:
    """The standard of this stay, or of one so many stays later, by its number."""
    for nth in rule.nth:
        number = _number_of_stay(calculation, nth.counter) + later
        if nth.low <= number <= nth.high:
            if not rule.standards:
                calculation.add(Step("standard", *rule.cited, 0, "", rule.amount_fen))
            step = _of_nth(nth, number, rule.amount_fen)
            calculation.add(step)
            return step.output_fen, _both(cited, nth.cited)
    return rule.amount_fen, cited


def _of_nth(nth: Nth, number: int, standard_fen: int) -> Step:
    """What the standard is for the stay of this number."""
    step = Step("standard", *nth.cited, standard_fen)
    if nth.amount_fen is not None:
        return step._replace(output_fen=nth.amount_fen)
    if nth.less_fen:
        less, least = nth.less_fen * (number - nth.low + 1), min(standard_fen, nth.at_least_fen)
        return step._replace(output_fen=max(least, standard_fen - less), limit_fen=least, before_fen=less)
    ratio = unscaled(nth.factor, RATIO_SCALE)
    return step._replace(ratio=ratio, output_fen=half_up(standard_fen * nth.factor, RATIO_SCALE))


def _number_of_stay(calculation: Calculation, tag: str) -> int:
    for counter in calculation.rules.stay_counters:
        if counter.tag == tag:
            stay_key = calculation.stay_key(counter.stay_key)
            known = calculation.accumulators.get(stay_key, 0) if stay_key else 0
            return known or calculation.accumulators.get(counter.year_key, 0) + 1
    return 1


def _carried_on(calculation: Calculation, rule: Deductible) -> int | None:
    """What was due where the chain of transfers began, if the deductible of there goes on; it is kept on the way."""
    if rule.on_transfer != "continue":
        return None
    stay_key = calculation.stay_key(key("basic", calculation.occasion.visit_type, DUE, "", "stay/"))
    if not stay_key:
        return None
    due = calculation.accumulators.get(stay_key, 0)
    if due and calculation.occasion.transferred_from:
        return due
    if not due:
        calculation.counts[stay_key] = rule.amount_fen
    return None


def _both(one: Cited, other: Cited) -> Cited:
    sources = dict.fromkeys([*one.source.split(", "), *other.source.split(", ")])
    return Cited(f"{one.fact}, {other.fact}", ", ".join(sources))
