"""The link between front-ends and centre, as a wire that counts: a port for each front-end, in front of the broker.

Every byte of the broker's protocol is counted, both ways; messages are told from the rest by the commands that carry
them. A wire can be cut for a while. Run as a process of its own: `python -m city.load.link CONFIG`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from city.load.orders import PROGRESS_SECONDS, Orders, tell

_PUSHED = re.compile(rb"\*\d+\r\n\$5\r\n[LR]PUSH\r\n\$\d+\r\n([^\r]+)\r\n\$(\d+)\r\n", re.IGNORECASE)
_POPPED = re.compile(rb"\*2\r\n\$\d+\r\n((?:results|uploads)\.[^\r]+)\r\n\$(\d+)\r\n")
_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]{2,16})\r\n")
_TAIL = 160
"""A command's head may come in two pieces; no head is longer."""


@dataclass(slots=True)
class Wire:
    """One front-end's wire: what has gone over it so far, and whether it is cut."""

    frontend: str
    up: int = 0
    """Bytes from the front-end."""
    down: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    """By lane, without the front-end's name."""
    weights: Counter[str] = field(default_factory=Counter)
    """Bytes of those messages as the broker holds them."""
    commands: Counter[str] = field(default_factory=Counter)
    """Bytes from the front-end by the command of the broker's protocol they belong to."""
    is_cut: bool = False
    ends: set[asyncio.Transport] = field(default_factory=set)

    def told(self) -> list[object]:
        """As a line of progress has it."""
        return [self.up, self.down, dict(self.messages), dict(self.weights), dict(self.commands)]


class Heads:
    """Finds the heads of messages in a stream that comes in pieces, each once."""

    def __init__(self, head: re.Pattern[bytes]) -> None:
        self._head, self._tail = head, b""

    def found(self, data: bytes) -> list[tuple[str, int]]:
        """Lane and size of every message that begins in this piece."""
        searched = self._tail + data
        heads = list(self._head.finditer(searched))
        begins = heads[-1].end() if heads else 0
        self._tail = searched[max(begins, len(searched) - _TAIL) :]
        return [(found[1].decode(errors="replace").partition(".")[0], int(found[2])) for found in heads]


class Commands:
    """Shares a stream of commands out among their names; a name cut in two by a piece's end goes to the one before."""

    def __init__(self) -> None:
        self._last = "?"

    def shared(self, data: bytes) -> list[tuple[str, int]]:
        """Name and bytes, in their order."""
        shares, begins = [], 0
        for found in _COMMAND.finditer(data):
            shares.append((self._last, found.start() - begins))
            self._last, begins = found[1].decode().upper(), found.start()
        return [*shares, (self._last, len(data) - begins)]


class _End(asyncio.Protocol):
    """One end of a connection: what it gets goes to the other."""

    def __init__(self, wire: Wire, *, is_up: bool) -> None:
        self._wire, self._is_up = wire, is_up
        self._heads = Heads(_PUSHED if is_up else _POPPED)
        self._commands = Commands()
        self.other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._wire.ends.add(self.transport)

    def join(self, other: asyncio.Transport) -> None:
        """From now on the other end is there."""
        self.other = other
        for data in self._early:
            other.write(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        wire = self._wire
        if self._is_up:
            wire.up += len(data)
            for command, size in self._commands.shared(data):
                wire.commands[command] += size
        else:
            wire.down += len(data)
        for lane, size in self._heads.found(data):
            wire.messages[lane] += 1
            wire.weights[lane] += size
        if self.other is None:
            self._early.append(data)
        else:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.transport is not None
        self._wire.ends.discard(self.transport)
        if self.other is not None:
            self.other.close()


class _Near(_End):
    """The front-end's end: reaches for the broker as soon as it is there."""

    def __init__(self, wire: Wire, host: str, port: int) -> None:
        super().__init__(wire, is_up=True)
        self._at = host, port
        self._reaching: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._wire.is_cut:
            cast(asyncio.Transport, transport).abort()
            return
        self._reaching = asyncio.get_running_loop().create_task(self._reach())

    async def _reach(self) -> None:
        assert self.transport is not None
        try:
            far_transport, far = await asyncio.get_running_loop().create_connection(
                lambda: _End(self._wire, is_up=False), *self._at
            )
        except OSError:
            self.transport.abort()
            return
        far.join(self.transport)
        self.join(far_transport)
        if self.transport.is_closing():
            far_transport.close()


def cut(wire: Wire) -> None:
    """From now on every connection is reset, and every new one at once."""
    wire.is_cut = True
    for end in list(wire.ends):
        end.abort()


async def carry(broker: tuple[str, int], ports: dict[str, int], orders: Orders) -> None:
    """Carry bytes for every front-end until told to end."""
    loop = asyncio.get_running_loop()
    wires = {name: Wire(name) for name in ports}
    servers = [
        await loop.create_server(lambda wire=wires[name]: _Near(wire, *broker), "127.0.0.1", port)  # type: ignore[misc]
        for name, port in ports.items()
    ]
    due = loop.time()
    while (order := orders.next()) != ["end"]:
        match order:
            case ["cut", name]:
                cut(wires[name])
            case ["join", name]:
                wires[name].is_cut = False
        if loop.time() >= due:
            due += PROGRESS_SECONDS
            tell({"link": {name: wire.told() for name, wire in wires.items()}})
        await asyncio.sleep(0.05)
    tell({"link": {name: wire.told() for name, wire in wires.items()}})
    for server in servers:
        server.close()


if __name__ == "__main__":
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    asyncio.run(carry(tuple(config["broker"]), config["ports"], Orders()))
