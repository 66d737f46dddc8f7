"""Group commit: claims that arrive within the same few milliseconds are accepted in one transaction.

A commit costs the same for one claim as for fifty, so what arrives while the writer is busy waits for its next turn.
Nobody is answered before the transaction that holds their claim has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from infra import metrics
from producers.api.pace import Pace
from workers.intake import Outcome, Submission, institutions_of

log = logging.getLogger("api")

MOST_CLAIMS = 64
GATHER_SECONDS = 0.010
RING_SECONDS = 0.05
"""The pause after a ring: at the peak a bell then stands for everything that came in meanwhile."""
MOST_WAITING = 4096

Write = Callable[[Sequence[Submission]], Sequence[Outcome]]
Ring = Callable[[str], object]
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Away = (OperationalError, PoolTimeout)
"""The database is away, locked or full: the same request may succeed later."""


def all_or_each(
    work: Callable[[Sequence[Asked]], Sequence[Answer]], group: Sequence[Asked]
) -> list[Answer | Exception]:
    """The answers in order. Should the group fail, each goes alone, so that one cannot take others with it."""
    try:
        return list(work(group))
    except Away as error:
        log.warning("group_not_written", extra={"count": len(group), "error": type(error).__name__})
        return [error] * len(group)
    except Exception as error:
        log.error("group_failed", extra={"count": len(group), "error": type(error).__name__})
        return [error] if len(group) == 1 else [all_or_each(work, [one])[0] for one in group]


def hand_out(answers: Sequence[Answer | Exception], waiting: Sequence[asyncio.Future[Answer]]) -> None:
    """Each answer, or what was raised for it, to whoever still waits for it."""
    for future, answer in zip(waiting, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


class TooManyWaiting(Exception):
    """More claims are waiting to be written than this process should hold in memory."""


class GroupCommit:
    """Writes submissions in groups from one thread, and rings one bell per institution afterwards."""

    def __init__(
        self,
        write: Write,
        ring: Ring,
        *,
        write_at_once: Write | None = None,
        pace: Pace | None = None,
        most: int = MOST_CLAIMS,
        gather: float = GATHER_SECONDS,
    ) -> None:
        """`write_at_once` writes without waiting for anybody, or raises; it is tried first."""
        self._write, self._write_at_once = write, write_at_once
        self._ring, self._most, self._gather = ring, most, gather
        self._pace = pace or Pace()
        self._waiting: list[tuple[Submission, asyncio.Future[Outcome]]] = []
        self._writing = False
        self._arrived = asyncio.Event()
        self._bells: set[str] = set()
        self._bell = asyncio.Event()
        self._writer = ThreadPoolExecutor(1, "writer")
        self._ringer = ThreadPoolExecutor(1, "ringer")
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> GroupCommit:
        self._tasks = [asyncio.create_task(self._keep_writing()), asyncio.create_task(self._keep_ringing())]
        return self

    async def __aexit__(self, *reason: object) -> None:
        while self._waiting or self._writing:
            await asyncio.sleep(self._gather)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._writer.shutdown()
        self._ringer.shutdown(wait=False, cancel_futures=True)

    async def accept(self, submission: Submission) -> Outcome:
        """What became of the submission, once it is durable. Raises one of Away, or TooManyWaiting."""
        if len(self._waiting) >= MOST_WAITING:
            raise TooManyWaiting
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, answer))
        self._arrived.set()
        return await answer

    def ring(self, institution_code: str) -> None:
        """Ring an institution's bell soon; many calls within a few milliseconds are one."""
        self._bells.add(institution_code)
        self._bell.set()

    async def _keep_writing(self) -> None:
        loop = asyncio.get_running_loop()
        crowded = False
        while True:
            await self._arrived.wait()
            if (crowded or self._pace.extra) and len(self._waiting) < self._most:
                await self._pace.pause(self._gather)
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not self._waiting:
                self._arrived.clear()
            crowded = len(group) > 1
            metrics.COMMIT_CLAIMS.observe(len(group))
            submissions = [submission for submission, _ in group]
            answers = [answer for _, answer in group]
            outcomes = self._written_at_once(submissions)
            if outcomes is None:
                self._writing = True
                outcomes = await loop.run_in_executor(self._writer, all_or_each, self._write, submissions)
            for institution_code in institutions_of(outcomes, submissions):
                self.ring(institution_code)
            hand_out(outcomes, answers)
            self._writing = False

    def _written_at_once(self, submissions: list[Submission]) -> Sequence[Outcome | Exception] | None:
        """The outcomes, written by this very thread; None where that would mean to wait.

        Two threads that share one interpreter pass its lock to and fro with every row: a group written here costs
        half of what it costs a writer beside us. But nobody may be kept waiting for another process's transaction.
        """
        if self._write_at_once is None:
            return None
        try:
            return self._write_at_once(submissions)
        except Exception as error:
            # Most often another process is writing. Whatever it is, the writer finds out, and has the time to.
            log.debug("not_written_at_once", extra={"error": type(error).__name__})
            return None

    async def _keep_ringing(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._bell.wait()
            self._bell.clear()
            codes, self._bells = sorted(self._bells), set()
            await loop.run_in_executor(self._ringer, self._ring_all, codes)
            await self._pace.pause(RING_SECONDS)

    def _ring_all(self, codes: Sequence[str]) -> None:
        for code in codes:
            try:
                self._ring(code)
            except (OSError, SQLAlchemyError) as error:
                log.warning("bell_not_rung", extra={"institution": code, "error": type(error).__name__})
