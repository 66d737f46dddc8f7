"""The restore drill on real processes: backup and restore by command, everybody killed meanwhile, the broker forgotten.

The centre's database that was lost is still there to compare with: it is the twin that was never restored.
"""

from __future__ import annotations

import json
import subprocess
import time

import pytest
import redis
from sqlalchemy import text

from infra.database import open_database
from tests.support.center import FRONTEND, OTHER_FRONTEND, fill_center, rows_of
from tests.support.databases import FreshDatabase, as_application
from tests.support.frontend import CLINIC, HOSPITAL, NOON, shelf
from tests.support.nursery import Nursery
from tests.support.site import JIESUAN, ROOT, site
from tests.support.waiting import eventually
from workers import refund
from workers.doorbell import Doorbell

CENTER = ("center-settle", "center-detail", "beat")
PERSONS = range(15)
CLAIMS = 40


@pytest.fixture
def lost(postgres_url):
    with FreshDatabase(postgres_url, "center_template") as url:
        engine = open_database(url)
        fill_center(engine, persons=len(PERSONS), balance_fen=40_000)
        yield url, engine
        engine.dispose()


@pytest.fixture
def empty(postgres_url):
    with FreshDatabase(postgres_url, "template1") as url:
        engine = open_database(url)
        yield url, engine
        engine.dispose()


@pytest.fixture
def city(tmp_path, clean_valkey, lost):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        site(tmp_path / "one", clean_valkey, HOSPITAL, center_database_url=as_application(lost[0])) as one,
        site(tmp_path / "two", clean_valkey, CLINIC, frontend=OTHER_FRONTEND) as two,
    ):
        one.environment["JIESUAN_WINDOW_TICK_SECONDS"] = "0.5"
        processes = Nursery(one.environment, one.folder), Nursery(two.environment, two.folder)
        for nursery, roles in zip(processes, ((*CENTER, "desk", "link"), ("desk", "link")), strict=True):
            for role in roles:
                nursery.start(role)
        yield one, two, *processes
        for nursery in processes:
            nursery.end()


def command(site_, owner_url, *words):
    """Run `jiesuan` as the owner of the centre's database; what it says as JSON."""
    environment = site_.environment | {
        "JIESUAN_CENTER_OWNER_DATABASE_URL": owner_url,
        "JIESUAN_CENTER_DATABASE_URL": owner_url,
        "JIESUAN_OPERATOR": "drill",
    }
    done = subprocess.run([*JIESUAN, *words, "--json"], env=environment, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def all_settled(*sites):
    return all(made.count() and made.count("settled") == made.count() for made in sites)


def a_morning(one, two, name):
    """Both hand in for the same persons; a third of the first are brought back."""
    for _ in range(2):
        one.hand_in(HOSPITAL, CLAIMS // 2, prefix=f"{name}-{time.monotonic_ns()}", serials=PERSONS)
        two.hand_in(CLINIC, CLAIMS // 2, prefix=f"{name}-{time.monotonic_ns()}", serials=PERSONS)
    eventually(lambda: all_settled(one, two), within=60)
    with one.engine.connect() as connection:
        last = connection.execute(
            text("SELECT visit_no FROM claim WHERE kind = 'normal' ORDER BY claim_id DESC LIMIT 4")
        )
        visits = list(last.scalars())
    for place, visit_no in enumerate(visits):
        kept = {1: 100} if place % 2 else None
        refund.refund(one.engine, shelf(), HOSPITAL, visit_no, 1, reason="误", at=NOON, kept=kept)
    Doorbell(one.post, FRONTEND).ring(HOSPITAL)
    eventually(lambda: all_settled(one, two), within=60)


def settlements(engine):
    columns = "settlement_no, visit_no, charge_batch_no, kind, total_fen, fund_pay_fen, account_pay_fen, person_no"
    return rows_of(engine, f"SELECT {columns}, settled_day, answer FROM settlement ORDER BY 1")


@pytest.mark.timeout(300)
def test_killed_and_forgotten_the_restored_centre_gets_everything_back(city, tmp_path, lost, empty, clean_valkey):
    one, two, at_one, at_two = city
    file = tmp_path / "center.backup"
    a_morning(one, two, "yesterday")
    made = command(one, lost[0], "backup", "create", str(file))
    a_morning(one, two, "today")
    twin = settlements(lost[1])

    for role in CENTER:
        at_one.kill(role)
    with redis.Redis.from_url(clean_valkey) as broker:
        broker.flushall()
    restored = command(one, empty[0], "restore", str(file), "--reason", "drill")
    assert (restored["wrong"], restored["archive"]) == ([], made["archive"])
    now_at = {"JIESUAN_CENTER_DATABASE_URL": as_application(empty[0])}
    one.hand_in(HOSPITAL, 10, prefix="meanwhile", serials=PERSONS)
    for role in CENTER:
        at_one.start(role, **now_at)
    for role in ("center-detail", "link", "center-settle", "center-detail"):
        time.sleep(0.5)
        at_one.kill(role)
        at_one.start(role, **now_at)
    at_two.kill("link")
    at_two.start("link")

    eventually(lambda: rows_of(empty[1], "SELECT 1 FROM epoch WHERE opened_at IS NOT NULL"), within=90)
    eventually(lambda: all_settled(one, two), within=90)

    now = settlements(empty[1])
    assert now[: len(twin)] == twin
    assert len(now) == len(twin) + 10
    assert min(row[0] for row in now[len(twin) :]) > max(row[0] for row in twin)
    assert rows_of(empty[1], "SELECT words FROM difference_case") == []
    unequal = (
        "SELECT person_no FROM accumulator a WHERE amount_fen <> (SELECT sum(applied_fen) FROM accumulator_entry e"
    )
    assert rows_of(empty[1], f"{unequal} WHERE e.person_no = a.person_no AND e.key = a.key)") == []
    eventually(lambda: not rows_of(empty[1], "SELECT 1 FROM catching_up WHERE done_at IS NULL"), within=60)
    shown = command(one, empty[0], "epoch", "show")
    assert (shown["epoch"], shown["open"]) == (restored["epoch"], True)
    assert {row["frontend"]: row["is_done"] for row in shown["frontends"]} == {FRONTEND: True, OTHER_FRONTEND: True}
