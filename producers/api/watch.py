"""Whoever waits for an answer waits here: one look at the database serves them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from domain.lifecycle import ClaimState
from infra.database import reading
from producers.api.pace import Pace
from workers.claims import ClaimView, ended_views, states

log = logging.getLogger("api")

ASK_SECONDS = 0.01
"""How often it is asked whether anybody wrote."""
SHORTEST_REST_SECONDS, REST_AFTER_LOOK, LONGEST_REST_SECONDS = 0.02, 2.0, 0.05
"""A look costs the more the more are waiting, and they wait the longer the more time is spent on looking: so it rests
twice as long as it took, though never so long that a waiting cashier would notice."""

T = TypeVar("T")
W = TypeVar("W")

Waiter = tuple[ClaimState, asyncio.Future[ClaimState]]


class Watch:
    """While anybody waits, asks every few milliseconds whether anybody wrote, and if so which awaited claims moved."""

    def __init__(self, engine: Engine, pace: Pace | None = None) -> None:
        self._engine = engine
        self._pace = pace or Pace()
        self._moving: dict[int, list[Waiter]] = {}
        self._ending: dict[int, list[asyncio.Future[ClaimView]]] = {}
        self._somebody = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "watch")
        self._changes = _Changes(engine)
        self._known: set[int] = set()
        """The claims that were looked at after the last change that was seen."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(self, *reason: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._changes.close()
        self._thread.shutdown()

    async def moved(self, claim_id: int, known: ClaimState, seconds: float) -> ClaimState | None:
        """The claim's state as soon as it is another than the known one; None when the time is up."""
        future: asyncio.Future[ClaimState] = asyncio.get_running_loop().create_future()
        return await self._waited(self._moving, claim_id, (known, future), future, seconds)

    async def settled(self, claim_id: int, seconds: float) -> ClaimView | None:
        """The claim once its state is final; None when the time is up."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        future: asyncio.Future[ClaimView] = loop.create_future()
        ended = await self._waited(self._ending, claim_id, future, future, seconds)
        self._pace.waited(loop.time() - began)
        return ended

    async def _waited(
        self, waiting: dict[int, list[W]], claim_id: int, waiter: W, future: asyncio.Future[T], seconds: float
    ) -> T | None:
        waiting.setdefault(claim_id, []).append(waiter)
        self._somebody.set()
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            waiters = waiting.get(claim_id, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                waiting.pop(claim_id, None)

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._somebody.wait()
            awaited = {*self._moving, *self._ending}
            if not awaited:
                self._somebody.clear()
                continue
            due = awaited if self._changes.happened() else awaited - self._known
            self._known = awaited
            if not due:
                await self._pace.pause(ASK_SECONDS)
                continue
            began = loop.time()
            seen, ended = await loop.run_in_executor(
                self._thread, self._look, due.intersection(self._moving), due.intersection(self._ending)
            )
            rest = min(LONGEST_REST_SECONDS, max(SHORTEST_REST_SECONDS, REST_AFTER_LOOK * (loop.time() - began)))
            for claim_id, state in seen.items():
                for known, future in self._moving.get(claim_id, ()):
                    if state is not known and not future.done():
                        future.set_result(state)
            for claim_id, view in ended.items():
                for future_view in self._ending.get(claim_id, ()):
                    if not future_view.done():
                        future_view.set_result(view)
            await self._pace.pause(rest)

    def _look(self, moving: Set[int], ending: Set[int]) -> tuple[dict[int, ClaimState], dict[int, ClaimView]]:
        try:
            with reading(self._engine) as connection:
                return states(connection, moving), ended_views(connection, ending)
        except SQLAlchemyError as error:
            log.warning("watch_interrupted", extra={"error": type(error).__name__})
            self._changes.forget()
            return {}, {}


class _Changes:
    """Whether anybody wrote. SQLite tells for a few microseconds; of a server it is always taken for granted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tells = engine.dialect.name == "sqlite"
        self._version = -1
        self._held = None if not self._tells else engine.raw_connection()

    def happened(self) -> bool:
        """Whether it may have been since the last call."""
        if not self._tells:
            return True
        try:
            version = self._told()
        except (SQLAlchemyError, sqlite3.Error) as error:
            log.warning("watch_interrupted", extra={"error": type(error).__name__})
            self.close()
            return True
        before, self._version = self._version, version
        return version != before

    def _told(self) -> int:
        if self._held is None:
            self._held = self._engine.raw_connection()
        cursor = self._held.cursor()
        cursor.execute("PRAGMA data_version")
        (version,) = cursor.fetchone() or (-1,)
        cursor.close()
        return int(version)

    def forget(self) -> None:
        """Take it for granted the next time."""
        self._version = -1

    def close(self) -> None:
        """Give the connection back; the next call takes a new one."""
        if self._held is not None:
            self._held.close()
            self._held = None
        self.forget()
