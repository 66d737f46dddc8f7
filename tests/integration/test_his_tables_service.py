"""`jiesuan exchange` and `jiesuan serve tables`: the commands, and the real process on a real PostgreSQL."""

from __future__ import annotations

import json
import random
import signal
import urllib.request
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import update

from city.commands import Stop, doctor, exchange_tables
from infra.embedded import free_port
from infra.settings import Settings
from producers.his.tables.place import OneFileForMany, address_of
from tests.support.frontend import CLINIC, HOSPITAL, PERSON, new_frontend
from tests.support.site import site
from tests.support.visits import registration
from tests.support.waiting import eventually
from workers import visits
from workers.exchange_status import statuses
from workers.tables import institution


@pytest.fixture
def databases(postgres_url):
    """Two exchange databases, one for each institution; the address of both."""
    base = postgres_url.rsplit("/", 1)[0]
    name = f"ex_{random.randrange(10**9)}"
    names = [f"{name}_{code}" for code in (HOSPITAL, CLINIC)]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for each in names:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(each)))
    yield f"{base}/{name}_{{institution}}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for each in names:
            connection.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(sql.Identifier(each)))
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(each)))


@pytest.fixture
def settings(monkeypatch, tmp_path, databases):
    url = f"sqlite:///{tmp_path}/frontend.db"
    new_frontend(url).dispose()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("JIESUAN_FRONTEND_DATABASE_URL", url)
    monkeypatch.setenv("JIESUAN_EXCHANGE_DATABASE_URL", databases)
    return Settings()


def made(capsys, code, **options):
    exchange_tables.create(code, dress=options.get("dress", []), admin_url="", as_json=True)
    told = capsys.readouterr()
    return json.loads(told.out), told.err


def connect(told, password=None):
    return psycopg.connect(
        host=told["host"], port=told["port"], dbname=told["database"], user=told["login"],
        password=password or told["password"], autocommit=True,
    )  # fmt: skip


# ── The commands ──────────────────────────────────────────────────────────────────────────────────────────


def test_create_makes_tables_and_a_login_and_says_the_password_once(settings, capsys):
    told, words = made(capsys, HOSPITAL, dress=["gwyjb"])
    assert told["made"] is True
    assert told["login"] == f"his_{HOSPITAL}"
    assert told["search_path"] == "gwyjb, his"
    assert "密码只显示这一次" in words
    with connect(told) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("gwyjb, his",)
        assert len(connection.execute("SELECT * FROM HIS_ZYDJ").description) == 21

    again, _ = made(capsys, HOSPITAL)
    assert again["made"] is False
    assert again["password"] != told["password"]
    with pytest.raises(psycopg.OperationalError):
        connect(again, told["password"])
    with connect(again) as connection:
        assert len(connection.execute("SELECT * FROM HIS_ZYDJ").description) == 20
    files = [path.read_bytes() for path in settings.data_dir.rglob("*") if path.is_file()]
    assert not any(again["password"].encode() in content for content in files)


