"""The personal account (个人账户) and those of relatives (家庭共济): they pay what they may of what is left."""

from __future__ import annotations

from domain.benefit.calculation import Calculation
from domain.settlement import ACCOUNT, FAMILY_ACCOUNT, FIXED_ITEM, IN_SCOPE, PERSON, SHARED, Person, Step


def use_account_first(calculation: Calculation, person: Person) -> None:
    """Where the policy lets the account pay before the deductible: of what is in scope, as far as it goes."""
    rule = calculation.rules.account
    amount, balance = calculation.at(IN_SCOPE), person.account_balance_fen
    if rule is not None and rule.first and amount > 0 and balance > 0:
        step = Step(
            "account", *rule.cited, amount, "", min(amount, balance), IN_SCOPE, PERSON, SHARED, ACCOUNT, balance
        )
        calculation.add(step)


def use_account(calculation: Calculation, person: Person) -> None:
    """Let the accounts pay what they may of the person's share, segment after segment, as far as they go."""
    rule = calculation.rules.account
    if rule is None:
        return
    spent = calculation.cells.get((SHARED, ACCOUNT), 0)
    own, family = (ACCOUNT, person.account_balance_fen - spent), (FAMILY_ACCOUNT, person.family_balance_fen)
    purses = {"after": (own, family), "before": (family, own)}.get(rule.family, (own,))
    if not any(balance > 0 for _, balance in purses):
        return
    # Reversals can leave a segment the odd fen below zero: never pay more than the person owes in all.
    owed = sum([amount for (_, payer), amount in calculation.cells.items() if payer == PERSON])
    barred = any(group.group in calculation.rules.item_account for group in calculation.totals.groups)
    for payer, balance in purses:
        left = min(balance, owed)
        for segment in rule.segments:
            amount = calculation.at(segment)
            if left <= 0:
                break
            if amount > 0 and not (barred and segment == FIXED_ITEM):
                paid = min(left, amount)
                step = Step("account", *rule.cited, amount, "", paid, segment, PERSON, segment, payer, left)
                calculation.add(step)
                left -= paid
                owed -= paid
