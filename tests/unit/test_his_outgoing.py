"""What we write for a hospital: each record once, in the file of the day, and again where the HIS could not read it."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from infra.clock import SHANGHAI
from producers.his import dbf, outgoing
from producers.his.fields import FILES, layout
from producers.his.outgoing import Outgoing, Record

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 2, 9, 30, 5, tzinfo=SHANGHAI)
TOMORROW = AT + timedelta(days=1)
PERSON = "11010519491231002X"


def record(kind="FYJS", visit_no="V1", **values):
    """A record with an ordinary value in every column."""
    ordinary = {"C": lambda field: f"{field.code}"[: field.width], "N": lambda _: 1, "D": lambda _: DAY}
    given = {field.identifier: ordinary[field.kind](field) for field in layout(kind)}
    own = {"visit_no": visit_no, "remark1": "2026-03-02 09:30:05", "remark2": None, "remark3": None, "read_flag": 0}
    return Record(kind, given | own | values)


def result(visit_no="V1", batch=1, **values):
    return record("FYJS", visit_no, charge_batch_no=batch, **values)


def rows(folder, name):
    return list(dbf.read(folder / name).rows())


def flag(folder, name, number, flag, note=None):
    """The HIS writes its flag."""
    path = folder / name
    dbf.update_in_place(path, {number: {"DRBZ": flag, "BZ2": note}}, as_read=dbf.read(path))


@pytest.fixture
def door(tmp_path):
    return Outgoing(tmp_path)


@pytest.mark.parametrize("kind", FILES)
def test_every_file_is_written_column_by_column_as_it_is_printed(tmp_path, door, kind):
    given = record(kind)
    assert door.write([given], at=AT) == 1
    [row] = rows(tmp_path, f"{kind}0302.DBF")
    assert row == {
        field.code: given.values[field.identifier] if given.values[field.identifier] is not None else ""
        for field in layout(kind)
    }


def test_a_record_is_written_once_whoever_asks_and_on_whatever_day(tmp_path, door):
    assert door.write([result("V1"), result("V2"), result("V2")], at=AT) == 2
    assert door.write([result("V1"), result("V3"), result("V1", 2)], at=TOMORROW) == 2
    assert Outgoing(tmp_path).write([result("V1"), result("V3"), result("V4")], at=TOMORROW) == 1

    assert [(row["JYDJH"], row["FYPC"]) for row in rows(tmp_path, "FYJS0302.DBF")] == [("V1", 1), ("V2", 1)]
    assert [(row["JYDJH"], row["FYPC"]) for row in rows(tmp_path, "FYJS0303.DBF")] == [("V3", 1), ("V1", 2), ("V4", 1)]


def test_a_file_that_is_added_to_keeps_what_the_his_marked(tmp_path, door):
    door.write([result("V1")], at=AT)
    flag(tmp_path, "FYJS0302.DBF", 1, 1)
    door.write([result("V2")], at=AT)
    assert [int(row["DRBZ"]) for row in rows(tmp_path, "FYJS0302.DBF")] == [1, 0]


def test_a_cancelled_registration_is_a_second_row(tmp_path, door):
    door.write([record("RYDJ")], at=AT)
    assert door.write([record("RYDJ", remark3="CANCEL")], at=AT) == 1
    assert door.write([record("RYDJ", remark3="CANCEL"), record("RYDJ")], at=AT) == 0
    assert [row["BZ3"] for row in rows(tmp_path, "RYDJ0302.DBF")] == ["", "CANCEL"]


def test_last_years_file_of_the_same_name_gets_nothing_of_this_year(tmp_path, door):
    last_year = AT - timedelta(days=365)
    door.write([result("V1")], at=last_year)
    then = last_year.timestamp()
    os.utime(tmp_path / "FYJS0302.DBF", (then, then))

    assert Outgoing(tmp_path).write([result("V2")], at=AT) == 1
    assert [row["JYDJH"] for row in rows(tmp_path, "FYJS0302.DBF")] == ["V2"]
    assert [row["JYDJH"] for row in rows(tmp_path / "2025", "FYJS0302.DBF")] == ["V1"]


def test_words_too_long_are_shortened_and_codes_too_long_left_out(tmp_path, door):
    door.write([record("RYDJ", employer_name="某单位" * 20, admission_diagnosis_code="Z" * 21)], at=AT)
    [row] = rows(tmp_path, "RYDJ0302.DBF")
    assert row["DWMC"] == ("某单位" * 20)[:35]
    assert row["RYZDGJDM"] == ""


def test_a_value_that_must_be_there_and_does_not_fit_is_refused(tmp_path, door):
    with pytest.raises(dbf.DoesNotFit):
        door.write([result(total_amount=Decimal("99999999999.00"))], at=AT)
    assert not (tmp_path / "FYJS0302.DBF").exists()


def test_an_amount_is_exact_and_an_empty_one_is_blank(tmp_path, door):
    door.write([result(total_amount=Decimal("0.05"), over_cap_amount=None)], at=AT)
    [row] = rows(tmp_path, "FYJS0302.DBF")
    assert (row["ZYZJE"], row["CXZFJE"]) == (Decimal("0.05"), None)


# What the HIS could not read (AMB-62).


def test_a_row_the_his_could_not_read_is_listed_with_what_it_said(tmp_path, door):
    door.write([record("RYDJ", "V1"), record("RYDJ", "V2")], at=AT)
    flag(tmp_path, "RYDJ0302.DBF", 2, 2, "床位不存在")
    door.refresh()
    assert door.refused() == [outgoing.Unread("RYDJ", "V2", "RYDJ0302.DBF", 2, "床位不存在")]


def test_it_is_exported_again_the_next_day_once_and_no_more_when_it_is_read(tmp_path, door):
    door.write([record("RYDJ", "V1")], at=AT)
    flag(tmp_path, "RYDJ0302.DBF", 1, 2, "床位不存在")
    door.refresh()
    assert door.write_again(at=AT) == 0
    assert door.write_again(at=TOMORROW) == 1
    assert door.write_again(at=TOMORROW) == 0
    assert Outgoing(tmp_path).write_again(at=TOMORROW) == 0

    [row] = rows(tmp_path, "RYDJ0303.DBF")
    assert (row["JYDJH"], row["BZ1"], row["BZ2"], int(row["DRBZ"])) == ("V1", "2026-03-03 09:30:05", "", 0)
    flag(tmp_path, "RYDJ0303.DBF", 1, 1)
    door.refresh()
    assert door.refused() == []
    assert door.write_again(at=TOMORROW + timedelta(days=1)) == 0


def test_a_row_refused_every_day_is_exported_every_day(tmp_path, door):
    door.write([record("CYDJ", "V1")], at=AT)
    for day in range(3):
        name = f"CYDJ{AT + timedelta(days=day):%m%d}.DBF"
        flag(tmp_path, name, 1, 2)
        door.refresh()
        assert len(door.refused()) == 1
        assert door.write_again(at=AT + timedelta(days=day + 1)) == 1


def test_the_operator_has_named_visits_exported_again_at_once(tmp_path, door):
    door.write([record("RYDJ", "V1"), record("RYDJ", "V2")], at=AT)
    for number in (1, 2):
        flag(tmp_path, "RYDJ0302.DBF", number, 2)
    door.refresh()
    assert door.write_again(at=AT, only=["V2"]) == 1
    assert [(row["JYDJH"], int(row["DRBZ"])) for row in rows(tmp_path, "RYDJ0302.DBF")] == [
        ("V1", 2),
        ("V2", 2),
        ("V2", 0),
    ]


# One unread result of a visit at a time.


def flags(folder, name):
    return [(row["JYDJH"], int(row["FYPC"]), int(row["DRBZ"])) for row in rows(folder, name)]


def test_a_newer_result_is_the_only_unread_one_of_its_visit(tmp_path, door):
    door.write([result("V1", 1), result("V2", 1)], at=AT)
    assert door.write([result("V1", 2)], at=AT) == 1
    assert flags(tmp_path, "FYJS0302.DBF") == [("V1", 1, 1), ("V2", 1, 0), ("V1", 2, 0)]

    assert Outgoing(tmp_path).write([result("V1", 3)], at=TOMORROW) == 1
    assert flags(tmp_path, "FYJS0302.DBF") == [("V1", 1, 1), ("V2", 1, 0), ("V1", 2, 1)]
    assert flags(tmp_path, "FYJS0303.DBF") == [("V1", 3, 0)]


def test_a_result_the_his_could_not_read_is_not_exported_again_once_a_newer_one_stands(tmp_path, door):
    door.write([result("V1", 1)], at=AT)
    flag(tmp_path, "FYJS0302.DBF", 1, 2)
    door.refresh()
    assert len(door.refused()) == 1
    door.write([result("V1", 2)], at=AT)
    assert door.refused() == []
    assert door.write_again(at=TOMORROW) == 0


# Files that cannot be read.


def test_while_the_file_of_the_day_cannot_be_read_nothing_is_added_to_its_kind(tmp_path, door):
    (tmp_path / "FYJS0302.DBF").write_bytes(b"PK\x03\x04")
    with pytest.raises(dbf.NotDbf):
        door.write([result("V1")], at=AT)
    assert door.write([record("CYDJ", "V1")], at=AT) == 1


def test_an_old_file_that_cannot_be_read_is_told_and_bars_nothing(tmp_path, door):
    (tmp_path / "FYJS0214.DBF").write_bytes(b"PK\x03\x04")
    assert [problem.file for problem in door.refresh()] == ["FYJS0214.DBF"]
    assert door.write([result("V1")], at=AT) == 1
