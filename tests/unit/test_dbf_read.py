"""Reading DBF files: what difficult records mean, and which files are refused."""

import gc
import struct
import weakref
from datetime import date
from decimal import Decimal, InvalidOperation, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.his import dbf
from producers.his.dbf import BadValue, CutText, Flaw
from producers.his.fields import Field, Layout, layout

AMOUNT = ("JE", b"N", 10, 2)
NAME = ("XM", b"C", 8, 0)
DAY = ("FYRQ", b"D", 8, 0)
PAID = ("OK", b"L", 1, 0)


def dbf_bytes(columns, *records, count=None, code_page=0x4D, version=0x03, end=b"\x1a", record_length=None):
    """Build a DBF file by hand; a record is its deletion flag and its cells, each already in full width."""
    descriptions = b"".join(
        struct.pack("<11sc4xBB14x", name.encode("gb18030"), kind, width, decimals)
        for name, kind, width, decimals in columns
    )
    length = record_length or 1 + sum(column[2] for column in columns)
    count = len(records) if count is None else count
    start = struct.pack("<B3sIHH17xB2x", version, bytes((125, 3, 1)), count, 33 + len(descriptions), length, code_page)
    return start + descriptions + b"\r" + b"".join(records) + end


def read_column(column, *cells):
    """Read one column of live records with these cells."""
    raw = dbf_bytes([column], *(b" " + cell for cell in cells))
    return dbf.parse(raw, "T.DBF").columns[column[0]]


# The trial sheet: the records on which the libraries differ. Most stand between two good neighbours.


@pytest.mark.parametrize(
    ("column", "cell", "meaning"),
    [
        pytest.param(AMOUNT, b"     12.34", Decimal("12.34"), id="a decimal, not a float"),
        pytest.param(AMOUNT, b"          ", None, id="a blank number is none, not zero"),
        pytest.param(AMOUNT, b"**********", BadValue(2, "JE", Flaw.OVERFLOW), id="stars mean overflow"),
        pytest.param(AMOUNT, b"  1,234.50", BadValue(2, "JE", Flaw.NOT_A_NUMBER), id="thousands separator"),
        pytest.param(AMOUNT, b"     12.34".replace(b" ", b"\0"), Decimal("12.34"), id="NUL pads a number"),
        pytest.param(AMOUNT, b"\0" * 10, None, id="a number of NULs is blank"),
        pytest.param(DAY, b"20250301", date(2025, 3, 1), id="a day"),
        pytest.param(DAY, b"        ", None, id="a blank day"),
        pytest.param(DAY, b"00000000", None, id="a day of zeros is blank"),
        pytest.param(DAY, b"20109931", BadValue(2, "FYRQ", Flaw.NOT_A_DATE), id="month 99"),
        pytest.param(NAME, "㛃𠮷".encode("gb18030"), "㛃𠮷", id="characters of four bytes"),
        pytest.param(NAME, b"\xd5\xc5\xc8\xfd\0\0\0\0", "张三", id="NUL pads a text"),
        pytest.param(NAME, b"ABC\xd5\xc5\xc8\xfd\xc4", "ABC张三", id="half a character is cut"),
    ],
)
def test_a_difficult_cell_means_what_it_says_and_leaves_its_neighbours_alone(column, cell, meaning):
    good = {"N": b"      1.00", "D": b"20250228", "C": b"ok      "}[column[1].decode()]
    before, found, after = read_column(column, good, cell, good)
    assert found == meaning
    assert type(found) is type(meaning)
    assert before == after
    assert before in (Decimal("1.00"), date(2025, 2, 28), "ok")


def test_a_cut_text_is_marked_with_its_record():
    raw = dbf_bytes([NAME], b" " + b"good    ", b" " + b"ABC\xd5\xc5\xc8\xfd\xc4")
    assert dbf.parse(raw, "T.DBF").cut_texts() == [CutText(2, "XM")]


def test_a_deleted_record_is_left_out_and_counted():
    table = dbf.parse(dbf_bytes([AMOUNT], b"       1.00", b"*      2.00", b"       3.00"), "T.DBF")
    assert table.columns["JE"] == [Decimal(1), Decimal(3)]
    assert list(table.records) == [1, 3]
    assert (len(table), table.deleted) == (2, 1)


