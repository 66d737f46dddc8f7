"""Looks at every lease as long as a run lasts: who takes one has waited for its time, and gets a new number."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolIsUsedUp

from center.conservation.checking import LEASE as BOOKS_CHECK

LOOK_EVERY = 0.25
GIVEN_BACK = frozenset({BOOKS_CHECK})
"""Leases that are given back before their time: the next holder may come at any moment."""

Key = tuple[str, str]
"""Whose database, and which lease."""


class Held(NamedTuple):
    """A lease as it was seen."""

    fence: int
    holder: str
    until: float


def broken(name: str, before: Held, after: Held, *, at: float) -> str:
    """What two looks at a lease, the second no later than `at`, show that must not be; empty when nothing.

    A holder may have renewed it unseen, and so have it longer than the first look says, never shorter.
    """
    if after.fence < before.fence:
        return f"its number went from {before.fence} back to {after.fence}"
    if after.holder == before.holder:
        return ""
    if after.fence == before.fence:
        return f"{after.holder} holds it under the number {before.fence} of {before.holder}"
    if at < before.until and name not in GIVEN_BACK:
        return f"{after.holder} took it {before.until - at:.1f} s before the time of {before.holder} was over"
    return ""


class Watch(threading.Thread):
    """Looks at the leases of all these databases, and notes what must not be."""

    def __init__(self, databases: dict[str, Engine], surprise: Callable[[str], None]) -> None:
        super().__init__(name="leases", daemon=True)
        self.changes: Counter[str] = Counter()
        """How often each lease was seen to change hands."""
        self._databases, self._surprise = databases, surprise
        self._seen: dict[Key, Held] = {}
        self._over = threading.Event()

    def run(self) -> None:
        """Until `leave`."""
        while not self._over.wait(LOOK_EVERY):
            for of, engine in self._databases.items():
                self._look(of, engine)

    def leave(self) -> None:
        """Stop looking."""
        self._over.set()
        if self.is_alive():
            self.join(60)

    def _look(self, of: str, engine: Engine) -> None:
        try:
            with engine.connect().execution_options(reading=True) as connection:
                rows = connection.execute(text("SELECT name, fence, holder, until FROM lease")).all()
        except (DBAPIError, PoolIsUsedUp):
            return  # it is struck; what was seen last still holds
        at = time.time()
        for name, *held in rows:
            now = Held(*held)
            before = self._seen.get((of, name), now)
            if wrong := broken(name, before, now, at=at):
                self._surprise(f"lease {name} of {of}: {wrong}")
            self.changes[name] += now.holder != before.holder
            self._seen[of, name] = now
