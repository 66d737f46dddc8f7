"""The permission data are the specification's own, and the statements made of them say the same."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import pytest

from producers.his.fields import layout
from producers.his.tables.objects import (
    TABLES,
    VIEWS,
    dressed_codes,
    grade_field,
    limited_use_fields,
)
from producers.his.tables.rights import FLOW_TWO_NEEDS, Action, Actor, right_of, rights

OURS = files("producers.his").joinpath("data/permissions.csv")


def printed() -> list[dict[str, str]]:
    return list(csv.DictReader(OURS.read_text(encoding="utf-8").splitlines()))


def test_the_data_are_a_copy_of_the_specifications():
    """Where the specification lies beside the repository, the copy is compared with it byte for byte."""
    assert len(printed()) == 2 * len((*TABLES, *VIEWS))
    for root in Path(__file__).resolve().parents:
        original = root / "shared" / "spec" / "exchange" / "permissions.csv"
        if original.exists():
            assert OURS.read_bytes() == original.read_bytes()


@pytest.mark.parametrize("row", printed(), ids=lambda row: f"{row['table']}-{row['system_en']}")
def test_a_right_says_what_its_line_says(row):
    right = right_of(row["table"], Actor(row["system_en"]))

    assert {action for action in Action if action in right.actions} == {
        action for action in Action if row[action] == "yes"
    }
    if (right.table, right.actor) not in FLOW_TWO_NEEDS:
        wanted = layout(right.table).codes if row["updatable_columns"] == "*" else row["updatable_columns"].split(";")
        assert list(right.columns) == [code for code in wanted if code]


def test_every_right_is_of_a_table_of_the_specification_and_its_columns():
    for right in rights():
        assert set(right.columns) <= set(layout(right.table).codes)
        assert bool(right.columns) == (Action.UPDATE in right.actions)


def test_the_grade_is_the_ninth_of_twenty_one_columns():
    for table in ("HIS_ZYDJ", "HIS_MZDJ"):
        codes = dressed_codes(table)
        assert len(codes) == 21
        assert codes[7:10] == ("RYLB", "GWYJB", "ZYH")
    assert grade_field().oracle_type == "VARCHAR2"


def test_the_side_table_of_limited_use_has_the_columns_the_product_writes():
    assert " ".join(field.code for field in limited_use_fields()) == (
        "JYDJH YYBH GMSFHM ZYH XMXH XMBH XMMC MCYL JE AKA185 BZ1 BZ2 BZ3 RANGE"
    )
