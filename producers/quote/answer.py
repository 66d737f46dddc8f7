"""A quote as it is answered: amounts, matrix, national fields, accumulators, facts and steps, in yuan and in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from domain import money
from domain.policy.facts import PolicySet
from domain.projection import exchange_amounts
from domain.settlement import BASIC_FUND, LARGE_AMOUNT, AccumulatorEntry, Step
from domain.totals import LocalTotals
from producers.quote.accumulated import is_count
from producers.quote.document import TotalsIn
from producers.quote.settling import Quoted
from producers.quote.words import FACT_NUMBER, RULES_ZH, in_words, summed_up, told_by_payer
from producers.settled import AmountsOut, CellOut, NationalOut, amounts_out, matrix_out, national_out
from producers.values import Amount

AmountOrCount = Annotated[str, Field(description="yuan with two decimals, or a count without decimals")]


class StepOut(TypedDict):
    """One step of the calculation; the steps are the calculation (docs/policy-guide.md)."""

    rule: str
    rule_name: str
    fact: Annotated[str, Field(description="the facts that decided, by number and kind; empty: the catalogue did")]
    source: str
    input_amount: Amount
    exact_input: NotRequired[Annotated[str, Field(description="fen as a fraction, where the input is no whole fen")]]
    ratio: str
    output_amount: Amount
    limit_amount: NotRequired[Amount]
    before_amount: NotRequired[Amount]
    moves: Annotated[list[str], Field(description="segment and payer the output leaves, segment and payer it goes to")]
    rest_goes_to: NotRequired[
        Annotated[
            str, Field(description="fund or person takes the rest of the rounding; down or up behind it: not half up")
        ]
    ]
    words: str


class EntryOut(TypedDict):
    """How an accumulator would move."""

    key: str
    before_amount: AmountOrCount
    applied_amount: AmountOrCount
    after_amount: AmountOrCount


class FactOut(TypedDict):
    """A fact of the policy that had a part in the result."""

    number: int
    kind: str
    scheme: str
    first_day: str
    last_day: str | None
    source: str
    source_title: str
    assumed: Annotated[bool, Field(description="true: the value is an assumption of ours")]


class QuoteOut(TypedDict):
    """A quote."""

    policy_version: str
    policy_title: str
    day: Annotated[str, Field(description="the day whose policy counts")]
    totals: TotalsIn
    settlement: AmountsOut
    matrix: Annotated[list[CellOut], Field(description="who bears what of each segment; every amount is a sum of it")]
    national: NationalOut
    accumulators: list[EntryOut]
    looked_at: Annotated[dict[str, str], Field(description="the accumulators the policy looks at, as they stood")]
    unused: Annotated[list[str], Field(description="what was given and nothing in the policy asks for")]
    facts: list[FactOut]
    steps: list[StepOut]
    words: Annotated[list[str], Field(description="who pays in the end")]


def seen(quoted: Quoted) -> QuoteOut:
    """The quote as it is answered."""
    result = quoted.settlement
    return {
        "policy_version": quoted.policy.version,
        "policy_title": quoted.policy.title,
        "day": quoted.occasion.day.isoformat(),
        "totals": _totals(quoted.totals),
        "settlement": amounts_out(exchange_amounts(result.cells, quoted.occasion.visit_type)),
        "matrix": matrix_out(result.cells),
        "national": national_out(
            result.cells,
            result.scheme,
            quoted.person.account_balance_fen,
            _room(result.steps),
            told_by_payer(result.steps, quoted.policy),
        ),
        "accumulators": [_entry(entry) for entry in result.entries],
        "looked_at": {key: _written(key, amount) for key, amount in quoted.looked_at.items()},
        "unused": [*quoted.used.unused, *quoted.unasked],
        "facts": _facts(result.steps, quoted.policy),
        "steps": [_step(step, quoted.policy) for step in result.steps],
        "words": summed_up(result),
    }


def _totals(totals: LocalTotals) -> TotalsIn:
    return {
        "total_amount": money.yuan(totals.total_fen),
        "own_expense_amount": money.yuan(totals.own_expense_fen),
        "over_limit_amount": money.yuan(totals.over_limit_fen),
        "pre_self_pay_amount": money.yuan(totals.pre_self_pay_fen),
        "in_scope_amount": money.yuan(totals.in_scope_fen),
        "groups": [
            {
                "group": group.group,
                "total_amount": money.yuan(group.total_fen),
                "own_expense_amount": money.yuan(group.own_expense_fen),
                "over_limit_amount": money.yuan(group.over_limit_fen),
                "pre_self_pay_amount": money.yuan(group.pre_self_pay_fen),
                "in_scope_amount": money.yuan(group.in_scope_fen),
            }
            for group in totals.groups
        ],
    }


def _entry(entry: AccumulatorEntry) -> EntryOut:
    key, before, applied = entry
    return {
        "key": key,
        "before_amount": _written(key, before),
        "applied_amount": _written(key, applied),
        "after_amount": _written(key, before + applied),
    }


def _written(key: str, amount: int) -> str:
    return str(amount) if is_count(key) else money.yuan(amount)


def _step(step: Step, policy: PolicySet) -> StepOut:
    shown: StepOut = {
        "rule": step.rule,
        "rule_name": RULES_ZH.get(step.rule, step.rule),
        "fact": step.fact,
        "source": step.source,
        "input_amount": money.yuan(step.input_fen),
        "ratio": step.ratio,
        "output_amount": money.yuan(step.output_fen),
        "moves": [step.segment, step.payer, step.to_segment, step.to_payer] if step.to_segment else [],
        "words": in_words(step, policy),
    }
    if step.exact:
        shown["exact_input"] = step.exact
    if step.limit_fen is not None:
        shown["limit_amount"] = money.yuan(step.limit_fen)
    if step.before_fen:
        shown["before_amount"] = money.yuan(step.before_fen)
    if step.rest:
        shown["rest_goes_to"] = step.rest
    return shown


def _facts(steps: Iterable[Step], policy: PolicySet) -> list[FactOut]:
    """The facts the steps name, in the order of the file."""
    numbers = {int(number) for step in steps for number in FACT_NUMBER.findall(step.fact)}
    return [
        {
            "number": fact.number,
            "kind": fact.kind,
            "scheme": fact.scheme,
            "first_day": fact.first_day.isoformat(),
            "last_day": fact.last_day.isoformat() if fact.last_day else None,
            "source": fact.source,
            "source_title": policy.sources.get(fact.source, ""),
            "assumed": fact.assumed,
        }
        for fact in policy.facts
        if fact.number in numbers
    ]


def _room(steps: Iterable[Step]) -> dict[str, int]:
    """What a fund could pay at most this time, where a cap was reached: the room of the cap, and what went before."""
    room: dict[str, int] = {}
    paid: dict[str, int] = {}
    for step in steps:
        if step.rule == "over-cap" and step.limit_fen is not None:
            fund = "fund:large_amount" if step.segment == LARGE_AMOUNT else BASIC_FUND
            room[fund] = step.limit_fen + paid.get(fund, 0)
        elif step.rule == "fund-share":
            paid[step.to_payer] = paid.get(step.to_payer, 0) + step.output_fen
    return room