def test_a_file_with_fewer_records_than_its_header_says_is_incomplete():
    raw = dbf_bytes([AMOUNT], b"       1.00", b"       2.00", count=3)
    with pytest.raises(dbf.IncompleteFile) as refused:
        dbf.parse(raw, "T.DBF")
    assert isinstance(refused.value, dbf.NotYet)
    assert "稍后重试" in refused.value.message_zh


def test_records_beyond_the_count_are_reported_but_not_read():
    table = dbf.parse(dbf_bytes([AMOUNT], b"       1.00", b"       2.00", count=1), "T.DBF")
    assert table.columns["JE"] == [Decimal(1)]
    assert table.surplus_bytes == 12  # a record and the end mark behind it


def test_an_amount_cut_in_the_middle_is_never_read():
    raw = dbf_bytes([AMOUNT], b"    1234.56", end=b"")
    for size in range(len(raw)):
        with pytest.raises(dbf.IncompleteFile):
            dbf.parse(raw[:size], "T.DBF")
    assert dbf.parse(raw, "T.DBF").columns["JE"] == [Decimal("1234.56")]


@pytest.mark.parametrize("code_page", [0x4D, 0x7A, 0x00])
def test_these_code_pages_mean_gb18030(code_page):
    raw = dbf_bytes([NAME], b" \xd5\xc5\xc8\xfd    ", code_page=code_page)
    assert dbf.parse(raw, "T.DBF").columns["XM"] == ["张三"]


def test_chinese_column_names_are_read():
    raw = dbf_bytes([("金额", b"N", 10, 2), ("姓名", b"C", 8, 0)], b"       1.50\xd5\xc5\xc8\xfd    ")
    assert list(dbf.parse(raw, "T.DBF").rows()) == [{"金额": Decimal("1.50"), "姓名": "张三"}]


# Cells, further.


@pytest.mark.parametrize(
    ("cell", "meaning"),
    [
        pytest.param(b"    -12.30", Decimal("-12.30"), id="negative"),
        pytest.param(b"12.3      ", Decimal("12.3"), id="at the left"),
        pytest.param(b"       +.5", Decimal("0.5"), id="no digit before the point"),
        pytest.param(b"        5.", Decimal(5), id="no digit behind the point"),
        pytest.param(b"1234567890", Decimal(1234567890), id="full width"),
        pytest.param(b"     1E+05", Flaw.NOT_A_NUMBER, id="an exponent has lost digits"),
        pytest.param(b"       NaN", Flaw.NOT_A_NUMBER, id="the name of a number"),
        pytest.param(b"     1_000", Flaw.NOT_A_NUMBER, id="an underscore"),
        pytest.param(b"     1 000", Flaw.NOT_A_NUMBER, id="a blank inside"),
        pytest.param(b"      1.-2", Flaw.NOT_A_NUMBER, id="a sign inside"),
        pytest.param(b"         .", Flaw.NOT_A_NUMBER, id="only a point"),
        pytest.param(b"    \xa3\xb1\xa3\xb2  ", Flaw.NOT_A_NUMBER, id="full-width digits"),
        pytest.param(b"\t     1.00", Flaw.NOT_A_NUMBER, id="a tabulator"),
    ],
)
def test_a_number_is_read_exactly_or_not_at_all(cell, meaning):
    (found,) = read_column(("JE", b"N", len(cell), 2), cell)
    assert found == (BadValue(1, "JE", meaning) if isinstance(meaning, Flaw) else meaning)


def test_a_number_longer_than_any_amount_stays_exact():
    digits = "123456789" * 10
    assert read_column(("JE", b"N", 90, 0), digits.encode()) == [Decimal(digits)]


def test_numbers_are_refused_whatever_the_callers_decimal_context():
    with localcontext() as context:
        context.traps[InvalidOperation] = False
        context.prec = 3
        assert read_column(AMOUNT, b"   1234.56", b"      1 23") == [
            Decimal("1234.56"),
            BadValue(2, "JE", Flaw.NOT_A_NUMBER),
        ]


