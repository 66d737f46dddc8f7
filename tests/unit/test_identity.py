"""Identity numbers: the kept form, what may stand in GMSFHM, and numbers that are seen to be made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric

from domain.identity import (
    check_character,
    is_citizen_id,
    is_person_no,
    is_substitute_no,
    is_synthetic,
    substitute_no,
    synthetic_citizen_id,
    written,
)

SERIALS = st.integers(0, 25_000 * 1_000 * 10_000 - 1)


@given(st.from_regex(r"[0-9]{17}", fullmatch=True))
def test_the_check_character_is_that_of_the_standard(digits):
    assert check_character(digits) == ric.calc_check_digit(digits + "0")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("99000019491231002x", "99000019491231002X"),
        (" 990000194912310020 ", "990000194912310020"),
        ("990000491231002", "99000019491231002" + check_character("99000019491231002")),
        ("", ""),
        ("abc", "ABC"),
    ],
)
def test_numbers_are_kept_in_one_form(text, kept):
    assert written(text) == kept


@given(SERIALS)
def test_one_wrong_character_is_found(serial):
    number = synthetic_citizen_id(serial)
    for place, character in enumerate(number):
        wrong = "1" if character != "1" else "2"
        assert not is_citizen_id(number[:place] + wrong + number[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "99000019491231002",
        "9900001949123100200",
        "99000019490231002" + check_character("99000019490231002"),
        "99000000001231002" + check_character("99000000001231002"),
        "９90000194912310020",
        synthetic_citizen_id(1) + "\n",
    ],
)
def test_what_is_no_citizen_number(text):
    assert not is_citizen_id(text)
    assert not is_person_no(text)


@given(SERIALS)
def test_a_synthetic_number_is_valid_in_form_and_seen_to_be_synthetic(serial):
    number = synthetic_citizen_id(serial)
    assert is_citizen_id(number)
    assert is_synthetic(number)
    assert written(number) == number


def test_every_serial_has_its_own_number():
    assert len({synthetic_citizen_id(serial) for serial in range(60_000)}) == 60_000


@pytest.mark.parametrize("serial", [-1, 25_000 * 1_000 * 10_000])
def test_serials_past_the_last_are_refused(serial):
    with pytest.raises(ValueError, match="serial"):
        synthetic_citizen_id(serial)


@given(st.integers(0, 10**16 - 1))
def test_a_substitute_number_stands_where_a_citizen_number_would(serial):
    number = substitute_no(serial)
    assert len(number) == 18
    assert is_substitute_no(number)
    assert is_person_no(number)
    assert not is_citizen_id(number)
    assert written(number.lower()) == number


def test_a_mistyped_substitute_number_is_found():
    number = substitute_no(42)
    assert not is_substitute_no(number[:5] + "9" + number[6:])


@pytest.mark.parametrize("serial", [-1, 10**16])
def test_substitute_numbers_have_sixteen_digits(serial):
    with pytest.raises(ValueError, match="serial"):
        substitute_no(serial)
