"""The processes of the city: the product's own `serve_*`, with a simulated worker where Celery's would be.

`serve_desk` and its like build the application, its tasks, its timers and its queues; here they are caught at the
call of `run` and worked by a fiber: take a message, do the task, acknowledge it, and the timers in between.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgpack
from celery.exceptions import Reject
from sqlalchemy.exc import OperationalError, TimeoutError

import center.tasks
import infra.reference
import workers.tasks
from infra.settings import Settings
from infra.worker import Timer
from tests.simulation.city.broker import Broker, SimulatedPost
from tests.simulation.city.city import City
from tests.simulation.city.connections import World
from tests.simulation.city.fibers import Killed, Process
from tests.simulation.city.idle import Idle

EXPECTED = (OperationalError, TimeoutError)
"""What a task may end with when something was broken under it; its message is acknowledged, the rows send again."""


SHORTEST_BEAT, OFTEN = 150.0, frozenset({"windows.tick", "books.tick"})
"""Simulated seconds between two rings of an entry, at least, but for those that what a client waits for hangs on: what
takes a few ticks takes longer then, and a seed costs half."""

SERVING = 20.0
"""Simulated seconds between two looks at terms and moves, in a seed in which they change."""

WITHOUT_CLOSING = 400.0
"""Simulated seconds between two looks at the periods of the clearing, in a seed in which none of them closes."""

LEAST_SECONDS = 0.5
SELDOM = {"waited": 2.0, "tenants": 60.0}
"""No timer is rung more often than this, some still more seldom: ten looks a second say nothing more here."""


class Book:
    """Stands where a Celery application does: the tasks by name, and the settings."""

    def __init__(self, name: str, url: str, *, is_far: bool = False, **_: Any) -> None:
        being = Being.current()
        self.name, self.process, self.is_far = name, being.process, is_far
        self.broker = being.city.brokers[url.removeprefix("simulated://")]
        self.tasks: dict[str, Callable[..., None]] = {}
        self.conf: dict[str, Any] = {}

    def task(self, *, name: str, bind: bool = False, **_: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Register a task under its name."""

        def register(work: Callable[..., None]) -> Callable[..., None]:
            task = SimpleNamespace(app=None, name=name, request=SimpleNamespace(id=name))
            self.tasks[name] = partial(work, task) if bind else work
            return work

        return register


class Being:
    """The process that is being started: what its code finds when it asks who it is."""

    made: Being | None = None
    """In the hub, while a process is started."""

    @classmethod
    def current(cls) -> Being:
        """Who runs now."""
        city = World.city
        fiber = None if city is None else city.loop.fiber
        if fiber is not None and fiber.process is not None:
            return fiber.process.being
        assert cls.made is not None
        return cls.made

    def __init__(self, city: City, process: Process, engine: Callable[[str], Any], clock: Any = None) -> None:
        self.city, self.process, self.engine, self.clock = city, process, engine, clock
        self.run: dict[str, Any] = {}
        process.being = self


class Time:
    """Stands where the module `time` does: simulated in a fiber, real elsewhere."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def monotonic(self) -> float:
        city = World.city
        return time.monotonic() if city is None or city.loop.fiber is None else city.loop.now

    def perf_counter(self) -> float:
        city = World.city
        return time.perf_counter() if city is None or city.loop.fiber is None else city.loop.now

    def time(self) -> float:
        city = World.city
        return time.time() if city is None or city.loop.fiber is None else city.loop.now

    def sleep(self, seconds: float) -> None:
        city = World.city
        if city is None or city.loop.fiber is None:
            time.sleep(seconds)
        else:
            city.loop.sleep(seconds)


class TimeForATurn(Time):
    """For `infra.database`: sleeping there is waiting for SQLite's one writer, who says when the turn is over."""

    def sleep(self, seconds: float) -> None:
        city = World.city
        fiber = None if city is None else city.loop.fiber
        if city is None or fiber is None or fiber.process is None:
            time.sleep(seconds)
        else:
            city.loop.wait(city.sqlite_turn[fiber.process.host.name], 5.0)