def test_a_float_column_is_a_number_column():
    assert read_column(("JE", b"F", 10, 2), b"     12.34") == [Decimal("12.34")]


@pytest.mark.parametrize(
    ("cell", "flawed"),
    [
        pytest.param(b"2025W011", True, id="a week"),
        pytest.param(b"2025-3-1", True, id="dashes"),
        pytest.param(b"20250229", True, id="no leap year"),
        pytest.param(b"20240229", False, id="leap year"),
        pytest.param(b"202503  ", True, id="a month"),
        pytest.param(b"2025031 ", True, id="a digit short"),
        pytest.param(b"2025 3 1", True, id="blanks inside"),
    ],
)
def test_a_day_is_a_day_of_the_calendar(cell, flawed):
    (found,) = read_column(DAY, cell)
    assert isinstance(found, BadValue) is flawed


@pytest.mark.parametrize(
    ("cell", "meaning"),
    [
        *((cell, True) for cell in (b"T", b"t", b"Y", b"y")),
        *((cell, False) for cell in (b"F", b"f", b"N", b"n")),
        *((cell, None) for cell in (b" ", b"?", b"\0")),
        (b"1", BadValue(1, "OK", Flaw.NOT_LOGICAL)),
    ],
)
def test_logical_values(cell, meaning):
    assert read_column(PAID, cell) == [meaning]


@pytest.mark.parametrize(
    ("cell", "meaning"),
    [
        pytest.param(b"        ", "", id="a blank text is empty"),
        pytest.param(b"  A B   ", "  A B", id="only the blanks at the end are padding"),
        pytest.param(b"A\nB\r\x1a\t  ", "A\nB\r\x1a\t", id="control characters stay"),
        pytest.param(b"AB\xa1\xa1    ", "AB　", id="a full-width blank is text"),
        pytest.param(b"\xc4       ", "", id="half a character and padding"),
        pytest.param(b"A \xc4     ", "A", id="a blank before the half"),
        pytest.param(b"A\x81\x30\x81    ", "A", id="three quarters of a character"),
        pytest.param(b"A\xff      ", BadValue(1, "XM", Flaw.NOT_TEXT), id="no beginning of a character"),
        pytest.param(b"A\xffB     ", BadValue(1, "XM", Flaw.NOT_TEXT), id="wrong byte in the middle"),
        pytest.param(b"\xd5 \xc8\xfd    ", BadValue(1, "XM", Flaw.NOT_TEXT), id="half in the middle"),
    ],
)
def test_a_text_is_read_as_gb18030(cell, meaning):
    assert read_column(NAME, cell) == [meaning]


@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0 "), max_size=60),
    cut=st.integers(0),
)
def test_a_text_cut_anywhere_loses_at_most_its_last_character(text, cut):
    whole = text.encode("gb18030")
    kept = whole[: cut % (len(whole) + 1)] or b" "
    table = dbf.parse(dbf_bytes([("XM", b"C", len(kept), 0)], b" " + kept), "T.DBF")

    (found,) = table.texts("XM")
    assert isinstance(found, str)
    assert text.startswith(found)
    lost = len(kept.rstrip(b" ")) - len(found.encode("gb18030"))
    assert 0 <= lost <= 3
    assert bool(table.cut_texts()) is (lost > 0)


def test_one_odd_cell_does_not_change_how_the_others_are_read():
    cells = [f"{n:>10.2f}".encode() for n in range(500)]
    cells[250] = b"??????????"
    found = read_column(AMOUNT, *cells)
    assert found[250] == BadValue(251, "JE", Flaw.NOT_A_NUMBER)
    assert found[:250] + found[251:] == [Decimal(n) for n in range(500) if n != 250]


def test_bad_values_carry_the_number_the_record_has_in_the_file():
    table = dbf.parse(dbf_bytes([AMOUNT], b"*      1.00", b" **********", b" **********"), "T.DBF")
    assert table.bad_values() == [BadValue(2, "JE", Flaw.OVERFLOW), BadValue(3, "JE", Flaw.OVERFLOW)]


