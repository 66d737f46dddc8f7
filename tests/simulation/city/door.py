"""Processes that are called: the API of a front-end as its clients see it, and the clerk at the centre."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError, TimeoutError

import workers.tasks
from infra.settings import Settings
from tests.simulation.city.city import City
from tests.simulation.city.fibers import Condition, Process
from tests.simulation.city.processes import Being, Role

if TYPE_CHECKING:
    from tests.simulation.city.run import Run

PATIENCE = 30.0

UNKNOWN = object()


class Door:
    """The API of a front-end, as far as its clients see it: an answer, or none."""

    def __init__(self, run: Run, process: Process, frontend_name: str) -> None:
        self.run, self.process, self.frontend_name = run, process, frontend_name
        self.frontend: Any = None

    def call(self, work: Callable[[Any], Any]) -> Any:
        """What the work returns, or UNKNOWN: then it may have been done, or be done later, or never."""
        city, dice = self.run.city, self.run.city.dice
        if not self.process.alive:
            city.loop.sleep(1.0)
            return UNKNOWN
        is_faulty = city.chance(city.profile.message_faults)
        fate = dice.randrange(3) if is_faulty else -1
        if fate == 0:
            city.loop.sleep(PATIENCE)
            return UNKNOWN
        box: list[Any] = []
        done = Condition()

        def serve() -> None:
            try:
                box.append(work(self.frontend))
            except (OperationalError, TimeoutError) as error:
                city.note("door fails", self.process, type(error).__name__)
                box.append(UNKNOWN)
            city.loop.wake(done)

        city.loop.spawn(self.process, serve)
        if fate == 1:
            city.loop.spawn(self.process, lambda: self._quietly(work), after=dice.uniform(0.0, 5.0))
        city.loop.wait(done, PATIENCE)
        return UNKNOWN if fate == 2 or not box else box[0]

    def _quietly(self, work: Callable[[Any], Any]) -> None:
        """The same request once more, whose answer nobody hears."""
        try:
            work(self.frontend)
        except (OperationalError, TimeoutError):
            self.run.city.note("door fails", self.process, "a repeated request")


class CalledRole(Role):
    """A process that works no queue: it is called."""

    def __init__(self, city: City, process: Process, settings: Settings, engine: Any) -> None:
        super().__init__(city, process, lambda _: 0, settings, engine)

    def start(self) -> None:
        """Start it; to be called in the hub."""
        process = self.process
        process.alive = True
        process.starts += 1
        Being.made = Being(self.city, process, self._engine, clock=self._settings.time)
        self.city.note("start", process)
        self._begin()
        Being.made = None

    def _begin(self) -> None:
        """What it makes when it starts."""


class DoorRole(CalledRole):
    """The API process of a front-end."""

    def __init__(self, city: City, process: Process, door: Door, settings: Settings, engine: Any) -> None:
        super().__init__(city, process, settings, engine)
        self._door = door

    def _begin(self) -> None:
        self._door.frontend = workers.tasks.Frontend(self._settings)
