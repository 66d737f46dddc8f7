"""The shared tables in a file: a HIS with nothing but the sqlite3 module, from registration to result."""

from __future__ import annotations

import random
import sqlite3
import time

import pytest
from sqlalchemy.exc import OperationalError

from producers.his.tables.postgres_site import Tenant
from producers.his.tables.sqlite import NoExchangeFile, make_file
from tests.support.exchange import file_of_his
from tests.support.frontend import HOSPITAL, NOON, PERSON, new_frontend, short_code
from tests.support.tables_world import TablesWorld, flags
from tests.support.visits import outpatient, registration
from workers.line_warnings import warnings
from workers.visits import NotReady, Settling

TENANT = Tenant(HOSPITAL, short_code(HOSPITAL))
PASSED = (1, "00")


@pytest.fixture
def file(tmp_path):
    made = tmp_path / f"{HOSPITAL}.db"
    make_file(f"sqlite:///{made}", TENANT.institution_code, TENANT.short_code, ())
    return made


@pytest.fixture
def world(tmp_path, file):
    world = TablesWorld(new_frontend(f"sqlite:///{tmp_path}/frontend.db"), f"sqlite:///{file}", HOSPITAL)
    yield world
    world.close()


@pytest.fixture
def hospital(file):
    connection = file_of_his(file)
    yield connection
    connection.close()


def charge(
    hospital, visit_no, number, *, day="20260301", item="L001", price="12.5", quantity="2", amount="25", to="CFXM"
):
    hospital.execute(
        f"INSERT INTO HIS_{to} VALUES ('{visit_no}', '{visit_no[:6]}', '{PERSON}', 'Z1', '2026/2/25', '{day}', "
        f"{number}, '{item}', '阿莫西林胶囊', '000', '', '', '{price}', {quantity}, '{amount}', '', '', '', 0, '1')"
    )


def marks(hospital, visit_no, table="HIS_CFXM"):
    found = hospital.execute(f"SELECT DRBZ, BZ3 FROM {table} WHERE JYDJH = ? ORDER BY XMXH, rowid", [visit_no])
    return flags(found.fetchall())


def test_a_stay_from_registration_to_discharge(world, hospital):
    [visit_no] = world.register(registration())
    [row] = hospital.execute("SELECT * FROM HIS_ZYDJ WHERE DRBZ = 0").fetchall()
    assert (len(row), row[0], row[1], row[2], row[9]) == (20, visit_no, HOSPITAL, PERSON, "1")
    assert row[10] == "2026-02-25"
    assert hospital.execute("UPDATE HIS_ZYDJ SET DRBZ = 1, BZ2 = 'read'").rowcount == 1

    charge(hospital, visit_no, 1)
    charge(hospital, visit_no, 2, amount="26")
    charge(hospital, visit_no, 3, item="L002", price="33.335", quantity="1.5", amount="50.0025")
    world.turn()
    assert marks(hospital, visit_no) == [PASSED, (2, "14"), PASSED]
    assert isinstance(world.settle(visit_no), NotReady)
    hospital.execute("UPDATE HIS_CFXM SET JE = 25 WHERE XMXH = 2")
    world.turn()
    assert marks(hospital, visit_no) == [PASSED] * 3
    assert isinstance(world.settle(visit_no, final=True), Settling)

    [row] = hospital.execute("SELECT * FROM HIS_FYJS WHERE DRBZ = 0").fetchall()
    assert (row[1], row[7]) == (1, 100)
    assert round(row[8] + row[14] + (row[17] or 0), 2) == row[7]
    world.discharge(visit_no)
    assert hospital.execute("SELECT CYRQ, CYZD1 FROM HIS_CYDJ").fetchall() == [("2026-03-02", "肺炎")]


def test_another_day_of_admission_or_another_category_is_a_warning_that_no_row_shows(world, hospital):
    [visit_no] = world.register(registration())
    for number in (1, 2, 3):
        charge(hospital, visit_no, number)
    hospital.execute("UPDATE HIS_CFXM SET RYRQ = '2026-02-20' WHERE XMXH = 1")
    hospital.execute("UPDATE HIS_CFXM SET FLDM = '017' WHERE XMXH = 2")
    world.turn()

    assert marks(hospital, visit_no) == [PASSED] * 3
    with world.engine.connect() as connection:
        found = warnings(connection, HOSPITAL, visit_no=visit_no)
    assert [(each.line.line_no, each.code, each.source) for each in found] == [
        (1, "W1", "HIS_CFXM"),
        (2, "W2", "HIS_CFXM"),
    ]
    assert isinstance(world.settle(visit_no), Settling)


def test_an_outpatient_is_settled_when_no_line_comes_any_more(world, hospital):
    [visit_no] = world.register(outpatient())
    for number in (1, 2, 3):
        charge(hospital, visit_no, number, day="2026-03-02", to="MZXM")
        world.turn()
        world.seconds -= 2.9
    assert world.centre_answers() == 0
    world.turn(quiet=True)
    assert world.centre_answers() == 1
    world.turn()
    assert hospital.execute("SELECT FYPC, ZYZJE FROM HIS_MZJS").fetchall() == [(1, 75)]


def test_recall_fails_as_a_whole_once_a_line_is_read_in(world, hospital):
    [visit_no] = world.register(registration())
    charge(hospital, visit_no, 1)
    world.turn()
    charge(hospital, visit_no, 2)
    with pytest.raises(sqlite3.IntegrityError, match="明细已读入医保系统"):
        hospital.execute("DELETE FROM HIS_CFXM WHERE JYDJH = ?", [visit_no])
    assert len(marks(hospital, visit_no)) == 2