def test_a_message_says_where_and_why_but_not_what():
    raw = dbf_bytes([NAME, AMOUNT], b" " + b"Zhang\xff  " + b"13800138x ")
    messages = [bad.message_zh for bad in dbf.parse(raw, "T.DBF").bad_values()]
    assert messages == ["第1条记录字段XM：含有无法识别的汉字编码", "第1条记录字段JE：不是数值"]


# Columns and rows.


def test_a_column_nobody_asks_for_is_not_decoded():
    table = dbf.parse(dbf_bytes([AMOUNT, DAY], b"       1.0020250301"), "T.DBF")
    assert table.columns["JE"] is table.columns["JE"]
    assert list(table._decoded) == ["JE"]


def test_rows_hold_all_columns_or_those_named():
    table = dbf.parse(dbf_bytes([AMOUNT, DAY], b"       1.0020250301"), "T.DBF")
    assert list(table.rows()) == [{"JE": Decimal("1.00"), "FYRQ": date(2025, 3, 1)}]
    assert list(table.rows("FYRQ")) == [{"FYRQ": date(2025, 3, 1)}]


def test_equal_cells_are_one_object():
    cells = read_column(("JE", b"N", 10, 2), *[b"   1234.56", b"          ", b"****  ****"] * 2)
    assert cells[0] is cells[3]
    assert [type(cell) for cell in cells] == [Decimal, type(None), BadValue] * 2


def test_columns_are_a_mapping_in_the_order_of_the_file():
    table = dbf.parse(dbf_bytes([AMOUNT, DAY]), "T.DBF")
    assert dict(table.columns) == {"JE": [], "FYRQ": []}
    assert list(table.columns) == ["JE", "FYRQ"]
    assert "XM" not in table.columns


def test_a_file_without_records_is_complete():
    table = dbf.parse(dbf_bytes([AMOUNT], end=b""), "T.DBF")
    assert (len(table), table.deleted, table.surplus_bytes) == (0, 0, 0)


def test_lower_case_column_names_are_those_of_the_specification():
    assert dbf.parse(dbf_bytes([("je", b"N", 4, 2)], b" 1.00"), "T.DBF").numbers("JE") == [Decimal(1)]


def test_columns_are_asked_for_by_kind():
    table = dbf.parse(dbf_bytes([NAME, AMOUNT, DAY], b" A             1.0020250301"), "T.DBF")
    assert (table.texts("XM"), table.numbers("JE"), table.dates("FYRQ")) == (
        ["A"],
        [Decimal(1)],
        [date(2025, 3, 1)],
    )
    with pytest.raises(dbf.LayoutMismatch, match="JE"):
        table.texts("JE")
    with pytest.raises(dbf.LayoutMismatch, match="MCYL"):
        table.numbers("MCYL")


def test_a_layout_is_met_by_names_and_kinds_whatever_widths_and_order():
    wanted = Layout("T", (Field("XM", "C", 20), Field("JE", "N", 14, 2)))
    dbf.parse(dbf_bytes([AMOUNT, DAY, NAME]), "T.DBF").expect(wanted)
    with pytest.raises(dbf.LayoutMismatch) as refused:
        dbf.parse(dbf_bytes([("JE", b"C", 14, 0)]), "T.DBF").expect(wanted)
    assert refused.value.columns == ("XM", "JE")
    assert refused.value.message_zh == "T.DBF：字段缺少或与接口规定不符：XM、JE"


# Files.


