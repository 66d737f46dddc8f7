"""The check value: true for what was stated under the key, false for anything else, and read back from paper."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain import check_value
from domain.check_value import NotACode, Stated
from domain.money import MAX_FEN

KEY = bytes(range(32))
STATED = Stated(
    "360100000001", "H00001260302A001", 1, 7, datetime(2026, 3, 9, 15, 4, 5), 1050_00, 815_00, 60_00, 175_00
)
amounts = st.integers(-MAX_FEN, MAX_FEN)
stated = st.builds(
    Stated,
    st.from_regex(r"[0-9A-Z]{1,18}", fullmatch=True),
    st.from_regex(r"[0-9A-Z]{1,16}", fullmatch=True),
    st.integers(0, 9999),
    st.integers(1, 2**63 - 1),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
    amounts, amounts, amounts, amounts,
)  # fmt: skip


@given(stated)
def test_what_is_written_is_read_back_and_true(what):
    read, value = check_value.read(check_value.written(what, KEY))
    assert read == what
    assert check_value.is_true(read, value, KEY)


@given(stated, stated)
def test_nothing_else_has_the_same_value(one, other):
    assume(one != other)
    assert not check_value.is_true(other, check_value.check_value(one, KEY), KEY)


@given(stated, st.binary(min_size=32, max_size=32))
def test_another_key_has_another_value(what, key):
    assume(key != KEY)
    assert not check_value.is_true(what, check_value.check_value(what, KEY), key)


def test_it_reads_what_a_person_typed():
    line = check_value.written(STATED, KEY)
    typed = f" {line[:20].lower()} \n{line[20:]} "
    assert check_value.read(typed) == check_value.read(line)


def test_it_fits_a_qr_code_of_letters_and_figures():
    assert set(check_value.written(STATED, KEY)) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "不是结算单二维码"),
        ("https://example.com", "不是结算单二维码"),
        (check_value.written(STATED, KEY)[:-1], "不是结算单二维码"),
        (check_value.written(STATED, KEY) + "0", "不是结算单二维码"),
        (check_value.written(STATED, KEY).replace("JS1", "JS2"), "不是结算单二维码"),
        (check_value.written(STATED, KEY).replace("1050.00", "1050.0"), "不是结算单二维码"),
        (check_value.written(STATED, KEY).replace("20260309", "20260231"), "不是有效的日期"),
    ],
)
def test_what_is_no_line_of_a_statement_is_refused(line, words):
    with pytest.raises(NotACode, match=words):
        check_value.read(line)
