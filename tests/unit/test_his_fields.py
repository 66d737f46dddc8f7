"""The columns our code works with are those the specification prints, in its order."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from producers.his import fields
from producers.his.fields import FILES, UnknownTable, layout

COLUMNS_PRINTED = {
    **{"RYDJ": 20, "CFXM": 20, "FYJS": 22, "CYDJ": 15, "MZDJ": 20, "MZXM": 20, "MZJS": 22},
    **{"HIS_ZYDJ": 20, "HIS_CFXM": 20, "HIS_FYJS": 22, "HIS_CYDJ": 15},
    **{"HIS_MZDJ": 20, "HIS_MZXM": 20, "HIS_MZJS": 22},
    **{"VIEW_MEDI": 21, "VIEW_ITEM": 16, "VIEW_MATCH": 11},
}
TABLE_OF_FILE = {name: f"HIS_{'ZYDJ' if name == 'RYDJ' else name}" for name in FILES}


@pytest.fixture(scope="module")
def printed() -> dict[str, list[dict[str, str]]]:
    tables = defaultdict(list)
    source = Path(fields.__file__).with_name("data") / "fields.csv"
    with source.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            tables[row["table"]].append(row)
    return dict(tables)


def test_every_printed_object_is_there_with_all_its_columns(printed):
    assert {table: len(rows) for table, rows in printed.items()} == COLUMNS_PRINTED
    assert {table: len(layout(table)) for table in printed} == COLUMNS_PRINTED


@pytest.mark.parametrize("table", COLUMNS_PRINTED)
def test_order_and_names_are_the_printed_ones(printed, table):
    rows = printed[table]
    assert [int(row["ordinal"]) for row in rows] == list(range(1, len(rows) + 1))
    assert layout(table).codes == tuple(row["code"] for row in rows)
    assert layout(table).identifiers == {row["code"]: row["identifier"] for row in rows}
    assert [field.label_zh for field in layout(table)] == [row["label_zh"] for row in rows]
    assert [field.required for field in layout(table)] == [row["required"] == "yes" for row in rows]


@pytest.mark.parametrize("table", COLUMNS_PRINTED)
def test_a_column_has_one_name_of_its_own(table):
    identifiers = [field.identifier for field in layout(table)]
    assert all(name.isidentifier() for name in identifiers)
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("file", FILES)
def test_a_file_and_its_shared_table_have_the_same_columns(file):
    ours, table = layout(file), layout(TABLE_OF_FILE[file])
    assert [field.shape for field in ours] == [field.shape for field in table]


@pytest.mark.parametrize("file", FILES)
def test_a_file_column_name_fits_into_a_dbf_header(file):
    assert all(len(code.encode("gb18030")) <= 10 for code in layout(file).codes)


@pytest.mark.parametrize(
    ("table", "code", "kind", "width", "decimals"),
    [
        pytest.param("MZXM", "JYDJH", "C", 16, 0, id="VARCHAR2(16): bytes"),
        pytest.param("RYDJ", "DWMC", "C", 70, 0, id="VARCHAR2(70)"),
        pytest.param("MZXM", "XMXH", "N", 5, 0, id="NUMBER(5): digits only"),
        pytest.param("MZXM", "JG", "N", 14, 4, id="NUMBER(12,4): room for sign and point"),
        pytest.param("MZXM", "MCYL", "N", 10, 2, id="NUMBER(8,2)"),
        pytest.param("MZJS", "ZYZJE", "N", 14, 2, id="NUMBER(12,2)"),
        pytest.param("MZXM", "FYRQ", "D", 8, 0, id="DATE"),
    ],
)
def test_oracle_types_become_dbf_types(table, code, kind, width, decimals):
    field = layout(table)[code]
    assert (field.kind, field.width, field.decimals) == (kind, width, decimals)


def test_counters_and_codes_have_no_sign_but_amounts_and_quantities_do():
    lines = layout("CFXM")
    assert not lines["XMXH"].is_signed
    assert not lines["DRBZ"].is_signed
    assert lines["MCYL"].is_signed
    assert lines["JE"].is_signed


def test_code_lists_come_with_their_meaning():
    assert layout("CFXM")["DRBZ"].code_values == (("0", "未读入"), ("1", "成功"), ("2", "失败"))
    assert dict(layout("RYDJ")["RYLB"].code_values)["4"] == "1－4级工残"


def test_drug_origin_stays_behind_the_read_in_flag():
    assert layout("MZXM").codes[-2:] == ("DRBZ", "YPLY")


def test_an_unknown_table_is_named():
    with pytest.raises(UnknownTable, match="'MZXX'"):
        layout("MZXX")


def test_an_unknown_column_is_not_found():
    with pytest.raises(KeyError, match="JEE"):
        layout("MZXM")["JEE"]
