"""Writing DBF files: exact or refused, complete or absent, and readable by everybody else's software."""

import os
import stat
import threading
from datetime import date, datetime
from decimal import Decimal

import dbf as dbf_library
import dbfread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.his import dbf
from producers.his.dbf import Misfit
from producers.his.fields import FILES, Field, Layout, layout

TODAY = date(2025, 3, 1)
PRICES = Layout("T", (Field("JE", "N", 8, 2),))
NAMES = Layout("T", (Field("XM", "C", 4),))
COUNTS = Layout("T", (Field("XMXH", "N", 5, digits=5),))
AMOUNTS = Layout("T", (Field("JE", "N", 14, 2, digits=12),))
DAYS = Layout("T", (Field("FYRQ", "D", 8),))
FLAGS = Layout("T", (Field("OK", "L", 1),))


def ordinary_row(table, number):
    """Make a row in which every column of the table has an ordinary value."""
    ordinary = {
        "C": lambda field: dbf.shorten(f"{number}张三李四", field.width),
        "N": lambda field: Decimal(number * 101 + 7).scaleb(-field.decimals) if field.decimals else number % 7 + 1,
        "D": lambda field: date(2025, 3, number % 28 + 1),
    }
    return {field.code: ordinary[field.kind](field) for field in layout(table)}


