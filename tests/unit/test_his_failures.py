"""The error list: every code of every line with its words, the same for people and for the HIS, and no person in it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import dbfread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from domain.codes import CODES, WARNINGS
from domain.visit import ChargeLine
from infra.clock import SHANGHAI
from producers.his import dbf, failures
from producers.his.failures import Failure

DAY = date(2026, 3, 2)
LINE = ChargeLine(7, DAY, "A1", "阿莫西林胶囊", 2, "", "", 125000, 200, 2501)


def failure(**change):
    given = {
        "institution_code": "990100001", "visit_no": "V1", "codes": ("06", "14"), "line": LINE,
        "source": "CFXM0302.DBF", "record": 3, "found_at": datetime(2026, 3, 2, 9, 30, 5, tzinfo=SHANGHAI),
    }  # fmt: skip
    return Failure(**given | change)


def sheet(path, name=failures.SHEET):
    return [[cell.value for cell in row] for row in load_workbook(path)[name].iter_rows()]


def test_both_lists_say_where_why_and_what_to_do(tmp_path):
    workbook, table = failures.write_lists(tmp_path, [failure()], day=DAY)

    head, row = sheet(workbook)
    told = dict(zip(head, row, strict=True))
    assert told["就医登记号"] == "V1"
    assert (told["项目序号"], told["项目编号"], told["项目名称"]) == (7, "A1", "阿莫西林胶囊")
    assert (told["单价"], told["数量"], told["金额"]) == (12.5, 2, 25.01)
    assert told["错误代码"] == "06 14"
    assert CODES["06"].message_zh in told["错误原因"]
    assert CODES["14"].message_zh in told["错误原因"]
    assert CODES["06"].advice_zh in told["处理办法"]
    assert (told["来源"], told["记录号"], told["发现时间"]) == ("CFXM0302.DBF", 3, "2026-03-02 09:30:05")

    [row] = dbf.read(table).rows()
    assert (row["JYDJH"], row["XMXH"], row["JE"], row["CWDM"]) == ("V1", 7, Decimal("25.01"), "06 14")
    assert row["CWYY"] == told["错误原因"]
    assert [found["CWDM"] for found in dbfread.DBF(table, encoding="gb18030")] == ["06 14"]


def test_the_workbook_explains_every_code_there_is(tmp_path):
    path = tmp_path / "list.xlsx"
    failures.save_workbook(path, [])
    assert [row[0] for row in sheet(path, failures.CODE_SHEET)[1:]] == [*CODES, *WARNINGS]


def test_a_list_takes_the_place_of_the_one_before(tmp_path):
    failures.write_lists(tmp_path, [failure()] * 3, day=DAY)
    workbook, table = failures.write_lists(tmp_path, [], day=DAY)
    assert (len(sheet(workbook)), len(dbf.read(table))) == (1, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CWQD0302.DBF", "CWQD0302.xlsx"]


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "@a", "-1"])
def test_a_name_that_looks_like_a_formula_is_text(tmp_path, name):
    path = tmp_path / "list.xlsx"
    failures.save_workbook(path, [failure(line=LINE._replace(local_item_name=name))])
    [cell] = [row[5] for row in load_workbook(path)[failures.SHEET].iter_rows(min_row=2)]
    assert (cell.value, cell.data_type) == (name, "s")


def test_what_could_not_be_read_leaves_its_cell_empty(tmp_path):
    unread = ChargeLine(None, None, "", "", None, "", "", None, None, None, "", "96")
    workbook, table = failures.write_lists(tmp_path, [failure(line=unread, codes=("96",), record=None)], day=DAY)
    assert dict(zip(*sheet(workbook), strict=True))["金额"] is None
    [row] = dbf.read(table).rows()
    assert (row["JE"], row["FYRQ"], row["JLH"]) == (None, None, None)


def test_many_codes_are_shortened_at_a_whole_character_and_never_refused(tmp_path):
    _, table = failures.write_lists(tmp_path, [failure(codes=tuple(CODES))], day=DAY)
    [row] = dbf.read(table).rows()
    assert row["CWYY"].encode("gb18030") == row["CWYY"].encode("gb18030", "strict")
    assert row["CWDM"].startswith("00 01 02")


LINES = st.builds(
    ChargeLine,
    st.none() | st.integers(-(10**6), 10**6),
    st.none() | st.dates(),
    st.text(max_size=40),
    st.text(max_size=80),
    st.none() | st.integers(0, 2000),
    st.just(""),
    st.just(""),
    *[st.none() | st.integers(-(10**15), 10**15)] * 3,
)


@given(line=LINES, visit_no=st.text(max_size=40), source=st.text(max_size=40))
@settings(deadline=None, max_examples=60)
def test_no_row_is_too_odd_to_be_listed(tmp_path_factory, line, visit_no, source):
    folder = tmp_path_factory.mktemp("lists")
    given = [failure(line=line, visit_no=visit_no, source=source), failure()]
    workbook, table = failures.write_lists(folder, given, day=DAY)
    assert len(sheet(workbook)) == 3
    assert len(dbf.read(table)) == 2
