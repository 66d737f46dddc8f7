"""The columns our code works with are those the specification prints, in its order."""

import csv
from collections import defaultdict
from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from producers.api.visit_wire import DISCHARGE_IN, REGISTRATION_IN
from producers.api.wire import LineIn
from producers.his import fields
from producers.his.fields import FILES, UnknownTable, layout
from producers.settled import AmountsOut

COLUMNS_PRINTED = {
    **{"RYDJ": 20, "CFXM": 20, "FYJS": 22, "CYDJ": 15, "MZDJ": 20, "MZXM": 20, "MZJS": 22},
    **{"HIS_ZYDJ": 20, "HIS_CFXM": 20, "HIS_FYJS": 22, "HIS_CYDJ": 15},
    **{"HIS_MZDJ": 20, "HIS_MZXM": 20, "HIS_MZJS": 22},
    **{"VIEW_MEDI": 21, "VIEW_ITEM": 16, "VIEW_MATCH": 11},
}
TABLE_OF_FILE = {name: f"HIS_{'ZYDJ' if name == 'RYDJ' else name}" for name in FILES}
DATA = Path(fields.__file__).with_name("data")
SPECIFICATION = {
    "fields.csv": "d61236007a61ec7fdd2d2e7dd46dadac2cd205a4da2e4126091f8c6f2bccda68",
    "tables.csv": "69a7a039db9c1b9b9f5e36b4ea92d96e1bc09ebd4017c2a2d3a741899de3f9e1",
}
"""The digests of the specification's own lists: ours are copies, and nobody mends a copy."""


@pytest.fixture(scope="module")
def printed() -> dict[str, list[dict[str, str]]]:
    tables = defaultdict(list)
    with (DATA / "fields.csv").open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            tables[row["table"]].append(row)
    return dict(tables)


@pytest.mark.parametrize("name", SPECIFICATION)
def test_the_lists_are_those_of_the_specification(name):
    assert sha256((DATA / name).read_bytes()).hexdigest() == SPECIFICATION[name]


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


def test_every_file_has_its_shared_table_and_the_table_its_file():
    assert {name: layout(name).counterpart for name in FILES} == TABLE_OF_FILE
    assert {layout(table).counterpart: table for table in TABLE_OF_FILE.values()} == TABLE_OF_FILE


@pytest.fixture(scope="module")
def national() -> dict[str, dict[str, str]]:
    """The fields of the national platform that have a counterpart here, with label, type, length and interfaces."""
    with (DATA / "national_fields.csv").open(encoding="utf-8", newline="") as rows:
        return {row["field"]: row for row in csv.DictReader(rows)}


def test_every_national_name_is_one_of_the_national_platform_and_none_is_listed_in_vain(national):
    named = {name for table in COLUMNS_PRINTED for field in layout(table) for name in field.national}
    assert named == national.keys()
    assert all(row["label_zh"] and row["interfaces"] for row in national.values())


NATIONAL_KIND = {"数值型": "N", "日期型": "D", "日期时间型": "D", "字符型": "C"}
KEPT_AS_TEXT = {
    "charge_batch_no": "a number here, a text of digits there",
    "line_no": "a number here, a text of digits there",
    "charge_category": "a code that the source document makes a number",
    "special_treatment_approval_no": "a number here, a text of digits there",
    "item_serial_no": "a number here",
}


@pytest.mark.parametrize("table", COLUMNS_PRINTED)
def test_a_national_field_is_of_the_same_kind(national, table):
    for field in layout(table):
        for name in field.national:
            if field.identifier not in KEPT_AS_TEXT:
                assert NATIONAL_KIND[national[name]["type"]] == field.kind, (field.code, name)


def test_a_sum_of_national_fields_is_named_as_one():
    assert layout("FYJS")["GRZFJE1"].national == ("fulamt_ownpay_amt", "overlmt_selfpay", "preselfpay_amt")
    assert layout("FYJS")["GRZFJE2"].national == ()


def test_words_for_people_may_be_shortened_and_codes_may_not():
    lines = layout("CFXM")
    assert {field.code for field in lines if field.kind == "C" and field.is_free_text} == {
        "XMMC",
        "YPGG",
        "YPJX",
        "BZ2",
    }
    assert {field.identifier for table in FILES for field in layout(table)} >= fields.FREE_TEXTS


# The API says the same fields once more, with its own words: here the two are held together.


def api_fields(adapter):
    """Every field of a document of the API: its description, and the longest text it takes."""
    schema = adapter.json_schema()
    for name, said in schema["properties"].items():
        texts = [said, *said.get("anyOf", ())]
        yield name, said.get("description", ""), next((one["maxLength"] for one in texts if "maxLength" in one), None)


API_ONLY = {"visit_no", "conditions", "settlement_no", "cash_amount"}
"""A visit number may be left out there; conditions and cash are no columns of the exchange."""


@pytest.mark.parametrize(
    ("adapter", "table"),
    [
        pytest.param(REGISTRATION_IN, "MZDJ", id="registration"),
        pytest.param(TypeAdapter(LineIn), "MZXM", id="line"),
        pytest.param(TypeAdapter(AmountsOut), "MZJS", id="amounts"),
        pytest.param(DISCHARGE_IN, "CYDJ", id="discharge"),
    ],
)
def test_the_api_calls_a_field_by_its_identifier_and_takes_as_much_as_its_column(adapter, table):
    columns = {field.identifier: field for field in layout(table)}
    for name, words, longest in api_fields(adapter):
        if name in API_ONLY:
            continue
        field = columns[name]
        assert not words or field.code in words, (name, words)
        assert longest is None or longest == field.width, name
