"""One seed from its first moment to its verdict: a safety phase with faults, a heal phase with a bound, the checks."""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import center.tasks
import workers.tasks
import workers.terms
from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves
from center.policy.shelf import PolicyShelf
from infra.envelope import frontend_key
from infra.settings import Settings
from tests.simulation.city import checks, town
from tests.simulation.city.accountants import Accountants
from tests.simulation.city.city import City, HostClock
from tests.simulation.city.clients import Client
from tests.simulation.city.connections import World
from tests.simulation.city.databases import Center, Frontend, server
from tests.simulation.city.door import CalledRole, Door, DoorRole
from tests.simulation.city.fibers import Process
from tests.simulation.city.history import History
from tests.simulation.city.idle import Idle
from tests.simulation.city.nemesis import Nemesis
from tests.simulation.city.operators import Operators
from tests.simulation.city.processes import Beat, Role, replaced
from tests.simulation.city.profile import Profile, of_seed

HEAL_BOUND_SECONDS = 900.0
"""Simulated seconds after the last fault within which everything is final and everywhere: the longest wait of the
sweep (120 s), the longest visibility timeout (300 s), and a few rounds of each."""

DETAIL_BOUND_SECONDS = 3600.0 + HEAL_BOUND_SECONDS
"""And for detail whose receipt was lost: the centre has it, so no slice is due but the small one of every hour."""

TIDY_EVERY = 50
LOOK_EVERY = 10.0
CHECK_EVERY = 40.0
CLOSING_DAYS, CLOSING_SECONDS = 45, 600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one seed came to."""

    seed: int
    wrong: tuple[str, ...]
    trace: str
    faults: Counter[str]
    operations: Counter[str]
    events: int
    steps: int
    seconds: float
    simulated_seconds: float
    healed_after: float

    @property
    def is_good(self) -> bool:
        """Whether every check held."""
        return not self.wrong


@dataclass(slots=True)
class Stage:
    """The databases and files that many seeds are played on, one after the other."""

    folder: Path
    center: Center
    frontends: dict[str, Frontend]
    shelves: Shelves
    """Of the checks: what is in force is the same in every seed."""
    settings: dict[str, Settings] = field(default_factory=dict)
    played: int = 0

    def reset(self) -> None:
        """As every seed begins."""
        self.center.reset()
        for frontend in self.frontends.values():
            frontend.reset()
        workers.terms._COVERED.clear()
        self.played += 1
        if self.played % TIDY_EVERY == 0:
            self.center.tidy()


@contextmanager
def rarely_collected() -> Iterator[None]:
    """The garbage collector leaves what is there alone, and looks at what is new more seldom: a tenth of a seed."""
    was = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*was)
        gc.unfreeze()


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Databases to play on, in this folder."""
    (folder / "secret").write_text(town.SECRET.hex())
    for name in town.FRONTENDS:
        (folder / f"{name}.key").write_text(frontend_key(town.SECRET, name).hex())
    frontends = {name: Frontend(folder / f"{name}.db", town.fill_frontend(name)) for name in town.FRONTENDS}
    with server(folder / "postgres") as url:
        center_ = Center(url, town.fill_center)
        try:
            with replaced(), rarely_collected():
                yield Stage(folder, center_, frontends, Shelves(CatalogueShelf(), PolicyShelf()))
        finally:
            center_.close()
            for frontend in frontends.values():
                frontend.close()


