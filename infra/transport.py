"""kombu's Redis transport with two things mended: one client object is kept, and garbage on a list is set aside.

Stock kombu builds a new client for every acknowledgement, which is a fifth of a worker's time, and stops the worker
when an entry of a queue is not what kombu wrote. Everything else is kombu's own.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.encoding import bytes_to_str

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


def readable(item: bytes) -> dict[str, Any] | None:
    """The raw message of a list entry, or None when it is not one that kombu's Redis transport wrote."""
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


def install() -> None:
    """Make redis:// and rediss:// mean this transport."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "infra.transport:Transport"
