"""The line split, and local totals that are enough to settle from."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalogue import Matched
from domain.money import amount_of
from domain.totals import PLAIN, GroupTotal, LineRules, LineSplit, LocalTotals, digest_of, split_line, total_up
from domain.visit import ChargeLine, pack_lines

A = Matched("00", "C1", "1", 0, None, "01")
B = Matched("00", "C2", "2", 1000, None, "01")
OWN = Matched("00", "C3", "9", 0, None, "01")

PRICES = st.integers(1, 10**8)
QUANTITIES = st.integers(-(10**5), 10**5).filter(bool)
MATCHES = st.builds(
    lambda kind, ratio, limit: Matched("00", "C", kind, ratio if kind == "2" else 0, limit, "01"),
    st.sampled_from("129"),
    st.integers(0, 10_000),
    st.none() | st.integers(0, 10**8),
)


@st.composite
def lines_with_items(draw):
    rows = draw(st.lists(st.tuples(PRICES, QUANTITIES, MATCHES), max_size=12))
    return [
        (ChargeLine(n, date(2026, 3, 2), f"L{n}", "项目", 1, "", "", price, quantity, amount_of(price, quantity)), item)
        for n, (price, quantity, item) in enumerate(rows, 1)
    ]


@pytest.mark.parametrize(
    ("price", "quantity", "matched", "parts"),
    [
        pytest.param(100_000, 300, A, (0, 0, 0, 3000), id="class A is in scope"),
        pytest.param(100_000, 300, B, (0, 0, 300, 2700), id="class B leaves its first share to the person"),
        pytest.param(100_000, 300, OWN, (3000, 0, 0, 0), id="class 9 is the person's own"),
        pytest.param(100_000, 300, A._replace(price_limit_1e4=80_000), (0, 600, 0, 2400), id="over the price limit"),
        pytest.param(100_000, 300, A._replace(price_limit_1e4=100_000), (0, 0, 0, 3000), id="at the price limit"),
        pytest.param(100_000, 300, B._replace(price_limit_1e4=80_000), (0, 600, 240, 2160), id="the limit comes first"),
        pytest.param(100_000, 300, OWN._replace(price_limit_1e4=80_000), (2400, 600, 0, 0), id="a limit on class 9"),
        pytest.param(500, 100, B, (0, 0, 1, 4), id="half a fen goes away from zero"),
    ],
)
def test_a_line_is_split_by_limit_class_and_ratio(price, quantity, matched, parts):
    assert split_line(amount_of(price, quantity), price, quantity, matched) == LineSplit(*parts)


@given(PRICES, QUANTITIES, MATCHES)
def test_the_four_parts_are_the_line(price, quantity, matched):
    amount = amount_of(price, quantity)
    parts = split_line(amount, price, quantity, matched)
    assert sum(parts) == amount
    assert all(part * amount >= 0 for part in parts)


@given(PRICES, QUANTITIES, MATCHES)
def test_a_reversal_mirrors_its_original_to_the_fen(price, quantity, matched):
    amount = amount_of(price, quantity)
    back = split_line(-amount, price, -quantity, matched)
    assert back == tuple(-part for part in split_line(amount, price, quantity, matched))


@given(lines_with_items())
def test_totals_add_up(rows):
    packed = pack_lines([line for line, _ in rows])
    totals = total_up(rows, packed)
    assert totals.adds_up
    assert totals.total_fen == sum(line.line_amount_fen for line, _ in rows)
    assert (totals.line_count, totals.digest) == (len(rows), digest_of(packed))


@given(lines_with_items(), st.integers(0, 12), st.randoms(use_true_random=False))
def test_totals_of_parts_in_any_order_are_the_totals_of_the_whole(rows, cut, random):
    shuffled = random.sample(rows, len(rows))
    first, second = total_up(shuffled[:cut], b""), total_up(shuffled[cut:], b"")
    together = tuple(a + b for a, b in zip(first[:6], second[:6], strict=True))
    assert together == total_up(rows, b"")[:6]


@pytest.mark.parametrize(
    ("rules", "parts"),
    [
        pytest.param(LineRules(), (0, 2000, 800, 7200), id="limit first, over-limit apart"),
        pytest.param(LineRules(over_limit_is_own=True), (2000, 0, 800, 7200), id="over-limit inside own expense"),
        pytest.param(LineRules(limit_first=False), (0, 2000, 1000, 7000), id="pre-self-pay of the whole line"),
        pytest.param(LineRules(ratios={"": 500}), (0, 2000, 400, 7600), id="the policy's ratio"),
        pytest.param(LineRules(ratios={"drug": 500}), (0, 2000, 400, 7600), id="the policy's ratio of a group"),
        pytest.param(LineRules(ratios={"fee": 500}), (0, 2000, 800, 7200), id="of another group"),
    ],
)
def test_the_policy_says_how_a_line_is_split(rules, parts):
    matched = Matched("00", "C2", "2", 1000, 800_000, "01", "drug")
    assert split_line(10_000, 1_000_000, 100, matched, rules) == LineSplit(*parts)
    assert split_line(-10_000, 1_000_000, -100, matched, rules) == LineSplit(*(-part for part in parts))


def test_a_ratio_on_the_whole_line_never_takes_more_than_the_price_limit_leaves():
    matched = Matched("00", "C2", "2", 9000, 100_000, "01")
    assert split_line(10_000, 1_000_000, 100, matched, LineRules(limit_first=False)) == LineSplit(0, 9000, 1000, 0)


def test_lines_kept_to_four_digits_are_rounded_in_the_sum():
    """Three times 0.0333 are 0.0999: ten fen where each line is kept to four digits, nine where to two."""
    matched = Matched("00", "C2", "2", 1000, None, "01")
    row = ChargeLine(1, date(2026, 3, 2), "L", "项目", 1, "", "", 3333, 100, 33)
    rows = [(row, matched)] * 3
    assert total_up(rows, b"").pre_self_pay_fen == 9
    assert total_up(rows, b"", LineRules(digits=4)).pre_self_pay_fen == 10


def test_the_groups_the_policy_names_are_added_up_apart():
    row = ChargeLine(1, date(2026, 3, 2), "L", "项目", 1, "", "", 1_000_000, 100, 10_000)
    rows = [(row, Matched("00", "C", "2", 1000, None, "01", group)) for group in ("fee", "drug", "", "drug")]
    found = total_up(rows, b"", LineRules(groups=frozenset({"drug", "bed"})))
    assert found.groups == (GroupTotal("drug", 20_000, 0, 0, 2_000, 18_000),)
    assert total_up(rows, b"").groups == ()


def test_totals_off_by_one_fen_do_not_add_up():
    assert not LocalTotals(100, 10, 0, 0, 89, 1, b"").adds_up


def test_the_digest_knows_one_character():
    assert digest_of(b"a") != digest_of(b"b")
    assert len(digest_of(b"")) == 16


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(PLAIN, 1000, id="nothing is known of the person"),
        pytest.param(LineRules(person_groups=("1", "employee")), 1000, id="of no group the catalogue names"),
        pytest.param(LineRules(person_groups=("2", "employee")), 500, id="the person's category"),
        pytest.param(LineRules(person_groups=("70", "resident")), 2000, id="the person's scheme"),
        pytest.param(LineRules(person_groups=("2", "resident")), 500, id="the category before the scheme"),
        pytest.param(LineRules(person_groups=("2", "employee"), ratios={"": 800}), 800, id="the policy before all"),
        pytest.param(LineRules(person_groups=("2",), ratios={"drug": 800}), 500, id="the policy of another group"),
    ],
)
def test_the_catalogue_may_ask_less_of_a_group_of_persons(rules, expected):
    matched = B._replace(group_ratios=(("2", 500), ("resident", 2000)))
    assert rules.ratio_of(matched) == expected
    assert rules.ratio_of(B) == rules.ratios.get("", 1000), "old catalogues know no groups"
