"""An operator of the centre's office: does one thing after the other, each again until the database has taken it.

A thread of its own: whoever undoes a fault must not wait for a database that another fault holds.
"""

from __future__ import annotations

import functools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolIsUsedUp

from center.tables import upload_grant
from center.uploading import windows
from infra.clock import clock_from

WINDOW = "always"
OPEN = windows.Asked(opens="00:00", closes="24:00", lines=str(10**9), bytes=str(10**12), active=True)
"""As the town begins: whatever there is, all day."""
TRY_AGAIN_AFTER = 0.5
PATIENCE = "SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = '5s'"

DUE = "SELECT count(*) FROM claim WHERE state = 'settled' AND detail_state = 0"


class _Job(NamedTuple):
    work: Callable[[Connection], None]
    """In a transaction."""
    after: Callable[[], None]
    """When that has been committed."""
    done: threading.Event


class Office(threading.Thread):
    """Sets the one window of the town, as `jiesuan window set` does."""

    def __init__(self, center: Engine, frontends: Sequence[Engine], clock: str) -> None:
        super().__init__(name="office", daemon=True)
        self.surprises: list[str] = []
        self.waited = 0
        """The most claims whose detail was seen to wait for a window."""
        self._center, self._frontends, self._clock = center, frontends, clock_from(clock)
        self._asked: queue.Queue[_Job | None] = queue.Queue()
        self._is_over = False
        self._open = threading.Event()
        self._open.set()
        self._shut_since: datetime | None = None
        self.start()

    def run(self) -> None:
        """Until `close`."""
        while (job := self._asked.get()) is not None:
            while not self._is_over and not self._did(job):
                time.sleep(TRY_AGAIN_AFTER)

    def close(self) -> None:
        """Ask no more; what is not done is left."""
        self._is_over = True
        self._asked.put(None)
        self.join(30)

    # ── What is asked of it ──

    @property
    def is_free(self) -> bool:
        """Whether the window is as the town begins, and nobody is changing it."""
        return self._open.is_set()

    def now(self) -> datetime:
        """The business moment."""
        return self._clock.now()

    def shut(self, asked: windows.Asked, *, wholly: bool) -> Callable[[], bool]:
        """Set the window so, until `reopen`; whether it is done yet. No slice is granted while it is `wholly` shut."""
        self._open = threading.Event()
        done = threading.Event()
        after = self._note_shut if wholly else _nothing
        self._asked.put(_Job(functools.partial(self._set, asked=asked), after, done))
        return done.is_set

    def reopen(self) -> None:
        """Set it as it was."""
        self._asked.put(_Job(self._look_and_open, _nothing, self._open))

    def wait(self, within: float) -> None:
        """Return when the window is open again. Raises AssertionError where that was not to be had."""
        assert self._open.wait(within), f"nobody could open the window again within {within:.0f} s"

    # ── How ──

    def _did(self, job: _Job) -> bool:
        try:
            with self._center.begin() as connection:
                connection.execute(text(PATIENCE))
                job.work(connection)
        except (DBAPIError, PoolIsUsedUp):
            return False
        job.after()
        job.done.set()
        return True

    def _set(self, connection: Connection, *, asked: windows.Asked) -> None:
        windows.put(connection, WINDOW, asked, by="faults", reason="随机故障", at=self.now())

    def _note_shut(self) -> None:
        self._shut_since = self.now()

    def _look_and_open(self, connection: Connection) -> None:
        granted = connection.execute(select(func.max(upload_grant.c.granted_at))).scalar()
        if wrong := granted_while_shut(granted, self._shut_since):
            self.surprises.append(wrong)
        self._set(connection, asked=OPEN)
        self._shut_since = None
        self.waited = max(self.waited, self._due())

    def _due(self) -> int:
        found = 0
        for engine in self._frontends:
            with engine.connect().execution_options(reading=True) as connection:
                found += int(connection.execute(text(DUE)).scalar_one())
        return found


def granted_while_shut(granted: datetime | None, shut_since: datetime | None) -> str:
    """What is wrong where the newest slice was granted then, and the window was shut since then; empty when nothing."""
    if granted is None or shut_since is None or granted <= shut_since:
        return ""
    return f"a slice was granted at {granted}, and the window is shut since {shut_since}"


def _nothing() -> None:
    """Nothing is to be noted."""
