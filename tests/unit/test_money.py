"""Money is whole fen, read and written exactly, rounded half up away from zero, and shared without losing a fen."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import (
    MAX_FEN,
    NotAnAmount,
    amount_of,
    fen,
    half_up,
    portion,
    scaled,
    split,
    unscaled,
    yuan,
)

AMOUNTS = st.integers(-MAX_FEN, MAX_FEN)


@pytest.mark.parametrize(("text", "amount"), [("12.50", 1250), ("0.00", 0), ("-0.01", -1), ("9999999999.99", MAX_FEN)])
def test_yuan_texts_have_two_decimals(text, amount):
    assert fen(text) == amount
    assert yuan(amount) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.5",
        "1.500",
        "01.00",
        "+1.00",
        "1,000.00",
        ".50",
        "1.",
        "NaN",
        "1e2",
        " 1.00",
        "1.00\n",
        "１.００",
        "12345678901.00",
    ],
)
def test_other_texts_are_no_amounts(text):
    with pytest.raises(NotAnAmount):
        fen(text)


@given(AMOUNTS)
def test_an_amount_reads_as_it_was_written(amount):
    assert fen(yuan(amount)) == amount


@pytest.mark.parametrize(
    ("text", "scale", "value"),
    [("12.5", 10_000, 125_000), ("0.1234", 10_000, 1234), ("-3", 100, -300), ("2.50", 100, 250), ("1.2000", 10, 12)],
)
def test_scaled_numbers_are_read_exactly(text, scale, value):
    assert scaled(text, scale) == value


@pytest.mark.parametrize("text", ["0.12345", "1e3", "inf", "", "-", "1.", "--1"])
def test_numbers_with_too_many_decimals_are_refused(text):
    with pytest.raises(NotAnAmount):
        scaled(text, 10_000)


@given(st.integers(-(10**12), 10**12))
def test_a_scaled_number_reads_as_it_was_written(value):
    assert scaled(unscaled(value, 10_000), 10_000) == value


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(5, 10, 1), (4, 10, 0), (-5, 10, -1), (-4, 10, 0), (15, 10, 2), (25, 10, 3), (0, 7, 0)],
)
def test_halves_go_away_from_zero(numerator, denominator, rounded):
    assert half_up(numerator, denominator) == rounded


@given(st.integers(1, 10**9), st.integers(-(10**7), 10**7))
def test_an_amount_is_price_times_quantity_as_decimals_have_it(price, quantity):
    exact = Decimal(price) / 10_000 * Decimal(quantity) / 100
    assert amount_of(price, quantity) == int(exact.quantize(Decimal("0.01"), ROUND_HALF_UP) * 100)


@given(AMOUNTS, st.integers(0, 10_000))
def test_a_portion_of_a_reversal_mirrors_the_portion(amount, ratio):
    assert portion(-amount, ratio) == -portion(amount, ratio)


@given(AMOUNTS, st.lists(st.integers(0, 10**6), min_size=1, max_size=8).filter(any))
def test_the_parts_are_the_whole(amount, weights):
    parts = split(amount, weights)
    assert sum(parts) == amount
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)
    assert all(
        abs(part * sum(weights) - amount * weight) < sum(weights) for part, weight in zip(parts, weights, strict=True)
    )


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_nothing_is_shared_by_no_weights(weights):
    with pytest.raises(ValueError, match="weights"):
        split(100, weights)
