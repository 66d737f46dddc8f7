"""A load generator for the API, in a process of its own over plain kept-open sockets: its CPU time is small and apart.

Closed: so many connections, each asks again as soon as it is answered. Open: arrival times are drawn beforehand, and
a request's latency counts from its intended time, whether or not the server (or this process) was ready for it.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgpack

LEAD_SECONDS = 1.0  # between the generator being ready and the first request


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to send: whole requests, in their order; with `arrivals` (seconds from the start) it is an open loop."""

    host: str
    port: int
    requests: Sequence[bytes]
    connections: int
    arrivals: Sequence[float] = ()
    longest_seconds: float = 60.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of it: when it began and ended (Unix time), answers by status, seconds per request, CPU seconds."""

    began: float
    ended: float
    statuses: dict[str, int]
    seconds: list[float]
    cpu_seconds: float
    whole_cpu_seconds: float
    """With the start of the process."""
    connections: int
    first_bad: str = ""


def claim_request(host: str, api_key: str, key: str, body: bytes, *, wait: int = 0) -> bytes:
    """One `POST /v1/claims` as bytes."""
    head = [
        "POST /v1/claims HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {api_key}",
        "Content-Type: application/json",
        f"Idempotency-Key: {key}",
        f"Content-Length: {len(body)}",
    ]
    if wait:
        head.append(f"Prefer: wait={wait}")
    return "\r\n".join([*head, "", ""]).encode() + body


def drawn_arrivals(count: int, per_second: float, *, seed: int = 1) -> list[float]:
    """Arrival times of a Poisson process."""
    chance = random.Random(seed)
    times, now = [], 0.0
    for _ in range(count):
        now += chance.expovariate(per_second)
        times.append(now)
    return times


def generate(plan: Plan, folder: Path, *, meanwhile: Callable[[], None] = lambda: None) -> Outcome:
    """Run the plan in a process of its own and return what came of it; `meanwhile` is called while it runs."""
    planned, outcome = folder / "load.msgpack", folder / "load.json"
    outcome.unlink(missing_ok=True)
    planned.write_bytes(msgpack.packb(asdict(plan)))
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.load", str(planned), str(outcome)])
    try:
        while process.poll() is None:
            meanwhile()
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"the load generator ended with status {process.returncode}")
    return Outcome(**json.loads(outcome.read_text(encoding="utf-8")))


@dataclass(slots=True)
class _Tally:
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    first_bad: str = ""

    def count(self, status: str, body: bytes, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.append(seconds)
        if not status.startswith("2") and not self.first_bad:
            self.first_bad = f"{status}: {body[:300].decode(errors='replace')}"


class _Connection(asyncio.Protocol):
    """One kept-open connection with at most one request under way."""

    def __init__(self, answered: Callable[[_Connection, str, bytes], None]) -> None:
        self._answered = answered
        self._buffer = b""
        self.since = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    @property
    def is_closed(self) -> bool:
        """Nothing can be asked over it any more."""
        return bool(self.transport.is_closing())

    def ask(self, request: bytes, since: float) -> None:
        self.since = since
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = data if not self._buffer else self._buffer + data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._answered(self, head[9:12].decode(), rest[:length])

    def connection_lost(self, exc: Exception | None) -> None:
        if self.since:
            self._answered(self, "lost", str(exc).encode())


async def _closed(plan: Plan, tally: _Tally) -> int:
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    waiting = deque(plan.requests)
    under_way = 0

    def next_one(connection: _Connection) -> None:
        nonlocal under_way
        if waiting:
            under_way += 1
            connection.ask(waiting.popleft(), loop.time())
        elif under_way == 0 and not finished.done():
            finished.set_result(None)

    def answered(connection: _Connection, status: str, body: bytes) -> None:
        nonlocal under_way
        under_way -= 1
        tally.count(status, body, loop.time() - connection.since)
        connection.since = 0.0
        next_one(connection)

    for connection in await _connect(plan, answered, plan.connections):
        next_one(connection)
    await asyncio.wait({finished}, timeout=plan.longest_seconds)
    return plan.connections


async def _open(plan: Plan, tally: _Tally) -> int:
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    late: deque[tuple[bytes, float]] = deque()
    closed = 0

    def answered(connection: _Connection, status: str, body: bytes) -> None:
        nonlocal closed
        tally.count(status, body, loop.time() - connection.since)
        connection.since = 0.0
        if connection.is_closed:
            closed += 1
        elif late:
            connection.ask(*late.popleft())
        else:
            idle.append(connection)
        if len(tally.seconds) == len(plan.requests):
            finished.set_result(None)

    idle = await _connect(plan, answered, plan.connections)
    start = loop.time() + 0.1
    for request, after in zip(plan.requests, plan.arrivals, strict=True):
        intended = start + after
        if (early := intended - loop.time()) > 0:
            await asyncio.sleep(early)
        while idle and idle[-1].is_closed:  # by the server, which keeps none open for ever
            idle.pop()
            closed += 1
        if not idle and closed:
            idle += await _connect(plan, answered, 1)
            closed -= 1
        if idle:
            idle.pop().ask(request, intended)
        else:
            late.append((request, intended))
    await asyncio.wait({finished}, timeout=plan.longest_seconds)
    return plan.connections


async def _connect(plan: Plan, answered: Callable[[_Connection, str, bytes], None], count: int) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(count):
        _, connection = await loop.create_connection(lambda: _Connection(answered), plan.host, plan.port)
        connections.append(connection)
    return connections


async def _run(plan: Plan) -> Outcome:
    tally = _Tally()
    await asyncio.sleep(LEAD_SECONDS)
    began, cpu = time.time(), time.process_time()
    connections = await (_open if plan.arrivals else _closed)(plan, tally)
    if missing := len(plan.requests) - len(tally.seconds):
        tally.statuses["unanswered"] = missing
    return Outcome(
        began=began,
        ended=time.time(),
        statuses=dict(tally.statuses),
        seconds=tally.seconds,
        cpu_seconds=time.process_time() - cpu,
        whole_cpu_seconds=time.process_time(),
        connections=connections,
        first_bad=tally.first_bad,
    )


if __name__ == "__main__":
    planned, written = map(Path, sys.argv[1:])
    plan = Plan(**msgpack.unpackb(planned.read_bytes()))
    written.write_text(json.dumps(asdict(asyncio.run(_run(plan)))), encoding="utf-8")
