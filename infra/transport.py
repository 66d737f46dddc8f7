"""kombu's Redis transport with five things mended: one client object is kept, garbage on a list is set aside, a lane is
its list, no script is run, and a message is written short (`infra.wire`).

Stock kombu builds a new client for every acknowledgement, which is a fifth of a worker's time, and stops the worker
when an entry of a queue is not what kombu wrote. It keeps in a set which lists an exchange leads to, and whoever may
write to that set reads what is meant for others; and whoever may load a script may keep a server busy for ever, so a
login that need do neither may be refused both (`infra.broker_rights`). Everything else is kombu's own.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import WatchError

from infra import wire
from infra.quarantine import set_aside

PAUSE_SECONDS = 1.0


class Channel(redis.Channel):
    """A channel that keeps its client and survives what others wrote to its lists."""

    _kept: Any = None

    # Attributes of kombu's channel that its stubs leave out.
    _create_client: Any
    _queue_cycle: Any
    _flush_brpop_reauth: Any
    connection_errors: Any

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """The client given, or the one kept."""
        if client is None:
            if self._kept is None:
                self._kept = self._create_client()
            client = self._kept
        yield client

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        """Where a message goes: a lane's exchange has the lane's name, and leads to the lane and nowhere else."""
        if _is_lane(exchange, routing_key):
            return [routing_key]
        return list(super()._lookup(exchange, routing_key, default))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Note the binding in Redis, for what is not a lane: the replies of workers to who inspects them."""
        if not _is_lane(exchange, queue):
            super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[misc]  # not in the stubs

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                popped = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not popped:
                raise Empty
            key, item = popped
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            message = readable(item)
            if message is None:
                if not set_aside(queue, "not a message", bytes(item)):
                    self._put_back(queue, item)
            else:
                self.connection._deliver(message, queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _put_back(self, queue: str, item: bytes) -> None:
        """What cannot be set aside now stays on its list, behind the others."""
        with self.conn_or_acquire() as client:
            client.lpush(queue, item)
        time.sleep(PAUSE_SECONDS)


class Transport(redis.Transport):
    """The redis:// transport of every application of this project."""

    Channel = Channel


def _is_lane(exchange: str, queue: str) -> bool:
    return exchange == queue


def readable(item: bytes) -> dict[str, Any] | None:
    """The raw message of a list entry, or None when it is not one that this transport wrote."""
    if item[:1] == wire.MARK:
        return wire.restored(item)
    try:
        raw = json.loads(item)
        properties = raw["properties"]
        fits = (
            isinstance(raw["headers"], dict)
            and isinstance(raw["body"], str)
            and isinstance(properties["delivery_tag"], str)
            and isinstance(properties["delivery_info"]["routing_key"], str)
            and isinstance(properties["delivery_info"]["exchange"], str)
            and properties.get("body_encoding") in (None, "base64", "utf-8")
        )
        if properties.get("body_encoding") == "base64":
            base64.b64decode(raw["body"], validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        return None
    return raw if fits else None


@contextmanager
def only_one(client: Any, name: str, expire: float) -> Iterator[None]:
    """Hold a lock while what a dead consumer had taken is put back. Raises kombu's MutexHeld when another has it."""
    mark = uuid4().hex.encode()
    if not client.set(name, mark, nx=True, px=int(expire * 1000)):
        raise redis.MutexHeld
    try:
        yield
    finally:
        with client.pipeline() as pipe, suppress(WatchError):
            pipe.watch(name)
            if pipe.get(name) == mark:
                pipe.multi()
                pipe.delete(name)
                pipe.execute()


def install() -> None:
    """Make redis:// and rediss:// mean this transport."""
    redis.Mutex = only_one
    vars(redis).update(dumps=wire.dumps, loads=wire.loads, bytes_to_str=wire.text)
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "infra.transport:Transport"