@pytest.mark.parametrize(
    ("raw", "problem", "says"),
    [
        pytest.param(b"", dbf.IncompleteFile, "不完整", id="nothing written yet"),
        pytest.param(b"\x03\x7d\x03", dbf.IncompleteFile, "不完整", id="three bytes of a header"),
        pytest.param(b"PK\x03\x04 a zip archive", dbf.NotDbf, "不是DBF文件", id="another file"),
        pytest.param(dbf_bytes([NAME], version=0x30), dbf.UnsupportedVersion, "Visual FoxPro", id="FoxPro"),
        pytest.param(dbf_bytes([NAME], version=0x83), dbf.MemoRefused, "备注型", id="dBase III with memo"),
        pytest.param(dbf_bytes([NAME], version=0xF5), dbf.MemoRefused, "FoxPro 2", id="FoxPro with memo"),
        pytest.param(dbf_bytes([("BZ", b"M", 10, 0)]), dbf.MemoRefused, "字段BZ", id="memo column"),
        pytest.param(dbf_bytes([("SJ", b"T", 8, 0)]), dbf.UnsupportedKind, "字段SJ的类型'T'", id="moment"),
        pytest.param(dbf_bytes([NAME], code_page=0x78), dbf.UnsupportedCodePage, "Big5", id="Big5"),
        pytest.param(dbf_bytes([NAME], code_page=0x03), dbf.UnsupportedCodePage, "Windows-1252", id="Latin"),
        pytest.param(dbf_bytes([NAME], code_page=0x99), dbf.UnsupportedCodePage, "0x99", id="unknown page"),
        pytest.param(dbf_bytes([NAME, NAME]), dbf.DamagedFile, "字段XM重复", id="a column twice"),
        pytest.param(dbf_bytes([NAME], record_length=8), dbf.DamagedFile, "记录长度", id="widths do not add up"),
        pytest.param(dbf_bytes([("", b"C", 8, 0)]), dbf.DamagedFile, "名称", id="no name"),
        pytest.param(dbf_bytes([("XM", b"C", 0, 0)]), dbf.DamagedFile, "宽度", id="no width"),
        pytest.param(dbf_bytes([NAME]).replace(b"\r", b"\0"), dbf.DamagedFile, "字段表", id="endless header"),
        pytest.param(dbf_bytes([NAME]).replace(b"XM", b"\xff\xff"), dbf.DamagedFile, "字段名", id="name no text"),
        pytest.param(dbf_bytes([NAME], b"#" * 9), dbf.DamagedFile, "第1条", id="unknown deletion flag"),
        pytest.param(dbf_bytes([NAME], b"\0" * 9), dbf.IncompleteFile, "不完整", id="reserved, not written"),
    ],
)
def test_what_is_not_our_format_is_refused_by_name(raw, problem, says):
    with pytest.raises(problem) as refused:
        dbf.parse(raw, "T.DBF")
    assert type(refused.value) is problem
    assert refused.value.message_zh.startswith("T.DBF：")
    assert says in refused.value.message_zh


def test_a_message_names_the_file_without_its_folder(tmp_path):
    path = tmp_path / "MZXM0301.DBF"
    path.write_bytes(b"no table")
    with pytest.raises(dbf.NotDbf) as refused:
        dbf.read(path)
    assert refused.value.message_zh == "MZXM0301.DBF：不是DBF文件"
    assert str(tmp_path) not in str(refused.value)


def test_the_header_tells_code_page_and_day_of_change():
    header = dbf.parse(dbf_bytes([NAME], code_page=0x7A), "T.DBF").header
    assert (header.code_page, header.updated) == (0x7A, date(2025, 3, 1))


@given(st.data())
def test_no_change_of_a_byte_makes_the_reader_stumble(data):
    columns = [(field.code, field.kind.encode(), field.width, field.decimals) for field in layout("MZXM")]
    blank = b" " * sum(column[2] for column in columns)
    raw = bytearray(dbf_bytes(columns, b" " + blank, b" " + blank))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        table = dbf.parse(bytes(raw), "T.DBF")
    except dbf.DbfProblem:
        return
    assert len(list(table.rows())) == len(table)


def test_a_table_is_gone_with_its_last_reader():
    """A front-end's collector runs seldom, and a busy hospital's files are megabytes that are read every second."""
    table = dbf.parse(dbf_bytes([AMOUNT, DAY], b"       1.0020250301"), "T.DBF")
    assert [list(row) for row in table.rows()] == [["JE", "FYRQ"]]
    gone = weakref.ref(table)
    gc.disable()
    try:
        del table
        assert gone() is None
    finally:
        gc.enable()
