"""The cashiers at every front-end's API: each claim is handed in at its moment, whether or not the last is answered.

An open loop over plain kept-open connections, in a process of its own: `python -m city.load.cashiers PLAN`. A claim's
wait counts from its intended moment, whether the server, its connections, or this process was not ready for it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from city.hospitals import AMOUNTS
from city.load import told
from city.load.orders import PROGRESS_SECONDS, Orders, tell
from city.load.scripts import Asks, Request, Script
from city.load.told import Answer, Clocks, Waiting
from domain.lifecycle import FINAL
from domain.money import fen

CONNECTIONS = 300
"""Most of one institution: the load is open, and at sixty times the speed a counter serves sixty patients at once."""
ASK_AGAIN_SECONDS = (2.0, 5.0, 10.0)
"""A cashier whose answer did not come in time looks again after so long, and from then on as in the last."""
BROKEN_SECONDS = 0.5
LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What this process does: where the servers are, the key of each institution, and every script of the day."""

    ports: Mapping[str, int]
    api_keys: Mapping[str, str]
    scripts: Sequence[Script]
    answers: str
    compress: float
    opens: float


class Broken(Exception):
    """The connection ended before the answer came."""


class _Connection(asyncio.Protocol):
    """One kept-open connection with at most one request under way."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waits: asyncio.Future[tuple[int, dict[str, str], bytes]] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body. Raises Broken."""
        self._waits = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waits

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length or self._waits is None:
            return
        self._buffer = rest[length:]
        waits, self._waits = self._waits, None
        if not waits.done():
            waits.set_result((int(first.split(" ")[1]), headers, rest[:length]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waits is not None and not self._waits.done():
            self._waits.set_exception(Broken())


class Server:
    """The connections to one front-end's API."""

    def __init__(self, port: int, institutions: int) -> None:
        self._port = port
        self._idle: deque[_Connection] = deque()
        self._places = asyncio.Semaphore(CONNECTIONS * institutions)

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Over a free connection, or a new one, or when there is one. Raises Broken."""
        async with self._places:
            while self._idle and not self._idle[-1].is_open:
                self._idle.pop()
            if self._idle:
                connection = self._idle.pop()
            else:
                try:
                    loop = asyncio.get_running_loop()
                    _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
                except OSError:
                    raise Broken from None
            answered = await connection.ask(request)
            self._idle.append(connection)
            return answered


class Cashiers:
    """Plays every script, and keeps what it was told."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        at = {(script.server, script.institution_code) for script in plan.scripts}
        institutions = Counter(server for server, _ in at)
        self._servers = {name: Server(port, institutions[name]) for name, port in plan.ports.items()}
        self.answers: list[Answer] = []
        self.waiting = Waiting()
        self.stopped = False
        """Nobody new is handed in; who is in hand is served on."""
        self._under_way: set[asyncio.Task[None]] = set()

    async def play(self, clocks: Clocks) -> None:
        """Begin each script at its moment; returns when the last has begun."""
        for script in sorted(self._plan.scripts, key=lambda one: one.begins):
            while not self.stopped and (early := clocks.real(script.begins) - time.time()) > 0:
                await asyncio.sleep(min(early, 0.5))
            if self.stopped:
                return
            task = asyncio.create_task(self._serve(script, clocks))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    def progress(self) -> dict[str, object]:
        """How far the cashiers are."""
        return {"door": "api", "under_way": len(self._under_way), **self.waiting.progress()}

    async def finish(self) -> None:
        """Send everybody home, whatever they wait for."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _serve(self, script: Script, clocks: Clocks) -> None:
        answer = Answer(script.number)
        self.answers.append(answer)
        visit_no = ""
        is_due = False
        try:
            for request in script.requests:
                if (early := clocks.real(request.second) - time.time()) > 0:
                    await asyncio.sleep(early)
                if request.asks is Asks.CLAIM:
                    self.waiting.begin(script.crowd, script.number, clocks.real(request.second))
                    is_due = True
                status, document = await self._insist(script, request, visit_no, answer)
                if status >= 400:
                    answer.problem = document.get("code") or str(status)
                    return
                if request.asks is Asks.VISIT:
                    visit_no = document["visit_no"]
                elif request.asks is Asks.CLAIM:
                    await self._until_final(script, document, answer)
        finally:
            if is_due and not answer.answered_at:
                self.waiting.end(script.crowd, script.number)

    async def _until_final(self, script: Script, document: dict[str, Any], answer: Answer) -> None:
        pauses = iter(ASK_AGAIN_SECONDS)
        while True:
            if not answer.answered_at and (document.get("settlement") or document["state"] in FINAL):
                answer.answered_at = time.time()
                self.waiting.end(script.crowd, script.number)
            if document["state"] in FINAL:
                _note(answer, document)
                return
            answer.claim_no = document["claim_no"]
            await asyncio.sleep(next(pauses, ASK_AGAIN_SECONDS[-1]))
            head = self._head("GET", f"/v1/claims/{document['claim_no']}", script)
            try:
                status, _, body = await self._servers[script.server].ask(f"{head}\r\n".encode())
            except Broken:
                continue
            if status == 200:
                document = json.loads(body)

    async def _insist(
        self, script: Script, request: Request, visit_no: str, answer: Answer
    ) -> tuple[int, dict[str, Any]]:
        """Ask under the same key until there is an answer that is none of `later`."""
        head = self._head("POST", request.path.format(visit=visit_no), script)
        head += f"Content-Type: application/json\r\nContent-Length: {len(request.body)}\r\n"
        if request.key:
            head += f"Idempotency-Key: {request.key}\r\n"
        if request.wait:
            head += f"Prefer: wait={request.wait}\r\n"
        asked = f"{head}\r\n".encode() + request.body
        while True:
            try:
                status, headers, body = await self._servers[script.server].ask(asked)
            except Broken:
                pause = BROKEN_SECONDS
            else:
                if status not in (429, 503, 500) and not (status == 409 and b"request-in-flight" in body):
                    return status, json.loads(body)
                pause = min(float(headers.get("retry-after", BROKEN_SECONDS)), LONGEST_PAUSE)
            answer.tries += 1
            await asyncio.sleep(pause)

    def _head(self, method: str, path: str, script: Script) -> str:
        key = self._plan.api_keys[script.institution_code]
        return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"


def _note(answer: Answer, document: dict[str, Any]) -> None:
    settlement = document.get("settlement") or {}
    answer.claim_no, answer.state = document["claim_no"], document["state"]
    answer.codes = tuple(verdict["code"] for verdict in document.get("verdicts", ()))
    answer.words = document.get("refusal", {}).get("detail", "")
    answer.amounts = {name: fen(settlement[name]) for name in AMOUNTS if name in settlement}


async def run(plan: Plan, orders: Orders) -> None:
    """Wait for the opening, play the day, answer for it."""
    cashiers = Cashiers(plan)
    playing: asyncio.Task[None] | None = None
    due = time.monotonic()
    while (order := orders.next()) != ["end"]:
        match order:
            case ["open", opened]:
                clocks = Clocks(plan.opens, float(opened), plan.compress)
                playing = asyncio.create_task(cashiers.play(clocks))
            case ["stop"]:
                cashiers.stopped = True
        if playing is not None and playing.done():
            playing.result()
        if time.monotonic() >= due:
            due += PROGRESS_SECONDS
            tell(cashiers.progress())
        await asyncio.sleep(0.05)
    cashiers.stopped = True
    await cashiers.finish()
    told.write(Path(plan.answers), cashiers.answers)
    tell(cashiers.progress())


if __name__ == "__main__":
    read: Plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    gc.freeze()
    gc.disable()  # its objects are the day's plan, and live as long as it does
    asyncio.run(run(read, Orders()))
