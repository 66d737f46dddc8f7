"""The door of an exchange folder: a share that vanishes and returns, when it is looked at, old files put away."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta

import pytest

from infra.clock import SHANGHAI
from producers.his import dbf
from producers.his.changes import Changes
from producers.his.door import LOOK_EVERY_SECONDS, Door
from producers.his.fields import layout
from producers.his.outgoing import Record

HOSPITAL = "990100001"
AT = datetime(2026, 3, 2, 9, 30, 5, tzinfo=SHANGHAI)
DAY = AT.date()


@pytest.fixture
def changes():
    watch = Changes()
    yield watch
    watch.close()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / HOSPITAL
    folder.mkdir()
    return folder


def deliver(folder, name="CFXM0302.DBF", flag=0, day=DAY):
    dbf.append(folder / name, layout("CFXM"), [{"JYDJH": "V1", "XMXH": 1, "DRBZ": flag}], day=day)
    moment = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI).timestamp()
    os.utime(folder / name, (moment, moment))


def look(door):
    return [delivery for batch in door.exchange.deliveries(10) for delivery in batch]


def test_a_share_that_vanishes_is_away_and_back_again(folder, changes):
    deliver(folder)
    door = Door(folder, HOSPITAL)
    assert door.is_there(changes)
    assert len(look(door)) == 1
    folder.rename(folder.with_name("elsewhere"))
    assert not door.is_there(changes)
    assert door.is_away
    folder.with_name("elsewhere").rename(folder)
    assert door.is_there(changes)
    assert look(door) == []  # the same folder: what was given out is remembered


def test_an_empty_folder_in_its_place_is_a_share_that_is_not_mounted(folder, changes):
    deliver(folder)
    door = Door(folder, HOSPITAL)
    look(door)
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    for _ in range(3):
        assert not door.is_there(changes)
    folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    assert door.is_there(changes)


def test_a_share_that_comes_back_as_another_is_begun_anew(folder, changes):
    deliver(folder)
    door = Door(folder, HOSPITAL)
    assert len(look(door)) == 1
    folder.rename(folder.with_name("elsewhere"))
    assert not door.is_there(changes)
    folder.mkdir()
    deliver(folder)
    assert door.is_there(changes)
    assert len(look(door)) == 1  # whether it was imported before, the books know


def test_trouble_in_one_folder_stays_with_it(folder):
    with Door(folder, HOSPITAL).keeping_others_safe():
        raise OSError(116, "Stale file handle")


def test_a_folder_is_due_now_and_then_and_at_once_after_something_was_left(folder):
    door = Door(folder, HOSPITAL)
    assert door.is_due(0.0)
    door.was_looked_at(again_soon=False)
    assert not door.is_due(0.0)
    assert door.is_due(1e12 + LOOK_EVERY_SECONDS)
    door.was_looked_at(again_soon=True)
    assert door.is_due(0.0)


def test_flow_one_reads_no_outpatient_lines_and_flow_two_writes_none(folder):
    door = Door(folder, HOSPITAL)
    assert ("MZXM" in door.exchange.reads, "MZXM" in door.outgoing.kinds) == (True, False)
    door.follow(1, settles_at_once=True)
    assert ("MZXM" in door.exchange.reads, "MZXM" in door.outgoing.kinds) == (False, True)


@pytest.mark.parametrize(
    ("age", "flag", "stays"),
    [
        pytest.param(10, 1, True, id="of this month"),
        pytest.param(30, 1, False, id="a month old and read"),
        pytest.param(30, 2, True, id="a month old with a row to mend"),
        pytest.param(30, 0, True, id="a month old and unread"),
        pytest.param(200, 0, False, id="older than any claim"),
    ],
)
def test_a_file_is_put_away_within_a_month_unless_somebody_still_has_to_read_it(folder, age, flag, stays):
    day = AT.date() - timedelta(days=age)
    name = f"CFXM{day:%m%d}.DBF"
    deliver(folder, name, flag, day)
    door = Door(folder, HOSPITAL)
    door.put_away_old_files(AT)
    assert (folder / name).exists() is stays
    assert (folder / f"{day.year}" / name).exists() is not stays


def test_old_files_are_looked_for_once_a_day(folder):
    door = Door(folder, HOSPITAL)
    door.put_away_old_files(AT)
    deliver(folder, "CFXM0115.DBF", 1, date(2026, 1, 15))
    door.put_away_old_files(AT)
    assert (folder / "CFXM0115.DBF").exists()
    door.put_away_old_files(AT + timedelta(days=1))
    assert not (folder / "CFXM0115.DBF").exists()


def test_our_own_files_go_too_once_the_his_has_read_them(folder):
    long_ago = AT - timedelta(days=40)
    door = Door(folder, HOSPITAL)
    values = {field.identifier: None for field in layout("CYDJ")} | {"visit_no": "V1", "read_flag": 0}
    given = {"institution_code": HOSPITAL, "citizen_id_no": "1", "visit_date": long_ago.date()}
    values |= given | {"discharge_date": long_ago.date(), "discharge_diagnosis_1": "肺炎"}
    door.outgoing.write([Record("CYDJ", values)], at=long_ago)
    [path] = folder.glob("CYDJ*.DBF")
    then = long_ago.timestamp()
    os.utime(path, (then, then))
    door.put_away_old_files(AT)
    assert path.exists()
    dbf.update_in_place(path, {1: {"DRBZ": 1}}, as_read=dbf.read(path))
    os.utime(path, (then, then))
    door.put_away_old_files(AT + timedelta(days=1))
    assert not path.exists()
