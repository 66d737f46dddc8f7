"""Laws every settlement keeps, whatever the office wrote (notes on policy, section 14)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.benefit import accumulator_keys, settle
from domain.catalogue import Matched
from domain.money import amount_of, fen, yuan
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce
from domain.policy.reading import parse
from domain.settlement import AMOUNTS, LARGE_AMOUNT, OUT_OF_SCOPE, Occasion, Person, cells_of
from domain.totals import LocalTotals, split_line, total_up
from domain.visit import ChargeLine, VisitType
from tests.support.office import (
    DAY,
    OUTPATIENT,
    STAY,
    account,
    after,
    cap,
    deductible,
    in_turn,
    office,
    person,
    share,
    totals,
)

FEN = st.integers(0, 10**7)
RATIOS = st.integers(0, 10_000).map(lambda ratio: f"{ratio // 10_000}.{ratio % 10_000:04d}")
AMOUNTS_OF_MONEY = st.integers(0, 10**6).map(yuan)
SEGMENTS = ["own_expense", "over_price_limit", "pre_self_pay", "in_scope"]


@st.composite
def bands(draw, kind="share", more=""):
    borders = sorted(draw(st.sets(st.integers(1, 10**6), max_size=3)))
    basis = draw(st.sampled_from(["in_scope", "after_deductible"])) if kind == "share" else ""
    facts = []
    for low, high in pairwise([0, *borders, None]):
        said = f', basis = "{basis}"' if basis else more
        facts.append(share(draw(RATIOS), yuan(low), None if high is None else yuan(high), said))
    return facts if kind == "share" else [fact.replace('kind = "share"', f'kind = "{kind}"') for fact in facts]


@st.composite
def offices(draw, uppers=True, overlap=True):
    facts = [*draw(bands()), deductible(draw(AMOUNTS_OF_MONEY), draw(st.sampled_from(["visit", "stay", "year"])))]
    if draw(st.booleans()):
        facts.append(cap(draw(AMOUNTS_OF_MONEY), basis=draw(st.sampled_from(["fund_paid", "charges", "in_scope"]))))
    if draw(st.booleans()):
        facts.append(cap(draw(AMOUNTS_OF_MONEY), "month"))
    if draw(st.booleans()):
        factor = draw(RATIOS)
        facts.append(f'kind = "self_share_factor", factor = "{factor}"')
    if uppers and draw(st.booleans()):
        facts.append(
            'kind = "layer_share", scheme = "large_amount", insured = ["employee", "resident"],'
            f' when = "pooled_cap_reached", ratio = "{draw(RATIOS)}"'
        )
        facts.append(
            'kind = "cap", scheme = "large_amount", per = "year", basis = "fund_paid",'
            f' insured = ["employee", "resident"], amount = "{draw(AMOUNTS_OF_MONEY)}"'
        )
    if uppers and draw(st.booleans()):
        basis = draw(st.sampled_from(["in_scope_with_person", "left_by_layers_before"][not overlap :]))
        facts.append(
            'kind = "threshold", scheme = "serious_illness", insured = ["employee", "resident"], per = "year",'
            f' amount = "{draw(AMOUNTS_OF_MONEY)}", basis = "{basis}"'
        )
        facts.extend(
            fact + ', scheme = "serious_illness", insured = ["employee", "resident"]'
            for fact in draw(bands("layer_share"))
        )
    if uppers and draw(st.booleans()):
        facts.append(f'kind = "subsidy", scheme = "other", ratio = "{draw(RATIOS)}"')
    segments = draw(st.sets(st.sampled_from(SEGMENTS)))
    facts.append(account(*sorted(segments)))
    place = draw(st.sampled_from(["band", "fund_share"]))
    return office(*facts, rest=draw(st.sampled_from(["fund", "person"])), place=place)


CLAIMS = st.builds(lambda *parts: LocalTotals(sum(parts), *parts, 1, b""), FEN, FEN, FEN, FEN)
PERSONS = st.builds(
    Person,
    scheme=st.sampled_from(["employee", "resident"]),
    category=st.sampled_from(["1", "2", "74"]),
    account_balance_fen=st.integers(0, 10**7),
)
OCCASIONS = st.builds(Occasion, st.sampled_from(VisitType), st.integers(0, 3), st.just(DAY), visit_no=st.just("V1"))


@st.composite
def situations(draw, overlap=True):
    """A person, what they have used up, an office, an occasion. Without `overlap` no two funds pay for the same fen."""
    who, book, occasion = draw(PERSONS), draw(offices(overlap=overlap)), draw(OCCASIONS)
    keys = [key for key in accumulator_keys(who, occasion, book) if "stay/" not in key]
    used = draw(st.fixed_dictionaries({}, optional={key: st.integers(0, 10**6) for key in keys}))
    return who, used, book, occasion


@given(CLAIMS, situations())
def test_every_settlement_adds_up_and_explains_itself(claim, situation):
    who, used, _, occasion = situation
    found = settle(claim, *situation)
    assert found.broken_identities() == []
    assert cells_of(found.steps) == found.matrix()
    assert min(found.matrix().values(), default=0) >= 0
    assert found.account_pay_fen <= who.account_balance_fen
    assert found.own_pay_fen + claim.in_scope_fen == claim.total_fen == found.total_fen
    assert found.over_cap_fen == 0 or occasion.visit_type in (VisitType.INPATIENT, VisitType.SPECIFIC_OUTPATIENT)
    assert not [cell for cell in found.cells if cell.segment in OUT_OF_SCOPE and cell.payer.startswith("fund:")]
    for step in found.steps:
        assert step.source
        assert step.output_fen >= 0
    for entry in found.entries:
        assert entry.applied_fen > 0
        assert entry.before_fen == used.get(entry.key, 0)


def dearer_by(claim, more):
    return claim._replace(total_fen=claim.total_fen + more, in_scope_fen=claim.in_scope_fen + more)


@given(CLAIMS, st.integers(1, 10**5), situations())
def test_a_dearer_bill_never_costs_the_funds_less(claim, more, situation):
    assert settle(dearer_by(claim, more), *situation).fund_pay_fen >= settle(claim, *situation).fund_pay_fen


@given(CLAIMS, st.integers(1, 10**5), situations(overlap=False))
def test_nor_the_person_where_no_two_funds_pay_for_the_same_fen(claim, more, situation):
    before, after_it = settle(claim, *situation), settle(dearer_by(claim, more), *situation)
    assert after_it.person_share_fen >= before.person_share_fen


@pytest.mark.parametrize(
    ("basis", "costs"),
    [
        pytest.param("in_scope_with_person", -2000, id="measured past the other fund: both pay for the same fen"),
        pytest.param("left_by_layers_before", 1600, id="measured on what the other fund left"),
    ],
)
def test_two_funds_that_pay_for_the_same_fen_make_a_dearer_bill_cost_less(basis, costs):
    both = 'insured = ["employee", "resident"]'
    book = office(
        share("0.5000", "0.00"),
        cap("100.00", basis="fund_paid"),
        f'kind = "layer_share", scheme = "large_amount", {both}, when = "pooled_cap_reached", ratio = "0.6000"',
        f'kind = "threshold", scheme = "serious_illness", {both}, per = "year", amount = "0.00", basis = "{basis}"',
        f'kind = "layer_share", scheme = "serious_illness", {both}, low = "0.00", ratio = "0.6000"',
    )
    claim = totals(scope="300.00")
    case = person(), {}, book, OUTPATIENT
    before, after_it = settle(claim, *case), settle(dearer_by(claim, 10000), *case)
    assert after_it.person_share_fen - before.person_share_fen == costs


@given(CLAIMS, situations())
def test_a_fund_never_pays_over_its_caps(claim, situation):
    who, used, book, occasion = situation
    found = settle(claim, *situation)
    rules = book.rules_of(who, occasion)
    for limit in rules.caps:
        if limit.basis == "fund_paid":
            spent = sum(used.get(key, 0) for key in limit.counted.keys)
            assert found.funds().get("basic", 0) <= max(0, limit.amount_fen - spent)


@given(CLAIMS, situations())
def test_a_settlement_and_its_contra_come_to_nothing(claim, situation):
    found = settle(claim, *situation)
    contra = found.negated()
    assert contra.broken_identities() == []
    assert all(getattr(found, name) + getattr(contra, name) == 0 for name in AMOUNTS)
    assert {cell: -fen for cell, fen in contra.matrix().items()} == found.matrix()
    assert cells_of(contra.steps) == contra.matrix()
    back = after(after(situation[1], found), contra)
    assert {key: fen for key, fen in back.items() if fen} == {key: fen for key, fen in situation[1].items() if fen}


@given(CLAIMS, situations())
def test_settled_taken_back_and_settled_again_is_settled_once(claim, situation):
    who, used, book, occasion = situation
    once = settle(claim, *situation)
    again = settle(claim, who, after(after(used, once), once.negated()), book, occasion)
    assert again == once


STAYS_IN_PARTS = st.lists(FEN, min_size=2, max_size=4)


def _in_parts_and_at_once(amounts, book, scheme):
    who = person(scheme=scheme)
    parts = in_turn(book, who, *[(totals()._replace(total_fen=fen, in_scope_fen=fen), STAY) for fen in amounts])
    whole = totals()._replace(total_fen=sum(amounts), in_scope_fen=sum(amounts))
    return parts, settle(whole, who, {}, book, STAY)


@given(STAYS_IN_PARTS, offices(), st.sampled_from(["employee", "resident"]))
def test_a_stay_settled_in_parts_is_the_stay_settled_at_once(amounts, book, scheme):
    parts, at_once = _in_parts_and_at_once(amounts, book, scheme)
    off = _may_be_off([*parts, at_once])
    assert abs(sum(each.fund_pay_fen for each in parts) - at_once.fund_pay_fen) <= off
    assert abs(sum(each.person_share_fen for each in parts) - at_once.person_share_fen) <= off


def _may_be_off(settlements):
    """Two ways in which the parts are not the whole: an upper layer pays no more than a part has left with the person,
    and where another fund takes over at a cap, the cap's fraction of a fen is not carried into the next part."""
    steps = [step for settlement in settlements for step in settlement.steps]
    owed = sum(step.output_fen for step in steps if step.rule == "layer-share")
    short = owed - sum(step.output_fen for step in steps if step.rule == "relief")
    takes_over = any(step.to_segment == LARGE_AMOUNT for step in steps)
    return short + (len(settlements) if short or takes_over else 0)


