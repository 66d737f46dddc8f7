"""One day on real processes: started, played at its speed, watched, brought to its end."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Engine

from center.clearing import schedule as clearing
from city.load import cashiers, his, told
from city.load.arrivals import Arrival, day_of
from city.load.claims import Cast, cast_of, claims_of
from city.load.day import Day, planned_day
from city.load.model import CITIES, CityModel, scaled
from city.load.orders import Helper
from city.load.scripts import Script, script_of
from city.load.servers import Door, Server, one_server_of, servers_of
from city.load.services import Site
from city.load.told import Answer, Clocks
from city.load.watching import Look, Watch
from city.sample.claims import SampleClaim
from city.sample.morning import City
from city.waiting import still_open
from domain.ways import Way
from infra.clock import Clock
from infra.settings import Settings
from infra.supervisor import Supervisor

STARTING_SHARE = 0.4
"""The clock is set for the doors to open after so many times what one process took to start, for each of them."""
QUIET_SECONDS = 2.0
"""Nothing happens for so long before the doors open: what the link carries then is its own."""
LOOK_SECONDS = 1.0
DRAIN_SECONDS = 300.0
"""Most real seconds after the last arrival until everything is settled, told, uploaded and compared."""
INTERRUPTED_DRAIN_SECONDS = 60.0
"""After Ctrl-C what was handed in is settled and told; its detail is not waited for."""
CLEARED_AFTER_DAYS = 8
"""The month closes on the fifth working day after its end (the sample city's calendar)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be played."""

    city: str
    compress: float
    way: Way
    seed: int
    hours: tuple[float, float]
    scale: float
    people: int
    one_server: bool = False
    drain_seconds: float = DRAIN_SECONDS


@dataclass(slots=True, kw_only=True)
class Played:
    """What came of a day: everything the figures are made of."""

    wanted: Wanted
    city: CityModel
    servers: list[Server]
    day: Day
    cast: Cast
    arrivals: list[Arrival]
    claims: list[SampleClaim]
    """Without their lines."""
    lines: list[int]
    """How many each had."""
    clocks: Clocks
    clock: Clock
    answers: dict[int, Answer]
    looks: list[Look]
    link: list[dict[str, Any]]
    drivers: list[dict[str, Any]]
    is_cut_short: bool
    unfinished: str
    closing: dict[str, float]
    processes: dict[str, int]
    ready_at: float
    ended_at: float
    center_engine: Engine
    frontends: Mapping[str, Engine]
    site: Site


Say = Callable[[str], None]
Show = Callable[["Playing", str], None]


@dataclass(kw_only=True)
class Playing:
    """One day while it is played. Leaving the `with` block ends everything it started."""

    wanted: Wanted
    settings: Settings
    folder: Path
    say: Say
    show: Show
    """Called about once a second with the words of the moment."""
    progress: dict[str, dict[str, Any]] = field(init=False, default_factory=dict)
    """The last that each helping process told."""
    _link: list[dict[str, Any]] = field(init=False, default_factory=list)
    _drivers: list[dict[str, Any]] = field(init=False, default_factory=list)
    _helpers: dict[str, Helper] = field(init=False, default_factory=dict)
    _noted: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __enter__(self) -> Playing:
        self._stack = ExitStack()
        self._prepare_model()
        self.supervisor = self._stack.enter_context(Supervisor(self.folder, say=self.say))
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    # ── Before ────────────────────────────────────────────────────────────────────────────────────────────

    def _prepare_model(self) -> None:
        wanted = self.wanted
        self.city = CITIES[wanted.city]()
        if wanted.scale != 1:
            self.city = scaled(self.city, wanted.scale)
        self.servers = (one_server_of if wanted.one_server else servers_of)(self.city)
        self.day = planned_day(self.city, self.servers, wanted.hours)
        self.arrivals = day_of(
            self.city,
            seed=wanted.seed,
            weekday=self.day.day.isoweekday(),
            peak=True,
            hours=wanted.hours,
            flood=self.day.flood,
        )
        self.cast = cast_of(self.city, self.servers, seed=wanted.seed, people=wanted.people)

    def start(self) -> None:
        """Write the day's claims, start everything, set the clock; the doors open a little later."""
        self.say(f"{len(self.arrivals)} 笔费用的内容 Writing what {len(self.arrivals)} arrivals hand in")
        city = City(
            seed=self.wanted.seed,
            institutions=self.cast.institutions,
            people=self.cast.people,
            claims=(),
            arrivals=(),
        )
        self.site = Site(
            settings=self.settings,
            folder=self.folder,
            city=city,
            servers=self.servers,
            way=self.wanted.way,
            say=self.say,
        )
        self.site.clear()
        self.say(f"数据库和消息服务 Databases and brokers, {len(self.servers)} front-end servers")
        self.center_engine, self.frontends = self.site.prepare(self.supervisor)
        for engine in (self.center_engine, *self.frontends.values()):
            self._stack.callback(engine.dispose)
        self._plan_claims()
        self._start_link()
        self._start_services()
        self._helpers["api"] = self._helper("cashiers", str(self.folder / "plans" / "cashiers.plan"))
        self._helpers["his"] = self._helper("his", str(self.folder / "plans" / "his.plan"))
        self._wait_for_helpers("api", "his")
        self.ready_at = time.time()
        opened = max(self.clock.epoch, self.ready_at + QUIET_SECONDS)
        self.clocks = Clocks(self.day.opens, opened, self.wanted.compress)
        for name in ("api", "his"):
            self._helpers[name].order("open", repr(self.clocks.opened))

    def _plan_claims(self) -> None:
        """Draw every claim; what its door needs of it goes to the door's process, we keep the rest."""
        wanted, opens = self.wanted, self.day.opens
        doors = {one.institution_code: one.door for one in self.cast.institutions}
        scripts: list[Script] = []
        charged: dict[str, list[his.Due]] = {code: [] for code, door in doors.items() if door != Door.API}
        self.claims, self.lines = [], []
        drawn = claims_of(self.arrivals, self.cast, seed=wanted.seed, day=self.day.day)
        for arrival, claim in zip(self.arrivals, drawn, strict=True):
            code = claim.institution.institution_code
            if doors[code] == Door.API:
                scripts.append(script_of(claim, arrival.second, opens=opens))
            else:
                charged[code].append(his.Due(arrival.second, claim))
            self.claims.append(replace(claim, lines=()))
            self.lines.append(len(claim.lines))
        plans = self.folder / "plans"
        site = self.site
        _leave(
            plans / "cashiers.plan",
            cashiers.Plan(
                ports=site.api_ports,
                api_keys=site.api_keys,
                scripts=scripts,
                answers=str(plans / "cashiers.answers"),
                compress=wanted.compress,
                opens=opens,
            ),
        )
        tables = {
            one.institution_code: (
                f"http://127.0.0.1:{site.api_ports[one.frontend]}",
                site.api_keys[one.institution_code],
                site.his_address(one.institution_code),
            )
            for one in self.cast.institutions
            if one.door == Door.TABLES
        }
        _leave(
            plans / "his.plan",
            his.Plan(
                day=self.day.day,
                opens=opens,
                compress=wanted.compress,
                folders={code: str(site.exchange_dir / code) for code, door in doors.items() if door == "dbf"},
                tables=tables,
                claims=charged,
                answers=str(plans / "his.answers"),
            ),
        )

    def _start_link(self) -> None:
        config = self.folder / "plans" / "link.json"
        broker = self.site.broker.url.rpartition(":")[2].partition("/")[0]
        config.write_text(
            json.dumps({"broker": ["127.0.0.1", int(broker)], "ports": self.site.link_ports}), encoding="utf-8"
        )
        self._helpers["link"] = self._helper("link", str(config))
        self._wait_for_helpers("link")

    def _start_services(self) -> None:
        """One process starts alone, which shows how long the others will take; then the clock is set.

        Where they take longer the doors open later, and the processes' clock is ahead of the counters' by as much.
        """
        opens = self.day.moment(self.day.opens)
        began = time.time()
        first = self.site.services("")[2]
        self.supervisor.start(first)
        one_takes = time.time() - began
        count = len(self.site.services(""))
        takes = QUIET_SECONDS + STARTING_SHARE * one_takes * count
        self.clock = Clock(opens, time.time() + takes, self.wanted.compress)
        rest = [service for service in self.site.services(self.clock.written()) if service.name != first.name]
        self.say(f"{count} 个进程 Starting {count} processes, the doors open in {takes:.0f} s")
        self.supervisor.start(*rest)

    # ── The day ───────────────────────────────────────────────────────────────────────────────────────────

    def play(self) -> Played:
        """Play the hours, let everything come to its end, close the month. The services still run afterwards."""
        with ExitStack() as stack:
            brokers = [redis.Redis.from_url(each.url) for each in (self.site.broker, self.site.site_broker)]
            for broker in brokers:
                stack.callback(broker.close)
            self.watch = Watch(self.clock, self.frontends, brokers)
            is_cut_short = False
            try:
                self._hours()
                unfinished = self._drain(self.wanted.drain_seconds)
            except KeyboardInterrupt:
                is_cut_short = True
                self.say("提前结束：不再来新的费用，已受理的办完 Nobody new; what was handed in is finished")
                unfinished = self._interrupted()
        ended_at = time.time()
        answers = self._answers()
        if not is_cut_short:
            unfinished = unfinished or self._settled_down(answers)
        closing = {} if is_cut_short or unfinished else self._close_month()
        for helper in self._helpers.values():
            helper.end()
        return Played(
            wanted=self.wanted,
            city=self.city,
            servers=self.servers,
            day=self.day,
            cast=self.cast,
            arrivals=self.arrivals,
            claims=self.claims,
            lines=self.lines,
            clocks=self.clocks,
            clock=self.clock,
            answers=answers,
            looks=self.watch.looks,
            link=self._link,
            drivers=self._drivers,
            is_cut_short=is_cut_short,
            unfinished=unfinished,
            closing=closing,
            processes=self.pids(),
            ready_at=self.ready_at,
            ended_at=ended_at,
            center_engine=self.center_engine,
            frontends=self.frontends,
            site=self.site,
        )

    def pids(self) -> dict[str, int]:
        """Every process of the test, by name."""
        return {**self.supervisor.pids(), **{f"load:{name}": helper.pid for name, helper in self._helpers.items()}}

    def due_and_answered(self) -> tuple[int, int]:
        """How many claims were due so far, and how many are answered."""
        doors = [self.progress.get(name, {}) for name in ("api", "his")]
        return sum(door.get("due", 0) for door in doors), sum(door.get("answered", 0) for door in doors)

    def oldest_seconds(self) -> float:
        """How long the longest waiting claim has waited at its counter, in real seconds."""
        ages = [age for name in ("api", "his") for _, age in self.progress.get(name, {}).get("waiting", {}).values()]
        return max(ages, default=0.0)

    def _hours(self) -> None:
        cut = self.day.cut
        accidents: list[tuple[float, Callable[[], None], str]] = [
            (cut.begins, lambda: self._helpers["link"].order("cut", cut.server), f"{cut.server} 的链路断开 link cut"),
            (cut.ends, lambda: self._helpers["link"].order("join", cut.server), f"{cut.server} 的链路恢复 link back"),
        ]
        due = time.time()
        while (second := self.clocks.second(time.time())) < self.day.closes:
            while accidents and accidents[0][0] <= second:
                _, strike, words = accidents.pop(0)
                strike()
                self.say(f"{self.clock.now():%H:%M} {words}")
            due = self._look(due, "")
        for _, strike, _ in accidents:
            strike()

    def _drain(self, within: float) -> str:
        """Look on until nothing is under way; what still is when the time is up."""
        deadline, due, rounds = time.time() + within, time.time(), 0
        left = "…"
        while time.time() < deadline:
            due = self._look(due, f"收尾 {left}")
            rounds += 1
            if self._waiting() or rounds % 3:
                continue
            left = still_open(self.center_engine, self.frontends, ())
            if not left:
                return ""
        return left if left != "…" else f"柜台仍在等待 {self._waiting()} 笔"

    def _interrupted(self) -> str:
        for name in ("api", "his"):
            self._helpers[name].order("stop")
        self._helpers["link"].order("join", self.day.cut.server)
        deadline, due = time.time() + INTERRUPTED_DRAIN_SECONDS, time.time()
        try:
            while self._waiting() or self.watch.looks[-1].open_claims:
                if time.time() > deadline:
                    return f"柜台仍在等待 {self._waiting()} 笔"
                due = self._look(due, "收尾")
        except KeyboardInterrupt:
            return "再次中断，未收尾"
        return ""

    def _waiting(self) -> int:
        doors = [self.progress.get(name, {}) for name in ("api", "his")]
        return sum(int(count) for door in doors for count, _ in door.get("waiting", {}).values()) + int(
            doors[0].get("under_way", 0)
        )

    def _look(self, due: float, words: str) -> float:
        """One look when it is due; when the next one is."""
        if (early := due - time.time()) > 0:
            time.sleep(min(early, 0.1))
            return due
        self.watch.look(self.pids())
        for helper in self._helpers.values():
            helper.check()
        self.show(self, words)
        return max(due + LOOK_SECONDS, time.time())

    def _answers(self) -> dict[int, Answer]:
        """End the counters and take what they were told."""
        answers: dict[int, Answer] = {}
        for name, file in (("api", "cashiers"), ("his", "his")):
            self._helpers.pop(name).end()
            answers |= {one.number: one for one in told.read(self.folder / "plans" / f"{file}.answers")}
        return answers

    def _settled_down(self, answers: Mapping[int, Answer]) -> str:
        """What of the claims handed in is not at its end, once more and by their number."""
        return still_open(
            self.center_engine, self.frontends, [claim for claim in self.claims if claim.number in answers]
        )

    def _close_month(self) -> dict[str, float]:
        """The month's clearing closes, as the calendar's tick would have it."""
        at = self.day.moment(self.day.closes + CLEARED_AFTER_DAYS * 86_400)
        self.say("月末清算关账 The month's clearing closes")
        began, done = time.time(), clearing.tick(self.center_engine, at=at, now=time.time(), holder="load")
        return {"seconds": time.time() - began, "closed": done.closed, "refused": done.refused}

    # ── Helping processes ─────────────────────────────────────────────────────────────────────────────────

    def _helper(self, module: str, *arguments: str) -> Helper:
        log = self.folder / "logs" / f"load-{module}.log"
        log.unlink(missing_ok=True)
        name = {"cashiers": "api"}.get(module, module)
        helper = Helper(f"city.load.{module}", *arguments, log=log, noted=lambda line: self._note(name, line))
        self._stack.callback(helper.end, within=5.0)
        return helper

    def _note(self, name: str, line: dict[str, Any]) -> None:
        with self._noted:
            self.progress[name] = line
            (self._link if name == "link" else self._drivers).append(line)

    def _wait_for_helpers(self, *names: str) -> None:
        while not all(name in self.progress for name in names):
            for name in names:
                self._helpers[name].check()
            time.sleep(0.05)


def _leave(path: Path, plan: object) -> None:
    path.touch(mode=0o600)
    path.write_bytes(pickle.dumps(plan))