@pytest.mark.parametrize(
    ("columns", "value", "misfit"),
    [
        pytest.param(PRICES, Decimal("1.005"), Misfit.SCALE, id="half a fen is not rounded away"),
        pytest.param(PRICES, Decimal("123456.00"), Misfit.OVERFLOW, id="nine characters for eight"),
        pytest.param(PRICES, Decimal("-12345.00"), Misfit.OVERFLOW, id="the sign needs its place"),
        pytest.param(PRICES, Decimal("1E+50"), Misfit.OVERFLOW, id="larger than any amount"),
        pytest.param(PRICES, Decimal("NaN"), Misfit.OVERFLOW, id="not a number"),
        pytest.param(PRICES, Decimal("sNaN"), Misfit.OVERFLOW, id="not a number, and says so loudly"),
        pytest.param(PRICES, Decimal("Infinity"), Misfit.OVERFLOW, id="infinite"),
        pytest.param(PRICES, 1.5, Misfit.KIND, id="a binary fraction"),
        pytest.param(PRICES, True, Misfit.KIND, id="a truth is no number"),
        pytest.param(PRICES, "1.50", Misfit.KIND, id="a text is no number"),
        pytest.param(AMOUNTS, Decimal("10000000000.00"), Misfit.OVERFLOW, id="eleven digits in NUMBER(12,2)"),
        pytest.param(COUNTS, 100_000, Misfit.OVERFLOW, id="line number beyond five digits"),
        pytest.param(COUNTS, -1, Misfit.SIGN, id="a counter is not negative"),
        pytest.param(COUNTS, Decimal("1.5"), Misfit.SCALE, id="a counter is whole"),
        pytest.param(NAMES, "张三李", Misfit.LENGTH, id="six bytes for four"),
        pytest.param(NAMES, "𠮷a", Misfit.LENGTH, id="a character of four bytes and one more"),
        pytest.param(NAMES, "a\0b", Misfit.ENCODING, id="NUL would be read as padding"),
        pytest.param(NAMES, "\ud800", Misfit.ENCODING, id="half a surrogate pair"),
        pytest.param(NAMES, 12, Misfit.KIND, id="a number is no text"),
        pytest.param(NAMES, ["张"], Misfit.KIND, id="a list is no text"),
        pytest.param(DAYS, datetime(2025, 3, 1, 12), Misfit.KIND, id="a moment is no day"),
        pytest.param(DAYS, "20250301", Misfit.KIND, id="a text is no day"),
        pytest.param(FLAGS, 1, Misfit.KIND, id="a number is no truth"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_record_and_column(tmp_path, columns, value, misfit):
    path = tmp_path / "T.DBF"
    (code,) = columns.codes
    with pytest.raises(dbf.DoesNotFit) as refused:
        dbf.write(path, columns, [{code: None}, {code: value}], day=TODAY)
    assert (refused.value.record, refused.value.column, refused.value.misfit) == (2, code, misfit)
    assert refused.value.message_zh == f"T.DBF：第2条记录字段{code}：{misfit.value}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "value", "written"),
    [
        pytest.param(PRICES, Decimal("1.5"), b"    1.50", id="decimals are filled up"),
        pytest.param(PRICES, Decimal("1.5000"), b"    1.50", id="zeros beyond the scale are no loss"),
        pytest.param(PRICES, 3, b"    3.00", id="whole"),
        pytest.param(PRICES, Decimal("-0.00"), b"    0.00", id="zero has no sign"),
        pytest.param(PRICES, Decimal("-9999.99"), b"-9999.99", id="full width"),
        pytest.param(PRICES, Decimal("1E+3"), b" 1000.00", id="no exponent"),
        pytest.param(PRICES, None, b"        ", id="no number"),
        pytest.param(AMOUNTS, Decimal("-9999999999.99"), b"-9999999999.99", id="largest of NUMBER(12,2)"),
        pytest.param(AMOUNTS, Decimal("0.00"), b"          0.00", id="zero"),
        pytest.param(COUNTS, 99_999, b"99999", id="last line number"),
        pytest.param(NAMES, "张三", b"\xd5\xc5\xc8\xfd", id="four bytes"),
        pytest.param(NAMES, "𠮷", "𠮷".encode("gb18030"), id="four bytes for one character"),
        pytest.param(NAMES, None, b"    ", id="no text"),
        pytest.param(DAYS, date(999, 3, 1), b"09990301", id="a day long ago"),
        pytest.param(DAYS, None, b"        ", id="no day"),
        pytest.param(FLAGS, True, b"T", id="true"),
        pytest.param(FLAGS, False, b"F", id="false"),
        pytest.param(FLAGS, None, b" ", id="neither"),
    ],
)
def test_a_value_is_written_exactly(tmp_path, columns, value, written):
    path = tmp_path / "T.DBF"
    dbf.write(path, columns, [{columns.codes[0]: value}], day=TODAY)
    assert path.read_bytes()[33 + 32 :] == b" " + written + b"\x1a"


def test_equal_values_of_other_kinds_do_not_pass_for_numbers(tmp_path):
    rows = [{"JE": 1}, {"JE": Decimal(1)}, {"JE": True}]
    with pytest.raises(dbf.DoesNotFit) as refused:
        dbf.write(tmp_path / "T.DBF", PRICES, rows, day=TODAY)
    assert (refused.value.record, refused.value.misfit) == (3, Misfit.KIND)


def test_whole_numbers_and_decimals_may_stand_in_one_column(tmp_path):
    path = tmp_path / "T.DBF"
    dbf.write(path, PRICES, [{"JE": 1}, {"JE": Decimal("1.00")}, {}], day=TODAY)
    assert dbf.read(path).numbers("JE") == [Decimal(1), Decimal(1), None]


def test_a_refusal_does_not_tell_the_person(tmp_path):
    path = tmp_path / "T.DBF"
    with pytest.raises(dbf.DoesNotFit) as refused:
        dbf.write(path, NAMES, [{"XM": "欧阳某某"}], day=TODAY)
    told = str(refused.value) + refused.value.message_zh
    assert "欧阳" not in told
    assert str(tmp_path) not in told


def test_a_column_the_file_does_not_have_is_refused(tmp_path):
    with pytest.raises(dbf.UnknownColumn, match="record 2 names") as refused:
        dbf.write(tmp_path / "T.DBF", PRICES, [{"JE": 1}, {"JEE": 1}], day=TODAY)
    assert refused.value.message_zh == "T.DBF：第2条记录含有文件中没有的字段：JEE"
    assert list(tmp_path.iterdir()) == []


def test_a_column_name_longer_than_a_header_holds_is_our_own_mistake(tmp_path):
    with pytest.raises(ValueError, match="at most 10 bytes"):
        dbf.write(tmp_path / "T.DBF", layout("VIEW_MEDI"), [], day=TODAY)


# What others see.


def test_the_header_is_that_of_dbase_iii_with_the_chinese_code_page(tmp_path):
    path = tmp_path / "MZXM0301.DBF"
    dbf.write(path, layout("MZXM"), [ordinary_row("MZXM", 1)] * 2, day=TODAY)
    raw = path.read_bytes()
    assert raw[0] == 0x03
    assert raw[1:4] == bytes((125, 3, 1))  # years since 1900
    assert int.from_bytes(raw[4:8], "little") == 2
    assert int.from_bytes(raw[8:10], "little") == 32 + 20 * 32 + 1
    assert int.from_bytes(raw[10:12], "little") == 308
    assert raw[12:29] + raw[30:32] == bytes(19)
    assert raw[29] == 0x4D
    assert raw[32:43] == b"JYDJH\0\0\0\0\0\0"
    assert raw[43:44] == b"C"
    assert raw[48] == 16
    assert raw[672:673] == b"\r"
    assert len(raw) == 673 + 2 * 308 + 1
    assert raw[-1:] == b"\x1a"


@pytest.mark.parametrize("table", FILES)
def test_our_file_is_byte_for_byte_the_one_dbf_writes(tmp_path, table):
    rows = [ordinary_row(table, number) for number in range(1, 30)] + [{"JYDJH": "1"}]
    ours, theirs = tmp_path / "OURS.DBF", tmp_path / "THEIRS.DBF"
    write_with_dbf(theirs, layout(table), rows)
    raw = theirs.read_bytes()
    dbf.write(ours, layout(table), rows, day=date(1900 + raw[1], raw[2], raw[3]))
    assert ours.read_bytes() == raw


@pytest.mark.parametrize("table", FILES)
def test_dbfread_and_dbf_read_what_we_write(tmp_path, table):
    path = tmp_path / f"{table}0301.DBF"
    rows = [ordinary_row(table, number) for number in range(1, 30)]
    dbf.write(path, layout(table), rows, day=TODAY)

    assert [
        {code: exact(value) for code, value in row.items()}
        for row in dbfread.DBF(path, encoding="gb18030", char_decode_errors="strict")
    ] == rows
    with dbf_library.Table(str(path)) as found:
        assert [{code: exact(record[code]) for code in layout(table).codes} for record in found] == rows


@pytest.mark.parametrize("table", FILES)
def test_we_read_what_dbf_writes(tmp_path, table):
    path = tmp_path / f"{table}0301.DBF"
    rows = [ordinary_row(table, number) for number in range(1, 30)]
    write_with_dbf(path, layout(table), rows)
    found = dbf.read(path)
    found.expect(layout(table))
    assert list(found.rows()) == rows
    assert (found.deleted, found.surplus_bytes) == (0, 0)


def write_with_dbf(path, columns, rows):
    sizes = {"C": "({0.width})", "N": "({0.width},{0.decimals})", "D": ""}
    specification = "; ".join(f"{field.code} {field.kind}{sizes[field.kind].format(field)}" for field in columns)
    with dbf_library.Table(str(path), specification, codepage="cp936", dbf_type="db3") as table:
        for row in rows:
            table.append({code.lower(): value for code, value in row.items()})


def exact(value):
    """Undo what the libraries do to numbers and padding."""
    match value:
        case float():
            return Decimal(str(value))
        case str():
            return value.rstrip(" ")
        case _:
            return value


# A file appears complete, and never in the place of another one.


def test_a_file_that_is_there_is_not_replaced(tmp_path):
    path = tmp_path / "T.DBF"
    dbf.write(path, PRICES, [{"JE": 1}], day=TODAY)
    before = path.read_bytes()
    with pytest.raises(dbf.FileExists):
        dbf.write(path, PRICES, [{"JE": 2}], day=TODAY)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_hospital_may_read_what_we_write_as_the_umask_says(tmp_path):
    path = tmp_path / "T.DBF"
    mask = os.umask(0o002)
    try:
        dbf.write(path, PRICES, [], day=TODAY)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_a_missing_folder_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        dbf.append(tmp_path / "missing" / "T.DBF", PRICES, [], day=TODAY)


# Adding to the file of the day.


def test_appending_begins_the_file_and_then_adds_to_it(tmp_path):
    path, at_once = tmp_path / "T.DBF", tmp_path / "ONCE.DBF"
    rows = [{"JE": Decimal(number)} for number in range(5)]
    assert dbf.append(path, PRICES, rows[:2], day=date(2025, 2, 28)) == 1
    assert dbf.append(path, PRICES, rows[2:], day=TODAY) == 3
    assert dbf.append(path, PRICES, [], day=TODAY) == 6

    dbf.write(at_once, PRICES, rows, day=TODAY)
    assert path.read_bytes() == at_once.read_bytes()


def test_a_misfit_is_counted_from_the_records_that_are_there(tmp_path):
    path = tmp_path / "T.DBF"
    dbf.write(path, PRICES, [{"JE": 1}] * 3, day=TODAY)
    before = path.read_bytes()
    with pytest.raises(dbf.DoesNotFit) as refused:
        dbf.append(path, PRICES, [{"JE": 1}, {"JE": Decimal("0.001")}], day=TODAY)
    assert refused.value.record == 5
    assert path.read_bytes() == before


def test_records_of_an_append_that_was_cut_short_are_overwritten(tmp_path):
    path, at_once = tmp_path / "T.DBF", tmp_path / "ONCE.DBF"
    dbf.write(path, PRICES, [{"JE": 1}], day=TODAY)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"     7.00" * 20)  # power went before the count was changed
    assert dbf.read(path).numbers("JE") == [Decimal(1)]

    dbf.append(path, PRICES, [{"JE": 2}], day=TODAY)
    dbf.write(at_once, PRICES, [{"JE": 1}, {"JE": 2}], day=TODAY)
    assert path.read_bytes() == at_once.read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Layout("T", (Field("JE", "N", 10, 2),)), id="another width"),
        pytest.param(Layout("T", (Field("JE", "N", 8, 1),)), id="another scale"),
        pytest.param(Layout("T", (Field("JG", "N", 8, 2),)), id="another name"),
        pytest.param(Layout("T", (*PRICES, *NAMES)), id="one more column"),
        pytest.param(Layout("T", ()), id="one column less"),
    ],
)
def test_records_are_added_only_to_a_file_of_the_same_columns(tmp_path, other):
    path = tmp_path / "T.DBF"
    dbf.write(path, PRICES, [{"JE": 1}], day=TODAY)
    before = path.read_bytes()
    with pytest.raises(dbf.LayoutMismatch):
        dbf.append(path, other, [], day=TODAY)
    assert path.read_bytes() == before


