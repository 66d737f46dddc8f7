"""A front-end and the centre over a line in memory: the tasks of both, their databases, one clock that a test moves.

What is posted is carried at once, one message after the other, unless the test lets the line lose requests or answers,
or be down. No broker and no process: what a real one does besides is for the tests with real ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kombu.exceptions import OperationalError
from sqlalchemy import Engine

from center.tasks import Center, app_of
from infra import lanes
from infra.envelope import frontend_key
from infra.settings import Settings
from tests.support.center import AT
from tests.support.center import FRONTEND as CODE
from tests.support.frontend import HOSPITAL
from workers import refund
from workers.outcomes import sending
from workers.tasks import Frontend, desk_app, link_app

SECRET = b"\x09" * 32
SWEEP_EVERY, SWEEP_AFTER = 2.0, 8.0

Loses = Callable[[str], bool]


@dataclass
class MovedClock:
    """A clock that stands until it is moved."""

    moment: datetime = AT
    elapsed: float = 1_000_000.0
    speed: float = 1.0

    def now(self) -> datetime:
        """The business moment."""
        return self.moment

    def seconds(self) -> float:
        """Real seconds."""
        return self.elapsed

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)
        self.elapsed += seconds


class _Post:
    """Stands where `infra.broker.Post` does, for one side."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def send(self, task: str, *, queue: str, shown: object, **kwargs: Any) -> None:
        """Carry the message, lose it, or say that the broker is away."""
        if self._line.is_down:
            raise OperationalError("away")
        self._line.sent.append(task)
        if not self._line.loses(task):
            under_way = self._line.held_back if task == self._line.holds_back else self._line.carried
            under_way.append((task, queue, kwargs))

    def waiting(self, queue: str) -> int:
        """Nothing is ever left lying."""
        if self._line.is_down:
            raise OperationalError("away")
        return 0


class Line:
    """Both sides and what lies between them."""

    def __init__(self, folder: Path, engine: Engine, center_url: str, **settings: Any) -> None:
        """`engine` is the front-end's database."""
        key = folder / "key"
        key.write_text(frontend_key(SECRET, CODE).hex())
        secret = folder / "secret"
        secret.write_text(SECRET.hex())
        given = Settings(
            center_database_url=center_url,
            center_broker_url="memory://line",
            center_secret_file=secret,
            frontend=CODE,
            frontend_database_url=str(engine.url),
            frontend_key_file=key,
            sweep_every_seconds=SWEEP_EVERY,
            sweep_after_seconds=SWEEP_AFTER,
            **settings,
        )
        self.clock, self.is_down, self.loses = MovedClock(), False, _nothing
        self.sent: list[str] = []
        self.carried: deque[tuple[str, str, dict[str, Any]]] = deque()
        self.holds_back, self.held_back = "", deque[tuple[str, str, dict[str, Any]]]()
        """Messages of this task lie aside, until a test lets them arrive, or not."""
        self.engine = engine
        self.frontend = Frontend(given)
        self.frontend.clock = self.clock  # type: ignore[assignment]
        self.frontend.__dict__ |= {"engine": engine, "to_center": _Post(self), "on_site": _Post(self)}
        self.center = Center(given, patience_seconds=0.1)
        self.center.clock = self.clock  # type: ignore[assignment]
        self.center.post = _Post(self)  # type: ignore[assignment]
        self._apps = [desk_app(self.frontend), link_app(self.frontend), app_of(self.center)]
        self._sweep = self.frontend.sweep()

    def close(self) -> None:
        """Give the connections back."""
        self.center.engine.dispose()

    def ring(self) -> None:
        """The desk takes what was accepted, and what was decided goes out."""
        self._run(lanes.CLAIMS_PREPROCESS, institution=HOSPITAL)
        self.carry()

    def carry(self) -> None:
        """Let everything that is under way arrive, and what is sent because of it."""
        while self.carried:
            task, _queue, kwargs = self.carried.popleft()
            self._run(task, **kwargs)

    def sweep(self) -> None:
        """One round of what the desk does every few seconds."""
        self._sweep.run(now=self.clock.seconds())
        for send_due in (refund.send_due, sending.send_due):
            send_due(self.frontend, now=self.clock.seconds(), after_seconds=SWEEP_AFTER)
        self.carry()

    def let_pass(self, seconds: float, *, every: float = SWEEP_EVERY) -> None:
        """Let time pass, sweeping as the desk does."""
        until = self.clock.elapsed + seconds
        while self.clock.elapsed < until:
            self.clock.pass_by(every)
            self.sweep()

    def tick(self) -> None:
        """The centre's schedule looks for what has expired."""
        self._run(lanes.OUTCOMES_TICK)

    def _run(self, task: str, **kwargs: Any) -> None:
        app = next(app for app in self._apps if task in app.tasks)
        app.tasks[task](**kwargs)


def _nothing(_task: str) -> bool:
    return False
