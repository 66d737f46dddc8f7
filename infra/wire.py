"""How a message lies on a broker's list: Celery's own words around a sealed envelope, said short.

A message of one claim is two hundred bytes of envelope and a thousand of headers, most of them the same every time, and
base64. What cannot be otherwise is left out here and put back by whoever reads it: Celery and kombu above notice
nothing. What is not a plain task with an envelope of version 2 is written as kombu writes it; so an older release,
whose envelopes are of version 1 and are answered in kind, is never sent what it cannot read.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any
from uuid import UUID

import msgpack
from kombu.utils import json as kombu_json
from kombu.utils.encoding import bytes_to_str

from infra.dictionary import HEADS, deflate, inflate
from infra.envelope import SHORT

MARK, TAKEN = b"\x01", b"\x02"
"""What a short message begins with, and one that a consumer has taken: kombu's JSON begins with neither."""
_MOST_HEAD = 4096
_NUMBER_BYTES = 16
_ENVELOPE = b"\x94" + bytes([SHORT])
"""How an envelope of that version begins: an array of four, and its number."""
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_HEADERS: dict[str, Any] = {
    "lang": "py",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "argsrepr": "()",
    "ignore_result": True,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}
_OWN_TO_SENDER: tuple[dict[str, Any], ...] = (
    {"origin": "", "parent_id": None, "root_id": ""},
    {"reply_to": "", "delivery_tag": ""},
)
"""What is not carried: which process sent it, in which task's work, whom nobody answers, and a tag, which the message's
number is again."""


def shortened(raw: Any) -> bytes | None:
    """The message in short; None for one that could not be put back from it."""
    try:
        headers, body = raw["headers"], base64.b64decode(raw["body"])
        arguments = msgpack.unpackb(body)
        envelope = arguments[1]["envelope"]
        if not isinstance(envelope, bytes) or not envelope.startswith(_ENVELOPE):
            return None
        number, task, shown = UUID(headers["id"]), headers["task"], headers["kwargsrepr"]
        lane = raw["properties"]["delivery_info"]["routing_key"]
        if _carried(raw) != _carried(_message(number, task, lane, shown, envelope)):
            return None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, msgpack.UnpackException):
        return None
    head = deflate(f"{task}\n{lane}\n{shown}".encode(), HEADS)
    return MARK + bytes(msgpack.packb([number.bytes, head, envelope]))


def restored(item: bytes) -> dict[str, Any] | None:
    """The message as kombu would have it; None where these bytes are none of ours."""
    try:
        number, head, envelope = msgpack.unpackb(item[len(MARK) :])
        words = inflate(head, HEADS, _MOST_HEAD)
        if words is None or not isinstance(envelope, bytes) or len(number) != _NUMBER_BYTES:
            return None
        task, lane, shown = words.decode().split("\n", 2)
        return _message(UUID(bytes=number), task, lane, shown, envelope)
    except (ValueError, TypeError, zlib.error, msgpack.UnpackException):
        return None


def dumps(value: Any) -> bytes | str:
    """What kombu writes to Redis: a message, or one that was taken, with its exchange and routing key."""
    if isinstance(value, dict):
        short = shortened(value)
        if short is not None:
            return short
    elif isinstance(value, list) and len(value) == 3:
        short = shortened(value[0])
        if short is not None:
            return TAKEN + bytes(msgpack.packb([short, *value[1:]]))
    written: str = kombu_json.dumps(value)
    return written


def text(item: bytes | str) -> bytes | str:
    """As kombu's `bytes_to_str`, which what is short here is not."""
    if isinstance(item, bytes) and item[:1] in (MARK, TAKEN):
        return item
    decoded: str = bytes_to_str(item)
    return decoded


def loads(item: bytes | str) -> Any:
    """What `dumps` wrote. Raises ValueError."""
    if not isinstance(item, bytes) or item[:1] not in (MARK, TAKEN):
        return kombu_json.loads(item)
    if item[:1] == MARK:
        return _or_raise(restored(item))
    short, *where = msgpack.unpackb(item[len(TAKEN) :])
    return [_or_raise(restored(short)), *where]


def _or_raise(raw: dict[str, Any] | None) -> dict[str, Any]:
    if raw is None:
        raise ValueError("not a message in short")
    return raw


def _carried(raw: dict[str, Any]) -> dict[str, Any]:
    """The message without what is its sender's own."""
    headers, properties = _OWN_TO_SENDER
    return raw | {"headers": raw["headers"] | headers, "properties": raw["properties"] | properties}


def _message(number: UUID, task: str, lane: str, shown: str, envelope: bytes) -> dict[str, Any]:
    """The message as Celery and kombu make it."""
    name = str(number)
    body: bytes = msgpack.packb([[], {"envelope": envelope}, _EMBED])
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "binary",
        "content-type": "application/x-msgpack",
        "headers": {**_HEADERS, "id": name, "root_id": name, "task": task, "kwargsrepr": shown, "origin": ""},
        "properties": {
            "correlation_id": name,
            "reply_to": "",
            "argsrepr": "()",
            "kwargsrepr": shown,
            "delivery_mode": 2,
            "delivery_info": {"exchange": lane, "routing_key": lane},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": name,
        },
    }
