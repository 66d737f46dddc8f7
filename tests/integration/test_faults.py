"""Processes are killed, the broker forgets everything, the centre is away: what was accepted is settled, exactly once.

Real processes, a real PostgreSQL and a Valkey of this module's own, which it may kill.
"""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from uuid import uuid4

import pytest
import redis
from sqlalchemy import text

from domain.identity import synthetic_citizen_id
from infra import lanes
from infra.broker import unacked_keys
from infra.embedded import valkey
from infra.supervisor import birth_mark
from tests.support.center import fill_center
from tests.support.crashing import KILLED, POINTS
from tests.support.frontend import HOSPITAL
from tests.support.site import FRONTEND, site
from tests.support.waiting import eventually
from workers.outbox import LANE_IS_LONG

ROLES = ("desk", "link", "center-settle")
PERSONS = range(40)


class Broker:
    """A Valkey that can be killed and started again, empty or not."""

    def __init__(self, folder):
        self._prepared = valkey.prepare(folder, port=0)
        self._folder = folder
        self.url = self._prepared.url
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._prepared.service.argv, stdout=subprocess.DEVNULL)
        eventually(lambda: self._prepared.service.ready(0))

    def kill(self, *, and_forget):
        self._process.kill()
        self._process.wait()
        if and_forget:
            for file in self._folder.glob("appendonlydir/*"):
                file.unlink()

    def signal(self, number):
        self._process.send_signal(number)

    def stop(self):
        self._process.terminate()
        self._process.wait()

    def client(self):
        return redis.Redis.from_url(self.url)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def center(center_engine):
    fill_center(center_engine, persons=len(PERSONS), balance_fen=1_000_000)
    return center_engine


@pytest.fixture(scope="module")
def city(tmp_path_factory, broker, center, center_database_url):
    """One hospital and the centre, all roles running."""
    folder = tmp_path_factory.mktemp("city")
    with site(folder, broker.url, HOSPITAL, center_database_url=center_database_url) as made:
        made.start(*ROLES)
        yield made


@pytest.fixture(autouse=True)
def _everything_runs_again(city):
    yield
    for role in ROLES:
        if not city.is_running(role):
            city.start(role)


def hand_in(city, count):
    return city.hand_in(HOSPITAL, count, prefix=uuid4().hex, serials=PERSONS)


def prove(city, center, *, within=60.0):
    """Every claim ever accepted is settled, and the centre's books know each of them exactly once, to the fen."""
    eventually(lambda: city.count("accepted", "totalled") == 0, within=within, every=0.2)
    with city.engine.connect().execution_options(reading=True) as connection:
        at_front_end = connection.execute(
            text("SELECT visit_no, charge_batch_no, state, total_fen, fund_pay_fen, account_pay_fen FROM claim")
        ).all()
    assert {row.state for row in at_front_end} == {"settled"}
    with center.connect() as connection:
        at_centre = connection.execute(
            text("SELECT visit_no, charge_batch_no, total_fen, fund_pay_fen, account_pay_fen FROM settlement")
        ).all()
        unbalanced = connection.execute(
            text("SELECT count(*) FROM posting GROUP BY document_no HAVING sum(amount_fen) <> 0")
        ).all()
        without_postings = connection.execute(
            text("SELECT count(*) FROM settlement WHERE settlement_no NOT IN (SELECT document_no FROM posting)")
        ).scalar()
        drifted = connection.execute(
            text(
                "SELECT count(*) FROM accumulator a WHERE amount_fen <> (SELECT sum(applied_fen) FROM"
                " accumulator_entry e WHERE e.person_no = a.person_no AND e.key = a.key)"
            )
        ).scalar()
        spent, balance_gone = connection.execute(
            text(
                "SELECT (SELECT sum(account_pay_fen) FROM settlement),"
                " (SELECT sum(1000000 - account_balance_fen) FROM person WHERE entitled AND scheme = 'employee'"
                " AND category <> '6')"
            )
        ).one()
    assert sorted(at_centre) == sorted((row[0], row[1], row[3], row[4], row[5]) for row in at_front_end)
    assert (unbalanced, without_postings, drifted) == ([], 0, 0)
    assert spent == balance_gone, "what the accounts paid left the accounts, once"


def test_on_a_quiet_day_everything_is_settled(city, center):
    hand_in(city, 30)

    prove(city, center)


@pytest.mark.parametrize("role", ROLES)
def test_a_process_that_dies_at_every_bad_moment_in_turn_costs_nothing_but_time(city, center, role):
    city.kill(role)
    for point in [point for point, (dies, _) in POINTS.items() if dies == role]:
        city.start(role, dying_at=point)
        hand_in(city, 20)
        assert city.wait(role) == KILLED, point
        assert city.count("accepted", "totalled") > 0, point

    city.start(role)
    prove(city, center)


