"""The city of one seed: hosts, brokers, processes, and the points at which something may go wrong."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import blake2b

from tests.simulation.city.broker import Broker
from tests.simulation.city.fibers import Condition, Killed, Loop, Process
from tests.simulation.city.network import Host, Network
from tests.simulation.city.profile import Profile

EPOCH = 1_700_000_000.0
"""Unix seconds at simulated second 0: leases and ages count from here."""


class HostClock:
    """Stands where `infra.clock.Clock` does: the clock of one host, right or wrong."""

    speed = 1.0

    def __init__(self, city: City, host: Host) -> None:
        self._city, self._host = city, host

    def now(self) -> datetime:
        """The business moment."""
        return self._city.profile.starts_at + timedelta(seconds=round(self._city.loop.now + self._host.offset, 3))

    def seconds(self) -> float:
        """Real seconds."""
        return EPOCH + self._city.loop.now + self._host.offset

    def written(self) -> str:
        """The wall clock, as far as anybody can tell."""
        return ""


class City:
    """Everything one seed decides, and everything that happened."""

    def __init__(self, seed: int, profile: Profile, dice: random.Random, *, say: Callable[[str], None] | None) -> None:
        self.seed, self.profile, self.dice = seed, profile, dice
        self.loop = Loop()
        self.network = Network(self)
        self.hosts: dict[str, Host] = {}
        self.brokers: dict[str, Broker] = {}
        self.processes: dict[str, Process] = {}
        self.sqlite_turn: dict[str, Condition] = {}
        self.faults: Counter[str] = Counter()
        self.surprises: list[str] = []
        """What the product did that no fault explains."""
        self.is_healing = False
        self._say = say
        self._trace = blake2b(digest_size=16)
        self._numbers = 0
        self.events = 0

    # ── Who there is ──

    def host(self, name: str) -> Host:
        """A machine, made when it is first named; its clock is off by what the profile allows."""
        if name not in self.hosts:
            skew = self.profile.skew_seconds
            self.hosts[name] = Host(name, round(self.dice.uniform(-skew, skew), 3) if skew else 0.0)
            self.sqlite_turn[name] = Condition()
        return self.hosts[name]

    def broker(self, name: str, host: Host) -> Broker:
        """A broker at a host."""
        return self.brokers.setdefault(name, Broker(self, host, name))

    def next_number(self) -> int:
        """Of messages."""
        self._numbers += 1
        return self._numbers

    # ── What happens ──

    def note(self, what: str, who: object = "", detail: str = "") -> None:
        """Write a line of the trace."""
        self.events += 1
        line = f"{self.loop.now:9.3f} {what} {who} {detail}"
        self._trace.update(line.encode())
        if self._say is not None:
            self._say(line)

    @property
    def trace(self) -> str:
        """The digest of everything noted so far."""
        return self._trace.hexdigest()

    def chance(self, rate: float) -> bool:
        """Whether something of this probability happens now."""
        return rate > 0.0 and self.dice.random() < rate

    def fault(self, what: str, who: object = "", detail: str = "") -> None:
        """Note a fault."""
        self.faults[what] += 1
        self.note(f"! {what}", who, detail)

    def surprise(self, what: str) -> None:
        """Note what no fault explains: the run has failed."""
        self.note("SURPRISE", "", what)
        self.surprises.append(what)

    def point(self, process: Process, where: str) -> None:
        """A point at which a process may die."""
        if not process.alive:
            raise Killed
        if self.chance(self.profile.crash):
            self.die(process, where)

    def die(self, process: Process, where: str) -> None:
        """The running fiber's process dies here. Raises Killed."""
        self.fault("crash", process, where)
        process.alive = False
        self.loop.at(self.loop.now, lambda: self.loop.kill(process))
        raise Killed
