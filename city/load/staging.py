"""What a day needs before it can be played: its claims, its processes, its clock."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from city.load import cashiers, his
from city.load.arrivals import day_of
from city.load.claims import cast_of, claims_of
from city.load.day import planned_day
from city.load.model import CITIES, scaled
from city.load.orders import Helper
from city.load.scripts import Script, script_of
from city.load.servers import Door, one_server_of, servers_of
from city.load.services import Site
from city.load.told import Clocks
from city.sample.morning import City
from domain.ways import Way
from infra.clock import Clock
from infra.settings import Settings
from infra.supervisor import Supervisor

STARTING_SHARE = 0.4
"""The clock is set for the doors to open after so many times what one process took to start, for each of them."""
QUIET_SECONDS = 2.0
"""Nothing happens for so long before the doors open: what the link carries then is its own."""
DRAIN_SECONDS = 300.0
"""Most real seconds after the last arrival until everything is settled, told, uploaded and compared."""

Say = Callable[[str], None]


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


@dataclass(kw_only=True)
class Stage:
    """A day's city on this machine. Leaving the `with` block ends everything it started."""

    wanted: Wanted
    settings: Settings
    folder: Path
    say: Say
    progress: dict[str, dict[str, Any]] = field(init=False, default_factory=dict)
    """The last that each helping process told."""
    _link: list[dict[str, Any]] = field(init=False, default_factory=list)
    _drivers: list[dict[str, Any]] = field(init=False, default_factory=list)
    _helpers: dict[str, Helper] = field(init=False, default_factory=dict)
    _noted: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._prepare_model()
        self.supervisor = self._stack.enter_context(Supervisor(self.folder, say=self.say))
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

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
        wanted, opens, noisy = self.wanted, self.day.opens, self.day.flood.institution
        doors = {one.institution_code: one.door for one in self.cast.institutions}
        scripts: list[Script] = []
        charged: dict[str, list[his.Due]] = {code: [] for code, door in doors.items() if door != Door.API}
        self.claims, self.lines = [], []
        drawn = claims_of(self.arrivals, self.cast, seed=wanted.seed, day=self.day.day)
        for arrival, claim in zip(self.arrivals, drawn, strict=True):
            code = claim.institution.institution_code
            if doors[code] == Door.API:
                scripts.append(script_of(claim, arrival.second, opens=opens, floods=arrival.institution == noisy))
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

    def pids(self) -> dict[str, int]:
        """Every process of the test, by name."""
        return {**self.supervisor.pids(), **{f"load:{name}": helper.pid for name, helper in self._helpers.items()}}

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
