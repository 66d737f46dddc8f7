"""Reading catalogue files: xlsx and CSV, every error at once with its sheet, row, column and reason."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from center.catalogue.files import UnreadableFile, read_items, read_matches, sheets
from domain.catalogue import OPEN_END
from tests.support.catalogue import (
    ITEM_HEADINGS,
    ITEM_ROWS,
    MATCH_HEADINGS,
    match_rows,
    write_csv,
    write_workbook,
)

CODE = "990100001"


def items(file):
    return read_items(sheets(file))


def items_of(tmp_path, *rows):
    return items(write_csv(tmp_path / "items.csv", ITEM_HEADINGS, rows))


def item(**change):
    """A good row with some cells changed, by heading."""
    row = dict(zip(ITEM_HEADINGS, ITEM_ROWS[1], strict=True)) | change
    return [row[heading] for heading in ITEM_HEADINGS]


def problems(reading):
    return [(problem.row, problem.column) for problem in reading.problems]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_csv_file_in_the_encodings_offices_use(tmp_path, encoding):
    reading = items(write_csv(tmp_path / "items.csv", ITEM_HEADINGS, ITEM_ROWS, encoding))
    assert reading.problems == []
    first, second, third, fourth = (record for _, record in reading.records)
    assert (first.item_code, first.match_type, first.coverage_class, first.expiry_date) == ("W001", "1", "1", OPEN_END)
    assert (second.pre_self_pay_ratio_1e4, second.price_limit_1e4) == (1000, 205_000)
    assert (third.pre_self_pay_ratio_1e4, third.effective_date) == (500, date(2025, 1, 1))
    assert third.expiry_date == date(2027, 12, 31)
    assert (fourth.match_type, fourth.price_limit_1e4) == ("0", None)


def test_a_workbook_with_numbers_and_days_as_cells_and_a_sheet_of_notes(tmp_path):
    rows = [[1, 1001, "头孢克洛胶囊", "胶囊剂", 2, 2, 0.1, 12.35, datetime(2025, 1, 1), ""]]
    ((row, record),) = items(write_workbook(tmp_path / "items.xlsx", ITEM_HEADINGS, rows)).records
    assert (row, record.item_code, record.match_type, record.stat_category) == (2, "1001", "1", "2")
    assert (record.pre_self_pay_ratio_1e4, record.price_limit_1e4) == (1000, 123_500)
    assert record.effective_date == date(2025, 1, 1)


def test_headings_in_every_dress_and_columns_nobody_knows(tmp_path):
    headings = ["MEDI_CODE", "item_name", "MATCH_TYPE", "STAPLE_FLAG", "stat_category", "EFFECT_DATE*", "备注"]
    file = write_csv(tmp_path / "items.csv", headings, [["W1", "甲药", "1", "1", "2", "2025-01-01", "x"]])
    reading = items(file)
    assert reading.problems == []
    assert reading.unknown_columns == ["CSV：备注"]


@pytest.mark.parametrize(
    ("change", "column", "words"),
    [
        pytest.param({"药品编码": ""}, "药品编码", "不能为空", id="no code"),
        pytest.param({"药品编码": "X" * 21}, "药品编码", "20 个字节", id="a code too long"),
        pytest.param({"药品编码": "W 1"}, "药品编码", "空格", id="a code with a blank"),
        pytest.param({"匹配类型": "5"}, "项目药品类型", "只能填", id="a type nobody knows"),
        pytest.param({"甲乙标志": "3"}, "甲乙标志", "只能填", id="a class nobody knows"),
        pytest.param({"自负比例": "10"}, "自负比例", "0.1", id="ten is not ten percent"),
        pytest.param({"自负比例": ""}, "自负比例", "08", id="class B without its ratio"),
        pytest.param({"甲乙标志": "1"}, "自负比例", "甲类", id="class A with a ratio"),
        pytest.param({"限价": "0"}, "限价", "大于 0", id="a price limit of nothing"),
        pytest.param({"限价": "1.23456"}, "限价", "四位小数", id="five decimals"),
        pytest.param({"生效日期": "2025-02-30"}, "生效日期", "日期", id="no day of the calendar"),
        pytest.param({"失效日期": "2024-01-01"}, "失效日期", "早于", id="it ends before it begins"),
        pytest.param({"统计类别": "西药费"}, "统计类别", "数字", id="words for a category"),
        pytest.param({"药品名称": "a\nb"}, "药品名称", "不能显示", id="a line break"),
    ],
)
def test_what_is_wrong_with_a_cell(tmp_path, change, column, words):
    reading = items_of(tmp_path, ITEM_ROWS[0], item(**change))
    (problem,) = reading.problems
    assert (problem.sheet, problem.column) == ("CSV", column)
    assert words in problem.reason
    assert problem.row >= 3


def test_all_errors_come_at_once(tmp_path):
    reading = items_of(tmp_path, item(药品编码="", 甲乙标志="x"), ITEM_ROWS[0], item(自负比例="2", 生效日期="soon"))
    assert problems(reading) == [
        (2, "药品编码"), (2, "甲乙标志"), (4, "自负比例"), (4, "生效日期"),
    ]  # fmt: skip
    assert len(reading.records) == 1


def test_two_records_of_one_key_must_not_hold_on_the_same_day(tmp_path):
    ended = item(失效日期="2025-12-31")
    follows = item(生效日期="2026-01-01", 自负比例="0.2")
    assert items_of(tmp_path, ended, follows).problems == []
    (problem,) = items_of(tmp_path, ended, item(生效日期="2025-12-31")).problems
    assert "第 2 行" in problem.reason


def test_a_missing_column_is_said_once_and_a_file_without_any_is_refused(tmp_path):
    reading = items(write_csv(tmp_path / "a.csv", ITEM_HEADINGS[:4], [row[:4] for row in ITEM_ROWS]))
    assert {problem.column for problem in reading.problems} == {"甲乙标志", "统计类别", "生效日期"}
    with pytest.raises(UnreadableFile, match="编码既不是"):
        broken = tmp_path / "b.csv"
        broken.write_bytes(b"\xff\xff\xff")
        items(broken)
    with pytest.raises(UnreadableFile, match="电子表格"):
        fake = tmp_path / "c.xlsx"
        fake.write_bytes(b"nothing")
        items(fake)


def test_limits_by_level_and_ratios_by_group(tmp_path):
    headings = [*ITEM_HEADINGS, "分级限价", "分人群自负比例", "待遇分组"]
    ((_, record),) = items(
        write_csv(tmp_path / "a.csv", headings, [[*item(), "3=120.5；2=100", "2=0.05;71=0.2", "nego"]])
    ).records
    assert record.level_limits == ((2, 1_000_000), (3, 1_205_000))
    assert record.group_ratios == (("2", 500), ("71", 2000))
    assert record.benefit_group == "nego"
    (problem,) = items(write_csv(tmp_path / "b.csv", headings, [[*item(), "三级120", "", ""]])).problems
    assert problem.column == "分级限价"


def test_matches(tmp_path):
    reading = read_matches(sheets(write_csv(tmp_path / "m.csv", MATCH_HEADINGS, match_rows(CODE))))
    assert reading.problems == []
    first, second, third = (match for _, match in reading.records)
    assert (first.local_item_code, first.centre_item_code, first.coverage_class) == ("A1", "W001", "")
    assert (first.effective_date, first.local_unit_price_1e4, first.audited) == (date.min, 86_000, False)
    assert (second.coverage_class, second.effective_date) == ("2", date(2025, 3, 1))
    assert third.expiry_date == date(2026, 12, 31)


def test_a_local_code_that_could_never_be_charged_is_refused(tmp_path):
    row = list(match_rows(CODE)[0])
    long = [*row[:1], "A" * 16, *row[2:]]
    (problem,) = read_matches(sheets(write_csv(tmp_path / "m.csv", MATCH_HEADINGS, [long]))).problems
    assert (problem.column, "15 个字节" in problem.reason) == ("医院目录编码", True)


def test_a_file_of_one_institution_needs_no_column_for_it(tmp_path):
    rows = [row[1:] for row in match_rows(CODE)]
    file = write_csv(tmp_path / "m.csv", MATCH_HEADINGS[1:], rows)
    assert {match.institution_code for _, match in read_matches(sheets(file), institution_code=CODE).records} == {CODE}
    assert problems(read_matches(sheets(file))) == [(1, "医药机构编码")]