def test_a_his_that_keeps_the_files_turn_keeps_nobody_waiting(world, hospital, file):
    """SQLite has one writer. While the HIS is it, a turn that has nothing to write goes on and the others end soon."""
    [visit_no] = world.register(registration())
    slow = file_of_his(file)
    slow.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    world.turn()
    charge(slow, visit_no, 1)
    world.turn()
    world.engine.connect().close()
    slow.execute("COMMIT")
    world.turn()
    assert time.monotonic() - started < 5
    assert world.imported(visit_no) == [1]

    charge(slow, visit_no, 2)
    slow.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        world.turn()
    slow.execute("COMMIT")
    world.start_again()
    world.turn()
    assert world.imported(visit_no) == [1, 2]
    slow.close()


def test_a_file_that_is_gone_is_said_and_comes_back(world, hospital, file, tmp_path):
    world.register(registration())
    kept = tmp_path / "kept"
    kept.mkdir()
    hospital.close()
    world.tables.close()
    for each in tmp_path.glob(f"{HOSPITAL}.db*"):
        each.rename(kept / each.name)
    world.start_again()
    with pytest.raises(NoExchangeFile):
        world.turn()
    assert not file.exists()
    for each in kept.iterdir():
        each.rename(tmp_path / each.name)
    world.start_again()
    world.turn()


def test_a_visit_with_unread_rows_is_not_settled_by_any_door(world, hospital, tmp_path):
    """What the API and the front desk hand to `settle_visits`: it asks the institution's own tables."""
    from infra.settings import Settings
    from producers.his.tables.unread import UnreadRows
    from workers.visits import settle_visit

    address = f"sqlite:///{tmp_path}/{{institution}}.db"
    unread = UnreadRows(Settings(exchange_database_url=address, frontend_database_url="sqlite://"))
    [visit_no] = world.register(registration())
    charge(hospital, visit_no, 1)
    world.turn()
    charge(hospital, visit_no, 2)

    refused = settle_visit(world.engine, HOSPITAL, visit_no, final=False, at=NOON, unread=unread)
    assert isinstance(refused, NotReady)
    assert refused.words == "该就诊还有 1 条费用明细未读入"
    world.turn()
    assert isinstance(settle_visit(world.engine, HOSPITAL, visit_no, final=False, at=NOON, unread=unread), Settling)
    unread.close()


class Killed(BaseException):
    """As `kill -9`: nobody catches it."""


def test_killed_two_hundred_times_it_imports_and_hands_out_everything_once(world, hospital, monkeypatch):
    """A week of lines and results while the poller dies at random points: before, within and after every step."""
    from producers.his.tables.sqlite import SqliteTables
    from workers import visits

    chance = random.Random(7370)
    deaths = 0

    def mortal(work):
        def worked(*args, **kwargs):
            nonlocal deaths
            if chance.random() < 0.25:
                deaths += 1
                raise Killed
            result = work(*args, **kwargs)
            if chance.random() < 0.25:
                deaths += 1
                raise Killed
            return result

        return worked

    for owner, name in (
        (visits, "import_lines"),
        (visits, "handed_out"),
        (visits, "settle_visits"),
        (SqliteTables, "mark"),
        (SqliteTables, "put"),
        (SqliteTables, "take"),
    ):
        monkeypatch.setattr(owner, name, mortal(getattr(owner, name)))

    visit_nos: list[str] = []
    written: dict[str, int] = {}
    rounds = 0
    while deaths < 200 or rounds < 60:
        rounds += 1
        if len(visit_nos) < 12:
            visit_nos += world_register(world, outpatient() if rounds % 2 else registration())
        for visit_no in chance.sample(visit_nos, min(3, len(visit_nos))):
            kind = (
                "MZXM" if hospital.execute("SELECT 1 FROM HIS_MZDJ WHERE JYDJH = ?", [visit_no]).fetchone() else "CFXM"
            )
            if kind == "CFXM" and not hospital.execute("SELECT 1 FROM HIS_ZYDJ WHERE JYDJH = ?", [visit_no]).fetchone():
                continue  # the HIS does not know of it yet
            written[visit_no] = written.get(visit_no, 0) + 1
            charge(hospital, visit_no, written[visit_no], day="2026-03-02", to=kind)
        try:
            world.turn(quiet=rounds % 3 == 0)
            world.centre_answers()
        except Killed:
            world.start_again()
        assert rounds < 2_000

    monkeypatch.undo()
    world.start_again()
    for _ in range(4):
        world.turn(quiet=True)
        world.centre_answers()
    world.turn()
    assert deaths >= 200
    for visit_no, count in written.items():
        assert sorted(world.imported(visit_no)) == list(range(1, count + 1))
    assert hospital.execute("SELECT count(*) FROM HIS_CFXM WHERE DRBZ IS NOT 1").fetchone() == (0,)
    assert hospital.execute("SELECT count(*) FROM HIS_MZXM WHERE DRBZ IS NOT 1").fetchone() == (0,)
    told = hospital.execute("SELECT JYDJH FROM HIS_ZYDJ UNION ALL SELECT JYDJH FROM HIS_MZDJ").fetchall()
    assert sorted(told) == sorted((visit_no,) for visit_no in visit_nos)
    # Every line of every outpatient is in exactly one result, and of each visit one result is unread.
    settled = hospital.execute("SELECT JYDJH, sum(ZYZJE), sum(DRBZ = 0), max(FYPC) = count(*) FROM HIS_MZJS GROUP BY 1")
    for visit_no, total, unread, is_dense in settled.fetchall():
        assert (total, unread, is_dense) == (25 * written[visit_no], 1, 1)


def world_register(world, asked):
    """Registered, though the poller may die when it hands the registration out."""
    from workers.visits import register

    [outcome] = register(world.engine, [asked], at=NOON)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE visit SET registered_at = '2020-01-01 00:00:00'")
    return [outcome.visit_no]
