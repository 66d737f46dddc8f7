"""The rows of the three views, column by column as the field table says, and the same as files (AMB-58)."""

from __future__ import annotations

import csv
import sys
from datetime import date

import pytest
from sqlalchemy import insert, update

from center.catalogue.files import ITEM_COLUMNS, MATCH_COLUMNS
from city import cli
from domain.catalogue import OPEN_END, CatalogueItem, Match
from domain.catalogue_records import ItemRecord, item_row, match_row, medi_row, record_of
from infra.publication import assembled, in_parts
from infra.reference import catalogue_row
from producers.his.fields import layout
from tests.support.frontend import HOSPITAL, new_frontend
from workers.tables import reference, reference_part

DRUG = record_of(
    CatalogueItem("W001", "阿莫西林胶囊" * 9, "1", "2", "2", 1000, None, date(2025, 1, 1), OPEN_END),
    dosage_form="胶囊剂",
)
SERVICE = record_of(CatalogueItem("T001", "诊查费", "0", "1", "18", None, None, date(2025, 1, 1), date(2026, 12, 31)))
MATCH = Match(HOSPITAL, "A1", "1", "W001", "", "2", True, date(2025, 1, 1), OPEN_END, "本院阿莫西林", "胶囊", "0.25g")


@pytest.mark.parametrize(
    ("view", "row"),
    [("VIEW_MEDI", medi_row(DRUG)), ("VIEW_ITEM", item_row(SERVICE)), ("VIEW_MATCH", match_row(MATCH, DRUG))],
)
def test_every_column_in_its_order_and_nothing_too_wide(view, row):
    columns = layout(view)
    assert tuple(row) == columns.codes
    for field in columns:
        value = row[field.code]
        if field.kind == "C":
            assert isinstance(value, str)
            assert len(value.encode("gb18030")) <= field.width


def test_files_are_read_by_the_labels_and_codes_of_the_field_table():
    for views, columns in ((("VIEW_MEDI", "VIEW_ITEM"), ITEM_COLUMNS), (("VIEW_MATCH",), MATCH_COLUMNS)):
        known = {heading for column in columns for heading in (column.name, *column.headings)}
        for view in views:
            for field in layout(view):
                if field.code not in ("AUDIT_FLAG", "MODEL"):
                    assert field.code in known, (view, field.code)
                    assert field.label_zh.split("（")[0] in {one.split("（")[0] for one in known}, field.label_zh


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path):
    """Run `jiesuan catalogue export` at a front-end with one published version."""
    url = f"sqlite:///{tmp_path}/frontend.db"
    engine = new_frontend(url, HOSPITAL)
    made = in_parts("v1", [DRUG, SERVICE], [MATCH, MATCH._replace(institution_code="H2")], {})
    whole = assembled(made.manifest, lambda digests: made.parts)
    with engine.begin() as connection:
        connection.execute(update(reference).where(reference.c.kind == "catalogue").values(in_force=False))
        connection.execute(insert(reference), catalogue_row(whole))
        rows = [{"digest": digest, "content": content} for digest, content in made.parts.items()]
        connection.execute(insert(reference_part), rows)
    engine.dispose()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_FRONTEND_DATABASE_URL", url)
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-03-02T10:00:00+08:00@0.0x0.0")

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", "catalogue", "export", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, "".join(capsys.readouterr())

    return run


def test_a_view_as_csv_and_as_dbf(jiesuan, tmp_path):
    assert jiesuan("view_match", "match.csv", "--institution", HOSPITAL) == (0, "match.csv：1 行\n")
    with (tmp_path / "match.csv").open(encoding="utf-8-sig") as out:
        (row,) = csv.DictReader(out)
    assert (row["HOSP_CODE"], row["ITEM_CODE"], row["HOSP_NAME"], row["AUDIT_FLAG"]) == (
        "A1",
        "W001",
        "本院阿莫西林",
        "1",
    )

    assert jiesuan("VIEW_MEDI", "medi.dbf")[0] == 0
    content = (tmp_path / "medi.dbf").read_bytes()
    assert "阿莫西林".encode("gb18030") in content
    assert b"0.10" in content


def test_what_cannot_be_exported(jiesuan, tmp_path):
    assert jiesuan("VIEW_X", "x.csv")[0] == 2
    assert jiesuan("VIEW_MATCH", "x.csv")[0] == 2
    (tmp_path / "there.csv").touch()
    assert "已经存在" in jiesuan("VIEW_MEDI", "there.csv")[1]


def test_records_keep_the_order_that_settling_reads():
    assert ItemRecord._fields[: len(CatalogueItem._fields)] == CatalogueItem._fields
    assert DRUG.item == CatalogueItem(*DRUG[:12])
