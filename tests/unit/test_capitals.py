"""Amounts in capitals (大写金额): the examples of the regulation, and every amount reads back as itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.money import capitals

DIGITS = {digit: value for value, digit in enumerate("零壹贰叁肆伍陆柒捌玖")}
UNITS = {"拾": 10, "佰": 100, "仟": 1000}


@pytest.mark.parametrize(
    ("fen", "words"),
    [
        pytest.param(123_45, "壹佰贰拾叁元肆角伍分", id="all of it"),
        pytest.param(1409_50, "壹仟肆佰零玖元伍角整", id="a zero between"),
        pytest.param(6007_14, "陆仟零柒元壹角肆分", id="two zeros between are one"),
        pytest.param(1680_32, "壹仟陆佰捌拾元叁角贰分", id="no zero before a tenth"),
        pytest.param(107_000_53, "壹拾万柒仟元伍角叁分", id="no zero before a thousand"),
        pytest.param(16_409_02, "壹万陆仟肆佰零玖元零贰分", id="a zero for a tenth"),
        pytest.param(325_04, "叁佰贰拾伍元零肆分", id="a zero for a tenth, again"),
        pytest.param(10_00, "壹拾元整", id="ten says one"),
        pytest.param(0, "零元整", id="nothing"),
        pytest.param(5, "伍分", id="no yuan"),
        pytest.param(50, "伍角整", id="no yuan, a tenth"),
        pytest.param(100_000_000_00, "壹亿元整", id="a hundred million"),
        pytest.param(100_010_000_00, "壹亿零壹万元整", id="a group with zeros in front"),
        pytest.param(100_000_001_00, "壹亿零壹元整", id="a group that is zero"),
        pytest.param(10_000_000_00, "壹仟万元整", id="ten million"),
        pytest.param(1_000_500_00, "壹佰万零伍佰元整", id="a zero after a group"),
        pytest.param(171_239_20, "壹拾柒万壹仟贰佰叁拾玖元贰角整", id="a hospital's month"),
        pytest.param(-60_01, "负陆拾元零壹分", id="negative"),
        pytest.param(999_999_999_999, "玖拾玖亿玖仟玖佰玖拾玖万玖仟玖佰玖拾玖元玖角玖分", id="the largest amount"),
    ],
)
def test_an_amount_in_capitals(fen, words):
    assert capitals(fen) == words


@given(st.integers(min_value=-(10**18) + 1, max_value=10**18 - 1))
@example(10**17)
@example(1_0000_0000_0000_00)
@example(1_0001_0001_0001_01)
@example(-(10**18) + 1)
def test_capitals_read_back_as_the_amount(fen):
    assert _read(capitals(fen)) == fen


@given(st.integers(min_value=0, max_value=10**14))
def test_capitals_are_closed_and_zeros_never_meet(fen):
    words = capitals(fen)

    assert words.endswith(("整", "分"))
    assert "零零" not in words
    assert not re.search("零[元万亿角分]", words.removeprefix("零元"))


def test_what_nobody_writes_is_refused():
    with pytest.raises(ValueError, match="capitals"):
        capitals(10**18)


def _read(words: str) -> int:
    """The amount in fen, read by place values and without a look at how it was written."""
    sign = -1 if words.startswith("负") else 1
    found = re.fullmatch(r"(?:(.+)元)?零?(?:(.)角)?零?(?:(.)分)?整?", words.removeprefix("负"))
    assert found is not None, words
    yuan, tenths, hundredths = found.groups()
    return sign * (_whole(yuan or "") * 100 + DIGITS[tenths or "零"] * 10 + DIGITS[hundredths or "零"])


def _whole(words: str) -> int:
    for unit, value in (("亿", 10**8), ("万", 10**4)):
        high, found, low = words.rpartition(unit)
        if found:
            return _whole(high) * value + _whole(low)
    total, digit = 0, 0
    for character in words:
        if character in UNITS:
            total += digit * UNITS[character]
            digit = 0
        else:
            digit = DIGITS[character]
    return total + digit
