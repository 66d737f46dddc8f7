"""`jiesuan dbf`: what an operator asks an exchange folder for."""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal

import pytest
from openpyxl import load_workbook

from city import cli
from city.commands import doctor
from infra.clock import Clock
from infra.settings import Settings
from producers.his import dbf, failures, watcher
from tests.support.frontend import HOSPITAL
from tests.support.ward import AT, Ward


@pytest.fixture
def ward(tmp_path):
    made = Ward(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def jiesuan(ward, tmp_path, monkeypatch, capsys):
    """Run a command; its exit code, stdout and stderr."""
    (tmp_path / "key").write_text("01" * 32)
    settings = {
        "FRONTEND": "hospital-a", "FRONTEND_DATABASE_URL": ward.url, "FRONTEND_KEY_FILE": tmp_path / "key",
        "CENTER_BROKER_URL": "redis://127.0.0.1:1/0", "EXCHANGE_DIR": ward.folder.parent,
        "CLOCK": Clock(AT, 0.0, 0.0).written(),
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"JIESUAN_{name}", str(value))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", "dbf", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_the_error_list_lies_beside_the_exchange_files(ward, jiesuan):
    visit, other = ward.registers(), ward.registers()
    ward.delivers(visit, 1, JE=Decimal("25.01"), FYRQ=None)
    ward.delivers(other, 1, XMBH="L999")
    ward.delivers("T000012603029999", 1)
    ward.looks()

    code, out, err = jiesuan("errors", "--institution", HOSPITAL)
    assert code == 0
    assert "3 条明细待改正" in out
    assert visit in out
    assert "CWQD0302.xlsx" in err
    sheet = load_workbook(ward.folder / "CWQD0302.xlsx")[failures.SHEET]
    told = {row[0].value: row[9].value for row in sheet.iter_rows(min_row=2)}
    assert told == {visit: "04 14", other: "06", "T000012603029999": "90"}
    assert len(dbf.read(ward.folder / "CWQD0302.DBF")) == 3

    code, out, _ = jiesuan("errors", "--institution", HOSPITAL, "--visit", other, "--day", "2026-03-02", "--json")
    assert [line["错误代码"] for line in json.loads(out)["lines"]] == ["06"]
    code, out, _ = jiesuan("errors", "--institution", HOSPITAL, "--day", "2026-03-01", "--json")
    assert json.loads(out)["lines"] == []


def test_an_institution_without_a_folder_needs_to_be_told_where_to_write(jiesuan, tmp_path):
    code, _, err = jiesuan("errors", "--institution", "990000000")
    assert (code, "--out" in err) == (2, True)
    code, _, _ = jiesuan("errors", "--institution", "990000000", "--out", str(tmp_path / "lists"))
    assert code == 0
    assert jiesuan("errors", "--institution", HOSPITAL, "--day", "yesterday")[0] == 2


def test_rows_the_his_could_not_read_are_listed_and_exported_again(ward, jiesuan):
    visit = ward.registers()
    ward.hands_out()
    path = ward.folder / "RYDJ0302.DBF"
    dbf.update_in_place(path, {1: {"DRBZ": 2, "BZ2": "床位不存在"}}, as_read=dbf.read(path))

    _, out, _ = jiesuan("refused", "--institution", HOSPITAL, "--json")
    assert json.loads(out) == [
        {"kind": "RYDJ", "visit_no": visit, "file": "RYDJ0302.DBF", "record": "1", "said": "床位不存在"}
    ]
    assert jiesuan("again", "--institution", HOSPITAL, visit)[:2] == (0, "1\n")
    assert [int(flag) for flag in dbf.read(path).numbers("DRBZ")] == [2, 0]
    assert "0 条" in jiesuan("refused", "--institution", HOSPITAL)[1]


def test_one_file_is_read_on_the_spot(ward, jiesuan):
    visit = ward.registers()
    ward.delivers(visit, 1)
    code, out, _ = jiesuan("import", str(ward.folder / "CFXM0302.DBF"), "--json")
    assert (code, json.loads(out)["imported"]) == (0, 1)
    assert [mark[1:] for mark in ward.marks()] == [("00", 1)]


def test_the_samples_are_written_where_one_likes(jiesuan, tmp_path):
    code, out, _ = jiesuan("samples", str(tmp_path / "samples"))
    assert (code, len(out.split())) == (0, 7)


def test_the_doctor_looks_into_the_exchange_folders(ward, jiesuan, tmp_path):
    def found():
        return {one.name: one.ok for one in doctor.findings(Settings()) if one.name.startswith("交换目录")}

    assert found() == {"交换目录": False, f"交换目录 {HOSPITAL}": True}
    lock = watcher._alone(ward.folder.parent)
    (ward.folder / "CFXM0302.DBF.txt").touch()
    assert found() == {"交换目录": True, f"交换目录 {HOSPITAL}": False}
    os.close(lock)
