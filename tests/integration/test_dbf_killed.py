"""The watcher is killed at every point and at any instant: nothing of a hospital's morning is lost or comes twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from decimal import Decimal

import pytest
from sqlalchemy import select

from domain.identity import synthetic_citizen_id
from domain.visit import VisitType
from infra.clock import Clock
from infra.settings import Settings
from producers.his import dbf
from producers.his.fields import layout
from tests.support import warm
from tests.support.crashing_door import KILLED, POINTS
from tests.support.frontend import HOSPITAL
from tests.support.site import ROOT
from tests.support.waiting import eventually
from tests.support.ward import AT, DAY, Ward
from workers import visits
from workers.tables import visit_lines

STAYS, OUTPATIENTS, CARRIED = 6, 6, 6


class Morning:
    """A ward with stays, outpatients registered here, and outpatients that only the folder knows."""

    def __init__(self, folder, broker_url, *, each=STAYS) -> None:
        self.ward = Ward(folder)
        (folder / "key").write_text("01" * 32)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("JIESUAN_")},
            "PYTHONPATH": str(ROOT),
            "JIESUAN_FRONTEND": "hospital-a",
            "JIESUAN_FRONTEND_DATABASE_URL": self.ward.url,
            "JIESUAN_CENTER_BROKER_URL": broker_url,
            "JIESUAN_FRONTEND_KEY_FILE": str(folder / "key"),
            "JIESUAN_EXCHANGE_DIR": str(self.ward.folder.parent),
            "JIESUAN_CLOCK": Clock(AT, time.time(), 1.0).written(),
        }
        self.stays = self.ward.registers_many(each, VisitType.INPATIENT, first=0)
        self.outpatients = self.ward.registers_many(each, VisitType.OUTPATIENT, first=100)
        self.carried = [f"C{number:03}" for number in range(each)]
        self._persons = {
            visit: synthetic_citizen_id(first + number)
            for first, group in ((0, self.stays), (100, self.outpatients), (200, self.carried))
            for number, visit in enumerate(group)
        }
        dbf.append(
            self.ward.folder / "MZDJ0301.DBF",
            layout("MZDJ"),
            [
                {"JYDJH": visit, "YYBH": HOSPITAL, "GMSFHM": self._persons[visit], "JZLB": "3", "RYRQ": DAY}
                for visit in self.carried
            ],
            day=DAY,
        )

    @property
    def all(self):
        return [*self.stays, *self.outpatients, *self.carried]

    def deliver(self, *numbers, only=None) -> None:
        for visit in only or self.all:
            name = "CFXM0302.DBF" if visit in self.stays else "MZXM0302.DBF"
            self.ward.delivers(visit, *numbers, name=name, GMSFHM=self._persons[visit])

    def settle_stays(self) -> None:
        for visit in self.stays:
            self.ward.settles(visit)

    def flags(self) -> Counter:
        found: Counter = Counter()
        for name in ("CFXM0302.DBF", "MZXM0302.DBF"):
            if (self.ward.folder / name).exists():
                found.update(flag for *_, flag in self.ward.marks(name))
        return found

    def results(self) -> list[tuple[str, int, Decimal]]:
        return sorted(
            (row["JYDJH"], int(row["FYPC"]), row["ZYZJE"])
            for path in self.ward.folder.glob("??JS0302.DBF")
            for row in dbf.read(path).rows()
        )

    def registered(self) -> list[str]:
        return sorted(
            row["JYDJH"]
            for name in ("RYDJ0302.DBF", "MZDJ0302.DBF")
            if (self.ward.folder / name).exists()
            for row in dbf.read(self.ward.folder / name).rows()
        )

    def has_come_to_its_end(self, results: int) -> bool:
        self.ward.center_answers()
        return len(self.results()) >= results and set(self.flags()) == {1}

    def assert_nothing_is_lost_or_doubled(self, *totals: str) -> None:
        """Every visit has these results, of batches that add up; every line was imported once."""
        assert self.registered() == sorted([*self.stays, *self.outpatients])
        by_visit: dict[str, list[Decimal]] = {visit: [] for visit in self.all}
        for visit, _, total in self.results():
            by_visit[visit].append(total)
        expected = sum(map(Decimal, totals), Decimal(0))
        assert {visit: sum(of, Decimal(0)) for visit, of in by_visit.items()} == dict.fromkeys(self.all, expected)
        assert len({row[:2] for row in self.results()}) == len(self.results())
        with self.ward.engine.connect() as connection:
            for visit in (*self.stays, *self.outpatients):
                numbers = [line.line_no for line in visits.imported(connection, visit)]
                assert sorted(numbers) == sorted(set(numbers))
                assert len(numbers) * Decimal("25.00") == expected
            waiting = connection.execute(select(visit_lines.c.import_id).where(visit_lines.c.charge_batch_no.is_(None)))
            assert waiting.all() == []


@pytest.fixture
def morning(tmp_path, valkey_url):
    made = Morning(tmp_path, valkey_url)
    yield made
    made.ward.engine.dispose()


@pytest.fixture
def watcher_process(morning, tmp_path):
    """Starts a watcher, to die at a point or not; the last one is ended with the test."""
    running = []

    def start(point="", nth=1):
        module, words = ("tests.support.crashing_door", (point, str(nth))) if point else ("city.cli", ("serve", "his"))
        running.append(
            warm.start(module, *words, environment=morning.environment, folder=tmp_path, log=tmp_path / "watcher.log")
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait(timeout=20)


@pytest.mark.parametrize("point", POINTS)
def test_a_watcher_that_dies_there_loses_and_doubles_nothing(morning, watcher_process, point):
    dying = watcher_process(point, 1)
    morning.deliver(1, 2)
    deadline = time.monotonic() + 20
    while dying.poll() is None and time.monotonic() < deadline:
        morning.ward.center_answers()
        time.sleep(0.05)
    assert dying.poll() == KILLED

    watcher_process()
    eventually(lambda: set(morning.flags()) == {1} or morning.ward.center_answers(), within=30)
    morning.settle_stays()
    eventually(lambda: morning.has_come_to_its_end(STAYS + OUTPATIENTS + CARRIED), within=30)
    eventually(lambda: len(morning.registered()) == STAYS + OUTPATIENTS)
    morning.assert_nothing_is_lost_or_doubled("25.00", "25.00")


KILLS = 80


def _watch(environment: dict[str, str]) -> None:
    """A watcher in a process of its own, begun in no time."""
    os.environ.update(environment)
    from producers.his import watcher
    from workers.tasks import Frontend

    settings = Settings()
    watcher.PAUSE_SECONDS = 0.01
    watcher.watch(Frontend(settings), settings.exchange_dir, stop=threading.Event())


@pytest.mark.timeout(300)
def test_kills_at_any_instant_lose_and_double_nothing(tmp_path, valkey_url):
    morning = Morning(tmp_path, valkey_url, each=12)
    chance = random.Random(7)
    begin = multiprocessing.get_context("fork")
    numbers = iter(range(1, KILLS + 1))
    deliveries, longest = 0, 0.12
    for kill in range(KILLS):
        morning.ward.engine.dispose()
        child = begin.Process(target=_watch, args=(morning.environment,))
        child.start()
        time.sleep(chance.uniform(0.01, longest))
        if kill % 10 == 0 and deliveries < 8:
            morning.deliver(next(numbers))
            deliveries += 1
        if kill % 5 == 0:
            morning.ward.center_answers()
        if kill % 20 == 19:
            for visit in chance.sample(morning.stays, 4):
                morning.ward.settles(visit, final=False)
            if not morning.results():
                longest *= 2  # a machine so busy that none of them lived to do anything
        os.kill(child.pid, signal.SIGKILL)
        child.join()

    assert morning.results(), "nothing came about between the kills"
    morning.ward.engine.dispose()
    child = begin.Process(target=_watch, args=(morning.environment,))
    child.start()
    try:
        eventually(lambda: set(morning.flags()) == {1} or morning.ward.center_answers(), within=60)
        for visit in morning.stays:
            eventually(lambda visit=visit: _is_settling(morning, visit))
        by_visit = {visit: Decimal(0) for visit in morning.all}

        def is_complete():
            morning.ward.center_answers()
            by_visit.update(dict.fromkeys(by_visit, Decimal(0)))
            for visit, _, total in morning.results():
                by_visit[visit] += total
            return set(by_visit.values()) == {deliveries * Decimal("25.00")}

        eventually(is_complete, within=60)
        morning.assert_nothing_is_lost_or_doubled(*["25.00"] * deliveries)
    finally:
        child.kill()
        child.join()
        morning.ward.engine.dispose()


def _is_settling(morning, visit):
    """Whether its last settlement is asked for, once the one before is through."""
    morning.ward.center_answers()
    return not isinstance(morning.ward.settles(visit), visits.NotReady)
