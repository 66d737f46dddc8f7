"""A front-end's database: backed up while it is written, verified, put back, and nothing put back that is not whole."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from city.cli import app
from city.commands import Stop
from infra.archive import BadArchive
from infra.database import open_database
from tests.support.frontend import HOSPITAL, NOON, hand_in, new_frontend, rows
from workers import backup
from workers.backup import CannotBackUp
from workers.tables import claim

KEY = b"\x07" * 32
run = CliRunner()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "frontend.db"


@pytest.fixture
def engine(place):
    engine = new_frontend(f"sqlite:///{place}", HOSPITAL)
    hand_in(engine, HOSPITAL, 3)
    yield engine
    engine.dispose()


def test_what_was_backed_up_while_others_wrote_comes_back(engine, place, tmp_path):
    with engine.begin() as connection:  # somebody writes; what is not committed is not in it
        connection.execute(claim.update().values(reason="under way"))
        made = backup.backup(place, tmp_path / "one.backup", key=KEY, frontend="hospital-1", at=NOON)
    assert (made.claims, made.frontend, made.taken_at) == (3, "hospital-1", NOON)
    assert backup.verify(tmp_path / "one.backup", key=KEY) == made
    assert b"SQLite" not in (tmp_path / "one.backup").read_bytes()
    engine.dispose()

    restored = backup.restore(
        tmp_path / "one.backup", place, key=KEY, frontend="hospital-1", replace=True, at=NOON + timedelta(hours=1)
    )
    again = open_database(f"sqlite:///{place}")
    assert [row.reason for row in rows(again, claim)] == [None] * 3
    again.dispose()
    assert restored == made
    assert len(list(tmp_path.glob("frontend.db.before-*"))) == 1
    assert not list(tmp_path.glob(".*.copy"))


def test_visit_numbers_given_since_are_not_given_again(engine, place, tmp_path):
    with sqlite3.connect(place) as database:
        database.execute("DELETE FROM visit_counter")
        database.execute("INSERT INTO visit_counter VALUES (?, ?, 100)", [HOSPITAL, NOON.date().isoformat()])
    engine.dispose()
    backup.backup(place, tmp_path / "b", key=KEY, frontend="f", at=NOON)
    later = NOON + timedelta(days=1)
    backup.restore(tmp_path / "b", place, key=KEY, frontend="f", replace=True, at=later)
    with sqlite3.connect(place) as database:
        found = dict(database.execute("SELECT day, last FROM visit_counter WHERE institution_code = ?", [HOSPITAL]))
    half = backup.NUMBERS_A_DAY // 2
    assert found == {NOON.date().isoformat(): 100 + (backup.NUMBERS_A_DAY - 100) // 2, later.date().isoformat(): half}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda raw: raw[:-10], "不完整", id="cut off"),
        pytest.param(lambda raw: raw[:200] + b"\x00" + raw[201:], "打不开|损坏", id="a byte changed"),
        pytest.param(lambda raw: b"PK" + raw, "不是本系统的备份文件", id="another file"),
    ],
)
def test_a_bad_archive_changes_nothing(engine, place, tmp_path, spoil, words):
    file = tmp_path / "b"
    backup.backup(place, file, key=KEY, frontend="f", at=NOON)
    file.write_bytes(spoil(file.read_bytes()))
    engine.dispose()
    before = place.read_bytes()
    with pytest.raises(BadArchive, match=words):
        backup.restore(file, place, key=KEY, frontend="f", replace=True, at=NOON)
    assert place.read_bytes() == before
    assert not list(tmp_path.glob(".*.copy"))


def test_what_is_not_this_front_ends_is_refused(engine, place, tmp_path):
    file = tmp_path / "b"
    backup.backup(place, file, key=KEY, frontend="other", at=NOON)
    with pytest.raises(BadArchive, match="不是本前置机 f 的"):
        backup.restore(file, place, key=KEY, frontend="f", replace=True, at=NOON)
    with pytest.raises(BadArchive, match="密钥不同"):
        backup.verify(file, key=b"\x08" * 32)
    with pytest.raises(CannotBackUp, match="--replace"):
        backup.restore(file, place, key=KEY, frontend="other", replace=False, at=NOON)
    with pytest.raises(CannotBackUp, match="PostgreSQL"):
        backup.file_of("postgresql+psycopg://u:p@h/frontend")


def test_the_command_backs_up_verifies_and_puts_back(engine, place, tmp_path, monkeypatch):
    (tmp_path / "key").write_text(KEY.hex())
    for name, value in {
        "FRONTEND": "hospital-1",
        "FRONTEND_DATABASE_URL": f"sqlite:///{place}",
        "FRONTEND_KEY_FILE": str(tmp_path / "key"),
        "CLOCK": f"{NOON.isoformat()}@0.0x0.0",
    }.items():
        monkeypatch.setenv(f"JIESUAN_{name}", value)
    file = str(tmp_path / "b")
    made = json.loads(run.invoke(app, ["backup", "frontend", "create", file, "--json"]).stdout)
    assert (made["claims"], made["frontend"]) == (3, "hospital-1")
    assert "3 笔费用" in run.invoke(app, ["backup", "frontend", "verify", file]).stdout
    engine.dispose()
    refused = run.invoke(app, ["backup", "frontend", "restore", file])
    assert isinstance(refused.exception, Stop)
    assert run.invoke(app, ["backup", "frontend", "restore", file, "--replace"]).exit_code == 0
    twice = run.invoke(app, ["backup", "frontend", "create", file])
    assert "不覆盖" in str(twice.exception)