def test_random_kills_of_every_process_lose_nothing_and_pay_nothing_twice(city, center):
    dice = random.Random(20260302)
    for _ in range(6):
        hand_in(city, 25)
        role = dice.choice(ROLES)
        time.sleep(dice.uniform(0, 1.2))
        city.kill(role)
        city.start(role)

    prove(city, center)


@pytest.mark.parametrize(
    ("role", "queue"),
    [
        ("desk", lanes.preprocess(FRONTEND, HOSPITAL)),
        ("center-settle", lanes.SETTLE),
        ("link", lanes.results(FRONTEND)),
    ],
)
def test_what_celery_loses_on_redis_when_a_consumer_dies_is_sent_again(city, center, broker, role, queue):
    """A message is gone from its list before it is written to `unacked`: whoever dies in between takes it along."""
    prove(city, center)
    city.signal(role, signal.SIGSTOP)
    with broker.client() as client:
        hand_in(city, 10)  # Valkey hands this message to the sleeping consumer's connection ...
        hand_in(city, 10)  # ... and this one stays on the list, until it is taken away too.
        eventually(lambda: client.llen(queue) > 0)
        city.kill(role)
        client.delete(queue, *unacked_keys(), *unacked_keys(FRONTEND))

    assert city.count("accepted", "totalled") == 20
    city.start(role)
    prove(city, center)


def test_messages_that_come_twice_and_out_of_order_are_done_once(city, center, broker):
    stop = threading.Event()
    repeated = {"messages": 0}

    def repeat():
        with broker.client() as client:
            while not stop.wait(0.005):
                for queue in (lanes.preprocess(FRONTEND, HOSPITAL), lanes.SETTLE, lanes.results(FRONTEND)):
                    waiting = client.lrange(queue, 0, -1)
                    if 0 < len(waiting) < 20:
                        repeated["messages"] += len(waiting)
                        client.rpush(queue, *waiting)

    city.signal("link", signal.SIGSTOP)  # its answers pile up meanwhile
    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        for _ in range(8):
            hand_in(city, 10)
            time.sleep(0.1)
        eventually(lambda: repeated["messages"] >= 15)
    finally:
        stop.set()
        thread.join()
        city.signal("link", signal.SIGCONT)

    prove(city, center)


def test_a_broker_that_forgets_everything_is_a_normal_start(city, center, broker):
    for _ in range(5):
        hand_in(city, 40)
        time.sleep(0.2)
        with broker.client() as client:
            client.flushall()

    prove(city, center)


def test_a_broker_that_dies_and_comes_back_empty_is_found_again_by_everybody(city, center, broker):
    pids = [city.pid(role) for role in ROLES]
    hand_in(city, 40)
    broker.kill(and_forget=True)
    hand_in(city, 40)  # accepted all the same
    broker.start()
    hand_in(city, 10)

    prove(city, center)
    assert [city.pid(role) for role in ROLES] == pids, "nobody had to be started again"
    assert all(birth_mark(pid) for pid in pids)


def test_while_the_broker_is_frozen_claims_are_accepted_without_waiting_long(city, center, broker):
    broker.signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        hand_in(city, 10)
        took = time.monotonic() - started
    finally:
        broker.signal(signal.SIGCONT)

    assert took < 10
    prove(city, center)


def test_while_the_centre_is_away_claims_wait_and_its_lane_is_not_flooded(city, center, broker):
    city.kill("center-settle")
    with broker.client() as client:
        longest = 0
        hand_in(city, 400)
        for _ in range(40):
            time.sleep(0.2)
            longest = max(longest, client.llen(lanes.SETTLE))
    eventually(lambda: city.count("accepted") == 0)
    assert city.count("totalled") == 400
    assert longest <= 2 * LANE_IS_LONG + 5

    city.start("center-settle")
    prove(city, center)


def test_two_desks_and_two_counters_do_everything_once(city, center):
    city.start("desk", "center-settle", name="second")
    for _ in range(5):
        hand_in(city, 60)

    prove(city, center)
    city.end("second desk", "second center-settle")


def test_nothing_of_all_this_told_anybody_who_the_patients_are(city, broker):
    with city.engine.connect().execution_options(reading=True) as connection:
        assert connection.execute(text("SELECT count(*) FROM claim")).scalar() > 500
    numbers = [synthetic_citizen_id(serial) for serial in PERSONS]
    assert not [number for number in numbers if number in city.logs]
    assert "claims_sent_again" in city.logs
