"""The second opinion: it agrees with the engine on every claim, and sees every single thing that is changed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from domain import checker
from domain.checker import check
from domain.settlement import Settlement
from tests.support.any_claims import FILES, Settled, published, settled_claims

ROOT = Path(__file__).parents[2]


def opinion(settled: Settled, settlement: Settlement | None = None) -> list[str]:
    return check(
        settlement or settled.settlement,
        settled.totals,
        settled.person,
        settled.accumulators,
        policy=settled.policy,
        at=settled.occasion,
    )


def test_checker_and_engine_agree():
    """`make prove` does the same with a million claims."""
    seen = set()
    for settled in settled_claims(published(), seed=20261122, count=6_000):
        assert opinion(settled) == [], settled
        seen.add(settled.policy.sets[0].set_id)
    assert len(seen) > len(FILES), "every set there is, and offices made up"


STEP_CHANGES = {
    "output": lambda step, dice: step._replace(output_fen=step.output_fen + dice.choice((-1, 1))),
    "fact": lambda step, dice: step._replace(fact=f"#{dice.randrange(900, 999)} share"),
    "source": lambda step, dice: step._replace(source="NOWHERE"),
    "rule": lambda step, dice: step._replace(rule="goodwill"),
    "from": lambda step, dice: step._replace(segment="own_expense" if step.segment != "own_expense" else "shared"),
    "to": lambda step, dice: step._replace(to_payer="fund:nobody"),
}
AMOUNT_CHANGES = (
    "total_fen", "fund_pay_fen", "account_pay_fen", "pre_self_pay_fen", "deductible_fen", "own_pay_fen",
    "self_pay_fen", "over_cap_fen", "institution_share_fen",
)  # fmt: skip


@pytest.fixture(scope="module")
def claims():
    return list(settled_claims(published(), seed=7, count=1_500))


@pytest.mark.parametrize("change", STEP_CHANGES)
def test_a_changed_step_is_seen(claims, change):
    dice = random.Random(change)
    for settled in claims:
        steps = list(settled.settlement.steps)
        places = [n for n, step in enumerate(steps) if step.segment and step.to_segment and step.output_fen]
        if places:
            place = dice.choice(places)
            steps[place] = STEP_CHANGES[change](steps[place], dice)
            assert opinion(settled, replace(settled.settlement, steps=tuple(steps))), (settled, place)


def test_a_missing_step_is_seen(claims):
    dice = random.Random(1)
    for settled in claims:
        steps = list(settled.settlement.steps)
        moving = [n for n, step in enumerate(steps) if step.to_segment and step.output_fen]
        if moving:
            del steps[dice.choice(moving)]
            assert opinion(settled, replace(settled.settlement, steps=tuple(steps))), settled


def test_a_share_that_no_fact_says_is_seen(claims):
    """The same share of the same amount at another ratio: whatever the amounts, the ratio is not that of the facts."""
    for settled in claims:
        steps = tuple(
            step._replace(ratio="0.123456") if step.rule in ("fund-share", "layer-share") else step
            for step in settled.settlement.steps
        )
        if steps != settled.settlement.steps:
            assert opinion(settled, replace(settled.settlement, steps=steps)), settled


@pytest.mark.parametrize("amount", AMOUNT_CHANGES)
def test_a_changed_amount_is_seen(claims, amount):
    for settled in claims[:300]:
        changed = replace(settled.settlement, **{amount: getattr(settled.settlement, amount) + 1})
        assert any(amount in words for words in opinion(settled, changed)), settled


def test_a_changed_cell_is_seen(claims):
    for settled in claims[:300]:
        cells = settled.settlement.cells
        if cells:
            changed = (cells[0]._replace(amount_fen=cells[0].amount_fen + 1), *cells[1:])
            assert opinion(settled, replace(settled.settlement, cells=changed)), settled


def test_a_changed_movement_is_seen(claims):
    """What a fund paid and what was charged as deductible is counted to the fen, from where it stood."""
    for settled in claims:
        for n, entry in enumerate(settled.settlement.entries):
            fund_or_deductible = entry.key.split(":")[2] in ("fund", "deductible")
            changes = [entry._replace(before_fen=entry.before_fen + 1)]
            if fund_or_deductible:
                changes.append(entry._replace(applied_fen=entry.applied_fen - 1))
            for changed in changes:
                entries = (*settled.settlement.entries[:n], changed, *settled.settlement.entries[n + 1 :])
                assert opinion(settled, replace(settled.settlement, entries=entries)), settled


def test_a_fund_beyond_its_cap_is_seen(claims):
    """The same settlement of somebody who had used the cap up before cannot be right."""
    seen = 0
    for settled in claims:
        funds = settled.settlement.funds()
        keys = [e.key for e in settled.settlement.entries if e.key.split(":")[2:4] == ["fund", "-"]]
        words = opinion(settled._replace(accumulators={**settled.accumulators, **dict.fromkeys(keys, 10**12)}))
        seen += bool(funds) and any("may pay" in each for each in words)
    assert seen > 50


def test_an_account_that_pays_more_than_it_holds_is_seen(claims):
    paying = [settled for settled in claims if settled.settlement.account_pay_fen]
    assert paying
    for settled in paying:
        poor = replace(settled.person, account_balance_fen=0, family_balance_fen=0)
        assert any("pays" in words for words in opinion(settled._replace(person=poor)))


def test_a_set_that_is_not_in_the_book_is_seen(claims):
    assert opinion(claims[0], replace(claims[0].settlement, policy_version="other@1"))


def test_a_fact_about_somebody_else_is_seen(claims):
    """The facts cited must hold for this person, this institution, this day."""
    seen = 0
    for settled in claims:
        elsewhere = settled._replace(occasion=settled.occasion._replace(day=settled.occasion.day.replace(year=1999)))
        if any(step.fact for step in settled.settlement.steps):
            assert any("does not hold here" in words for words in opinion(elsewhere)), settled
            seen += 1
    assert seen > 500


def test_it_shares_nothing_with_the_engine_but_values():
    source = Path(checker.__file__).read_text()
    assert len(source.splitlines()) < 300
    imported = {line.split()[1] for line in source.splitlines() if line.startswith("from domain")}
    assert imported == {
        "domain.policy", "domain.policy.facts", "domain.settlement", "domain.totals", "domain.visit",
    }  # fmt: skip
