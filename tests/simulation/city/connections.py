"""Connections that may break at any statement: SQLite's and psycopg's own, with the simulation in between.

Before a statement time passes and others run; then its process may die, or the connection break. A commit may fail
before it is done, after it is done, or be done without anybody hearing of it.
"""

from __future__ import annotations

import select
import sqlite3
import time
from collections.abc import Generator
from functools import partial
from typing import Any, ClassVar

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.waiting import READY_R, READY_W, WAIT_R, WAIT_W

from tests.simulation.city.city import City
from tests.simulation.city.fibers import Condition, Killed, Process

LOCK_TIMEOUT = 20.0
LOOK_AGAIN_MILLISECONDS = 3
_IS_THERE = "SELECT FROM pg_stat_activity WHERE pid = %s"


class World:
    """The city that runs in this process now; none between two seeds."""

    city: City | None = None
    blocked: ClassVar[list[PostgresConnection]] = []
    looker: psycopg.Connection[Any] | None = None
    """Asks PostgreSQL who waits for whom."""


def _running() -> tuple[City, Process] | None:
    """The city and the process that runs, when it is one that may fail."""
    city = World.city
    fiber = None if city is None else city.loop.fiber
    if city is None or fiber is None or fiber.process is None:
        return None
    return city, fiber.process


def _before_statement(city: City, process: Process) -> bool:
    """Let time pass, and let the process die; whether the connection breaks instead."""
    if not process.alive:
        raise Killed
    city.loop.sleep(city.profile.statement_seconds * city.dice.random())
    city.point(process, "statement")
    return city.chance(city.profile.database_faults)


# ── SQLite ────────────────────────────────────────────────────────────────────────────────────────────────


class SqliteCursor(sqlite3.Cursor):
    """A cursor whose statements may fail."""

    def execute(self, *args: Any) -> Any:
        self._before()
        return super().execute(*args)

    def executemany(self, *args: Any) -> Any:
        self._before()
        return super().executemany(*args)

    def _before(self) -> None:
        running = _running()
        if running is not None and self.connection.is_ready and _before_statement(*running):  # type: ignore[attr-defined]
            running[0].fault("disk error", running[1])
            raise sqlite3.OperationalError("disk I/O error")


class SqliteConnection(sqlite3.Connection):
    """A connection of a front-end; whoever ends a transaction lets those who wait for its turn look again."""

    is_ready = False
    """Not while it is opened: SQLAlchemy holds its pool's lock then."""

    def cursor(self, *args: Any) -> Any:
        return super().cursor(SqliteCursor)

    def commit(self) -> None:
        running = _running()
        if running is None or not self.in_transaction:
            super().commit()
            return
        city, process = running
        if not process.alive:
            raise Killed
        city.point(process, "before commit")
        if city.chance(city.profile.commit_faults):
            city.fault("disk error at commit", process)
            raise sqlite3.OperationalError("disk I/O error")
        super().commit()
        city.note("commit", process)
        self._give_turn(city, process)
        city.point(process, "after commit")

    def rollback(self) -> None:
        was = self.in_transaction
        super().rollback()
        running = _running()
        if was and running is not None:
            self._give_turn(*running)

    def close(self) -> None:
        was = self.in_transaction
        super().close()
        running = _running()
        if was and running is not None:
            self._give_turn(*running)

    def _give_turn(self, city: City, process: Process) -> None:
        city.loop.wake(city.sqlite_turn[process.host.name])


# ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────────────────


