"""How often the API writes a group, rings a bell, looks for answers: less often while answers take long anyway.

Each of them costs the same for one claim as for fifty. Where a cashier waits for seconds, because the centre or this
machine is short of time, a fraction of a second more is not noticed, and the time that is saved shortens the wait.
"""

from __future__ import annotations

import asyncio

LONG_SECONDS = 1.0
"""An answer that takes no longer is quick."""
SHARE_OF_WAIT = 6
"""Three pauses follow one another on a claim's way: together they add half of what the wait is too long by, so that
they never keep themselves going."""
LONGEST_SECONDS = 0.5
"""What a pause becomes longer by, at most."""
NEWEST = 0.2
"""The share of the newest answer in what is usual."""


class Pace:
    """Pauses that grow with the wait for answers. Nothing is held up while answers are quick."""

    def __init__(self) -> None:
        self._usual = 0.0

    def waited(self, seconds: float) -> None:
        """Somebody waited so long for an answer."""
        self._usual += NEWEST * (seconds - self._usual)

    @property
    def extra(self) -> float:
        """By how much a pause is longer at present, in seconds."""
        return min(LONGEST_SECONDS, max(0.0, self._usual - LONG_SECONDS) / SHARE_OF_WAIT)

    async def pause(self, seconds: float) -> None:
        """Pause for so long, and the `extra`."""
        await asyncio.sleep(seconds + self.extra)