def test_show_tells_where_they_are_and_drop_takes_the_login_away(settings, capsys):
    told, _ = made(capsys, HOSPITAL)
    exchange_tables.show(as_json=True)
    [row] = json.loads(capsys.readouterr().out)
    assert (row["institution_code"], row["state"], row["unread"], row["failed"]) == (HOSPITAL, "正常", 0, 0)
    assert "***" in row["address"]

    exchange_tables.drop(HOSPITAL, admin_url="")
    with pytest.raises(psycopg.OperationalError):
        connect(told)
    with pytest.raises(Stop, match="没有登录"):
        exchange_tables.drop(HOSPITAL, admin_url="")
    exchange_tables.show(as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_what_create_refuses(settings):
    with pytest.raises(Stop, match="没有机构 999"):
        exchange_tables.create("999", dress=[], admin_url="", as_json=True)
    with pytest.raises(Stop, match="没有 wide 这种版式"):
        exchange_tables.create(HOSPITAL, dress=["wide"], admin_url="", as_json=True)
    with pytest.raises(Stop, match="连接不上"):
        exchange_tables.create(HOSPITAL, dress=[], admin_url="postgresql://x:y@127.0.0.1:1/z", as_json=True)


def test_without_an_address_the_tables_are_a_file_beside_the_front_ends(settings, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("JIESUAN_EXCHANGE_DATABASE_URL")
    told, words = made(capsys, HOSPITAL)
    assert told == {
        "institution_code": HOSPITAL, "file": str(tmp_path / f"frontend-exchange-{HOSPITAL}.db"), "made": True,
    }  # fmt: skip
    assert words == ""
    exchange_tables.show(as_json=False)
    assert "正常" in capsys.readouterr().out
    assert made(capsys, HOSPITAL)[0]["made"] is False
    with pytest.raises(Stop, match="另一种版式"):
        made(capsys, HOSPITAL, dress=["gwyjb"])


def test_one_file_for_many_is_refused():
    with pytest.raises(OneFileForMany):
        address_of(Settings(exchange_database_url="sqlite:///one.db"), HOSPITAL)


# ── The process ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def running(tmp_path, valkey_url, databases, monkeypatch, capsys):
    """A front-end whose two institutions have an exchange database each, and its `tables` process."""
    (tmp_path / "site").mkdir()
    with site(tmp_path / "site", valkey_url, HOSPITAL, CLINIC) as made_site:
        made_site.environment["JIESUAN_EXCHANGE_DATABASE_URL"] = databases
        for name in ("JIESUAN_FRONTEND_DATABASE_URL", "JIESUAN_EXCHANGE_DATABASE_URL", "JIESUAN_DATA_DIR"):
            monkeypatch.setenv(name, made_site.environment[name])
        made_site.logins = {code: made(capsys, code)[0] for code in (HOSPITAL, CLINIC)}
        with made_site.engine.begin() as connection:
            connection.execute(update(institution).values(settles_at_once=False))
        yield made_site


def put_in(told, visit_no, numbers):
    with connect(told) as his:
        for number in numbers:
            his.execute(
                f"INSERT INTO HIS_CFXM VALUES ('{visit_no}', '{visit_no[:6]}', '{PERSON}', '', '20260225', '20260301', "
                f"{number}, 'L001', '阿莫西林胶囊', 0, '', '', 12.5, 2, 25, '', '', '', 0, '')"
            )


def register(made_site, code):
    from tests.support.frontend import NOON

    [outcome] = visits.register(made_site.engine, [registration(institution_code=code)], at=NOON)
    with made_site.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE visit SET registered_at = '2020-01-01 00:00:00'")
    return outcome.visit_no


def imported(made_site, visit_no):
    with made_site.engine.connect().execution_options(reading=True) as connection:
        return sorted(line.line_no for line in visits.imported(connection, visit_no))


def test_it_survives_kill_nine_at_any_time_and_loses_and_doubles_nothing(running):
    chance = random.Random(5)
    told = running.logins[HOSPITAL]
    visit_no = register(running, HOSPITAL)
    number = 0
    for _ in range(6):
        running.start("tables")
        for _ in range(4):
            put_in(told, visit_no, range(number + 1, number + 6))
            number += 5
            threshold = chance.randrange(number)
            eventually(lambda threshold=threshold: len(imported(running, visit_no)) >= threshold, within=30)
        running.kill("tables")
    running.start("tables")
    eventually(lambda: imported(running, visit_no) == list(range(1, number + 1)), within=30)
    with connect(told) as his:
        eventually(
            lambda: his.execute("SELECT count(*) FROM HIS_CFXM WHERE DRBZ = 1 AND BZ3 = '00'").fetchone() == (number,)
        )
        assert his.execute("SELECT count(*) FROM HIS_ZYDJ").fetchone() == (1,)
    assert PERSON not in running.logs


def test_one_exchange_away_keeps_no_other_waiting_and_comes_back_by_itself(running, postgres_url):
    port = free_port(0, "metrics", print)
    running.environment["JIESUAN_METRICS_PORT"] = str(port)
    running.start("tables")
    first, second = register(running, HOSPITAL), register(running, CLINIC)
    with connect(running.logins[HOSPITAL]) as his:
        eventually(lambda: his.execute("SELECT JYDJH FROM HIS_ZYDJ").fetchall() == [(first,)])
    away = sql.Identifier(running.logins[HOSPITAL]["database"])
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(away))
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [running.logins[HOSPITAL]["database"]],
        )
        put_in(running.logins[CLINIC], second, [1, 2])
        eventually(lambda: imported(running, second) == [1, 2])
        eventually(lambda: "exchange_away" in running.logs)
        eventually(lambda: _statuses(running)[HOSPITAL].error != "")
        owner.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(away))
    put_in(running.logins[HOSPITAL], first, [1])
    eventually(lambda: imported(running, first) == [1], within=30)
    eventually(lambda: "exchange_back" in running.logs)
    eventually(lambda: _statuses(running)[HOSPITAL].error == "", within=10)
    with closing(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)) as page:
        shown = page.read().decode()
    assert f'jiesuan_exchange_up{{institution="{CLINIC}"}} 1.0' in shown
    assert f'jiesuan_exchange_lines_total{{institution="{CLINIC}",outcome="imported"}} 2.0' in shown
    found = {one.name: one for one in doctor.findings(Settings())}
    assert found[f"共享数据表 {CLINIC}"].ok is not None
    assert "未读 0 条" in found[f"共享数据表 {CLINIC}"].words


def test_a_second_poller_of_a_front_end_ends_at_once(running):
    running.start("tables")
    eventually(lambda: HOSPITAL in _statuses(running))
    running.start("tables", name="second")
    assert running.wait("second tables") != 0
    running.signal("tables", signal.SIGTERM)
    assert running.wait("tables") == 0


def test_a_login_that_may_not_make_tables_is_told_so(settings, postgres_url, databases):
    login = f"poor_{random.randrange(10**9)}"
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(login)))
    poor = databases.replace(databases.split("//")[1].split("@")[0], f"{login}:x").replace("{institution}", HOSPITAL)
    with pytest.raises(Stop, match="--admin-url"):
        exchange_tables.create(HOSPITAL, dress=[], admin_url=poor, as_json=True)


def _statuses(made_site):
    with made_site.engine.connect().execution_options(reading=True) as connection:
        return statuses(connection)