@given(STAYS_IN_PARTS, offices(uppers=False), st.sampled_from(["employee", "resident"]))
def test_so_are_its_segments_but_for_the_odd_fen_a_cap_cuts(amounts, book, scheme):
    parts, at_once = _in_parts_and_at_once(amounts, book, scheme)
    assert sum(each.deductible_fen for each in parts) == at_once.deductible_fen
    assert abs(sum(each.over_cap_fen for each in parts) - at_once.over_cap_fen) <= 1


LINES = st.lists(
    st.tuples(
        st.integers(1, 10**7),
        st.integers(1, 10**4),
        st.sampled_from("129"),
        st.integers(0, 10_000),
        st.none() | st.integers(0, 10**7),
        st.sampled_from(["", "negotiated", "fee"]),
    ),
    max_size=10,
)
SHIPPED = {
    path.stem: PolicyBook([parse(path.read_text(encoding="utf-8"))])
    for path in sorted((Path(__file__).parents[2] / "policies").glob("*.toml"))
}


def _lines(rows):
    lines = []
    for number, (price, quantity, coverage, ratio, limit, group) in enumerate(rows, 1):
        item = Matched("00", "C", coverage, ratio if coverage == "2" else 0, limit, "01", group)
        amount = amount_of(price, quantity)
        lines.append((ChargeLine(number, DAY, "L", "项目", 1, "", "", price, quantity, amount), item))
    return lines


