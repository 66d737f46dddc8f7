"""A TCP proxy that misbehaves: between a front-end and the centre's broker, the centre and its database, a client and
the API.

What a wire does wrong is its weather, changed at any moment by the thread that tests; the bytes are carried by one
thread with a loop of its own, for all wires.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from infra.embedded import free_port

CHUNK = 65536
LOOK_EVERY = 0.02
"""A wire that is stalled looks so often whether it still is."""

T = TypeVar("T")


class Way(StrEnum):
    """A direction: up is from who connected."""

    UP = "up"
    DOWN = "down"


@dataclass(slots=True)
class Weather:
    """What the wire does to its bytes, each direction on its own; new weather is fair."""

    is_cut: bool = False
    """Every connection is reset, and every new one at once."""
    stalled: set[Way] = field(default_factory=set)
    """Bytes of these ways wait: nothing is lost, nobody is told."""
    delay: dict[Way, float] = field(default_factory=dict)
    """Seconds before each chunk is passed on."""
    bytes_per_second: float = 0.0
    """0 is as fast as it goes."""
    slice_bytes: int = 0
    """Most bytes passed on at a time; 0 is all there are."""
    truncate: set[Way] = field(default_factory=set)
    """The next chunk of this way loses its tail, and the connection is reset: as when a host dies while it sends."""
    lose: set[Way] = field(default_factory=set)
    """The next chunk of this way loses its tail, and the stream goes on, as TCP never lets it: a broken middlebox."""
    duplicate: set[Way] = field(default_factory=set)
    """The next chunk of this way comes twice, and the stream goes on: likewise."""


class Line(threading.Thread):
    """The thread that carries the bytes of all wires."""

    def __init__(self) -> None:
        super().__init__(name="wires", daemon=True)
        self.loop = asyncio.new_event_loop()
        self.start()

    def run(self) -> None:
        """Until `close`."""
        self.loop.run_forever()
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done on the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        """End the thread; wires are closed first."""
        self.do(self._cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join()

    async def _cancel(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Wire:
    """Listens on a port of its own and carries what comes to the target and back, as its weather lets it."""

    def __init__(self, line: Line, name: str, target_port: int, dice: random.Random, *, port: int = 0) -> None:
        self.name, self.target_port = name, target_port
        self.port = port or free_port(0, name, lambda words: None)
        self.weather = Weather()
        self._line, self._dice = line, dice
        self.cuts = 0
        """How often it was cut while it flapped."""
        self._pairs: set[_Pair] = set()
        self._flapping: Future[None] | None = None
        self._server = line.do(asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=CHUNK))

    @property
    def connections(self) -> int:
        """How many connections it carries now."""
        return len(self._pairs)

    def reset(self) -> int:
        """Reset every connection there is; new ones are carried. How many there were."""
        return self._line.do(self._reset())

    def cut(self) -> None:
        """Reset every connection, and each new one, until `heal`."""
        self.weather.is_cut = True
        self.reset()

    def flap(self, *, down: float, up: float) -> None:
        """Cut for so many seconds and whole for so many, again and again, until `heal`."""
        self._flapping = asyncio.run_coroutine_threadsafe(self._flap(self.weather, down, up), self._line.loop)

    def orphan(self) -> int:
        """Reset every connection at the side that connected and keep the other side's, silent, until `heal`."""
        return self._line.do(self._orphan())

    def heal(self) -> None:
        """Fair weather, and whoever was orphaned is told."""
        self.weather = Weather()
        self._line.do(self._bury())

    def close(self) -> None:
        """Stop listening and close everything."""
        self._line.do(self._close())

    async def _close(self) -> None:
        self._server.close()
        await self._reset()

    async def _reset(self) -> int:
        found = list(self._pairs)
        for pair in found:
            pair.reset()
        return len(found)

    async def _flap(self, weather: Weather, down: float, up: float) -> None:
        while self.weather is weather:
            weather.is_cut = True
            self.cuts += 1
            await self._reset()
            await asyncio.sleep(down)
            weather.is_cut = False
            await asyncio.sleep(up)

    async def _orphan(self) -> int:
        found = [pair for pair in self._pairs if not pair.is_orphaned]
        for pair in found:
            pair.orphan()
        return len(found)

    async def _bury(self) -> None:
        for pair in [pair for pair in self._pairs if pair.is_orphaned]:
            pair.reset()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut():
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port, limit=CHUNK)
        except OSError:
            _reset(writer)
            return
        pair = _Pair(writer, far_writer)
        self._pairs.add(pair)
        if self._is_cut():
            pair.reset()
        try:
            await asyncio.gather(
                self._carry(pair, Way.UP, reader, far_writer), self._carry(pair, Way.DOWN, far_reader, writer)
            )
        except (OSError, asyncio.CancelledError):
            pair.reset()
        finally:
            await pair.until_closed()
            self._pairs.discard(pair)

    def _is_cut(self) -> bool:
        return self.weather.is_cut

    async def _carry(self, pair: _Pair, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await asyncio.sleep(self.weather.delay.get(way, 0.0))
            await self._pass_stall(way, lambda: pair.is_over)
            for piece in self._spoilt(way, chunk, pair):
                await self._write(piece, writer)
            if pair.is_over:
                return
        await self._pass_stall(way, lambda: pair.is_over)
        if not pair.is_over and writer.can_write_eof():
            writer.write_eof()

    async def _pass_stall(self, way: Way, is_over: Callable[[], bool]) -> None:
        while way in self.weather.stalled and not is_over():
            await asyncio.sleep(LOOK_EVERY)

    def _spoilt(self, way: Way, chunk: bytes, pair: _Pair) -> list[bytes]:
        """What becomes of a chunk; each evil is done once."""
        weather = self.weather
        for evil in (weather.truncate, weather.lose):
            if way in evil:
                evil.discard(way)
                if evil is weather.truncate:
                    pair.reset_after_writing()
                return [chunk[: self._dice.randrange(len(chunk))]]
        if way in weather.duplicate:
            weather.duplicate.discard(way)
            return [chunk, chunk]
        return [chunk]

    async def _write(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        step = self.weather.slice_bytes or len(data) or 1
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            writer.write(piece)
            await writer.drain()
            if self.weather.bytes_per_second:
                await asyncio.sleep(len(piece) / self.weather.bytes_per_second)
            elif self.weather.slice_bytes:
                await asyncio.sleep(0)


class _Pair:
    """Two connections that are one to those at the ends."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._near, self._far = near, far
        self.is_over = self.is_orphaned = False
        self._ended = asyncio.Event()

    def reset(self) -> None:
        """Both ends are told that the connection was reset."""
        self.is_over = True
        self.is_orphaned = False
        for writer in (self._near, self._far):
            _reset(writer)
        self._ended.set()

    def reset_after_writing(self) -> None:
        """The same, when what is to be written now is on its way."""
        self.is_over = True
        asyncio.get_running_loop().call_later(0.05, self.reset)

    def orphan(self) -> None:
        """Only the near end is told."""
        self.is_over = self.is_orphaned = True
        _reset(self._near)

    async def until_closed(self) -> None:
        """Return when both ends are closed; who is to be reset is not closed politely before."""
        if self.is_over:
            await self._ended.wait()
        for writer in (self._near, self._far):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close it so that the other end hears a reset, not an end."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
