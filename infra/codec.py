"""The one codec: frozen values to msgpack bytes and back, types checked on the way in."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_type_hints

import msgpack
import msgspec

from domain import messages

T = TypeVar("T")

_KINDS: dict[tuple[str, int], type[Any]] = {
    (kind.KIND, kind.VERSION): kind
    for kind in (
        messages.TotalsSubmitted,
        messages.ClaimsAnswered,
        messages.UploadGranted,
        messages.DetailUploaded,
        messages.DetailReceived,
        messages.BooksAsked,
        messages.BooksReported,
    )
}

_ROW_LENGTHS: dict[type[Any], dict[str, int]] = {
    kind: {
        name: len(row._fields)
        for name, hint in get_type_hints(kind).items()
        for row in get_args(hint)[:1]
        if hasattr(row, "_fields")
    }
    for kind in _KINDS.values()
}
"""How long the rows of each message are in this release; a newer sender's may be longer."""


class UnreadableMessage(Exception):
    """The bytes are not a message this release knows. Never retried: it goes where a person looks."""


def encode(message: messages.Message) -> bytes:
    """The message as msgpack: [kind, version, fields]."""
    body = msgspec.to_builtins(message, builtin_types=(bytes,))
    packed: bytes = msgpack.packb([message.KIND, message.VERSION, body])
    return packed


def decode(packed: bytes, expected: type[T]) -> T:
    """Read a message of the expected kind. Raises UnreadableMessage and never quotes the content."""
    try:
        kind, version, body = msgpack.unpackb(packed)
        known = _KINDS.get((kind, version))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise UnreadableMessage("not a message") from error
    if known is not expected:
        raise UnreadableMessage("a message of another kind or version")
    try:
        for name, length in _ROW_LENGTHS[expected].items():
            rows = body.get(name)
            if rows and len(rows[0]) > length:
                body[name] = [row[:length] for row in rows]
        return msgspec.convert(body, expected, builtin_types=(bytes,))
    except (msgspec.ValidationError, TypeError, AttributeError, KeyError) as error:
        raise UnreadableMessage("a message whose fields do not fit") from error


def pack(value: Any) -> bytes:
    """Any frozen value or builtin as msgpack, for columns of our own databases."""
    packed: bytes = msgpack.packb(msgspec.to_builtins(value, builtin_types=(bytes,)))
    return packed


def unpack(packed: bytes, type_: type[T]) -> T:
    """What `pack` wrote, as the given type."""
    return msgspec.convert(msgpack.unpackb(packed), type_, builtin_types=(bytes,))