@pytest.mark.parametrize("name", SHIPPED)
@given(rows=LINES, balance=st.integers(0, 10**6), seed=st.randoms())
def test_settling_local_totals_is_settling_all_lines(name, rows, balance, seed):
    """Split equals central: what a front-end adds up, in whatever order, settles as the lines do, step by step."""
    book, lines = SHIPPED[name], _lines(rows)
    shuffled = seed.sample(lines, len(lines))
    for scheme, category, occasion in (("employee", "2", OUTPATIENT), ("resident", "74", STAY)):
        who = person(yuan(balance), scheme, category)
        try:
            rules = book.line_rules(scheme, category, occasion.visit_type, 3, DAY)
            at_once = settle(total_up(lines, b"", rules), who, {}, book, occasion)
        except NoPolicyInForce:
            continue
        apart = settle(total_up(shuffled, b"", rules), who, {}, book, occasion)
        assert apart == at_once
        assert apart.steps == at_once.steps


@given(LINES)
def test_the_totals_of_plain_lines_are_the_sums_of_their_parts(rows):
    lines = _lines(rows)
    parts = [split_line(line.line_amount_fen, line.unit_price_1e4, line.quantity_1e2, item) for line, item in lines]
    sums = [sum(column) for column in zip(*parts, strict=True)] if parts else [0] * 4
    found = total_up(lines, b"")
    assert list(found[1:5]) == sums
    assert found.adds_up


def test_a_settlement_knows_its_scheme_and_policy():
    book = office(share("0.80"))
    found = settle(totals(scope="1.00"), person(scheme="resident", category="74"), {}, book, OUTPATIENT)
    assert (found.scheme, found.category, found.policy_version) == ("resident", "74", book.sets[0].version)
    assert fen("0.80") == found.fund_pay_fen