class PostgresConnection(psycopg.Connection[Any]):
    """A connection of the centre. Where PostgreSQL makes it wait for a lock, its fiber waits, and others run."""

    is_ready = False
    _is_ending = False
    _is_free = False
    _released: Condition

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        running = _running() if self.is_ready and not self._is_ending else None
        if running is None:
            return super().wait(gen, interval, timeout)
        city, process = running
        if _before_statement(city, process):
            self._break(city, process, "connection lost")
        return self._driven(gen, city, process)

    def commit(self) -> None:
        running = _running()
        if running is None or self.info.transaction_status == TransactionStatus.IDLE:
            super().commit()
            return
        city, process = running
        if not process.alive:
            raise Killed
        city.point(process, "before commit")
        if city.chance(city.profile.commit_faults):
            self._break(city, process, "connection lost before the commit")
        is_written = self.info.transaction_status == TransactionStatus.INTRANS
        self._end(super().commit)
        city.note("commit" if is_written else "aborted", process)
        settle_blocked(city)
        if city.chance(city.profile.commit_faults):
            self._break(city, process, "connection lost after the commit")
        city.point(process, "after commit")

    def rollback(self) -> None:
        """Roll back; a connection that was left in the middle of a statement is closed instead."""
        if self.closed:
            super().rollback()  # raises, as it does for everybody
        if self.info.transaction_status == TransactionStatus.ACTIVE:
            self.close()
            return
        was = self.info.transaction_status != TransactionStatus.IDLE
        self._end(super().rollback)
        if was and World.city is not None:
            settle_blocked(World.city)

    def close(self) -> None:
        """Close it; when this returns the server has rolled back what was not committed."""
        if self.closed:
            return
        pid = self.info.backend_pid
        super().close()
        looker = World.looker
        while looker is not None and looker.execute(_IS_THERE, [pid]).fetchone() is not None:
            time.sleep(0.0003)
        if World.city is not None:
            settle_blocked(World.city)

    def set_isolation_level(self, value: Any) -> None:
        """No statement: SQLAlchemy puts it back while it holds its pool."""
        self._end(partial(super().set_isolation_level, value))

    def set_read_only(self, value: bool | None) -> None:
        """No statement either."""
        self._end(partial(super().set_read_only, value))

    def set_autocommit(self, value: bool) -> None:
        """Nor this."""
        self._end(partial(super().set_autocommit, value))

    def _end(self, how: Any) -> None:
        was, self._is_ending = self._is_ending, True
        try:
            how()
        finally:
            self._is_ending = was

    def _break(self, city: City, process: Process, what: str) -> None:
        city.fault(what, process)
        self.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    # ── Waiting ──

    def _driven(self, gen: Generator[int, int, Any], city: City, process: Process) -> Any:
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN | select.POLLOUT)
        try:
            wanted = next(gen)
            while True:
                wanted = gen.send(self._ready(poll, wanted, gen, city, process))
        except StopIteration as end:
            return end.value

    def _ready(self, poll: Any, wanted: int, gen: Any, city: City, process: Process) -> int:
        reads, writes = bool(wanted & WAIT_R), bool(wanted & WAIT_W)
        poll.modify(self.pgconn.socket, (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0))
        while True:
            found = poll.poll(LOOK_AGAIN_MILLISECONDS)
            if found:
                flags = found[0][1]
                return (READY_R if reads and flags & ~select.POLLOUT else 0) | (
                    READY_W if writes and flags & select.POLLOUT else 0
                )
            if _blockers(self):
                self._wait_for_lock(gen, city, process)

    def _wait_for_lock(self, gen: Any, city: City, process: Process) -> None:
        others = [each for each in World.blocked if each is not self]
        if _waits_for_itself(self, others):
            self._cancel(gen)
            city.surprise(f"deadlock: {process}")
            raise errors.DeadlockDetected("deadlock detected")
        if others:
            # Two woken at once would race; PostgreSQL would let them, a seed could not be played again.
            self._cancel(gen)
            city.note("third waiter gives up", process)
            raise errors.LockNotAvailable("canceling statement due to lock timeout")
        city.note("waits for a lock", process)
        self._released = Condition()
        self._is_free = False
        World.blocked.append(self)
        try:
            until = city.loop.now + LOCK_TIMEOUT
            while not self._is_free and city.loop.now < until:
                city.loop.wait(self._released, until - city.loop.now)
        except Killed:
            self._cancel(gen)
            raise
        finally:
            if self in World.blocked:
                World.blocked.remove(self)
        if not self._is_free:
            self._cancel(gen)
            city.note("lock timeout", process)
            raise errors.LockNotAvailable("canceling statement due to lock timeout")

    def _cancel(self, gen: Any) -> None:
        self.cancel_safe(timeout=5.0)
        ready = READY_R
        try:
            while True:
                select.select([self.pgconn.socket], [], [], 5.0)
                gen.send(ready)
        except StopIteration:
            pass
        except psycopg.Error:
            pass

    def look_again(self) -> bool:
        """Whether the statement has gone on: PostgreSQL answered, or waits no more."""
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        while not poll.poll(LOOK_AGAIN_MILLISECONDS):
            if _blockers(self):
                return False
        return True


def settle_blocked(city: City) -> None:
    """A transaction has ended: wait until PostgreSQL has let go on whoever waited for it, and let them go on here."""
    for connection in list(World.blocked):
        if connection.look_again():
            World.blocked.remove(connection)
            connection._is_free = True
            city.loop.wake(connection._released)


def _waits_for_itself(connection: PostgresConnection, others: list[PostgresConnection]) -> bool:
    """Whether those it waits for wait for it; a chain that ends with one who works is no deadlock."""
    waiting = {each.info.backend_pid: each for each in others}
    seen: set[int] = set()
    ahead = set(_blockers(connection))
    while ahead:
        if connection.info.backend_pid in ahead:
            return True
        seen |= ahead
        ahead = {pid for each in ahead if each in waiting for pid in _blockers(waiting[each])} - seen
    return False


def _blockers(connection: PostgresConnection) -> list[int]:
    looker = World.looker
    assert looker is not None
    row = looker.execute("SELECT pg_blocking_pids(%s)", [connection.info.backend_pid]).fetchone()
    assert row is not None
    return list(row[0])
