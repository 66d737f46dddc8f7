"""Timers that would find nothing: the scheduler of the simulation looks past the simulation first, and skips them.

A timer that finds nothing says nothing about the product, and most of them find nothing. Every few times one is rung
all the same, so that what this module does not know of is done, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

MOST_SKIPPED = 3

WAITS = {
    "sweep": "SELECT EXISTS (SELECT 1 FROM claim WHERE state IN ('accepted', 'totalled', 'prepared'))",
    "windows.tick": "SELECT EXISTS (SELECT 1 FROM claim WHERE state = 'settled' AND detail_state = 0)",
}
"""By timer: whether something waits for it at a front-end."""


SERVED = "SELECT institution_code FROM institution WHERE active ORDER BY 1"


class Idle:
    """Says which timers of one process are left out."""

    def __init__(self, frontends: Iterable[Any]) -> None:
        self._frontends = tuple(frontends)
        self._skipped: Counter[str] = Counter()

    def served(self) -> list[Any]:
        """Whom the front-ends serve now: while it stays the same, no desk needs to ask for its queues again."""
        return [frontend.rows(SERVED) for frontend in self._frontends]

    def may_skip(self, timer: str) -> bool:
        """Whether this timer would find nothing now, and has been left out less often in a row than it may be."""
        asked = WAITS.get(timer)
        if asked is None or any(frontend.rows(asked)[0][0] for frontend in self._frontends):
            self._skipped[timer] = 0
            return False
        self._skipped[timer] = (self._skipped[timer] + 1) % (MOST_SKIPPED + 1)
        return self._skipped[timer] > 0