class Dice:
    """Stands where the module `random` does: the dice of the seed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(random if World.city is None else World.city.dice, name)


@contextmanager
def replaced() -> Iterator[None]:
    """The product with the simulation under it, for as long as seeds are run in this process."""

    def catch(app: Any, **named: Any) -> int:
        Being.current().run = {"app": app, **named}
        return 0

    def engine(_url: str, **_: Any) -> Any:
        being = Being.current()
        return being.engine(being.process.name)

    class Os:
        def __getattr__(self, name: str) -> Any:
            import os

            return getattr(os, name)

        def getpid(self) -> Any:
            being = Being.current()
            return f"{being.process.name}.{being.process.starts}"

    with ExitStack() as stack:
        logging.disable(logging.CRITICAL)  # tens of thousands of lines about faults that were meant
        stack.callback(logging.disable, logging.NOTSET)
        for module in (workers.tasks, center.tasks):
            replacing = {"build_app": Book, "Post": SimulatedPost, "open_database": engine, "run": catch, "os": Os()}
            for name, value in replacing.items():
                stack.enter_context(patch.object(module, name, value))
        for module in _modules():
            if getattr(module, "time", None) is time:
                clock = TimeForATurn() if module.__name__ == "infra.database" else Time()
                stack.enter_context(patch.object(module, "time", clock))
            if getattr(module, "random", None) is random:
                stack.enter_context(patch.object(module, "random", Dice()))
        stack.enter_context(patch.object(center.tasks.Center, "keep_quarantine", lambda self: None))
        stack.enter_context(patch.object(workers.tasks.Frontend, "keep_quarantine", lambda self: None))
        stack.enter_context(patch.object(infra.reference, "parse", lru_cache(maxsize=64)(infra.reference.parse)))
        stack.enter_context(patch.object(infra.reference, "load", _remembering(infra.reference.load)))
        yield


def _modules() -> list[ModuleType]:
    names = [name for name in sys.modules if name.split(".")[0] in ("center", "workers", "infra", "domain")]
    return [sys.modules[name] for name in sorted(names)]


def _remembering(load: Callable[..., Any]) -> Callable[..., Any]:
    """What is in force is read once per database and set of versions: it is the same in every seed."""
    known: dict[Any, Any] = {}

    def remembered(connection: Any, table: Any) -> Any:
        key = (
            str(connection.engine.url),
            infra.reference.versions_in_force(connection, table),
            infra.reference._catalogue_days(connection, table),
        )
        if key not in known:
            city, World.city = World.city, None  # nothing happens meanwhile: the next seed will not read it at all
            try:
                known[key] = load(connection, table)
            finally:
                World.city = city
        return known[key]

    return remembered


# ── A worker ──────────────────────────────────────────────────────────────────────────────────────────────


class Role:
    """A process that works messages: how it starts, and starts again after it has died."""

    def __init__(
        self,
        city: City,
        process: Process,
        serve: Callable[[Settings], int],
        settings: Settings,
        engine: Any,
        *,
        idle: Idle | None = None,
    ) -> None:
        self.city, self.process = city, process
        self._idle = idle or Idle(())
        self._serve, self._settings, self._engine = serve, settings, engine
        self.app: Any = None

    def start(self) -> None:
        """Start it; to be called in the hub."""
        process = self.process
        process.alive = True
        process.starts += 1
        being = Being(self.city, process, self._engine)
        self.city.note("start", process)
        Being.made = being
        try:
            self._serve(self._settings)
        finally:
            Being.made = None
        self.app = being.run["app"]
        self.city.loop.spawn(process, lambda: self._work(being))

    def _work(self, being: Being) -> None:
        app, queues, timers = being.run["app"], being.run["queues"], list(being.run.get("timers", ()))
        due = [self.city.loop.now] * len(timers)
        while True:
            for number, timer in enumerate(timers):
                if due[number] <= self.city.loop.now:
                    if not self._idle.may_skip(timer.name):
                        self._tick(timer)
                    due[number] = self.city.loop.now + max(timer.every_seconds, SELDOM.get(timer.name, LEAST_SECONDS))
            wait = min([moment - self.city.loop.now for moment in due], default=30.0)
            names = self._queues(queues, being)
            taken = app.broker.take(self.process, names, max(wait, 0.0), is_far=app.is_far)
            if taken is not None:
                self._handle(app.broker, app.tasks, *taken)

    def _queues(self, queues: Sequence[str] | Callable[[], Sequence[str]], being: Being) -> Sequence[str]:
        if not callable(queues):
            return queues
        served = self._idle.served()
        if being.run.get("served") != served:
            try:
                being.run["names"], being.run["served"] = list(queues()), served
            except EXPECTED:
                self.city.die(self.process, "cannot start")
        names: list[str] = being.run["names"]
        return names

    def _tick(self, timer: Timer) -> None:
        """As `infra.worker` guards its timers: one that fails is tried again."""
        try:
            timer.run()
        except EXPECTED as error:
            self.city.note("timer failed", self.process, f"{timer.name} {type(error).__name__}")
        except Exception as error:
            self._unexpected(f"timer {timer.name}", error)

    def _handle(self, broker: Broker, tasks: Any, tag: int, message: Any) -> None:
        """Do the task, then acknowledge: late, and also where it failed (task_acks_on_failure)."""
        self.city.note("take", self.process, f"{message.task}")
        try:
            tasks[message.task](**msgpack.unpackb(message.body))
        except Reject:
            broker.put_back(self.process, tag)
            return
        except EXPECTED as error:
            self.city.note("task failed", self.process, f"{message.task} {type(error).__name__}")
        except Exception as error:
            self._unexpected(message.task, error)
        broker.acknowledge(self.process, tag)

    def _unexpected(self, what: str, error: Exception) -> None:
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        self.city.surprise(f"{self.process} {what}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})")


class Beat(Role):
    """The schedule: rings what is due, and looks neither left nor right."""

    def __init__(self, city: City, process: Process, settings: Settings, engine: Any, *, idle: Idle) -> None:
        super().__init__(city, process, self._beat, settings, engine, idle=idle)

    @staticmethod
    def _beat(settings: Settings) -> int:
        Being.current().run = {"app": center.tasks.center_app(settings)}
        return 0

    def _work(self, being: Being) -> None:
        app = being.run["app"]
        entries = app.conf["beat_schedule"]
        loop = self.city.loop
        due = {name: loop.now + self.city.dice.random() * self._period(name, entry) for name, entry in entries.items()}
        while True:
            name = min(due, key=lambda each: (due[each], each))
            if due[name] > loop.now:
                loop.sleep(due[name] - loop.now)
            entry = entries[name]
            options = entry["options"]
            due[name] = loop.now + self._period(name, entry)
            if self._idle.may_skip(name):
                continue
            try:
                body = msgpack.packb(entry.get("kwargs", {}))
                app.broker.put(self.process, options["queue"], entry["task"], body, expires_in=options["expires"])
            except Killed:
                raise
            except Exception as error:
                self.city.note("beat waits", self.process, type(error).__name__)

    def _period(self, name: str, entry: Any) -> float:
        seconds = float(entry["schedule"])
        if name == "clearing.tick" and not self.city.profile.closes_month:
            return WITHOUT_CLOSING
        if name == "serving.tick" and (self.city.profile.connects or self.city.profile.operators):
            return SERVING
        return seconds if name in OFTEN else max(seconds, SHORTEST_BEAT)
