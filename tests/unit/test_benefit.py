"""Who pays what: published examples, the edges of each rule, and the laws every settlement keeps."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import benefit
from domain.benefit import (
    FIELDS,
    IdentityBroken,
    NegativeTotals,
    accumulator_keys,
    deductible_key,
    fund_key,
    settle,
)
from domain.catalogue import Matched
from domain.money import amount_of, fen, scaled, yuan
from domain.policy import PolicyBook
from domain.policy_facts import NoPolicyInForce
from domain.policy_reading import parse
from domain.settlement import AccumulatorEntry, Occasion, Person
from domain.totals import LocalTotals, split_line, total_up
from domain.visit import ChargeLine, VisitType

DAY = date(2026, 3, 2)
OUTPATIENT = Occasion(VisitType.OUTPATIENT, 3, DAY)
PHARMACY = Occasion(VisitType.PHARMACY, 0, DAY)
STAY = Occasion(VisitType.INPATIENT, 3, DAY)
FUND = fund_key(VisitType.OUTPATIENT, 2026)
DEDUCTED = deductible_key(VisitType.OUTPATIENT, 2026)

HEADING = """
[set]
id = "testville"
region = "990000"
title = "测试市"
benefit_year_starts = "01-01"
[source.DOC]
title = "测试文件"
verified = "official"
[policy]
facts = [
"""


def office(*facts, rest="person"):
    """The policy book of an office with these facts; what they do not say is said in the plainest way."""
    rows = [*facts, f'kind = "rounding", place = "band", mode = "half_up", digits = 2, rest_goes_to = "{rest}"']
    if not any('kind = "deductible"' in fact for fact in facts):
        rows.append('kind = "deductible", amount = "0.00", per = "visit"')
    common = 'scheme = "any", from = 2026-01-01, src = "DOC"'
    return PolicyBook([parse(HEADING + "".join(f"{{ {row}, {common} }},\n" for row in rows) + "]\n")])


def share(ratio, low="0.00", high=None):
    border = "" if high is None else f', high = "{high}"'
    return f'kind = "share", ratio = "{ratio}", basis = "in_scope", low = "{low}"{border}'


def deductible(amount, per="visit"):
    return f'kind = "deductible", amount = "{amount}", per = "{per}"'


def cap(amount):
    return f'kind = "cap", amount = "{amount}", per = "year", basis = "fund_paid"'


def account(*segments):
    return f'kind = "account_pays", may_pay = {list(segments)}'.replace("'", '"')


def totals(own="0.00", over="0.00", pre="0.00", scope="0.00"):
    parts = [fen(amount) for amount in (own, over, pre, scope)]
    return LocalTotals(sum(parts), *parts, 1, b"")


def person(balance="0.00", scheme="employee", category="1"):
    return Person(scheme=scheme, category=category, account_balance_fen=fen(balance))


def in_yuan(settlement, *names):
    return {name: yuan(getattr(settlement, f"{name}_fen")) for name in names}


# --- published examples -------------------------------------------------------------------------------------------


def graded(*lines):
    """Totals of lines given as (grade, price, quantity, ratio of the first share)."""
    classes = {"A": "1", "B": "2", "C": "9"}
    rows = []
    for grade, price, quantity, ratio in lines:
        price_1e4, quantity_1e2 = scaled(price, 10_000), scaled(quantity, 100)
        item = Matched("00", "C", classes[grade], scaled(ratio, 10_000) if grade == "B" else 0, None, "01")
        amount = amount_of(price_1e4, quantity_1e2)
        rows.append((ChargeLine(len(rows) + 1, DAY, "L", "项目", 1, "", "", price_1e4, quantity_1e2, amount), item))
    return total_up(rows, b"")


BEIJING_BANDS = (
    share("0.85", high="30000.00"),
    share("0.90", "30000.00", "40000.00"),
    share("0.95", "40000.00"),
)

EXAMPLES = [
    pytest.param(
        (*BEIJING_BANDS, deductible("650.00", "stay"), 'kind = "self_share_factor", factor = "0.60"'),
        totals(scope="40000.00"),
        STAY,
        {"fund_pay": "36108.50", "deductible": "650.00", "self_pay": "3891.50", "over_cap": "0.00"},
        id="beijing-retiree-40000",
    ),
    pytest.param(
        (share("0.85"), deductible("1300.00", "stay"), 'kind = "deductible_factor", factor = "0.50"'),
        totals(scope="5000.00"),
        STAY,
        {"deductible": "650.00"},
        id="beijing-second-admission-deductible",
    ),
    pytest.param(
        (share("0.85"), deductible("1300.00")),
        totals(scope="12000.00"),
        STAY,
        {"fund_pay": "9095.00", "deductible": "1300.00", "person_share": "2905.00"},
        id="beijing-employee-12000",
    ),
    pytest.param(
        (share("0.50"),),
        totals(scope="56.00"),
        OUTPATIENT,
        {"fund_pay": "28.00", "self_pay": "28.00"},
        id="beijing-resident-receipt-56",
    ),
    pytest.param(
        (share("0.85"), deductible("800.00")),
        totals(own="3300.00"),
        STAY,
        {"fund_pay": "0.00", "deductible": "0.00", "own_pay": "3300.00", "person_share": "3300.00"},
        id="hainan-all-own-expense-3300",
    ),
    pytest.param(
        (share("0.70"),),
        graded(("C", "120", "10", "0")),
        OUTPATIENT,
        {"total": "1200.00", "fund_pay": "0.00", "own_pay": "1200.00", "cash": "1200.00"},
        id="hangzhou-all-own-expense-1200",
    ),
    pytest.param(
        (share("0.00"),),
        graded(
            *(("A", price, "1", "0") for price in ("200", "300", "50", "50")),
            ("B", "100", "1", "0.10"),
            ("B", "130", "1", "0.10"),
            ("C", "70", "1", "0"),
        ),
        STAY,
        {"total": "900.00", "pre_self_pay": "23.00", "own_pay": "93.00", "self_pay": "807.00"},
        id="yingtan-seven-lines",
    ),
    pytest.param(
        (share("0.00"), account("in_scope")),
        totals(own="119.71", scope="181.17"),
        Occasion(VisitType.SPECIFIC_OUTPATIENT, 3, DAY),
        {"account_pay": "181.17", "cash": "119.71", "fund_pay": "0.00"},
        id="jian-minor-chronic-300",
    ),
    pytest.param(
        (share("0.85"),),
        graded(("C", "6800", "1", "0"), ("C", "2200", "3", "0")),
        STAY,
        {"total": "13400.00", "fund_pay": "0.00", "own_pay": "13400.00"},
        id="medbench-sample-answer",
    ),
    pytest.param(
        (share("0.80"), deductible("100.00")),
        totals(scope="1000.00"),
        OUTPATIENT,
        {"fund_pay": "720.00"},
        id="claim-table-720",
    ),
    pytest.param(
        (share("0.85"), deductible("1000.00")),
        totals(scope="10000.00"),
        STAY,
        {"fund_pay": "7650.00"},
        id="rule-engine-v4-1",
    ),
    pytest.param(
        (share("0.85"), deductible("1000.00")),
        totals(scope="500.00"),
        STAY,
        {"fund_pay": "0.00", "deductible": "500.00"},
        id="rule-engine-v4-2",
    ),
    pytest.param(
        (share("0.85"), deductible("1000.00"), cap("300000.00")),
        totals(scope="500000.00"),
        STAY,
        {"fund_pay": "300000.00"},
        id="rule-engine-v4-3",
    ),
    pytest.param(
        (share("0.80"), account("shared")),
        totals(scope="1000.00"),
        OUTPATIENT,
        {"fund_pay": "800.00", "account_pay": "100.00", "person_share": "200.00", "cash": "100.00"},
        id="sdk-1000-800-100-100",
    ),
    pytest.param(
        (share("0.55"), deductible("105.00")),
        graded(("A", "80", "1", "0"), ("B", "40", "1", "0.10"), ("C", "30", "1", "0")),
        OUTPATIENT,
        {"fund_pay": "6.05", "pre_self_pay": "4.00", "own_pay": "34.00", "deductible": "105.00", "self_pay": "109.95"},
        id="medbench-33",
    ),
    pytest.param(
        (share("0.75"), deductible("85.00")),
        graded(("B", "230", "1", "0.10"), ("A", "40", "1", "0"), ("C", "90", "1", "0")),
        OUTPATIENT,
        {"fund_pay": "121.50", "own_pay": "113.00", "self_pay": "125.50", "person_share": "238.50"},
        id="medbench-132",
    ),
    pytest.param(
        (share("0.75"), deductible("150.00")),
        graded(("A", "130", "4", "0"), ("B", "2300", "1", "0.15"), ("A", "210", "1", "0")),
        STAY,
        {"fund_pay": "1901.25", "own_pay": "345.00", "deductible": "150.00", "self_pay": "783.75"},
        id="medbench-43",
    ),
    pytest.param(
        (share("0.85"), deductible("60.00")),
        graded(("A", "55", "1", "0"), ("B", "110", "1", "0.08"), ("C", "120", "1", "0")),
        OUTPATIENT,
        {
            "fund_pay": "81.77",
            "own_pay": "128.80",
            "deductible": "60.00",
            "self_pay": "74.43",
            "person_share": "203.23",
        },
        id="medbench-105",
    ),
    pytest.param(
        (share("0.80"), deductible("180.00")),
        graded(("C", "8800", "1", "0"), ("C", "3600", "1", "0")),
        STAY,
        {"fund_pay": "0.00", "deductible": "0.00", "person_share": "12400.00"},
        id="medbench-5",
    ),
    pytest.param(
        (share("0.90"), cap("12000.00")),
        graded(("A", "200", "3", "0"), ("B", "3500", "1", "0.10"), ("A", "180", "1", "0")),
        STAY,
        {"fund_pay": "3537.00", "own_pay": "350.00", "self_pay": "393.00", "over_cap": "0.00"},
        id="medbench-112",
    ),
    pytest.param(
        (share("0.80"),),
        graded(("A", "42", "1", "0"), ("B", "28", "1", "0.05"), ("C", "72", "1", "0")),
        OUTPATIENT,
        {"fund_pay": "54.88", "pre_self_pay": "1.40", "own_pay": "73.40", "self_pay": "13.72"},
        id="medbench-121",
    ),
    pytest.param(
        (share("0.80"), deductible("160.00"), cap("1500.00")),
        graded(("A", "620", "3", "0"), ("B", "2200", "1", "0.25"), ("A", "170", "1", "0")),
        STAY,
        {
            "fund_pay": "1500.00",
            "own_pay": "550.00",
            "self_pay": "535.00",
            "over_cap": "1645.00",
            "person_share": "2730.00",
        },
        id="medbench-80",
    ),
]
BALANCES = {"jian-minor-chronic-300": "1000.00", "sdk-1000-800-100-100": "100.00"}


@pytest.mark.parametrize(("facts", "claim", "occasion", "expected"), EXAMPLES)
def test_published_examples(facts, claim, occasion, expected, request):
    balance = BALANCES.get(request.node.callspec.id, "0.00")
    found = settle(claim, person(balance), {}, office(*facts, rest="fund"), occasion)
    assert in_yuan(found, *expected) == expected


# --- the edges of each rule ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("already", "charged"),
    [({}, "300.00"), ({DEDUCTED: 29_999}, "0.01"), ({DEDUCTED: 30_000}, "0.00"), ({DEDUCTED: 40_000}, "0.00")],
)
def test_a_yearly_deductible_is_charged_once(already, charged):
    found = settle(
        totals(scope="1000.00"), person(), already, office(deductible("300.00", "year"), share("0.50")), OUTPATIENT
    )
    assert in_yuan(found, "deductible") == {"deductible": charged}
    assert [entry for entry in found.entries if entry.key == DEDUCTED] == (
        [AccumulatorEntry(DEDUCTED, already.get(DEDUCTED, 0), fen(charged))] if fen(charged) else []
    )


def test_visit_types_named_together_share_deductible_and_cap():
    named = ', visit = ["outpatient", "pharmacy"]'
    book = office(deductible("300.00", "year") + named, share("0.50"), cap("100.00") + named)
    before = {deductible_key(VisitType.PHARMACY, 2026): 20_000, fund_key(VisitType.PHARMACY, 2026): 9_000}
    found = settle(totals(scope="1000.00"), person(), before, book, OUTPATIENT)
    assert in_yuan(found, "deductible", "fund_pay") == {"deductible": "100.00", "fund_pay": "10.00"}
    assert found.entries == (AccumulatorEntry(FUND, 0, 1_000), AccumulatorEntry(DEDUCTED, 0, 10_000))


def test_a_cap_for_all_visits_counts_them_all():
    before = {fund_key(VisitType.INPATIENT, 2026): 99_000, fund_key(VisitType.INPATIENT, 2025): 10**9}
    found = settle(totals(scope="100.00"), person(), before, office(share("0.50"), cap("1000.00")), OUTPATIENT)
    assert in_yuan(found, "fund_pay") == {"fund_pay": "10.00"}


@pytest.mark.parametrize(
    ("paid_before", "fund", "over"),
    [
        pytest.param("0.00", "80.00", "0.00", id="room for all"),
        pytest.param("920.00", "80.00", "0.00", id="exactly to the cap"),
        pytest.param("920.01", "79.99", "0.01", id="one fen of the fund is 1.25 fen of charges"),
        pytest.param("999.97", "0.03", "99.96", id="3.75 fen of charges still fit"),
        pytest.param("1000.00", "0.00", "100.00", id="nothing left"),
        pytest.param("2000.00", "0.00", "100.00", id="a cap lowered within the year"),
    ],
)
@pytest.mark.parametrize("rest", ["person", "fund"])
def test_what_is_over_the_cap_is_measured_in_charges(paid_before, fund, over, rest):
    before = {fund_key(VisitType.INPATIENT, 2026): fen(paid_before)}
    found = settle(totals(scope="100.00"), person(), before, office(share("0.80"), cap("1000.00"), rest=rest), STAY)
    assert in_yuan(found, "fund_pay", "over_cap") == {"fund_pay": fund, "over_cap": over}


def test_a_long_published_stay_reaches_the_cap_within_its_last_band():
    """Beijing: 91,759.51 left covers charges of 97,372.1753; 67,039.63 of the rest is over."""
    facts = (
        *BEIJING_BANDS,
        deductible("650.00", "stay"),
        'kind = "self_share_factor", factor = "0.60"',
        cap("91759.51"),
    )
    found = settle(totals(scope="164411.81"), person(), {}, office(*facts, rest="fund"), STAY)
    assert in_yuan(found, "fund_pay", "over_cap") == {"fund_pay": "91759.51", "over_cap": "67039.63"}


@pytest.mark.parametrize(
    ("amount", "over"),
    [pytest.param("0.01", "0.00", id="1.32 fen is paid as 1"), pytest.param("0.00", "0.04", id="none")],
)
def test_a_share_that_rounds_down_to_the_cap_is_not_over_it(amount, over):
    found = settle(totals(scope="0.04"), person(), {}, office(share("0.33"), cap(amount)), STAY)
    assert in_yuan(found, "fund_pay", "over_cap") == {"fund_pay": amount, "over_cap": over}


@pytest.mark.parametrize(("for_all", "for_one"), [("1000.00", "30.00"), ("30.00", "1000.00")])
def test_of_two_caps_the_tighter_one_holds(for_all, for_one):
    book = office(share("0.50"), cap(for_all), cap(for_one) + ', visit = "outpatient"')
    assert in_yuan(settle(totals(scope="100.00"), person(), {}, book, OUTPATIENT), "fund_pay") == {"fund_pay": "30.00"}


@pytest.mark.parametrize("occasion", [OUTPATIENT, PHARMACY])
def test_outpatient_results_leave_the_over_cap_field_empty(occasion):
    found = settle(totals(scope="100.00"), person(), {}, office(share("0.80"), cap("40.00")), occasion)
    assert in_yuan(found, "fund_pay", "self_pay", "over_cap") == {
        "fund_pay": "40.00",
        "self_pay": "60.00",
        "over_cap": "0.00",
    }
    assert [(step.rule, step.output_fen) for step in found.steps if step.rule == benefit.OVER_CAP] == [
        ("over-cap", 5_000)
    ]


@pytest.mark.parametrize(("rest", "fund"), [("person", "0.01"), ("fund", "0.00")])
def test_the_rest_of_a_rounded_share_goes_where_the_policy_says(rest, fund):
    found = settle(totals(scope="0.01"), person(), {}, office(share("0.50"), rest=rest), OUTPATIENT)
    assert in_yuan(found, "fund_pay") == {"fund_pay": fund}


@pytest.mark.parametrize(
    ("segments", "balance", "paid"),
    [
        (("in_scope", "pre_self_pay", "over_price_limit", "own_expense"), "1000.00", "65.00"),
        (("in_scope", "pre_self_pay", "over_price_limit", "own_expense"), "64.99", "64.99"),
        (("in_scope",), "1000.00", "52.00"),
        (("deductible",), "1000.00", "40.00"),
        (("own_expense", "pre_self_pay"), "1000.00", "12.00"),
        ((), "1000.00", "0.00"),
        (("in_scope",), "0.00", "0.00"),
    ],
)
def test_the_account_pays_what_it_may_as_far_as_it_goes(segments, balance, paid):
    book = office(deductible("40.00"), share("0.80"), account(*segments))
    found = settle(totals("10.00", "1.00", "2.00", "100.00"), person(balance), {}, book, OUTPATIENT)
    assert in_yuan(found, "person_share", "account_pay") == {"person_share": "65.00", "account_pay": paid}


def test_the_account_never_pays_more_than_the_person_owes():
    book = office(share("0.80"), account("in_scope"))
    found = settle(totals(pre="-0.01", scope="1.00"), person("9.00"), {}, book, OUTPATIENT)
    assert in_yuan(found, "person_share", "account_pay", "cash") == {
        "person_share": "0.19",
        "account_pay": "0.19",
        "cash": "0.00",
    }


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        pytest.param(totals(), {"fund_pay": "0.00", "person_share": "0.00"}, id="nothing"),
        pytest.param(totals(own="5.00"), {"fund_pay": "0.00", "person_share": "5.00"}, id="own expense only"),
        pytest.param(
            totals(own="5.00", pre="-0.01", scope="0.01"),
            {"fund_pay": "0.01", "pre_self_pay": "0.00", "own_pay": "4.99", "person_share": "4.99"},
            id="reversals left a first share of -1 fen",
        ),
        pytest.param(
            totals(own="5.00", scope="-0.01"),
            {"fund_pay": "0.00", "self_pay": "-0.01", "person_share": "4.99"},
            id="reversals left a scope of -1 fen: no fund moves",
        ),
    ],
)
def test_claims_with_little_in_them(claim, expected):
    book = office(share("0.80"), account("own_expense"))
    assert in_yuan(settle(claim, person(), {}, book, OUTPATIENT), *expected) == expected


def test_totals_below_zero_are_refused_with_their_numbers():
    with pytest.raises(NegativeTotals, match="-100 fen over 1 lines"):
        settle(totals(scope="-1.00"), person(), {}, office(share("0.80")), OUTPATIENT)


def test_totals_that_do_not_add_up_never_become_a_settlement():
    with pytest.raises(IdentityBroken, match=r"INV-19.*total_fen=101"):
        settle(totals(scope="1.00")._replace(total_fen=101), person(), {}, office(share("0.80")), OUTPATIENT)


def test_a_scheme_without_policy_is_refused():
    with pytest.raises(NoPolicyInForce, match=r"'pirate'.*2026-03-02"):
        settle(totals(), person(scheme="pirate"), {}, office(share("0.80")), OUTPATIENT)


def test_the_keys_to_read_are_those_settling_looks_at():
    asked = set()

    class Watched(dict):
        def get(self, key, default=None):
            asked.add(key)
            return default

    named = ', visit = ["outpatient", "pharmacy"]'
    book = office(deductible("300.00", "year") + named, share("0.50"), cap("9.00"), cap("5.00") + named)
    settle(totals(scope="1000.00"), person(), Watched(), book, OUTPATIENT)
    keys = accumulator_keys(person(), OUTPATIENT)
    assert asked <= set(keys)
    assert len(asked) > 2
    assert list(keys) == sorted(set(keys))
    assert "basic:3:fund:-:2026" in keys
    assert "basic:3:deductible:-:2026" in keys


# --- laws ---------------------------------------------------------------------------------------------------------

FEN = st.integers(0, 10**7)
RATIOS = st.integers(0, 10_000)


@st.composite
def offices(draw):
    borders = sorted(draw(st.sets(st.integers(1, 10**6), max_size=3)))
    edges = [0, *borders, None]
    facts = []
    for low, high in pairwise(edges):
        ratio = draw(RATIOS)
        facts.append(share(f"{ratio // 10_000}.{ratio % 10_000:04d}", yuan(low), None if high is None else yuan(high)))
    facts.append(deductible(yuan(draw(st.integers(0, 10**5))), draw(st.sampled_from(["visit", "stay", "year"]))))
    if draw(st.booleans()):
        facts.append(cap(yuan(draw(st.integers(0, 10**6)))))
    if draw(st.booleans()):
        factor = draw(RATIOS)
        facts.append(f'kind = "self_share_factor", factor = "{factor // 10_000}.{factor % 10_000:04d}"')
    segments = draw(st.sets(st.sampled_from(["own_expense", "over_price_limit", "pre_self_pay", "in_scope"])))
    facts.append(account(*sorted(segments)))
    return office(*facts, rest=draw(st.sampled_from(["fund", "person"])))


CLAIMS = st.builds(lambda *parts: LocalTotals(sum(parts), *parts, 1, b""), FEN, FEN, FEN, FEN)
PERSONS = st.builds(
    Person,
    scheme=st.sampled_from(["employee", "resident"]),
    category=st.sampled_from(["1", "2", "74"]),
    account_balance_fen=st.integers(0, 10**7),
)
OCCASIONS = st.builds(Occasion, st.sampled_from(VisitType), st.integers(0, 3), st.just(DAY))
USED = st.fixed_dictionaries({}, optional={key: st.integers(0, 10**6) for key in accumulator_keys(person(), STAY)})


SITUATIONS = st.tuples(PERSONS, USED, offices(), OCCASIONS)


@given(CLAIMS, PERSONS, USED, offices(), OCCASIONS)
def test_every_settlement_adds_up_and_explains_itself(claim, who, used, book, occasion):
    found = settle(claim, who, used, book, occasion)
    assert found.broken_identities() == []
    assert min(found.fund_pay_fen, found.self_pay_fen, found.over_cap_fen, found.cash_fen, found.deductible_fen) >= 0
    assert found.fund_pay_fen <= claim.in_scope_fen
    assert found.account_pay_fen <= who.account_balance_fen
    assert found.own_pay_fen + claim.in_scope_fen == claim.total_fen
    if occasion.visit_type in (VisitType.OUTPATIENT, VisitType.PHARMACY):
        assert found.over_cap_fen == 0

    for name, rules in FIELDS.items():
        explained = sum(step.output_fen for step in found.steps if step.rule in rules)
        if name == "self_pay_fen" and occasion.visit_type in benefit.WITHOUT_OVER_CAP:
            explained += sum(step.output_fen for step in found.steps if step.rule == benefit.OVER_CAP)
        if name != "over_cap_fen" or occasion.visit_type not in benefit.WITHOUT_OVER_CAP:
            assert getattr(found, name) == explained
    for step in found.steps:
        if step.rule == benefit.FUND_SHARE:
            assert abs(step.output_fen - Decimal(step.ratio) * step.input_fen) <= Decimal("0.5")
            assert step.source == "DOC"

    for entry in found.entries:
        assert entry.applied_fen != 0
        assert entry.before_fen == used.get(entry.key, 0)


@given(CLAIMS, st.integers(1, 10**5), SITUATIONS)
def test_more_in_scope_never_lowers_what_either_side_pays(claim, more, situation):
    dearer = claim._replace(total_fen=claim.total_fen + more, in_scope_fen=claim.in_scope_fen + more)
    before, after = settle(claim, *situation), settle(dearer, *situation)
    assert after.person_share_fen >= before.person_share_fen
    assert after.fund_pay_fen >= before.fund_pay_fen
    assert after.deductible_fen >= before.deductible_fen


@given(CLAIMS, PERSONS, USED, offices(), OCCASIONS)
def test_what_was_paid_before_never_makes_the_fund_pay_over_its_cap(claim, who, used, book, occasion):
    found = settle(claim, who, used, book, occasion)
    spent = sum(amount for key, amount in used.items() if ":fund:" in key)
    rules = book.rules_for(
        benefit.Case(who.scheme, who.category, who.civil_servant, occasion.visit_type, occasion.institution_level, DAY)
    )
    for limit in rules.caps:
        assert found.fund_pay_fen <= max(0, limit.amount_fen - spent)


LINES = st.lists(
    st.tuples(
        st.integers(1, 10**7),
        st.integers(1, 10**4),
        st.sampled_from("129"),
        st.integers(0, 10_000),
        st.none() | st.integers(0, 10**7),
    ),
    max_size=10,
)
GUANGZHOU, NANCHANG = (
    PolicyBook([parse((Path(__file__).parents[2] / "policies" / f"{name}.toml").read_text(encoding="utf-8"))])
    for name in ("guangzhou_2024", "nanchang_2025")
)


@given(LINES, st.integers(0, 10), st.sampled_from([GUANGZHOU, NANCHANG]), st.integers(0, 10**6), st.integers(0, 10**6))
def test_settling_local_totals_is_settling_all_lines(rows, cut, book, balance, used):
    """Split equals central: the sums of two front-ends' halves settle as the lines do, to the fen and the step."""
    lines = []
    for number, (price, quantity, coverage, ratio, limit) in enumerate(rows, 1):
        item = Matched("00", "C", coverage, ratio if coverage == "2" else 0, limit, "01")
        amount = amount_of(price, quantity)
        lines.append((ChargeLine(number, DAY, "L", "项目", 1, "", "", price, quantity, amount), item))
    halves = total_up(lines[:cut], b""), total_up(lines[cut:], b"")
    merged = LocalTotals(*(one + other for one, other in zip(*halves, strict=True)))

    parts = [
        split_line(line.line_amount_fen, line.unit_price_1e4, line.quantity_1e2, item) for line, item in reversed(lines)
    ]
    sums = [sum(column) for column in zip(*parts, strict=True)] if parts else [0] * 4
    central = LocalTotals(sum(line.line_amount_fen for line, _ in lines), *sums, len(lines), b"")

    who = Person(scheme="employee", category="2", account_balance_fen=balance)
    apart, at_once = (settle(each, who, {FUND: used}, book, OUTPATIENT) for each in (merged, central))
    assert apart == at_once
    assert apart.steps == at_once.steps


def test_a_settlement_knows_its_scheme():
    assert settle(totals(), person(scheme="resident"), {}, GUANGZHOU, OUTPATIENT).scheme == "resident"
