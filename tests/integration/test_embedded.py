"""The embedded servers: real ones, started as whoever runs the tests, with what earlier runs left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.embedded import free_port, postgres, valkey
from infra.supervisor import Supervisor, birth_mark


@pytest.fixture
def said():
    return []


@pytest.fixture
def run(tmp_path, said):
    """Start both servers in the same folder; each call is a run of its own."""

    class Run(Supervisor):
        def __enter__(self):
            super().__enter__()
            self.broker = valkey.prepare(tmp_path / "broker", port=0, say=said.append)
            self.database = postgres.prepare(
                tmp_path / "database", port=0, databases=["center", "hospital"], say=said.append
            )
            self.start(self.broker.service, self.database.service)
            return self

    return lambda: Run(tmp_path / "data", say=said.append)


def remember(run):
    with redis.Redis.from_url(run.broker.url) as broker:
        broker.rpush("settle", "totals")
    with psycopg.connect(run.database.url) as database:
        database.execute("CREATE TABLE settlement (fund_pay_fen bigint)")
        database.execute("INSERT INTO settlement VALUES (1250)")


def remembered(run):
    with redis.Redis.from_url(run.broker.url) as broker:
        queue = broker.lrange("settle", 0, -1)
    with psycopg.connect(run.database.url) as database:
        rows = database.execute("SELECT fund_pay_fen FROM settlement").fetchall()
    return queue, rows


KEPT = ([b"totals"], [(1250,)])


def test_what_was_kept_is_there_in_the_next_run(run):
    with run() as first:
        remember(first)

    with run() as second:
        assert remembered(second) == KEPT


def test_what_was_committed_survives_both_servers_being_killed(run):
    with run() as only:
        remember(only)
        with redis.Redis.from_url(only.broker.url) as broker:
            broker.waitaof(1, 0, 2000)  # within a second by itself; a test does not wait for the clock

        only.kill("broker")
        only.kill("database")
        only.wait_until_ready("broker", "database")

        assert remembered(only) == KEPT


def test_both_servers_keep_what_they_promised_durable(run):
    with run() as only:
        with redis.Redis.from_url(only.broker.url) as broker:
            settings = broker.config_get("append*", "maxmemory-policy", "save")
        with psycopg.connect(only.database.url) as database:
            durable = [database.execute(f"SHOW {name}").fetchone() for name in ("fsync", "synchronous_commit")]

    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert durable == [("on",), ("on",)]


def test_both_servers_ask_for_the_password_and_only_the_owner_can_read_it(run, tmp_path):
    with run() as only:
        once = Retry(NoBackoff(), 0)
        nobody = redis.Redis(port=_port(only.broker.url), retry=once)
        with nobody as broker, pytest.raises(redis.AuthenticationError):
            broker.ping()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=_port(only.database.url), user="jiesuan", dbname="center")

    for secret in ("broker/password", "broker/valkey.conf", "database/password"):
        assert (tmp_path / secret).stat().st_mode & 0o777 == 0o600


def test_the_database_log_does_not_repeat_values(run):
    with run() as only:
        with psycopg.connect(only.database.url) as database:
            database.execute("CREATE TABLE person (person_no text PRIMARY KEY)")
            database.execute("INSERT INTO person VALUES ('P0001')")
            with pytest.raises(psycopg.errors.UniqueViolation):
                database.execute("INSERT INTO person VALUES ('P0001')")
        log = only.log("database").read_text()

    assert "duplicate key" in log
    assert "P0001" not in log


RUN_AND_WAIT = """
    import sys
    from pathlib import Path
    from infra.embedded import postgres, valkey
    from infra.supervisor import Supervisor

    folder = Path(sys.argv[1])
    with Supervisor(folder / "data") as supervisor:
        broker = valkey.prepare(folder / "broker", port=0)
        database = postgres.prepare(folder / "database", port=0, databases=["center", "hospital"])
        supervisor.start(broker.service, database.service)
        print(*supervisor.pids().values(), flush=True)
        supervisor.wait()
"""


def test_a_run_after_one_that_was_killed_finds_everything(run, tmp_path, said):
    with run() as first:
        remember(first)
    command = [sys.executable, "-c", textwrap.dedent(RUN_AND_WAIT), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        servers = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()

    with run() as third:
        assert remembered(third) == KEPT
        assert not any(birth_mark(pid) for pid in servers)


def test_servers_left_without_any_record_of_them_are_ended(run, tmp_path, said):
    with run() as first:
        remember(first)

    # As if the run had been killed on a system without parent-death signals, and its record was lost.
    broker = valkey.prepare(tmp_path / "broker", port=0)
    left = subprocess.Popen(broker.service.argv, stdout=subprocess.DEVNULL, start_new_session=True)
    while not broker.service.ready(0):
        pass
    try:
        with run() as third:
            assert remembered(third) == KEPT
            assert left.wait(timeout=5) == 0
    finally:
        left.kill()
        left.wait()
    assert any("still uses" in line for line in said)


def test_a_stale_pid_file_whose_number_now_is_another_program_is_no_obstacle(run, tmp_path):
    with run() as first:
        remember(first)
    pid_file = tmp_path / "database/data/postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{pid_file.parent}\n0\n5432\n\n127.0.0.1\n", encoding="ascii")

    with run() as second:
        assert remembered(second) == KEPT


def test_a_folder_that_a_killed_run_left_half_made_is_made_anew(run, tmp_path):
    (tmp_path / "database/data.new").mkdir(parents=True)
    (tmp_path / "database/data.new/PG_VERSION").write_text("18\n")

    with run() as first:
        remember(first)
        assert remembered(first) == KEPT


def test_a_folder_of_another_postgres_version_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/PG_VERSION").write_text("12\n")

    with pytest.raises(postgres.OtherPostgresVersion, match="PostgreSQL 12"):
        postgres.prepare(tmp_path)


def test_a_taken_port_is_left_to_its_owner_and_the_next_free_one_used(said):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        port = free_port(taken, "broker", said.append)

    assert port > taken
    assert said == [f"port {taken} is taken by another program; the broker listens on {port} instead"]


def test_stopping_the_database_is_quick_with_connections_open(run):
    with run() as only:
        connection = psycopg.connect(only.database.url)
        assert only.database.service.stop_signal is signal.SIGINT
    connection.close()


def _port(url):
    return int(url.rsplit(":", 1)[1].partition("/")[0])