def test_nothing_is_added_to_a_torn_file(tmp_path):
    path = tmp_path / "T.DBF"
    dbf.write(path, PRICES, [{"JE": 1}] * 3, day=TODAY)
    os.truncate(path, path.stat().st_size - 4)
    with pytest.raises(dbf.IncompleteFile):
        dbf.append(path, PRICES, [{"JE": 2}], day=TODAY)


def test_writers_at_the_same_time_lose_no_record(tmp_path):
    path = tmp_path / "T.DBF"
    together = threading.Barrier(6)
    failures = []

    def add(writer):
        together.wait()
        try:
            for number in range(5):
                dbf.append(path, COUNTS, [{"XMXH": writer * 100 + number}] * 3, day=TODAY)
        except Exception as failure:
            failures.append(failure)

    writers = [threading.Thread(target=add, args=(writer,)) for writer in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert sorted(dbf.read(path).numbers("XMXH")) == sorted(
        Decimal(writer * 100 + number) for writer in range(6) for number in range(5) for _ in range(3)
    )


# Free text.


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])), width=st.integers(0, 40))
@settings(max_examples=300)
def test_a_shortened_text_keeps_as_many_whole_characters_as_fit(text, width):
    short = dbf.shorten(text, width)
    assert text.startswith(short)
    assert len(short.encode("gb18030")) <= width
    assert short == text or len(text[: len(short) + 1].encode("gb18030")) > width
