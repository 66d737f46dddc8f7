"""What several callers ask in the same moment is done in one go: one transaction, one message to the centre.

Nobody waits for company: what comes while a group is under way is the next group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic

from producers.api.commit import Answer, Asked, all_or_each, hand_out

MOST = 64


class Together(Generic[Asked, Answer]):
    """Hands what is asked to `work`, in groups and in order, from one thread. `work` answers in the same order."""

    def __init__(self, name: str, work: Callable[[Sequence[Asked]], Sequence[Answer]]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, name)
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._going: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> Answer:
        """The answer to this one. Raises what the work raises for it."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._go())
        return await answer

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _go(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            asked, waiting = [each for each, _ in group], [future for _, future in group]
            hand_out(await loop.run_in_executor(self._thread, all_or_each, self._work, asked), waiting)