class Run:
    """One seed on a stage."""

    def __init__(
        self,
        stage: Stage,
        seed: int,
        *,
        say: Callable[[str], None] | None = None,
        profile: Profile | None = None,
        client: type[Client] = Client,
    ) -> None:
        dice = random.Random(f"jiesuan {seed}")
        self.stage, self.seed, self._client = stage, seed, client
        self.city = City(seed, profile or of_seed(seed, dice), dice, say=say)
        self.history = History(self.city)
        self.roles: list[Role] = []
        self.doors: dict[str, Door] = {}
        self.clients: list[Client] = []
        self.healed_after = 0.0

    # ── The city is built ──

    def _build(self) -> None:
        city = self.city
        center_host = city.host("center")
        city.broker("center", center_host)
        for name in town.FRONTENDS:
            city.broker(name, city.host(name))
        for number in (1, 2):
            self._add(f"counter-{number}", center_host, center.tasks.serve_counter, self._center_settings)
        self._add("office", center_host, center.tasks.serve_office, self._center_settings)
        for number in range(2 if city.profile.second_beat else 1):
            process = self._process(f"beat-{number + 1}", center_host)
            settings = self._with_clock(self._center_settings(), center_host)
            idle = Idle(self.stage.frontends.values())
            self.roles.append(Beat(city, process, settings, self.stage.center.engine, idle=idle))
        clerk = self._process("clerk", center_host)
        settings = self._with_clock(self._center_settings(), center_host)
        self.roles.append(CalledRole(city, clerk, settings, self.stage.center.engine))
        self.operators = Operators(self, clerk)
        self.accountants = Accountants(self, clerk, self.operators)
        for name, codes in town.FRONTENDS.items():
            self._add_frontend(name, codes)

    def _add_frontend(self, name: str, codes: tuple[str, ...]) -> None:
        city, host = self.city, self.city.hosts[name]
        database = self.stage.frontends[name]

        def settings() -> Settings:
            return self._frontend_settings(name, database.url)

        for number in range(2 if city.profile.second_desk else 1):
            self._add(f"desk-{number + 1}-{name}", host, workers.tasks.serve_desk, settings, database)
        self._add(f"link-{name}", host, workers.tasks.serve_link, settings, database)
        process = self._process(f"door-{name}", host)
        door = self.doors[name] = Door(self, process, name)
        self.roles.append(DoorRole(city, process, door, self._with_clock(settings(), host), database.engine))
        for code in codes:
            persons = city.dice.sample(town.PERSONS, 4)
            self.clients.append(self._client(self, f"his-{code[-2:]}", code, door, persons))

    def _process(self, name: str, host: Any) -> Process:
        process = self.city.processes[name] = Process(name, host)
        return process

    def _add(
        self, name: str, host: Any, serve: Any, settings: Callable[[], Settings], frontend: Frontend | None = None
    ) -> None:
        process = self._process(name, host)
        given = self._with_clock(settings(), host)
        engine = (frontend or self.stage.center).engine
        idle = Idle([frontend] if frontend else ())
        self.roles.append(Role(self.city, process, serve, given, engine, idle=idle))

    def _with_clock(self, settings: Settings, host: Any) -> Settings:
        own = settings.model_copy()
        own.__dict__["time"] = HostClock(self.city, host)
        return own

    def _settings(self, name: str, **named: Any) -> Settings:
        """Read once per stage: reading the environment for every process costs a tenth of a seed."""
        if name not in self.stage.settings:
            self.stage.settings[name] = Settings(_env_file=None, **named)
        return self.stage.settings[name]

    def _center_settings(self) -> Settings:
        return self._settings(
            "center",
            center_database_url=self.stage.center.url,
            center_broker_url="simulated://center",
            center_secret_file=self.stage.folder / "secret",
            window_tick_seconds=30.0,
            books_tick_seconds=60.0,
            settle_late_seconds=10.0,
            sweep_after_seconds=8.0,
            prepare_seconds=45.0,
            clearing_tick_seconds=60.0,
            settle_lanes=2,
        )

    def _frontend_settings(self, name: str, url: str) -> Settings:
        return self._settings(
            name,
            frontend=name,
            frontend_database_url=url,
            frontend_broker_url=f"simulated://{name}",
            center_broker_url="simulated://center",
            frontend_key_file=self.stage.folder / f"{name}.key",
            preprocess_batch=20,
            sweep_every_seconds=30.0,
            sweep_after_seconds=8.0,
            reference_every_seconds=180.0,
            link_every_seconds=12.0,
        )

    # ── What others ask of it ──

    def any_process(self) -> Process:
        """One of the city's processes."""
        name = self.city.dice.choice(sorted(self.city.processes))
        return self.city.processes[name]

    def center_clock(self) -> HostClock:
        """The clock of the centre's host."""
        return HostClock(self.city, self.city.hosts["center"])

    def today(self, host: Any) -> date:
        """The business day at a host."""
        return HostClock(self.city, host).now().date()

    # ── The seed is played ──

    def play(self) -> Verdict:
        """Play it and say what was wrong."""
        began = time.perf_counter()
        self.stage.reset()
        World.city = self.city
        wrong: list[str] = []
        try:
            self._build()
            wrong = self._phases()
        finally:
            self.city.loop.end(self.city.processes.values())
            World.city = None
            World.blocked.clear()
            wrong += [f"{slot} did not give a connection back" for slot in self.stage.center.held()]
        city = self.city
        return Verdict(
            seed=self.seed,
            wrong=tuple(wrong),
            trace=city.trace,
            faults=city.faults,
            operations=self.history.counts,
            events=city.events,
            steps=city.loop.steps,
            seconds=time.perf_counter() - began,
            simulated_seconds=city.loop.now,
            healed_after=self.healed_after,
        )

    def _phases(self) -> list[str]:
        city, loop = self.city, self.city.loop
        for role in self.roles:
            role.start()
        self._watch()
        for client in self.clients:
            loop.spawn(None, client.live)
        Nemesis(self).begin()
        self.operators.begin()
        self.accountants.begin()
        while loop.now < city.profile.safety_seconds:
            loop.run(min(loop.now + CHECK_EVERY, city.profile.safety_seconds))
            is_recovering = bool(city.faults["centre restored"])
            wrong = self._surprises() or checks.always(self, is_recovering=is_recovering)
            if wrong:
                return wrong
        self._heal()
        healed_at = loop.now
        while loop.now < healed_at + HEAL_BOUND_SECONDS or (
            loop.now < healed_at + DETAIL_BOUND_SECONDS and checks.waits_for_a_slice(self)
        ):
            loop.run(loop.now + LOOK_EVERY)
            wrong = self._surprises()
            if wrong:
                return wrong
            if all(client.is_done for client in self.clients) and not checks.unfinished(self):
                self.healed_after = loop.now - healed_at
                return self._surprises_of_the_month() or checks.finally_(self)
        return [f"not final {HEAL_BOUND_SECONDS:.0f} s after the last fault: {line}" for line in self._open()]

    def _surprises_of_the_month(self) -> list[str]:
        """Let the days go by in which the clearing periods close."""
        if not self.city.profile.closes_month:
            return []
        self.city.note("the month goes by")
        for host in self.city.hosts.values():
            host.offset += CLOSING_DAYS * 86_400.0
        until = self.city.loop.now + CLOSING_SECONDS
        wrong: list[str] = []
        while self.city.loop.now < until:
            self.city.loop.run(self.city.loop.now + 2 * LOOK_EVERY)
            if self._surprises():
                break
            wrong = checks.unfinished(self) or checks.unclosed(self)
            if not wrong:
                break
        return self._surprises() or wrong or self._surprises_of_paying()

    def _surprises_of_paying(self) -> list[str]:
        """Have the accountants, if there are any, confirm and pay what has closed, and let close again what they take
        back."""
        if not self.city.profile.accounts:
            return []
        self.accountants.settle_up()
        until = self.city.loop.now + CLOSING_SECONDS
        while self.city.loop.now < until and not self._surprises():
            self.city.loop.run(self.city.loop.now + 2 * LOOK_EVERY)
            if self.accountants.is_done:
                return self._surprises() or checks.unpaid(self)
        return self._surprises() or ["the accountants do not end"]

    def _open(self) -> list[str]:
        waiting = [
            f"{client.name} waits for {claim.key} ({claim.state or 'never seen'})"
            for client in self.clients
            for claim in client.claims
            if not (claim.is_rejected or claim.is_final)
        ]
        return (waiting + checks.unfinished(self))[:10] or ["a client does not end"]

    def _surprises(self) -> list[str]:
        errors = [f"{who}: {type(error).__name__}: {error}" for who, error in self.city.loop.errors]
        return self.city.surprises + errors

    def _watch(self) -> None:
        """A supervisor: whatever has died starts again after a while. The broker gives back what was not answered."""
        city = self.city

        def look() -> None:
            for role in self.roles:
                if not role.process.alive and (city.is_healing or city.dice.random() < 0.3):
                    role.start()
            for broker in city.brokers.values():
                broker.restore()
            city.loop.at(city.loop.now + 2.0, look)

        city.loop.at(city.loop.now + 2.0, look)

    def _heal(self) -> None:
        city = self.city
        city.note("heal")
        city.is_healing = True
        city.profile.heal()
        city.network.heal()
        for broker in city.brokers.values():
            broker.down_until = 0.0
        for process in city.processes.values():
            process.paused_until = min(process.paused_until, city.loop.now)
        for host in city.hosts.values():
            host.offset = 0.0
        self.operators.put_right()
