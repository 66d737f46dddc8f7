"""The one codec: frozen values to msgpack bytes and back, types checked on the way in."""

from __future__ import annotations

import dataclasses
import re
from datetime import date
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgpack
import msgspec

from domain import messages

T = TypeVar("T")

_KINDS: dict[tuple[str, int], type[Any]] = {(kind.KIND, kind.VERSION): kind for kind in get_args(messages.Message)}


class _Row(NamedTuple):
    """A row of a message: how long it is in this release, and the rows that stand in it, by their place."""

    length: int
    inside: dict[int, _Row]


def _row_of(hint: Any) -> _Row | None:
    """The row a field holds: one of them, one or none, or a tuple of them; None for anything else."""
    for type_ in (hint, *get_args(hint)):
        if hasattr(type_, "_fields"):
            fields = get_type_hints(type_)
            rows = {place: _row_of(fields[name]) for place, name in enumerate(type_._fields)}
            return _Row(len(type_._fields), {place: row for place, row in rows.items() if row is not None})
    return None


_ROWS: dict[type[Any], dict[str, _Row]] = {
    kind: {name: row for name, hint in get_type_hints(kind).items() if (row := _row_of(hint)) is not None}
    for kind in _KINDS.values()
}
"""The rows of each message by field."""

_Growth = tuple[tuple[int, tuple[Any, ...]], ...]
_SUBMISSION: _Growth = ((19, (0, None)), (20, (None,)))
_OF_LINES: _Growth = ((20, (None, ())),)
_OFFLINE: _Growth = ((11, (False,)),)
_LOCAL = 18
"""Where a claim's own result stands in its row."""
_ADDED: dict[type[Any], tuple[str, _Growth]] = {
    messages.TotalsSubmitted: ("claims", ((13, (None, None, True, (), (), None, 0, None)), *_SUBMISSION)),
    messages.ClaimsAnswered: ("answers", ((15, ((), (), "", "", "", None, ())), *_OF_LINES)),
    messages.PersonAnswered: ("entitlements", ((14, (0, None)),)),
    messages.RefundAnswered: ("answers", _OF_LINES),
    messages.SettlementCorrected: ("answers", _OF_LINES),
    messages.PrepareAsked: ("claims", _SUBMISSION),
    messages.RefundAsked: ("kept", _SUBMISSION),
    messages.OutcomeTold: ("outcomes", ((8, (0,)),)),
}
"""Rows that grew after they were released: their field, and each length they had, the shortest first, with what the
places behind it hold by default.

A row whose new places all hold their defaults is written as short as it was released, so nothing is paid for them.
"""


_FIRST_EPOCH = 1
_EPOCH_CAME_LATER = (
    messages.ClaimsAnswered,
    messages.RefundAnswered,
    messages.PersonAnswered,
    messages.DetailReceived,
)
"""Messages released without an epoch: in the first one they are written as they were."""
_LEFT_OUT: dict[type[Any], tuple[str, ...]] = {
    messages.ClaimsAnswered: ("resubmitted", "wanted"),
    messages.OutcomeAsked: ("asked_at", "skew_seconds"),
    messages.UploadGranted: ("bytes", "shares"),
    messages.DetailUploaded: ("chunk",),
    messages.DetailReceived: ("chunk",),
    messages.DocumentsResent: ("refusals", "moves"),
    messages.RefundAsked: ("kept_lines",),
    messages.OutcomeTold: ("wanted", "asked_at", "answered_at", "unopened"),
}
"""Fields that came later: left out where they are empty."""


_written = msgspec.msgpack.Encoder().encode
"""Writes everything as msgpack does, but for moments: those it would write as a time stamp of its own, not as text."""


def _is_plain(hint: Any) -> bool:
    """Whether what is declared so holds no moment, however deep."""
    if hint in (int, str, bytes, bool, NoneType, date):
        return True
    if get_origin(hint) in (tuple, list, dict, frozenset, Union, UnionType):
        return bool(get_args(hint)) and all(arg is ... or _is_plain(arg) for arg in get_args(hint))
    if isinstance(hint, type) and (hasattr(hint, "_fields") or dataclasses.is_dataclass(hint)):
        hints = get_type_hints(hint)
        names = getattr(hint, "_fields", None) or [each.name for each in dataclasses.fields(hint)]
        return all(_is_plain(hints[name]) for name in names)
    return isinstance(hint, type) and issubclass(hint, Enum)


@lru_cache(maxsize=256)
def _places_with_moments(row: Any) -> tuple[int, ...] | None:
    """Where in a row of this type a moment may stand, however deep; None for what is no row and may hold one."""
    if _is_plain(row):
        return ()
    if not hasattr(row, "_fields"):
        return None
    hints = get_type_hints(row)
    return tuple(place for place, name in enumerate(row._fields) if not _is_plain(hints[name]))


def _without_moments(value: Any, places: tuple[int, ...] | None) -> Any:
    """The value with text for its moments, as the encoder would not write them; of a row only these places."""
    if places is None:
        return msgspec.to_builtins(value, builtin_types=(bytes,))
    if not any(value[place] for place in places):
        return value
    values = list(value)
    for place in places:
        values[place] = msgspec.to_builtins(values[place], builtin_types=(bytes,))
    return values


def _ways_of_writing(kind: type[Any]) -> list[tuple[str, bool, tuple[int, ...] | None]]:
    """The fields of a message: whether each is rows, and where in it, or in each of them, moments stand."""
    ways: list[tuple[str, bool, tuple[int, ...] | None]] = []
    hints = get_type_hints(kind)
    for each in dataclasses.fields(kind):
        row, *more = get_args(hints[each.name]) or (None,)
        is_rows = more == [...] and hasattr(row, "_fields")
        ways.append((each.name, is_rows, _places_with_moments(row if is_rows else hints[each.name])))
    return ways


_WAYS = {kind: _ways_of_writing(kind) for kind in _KINDS.values()}


class UnreadableMessage(Exception):
    """The bytes are not a message this release knows. Never retried: it goes where a person looks."""


def encode(message: messages.Message) -> bytes:
    """The message as msgpack: [kind, version, fields]."""
    body = _fields_of(message)
    if body.get("epoch") == _FIRST_EPOCH and type(message) in _EPOCH_CAME_LATER:
        del body["epoch"]
    for name in _LEFT_OUT.get(type(message), ()):
        if not body[name]:
            del body[name]
    added = _ADDED.get(type(message))
    if added is not None:
        name, growth = added
        body[name] = [_as_released(row, growth) for row in body[name]]
    if isinstance(message, messages.TotalsSubmitted | messages.PrepareAsked):
        body["claims"] = [_with_local(row) for row in body["claims"]]
    elif isinstance(message, messages.DocumentsResent):
        body["documents"] = [
            (row[0], _with_local(_as_released(row[1], _SUBMISSION)), _as_released(row[2], _OF_LINES), *row[3:])
            for row in body["documents"]
        ]
    elif isinstance(message, messages.OutcomeTold):
        body["outcomes"] = [_with_answer(row, 6) for row in body["outcomes"]]
    elif isinstance(message, messages.RepairOrdered) and body["answer"] is not None:
        body["answer"] = _as_released(body["answer"], _OF_LINES)
    return _written([message.KIND, message.VERSION, body])


def _fields_of(message: messages.Message) -> dict[str, Any]:
    """The fields of a message, with text for moments."""
    body: dict[str, Any] = {}
    for name, is_rows, places in _WAYS[type(message)]:
        value = getattr(message, name)
        if is_rows:
            value = [_without_moments(row, places) for row in value] if places != () else value
        elif places != ():
            value = _without_moments(value, places)
        body[name] = value
    return body


def _with_answer(row: Any, place: int) -> Any:
    """The row, with the answer that stands in it as short as it may be."""
    if row[place] is None:
        return row
    return (*row[:place], _as_released(row[place], _OF_LINES), *row[place + 1 :])


def _with_local(row: Any) -> Any:
    """The claim, with the front-end's own result that stands in it as short as it may be."""
    if len(row) <= _LOCAL or row[_LOCAL] is None:
        return row
    return (*row[:_LOCAL], _as_released(row[_LOCAL], _OFFLINE), *row[_LOCAL + 1 :])


def _as_released(row: Any, growth: _Growth) -> Any:
    """The row, as short as a release wrote it that knew nothing of the places that hold their defaults."""
    for length, defaults in growth:
        if tuple(row[length:]) == defaults:
            return row[:length]
    return row


def decode(packed: bytes, expected: type[T]) -> T:
    """Read a message of the expected kind. Raises UnreadableMessage and never quotes the content."""
    try:
        kind, version, message = _decoder(tuple[str, int, expected]).decode(packed)  # type: ignore[valid-type]
        if _KINDS.get((kind, version)) is expected:
            return cast(T, message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # the slow way finds out why, and reads what a newer release has added to
    return _decode_by_parts(packed, expected)


_LARGE = re.compile(rb"\xcf[\x80-\xff]")
"""How a number of 2^63 and more begins, and now and then other bytes."""


def has_room(packed: bytes) -> bool:
    """Whether every number of a message fits into a column of our databases (64 bits with a sign)."""
    return _LARGE.search(packed) is None or _fits(msgpack.unpackb(packed, strict_map_key=False))


def _fits(held: Any) -> bool:
    if isinstance(held, dict):
        return all(_fits(value) for value in held.values())
    return all(map(_fits, held)) if isinstance(held, list) else not isinstance(held, int) or held < 1 << 63


def _decode_by_parts(packed: bytes, expected: type[T]) -> T:
    try:
        kind, version, body = msgpack.unpackb(packed)
        known = _KINDS.get((kind, version))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise UnreadableMessage("not a message") from error
    if known is not expected:
        raise UnreadableMessage("a message of another kind or version")
    try:
        return _converted(body, expected)
    except msgspec.ValidationError:
        pass  # perhaps only because the sender is newer and its rows are longer
    try:
        for name, row in _ROWS[expected].items():
            if body.get(name):
                body[name] = _each_shortened(body[name], row)
        return _converted(body, expected)
    except (msgspec.ValidationError, TypeError, AttributeError, KeyError) as error:
        raise UnreadableMessage("a message whose fields do not fit") from error


def _converted(body: Any, expected: type[T]) -> T:
    return msgspec.convert(body, expected, builtin_types=(bytes,))


def _shortened(values: Any, row: _Row) -> list[Any]:
    """A row, cut to the length this release knows, and so the rows in it."""
    known = list(values[: row.length])
    for place, inner in row.inside.items():
        if place < len(known) and known[place]:
            known[place] = _each_shortened(known[place], inner)
    return known


def _each_shortened(held: Any, row: _Row) -> list[Any]:
    """Rows, or one row that stands by itself."""
    return [_shortened(each, row) for each in held] if isinstance(held[0], list) else _shortened(held, row)


def pack(value: Any) -> bytes:
    """Any frozen value or builtin as msgpack, for columns of our own databases."""
    places = _places_with_moments(cast(Any, type(value)))
    return _written(value if places == () else _without_moments(value, places))


def unpack(packed: bytes, type_: type[T]) -> T:
    """What `pack` wrote, as the given type."""
    return cast(T, _decoder(cast(Any, type_)).decode(packed))


@lru_cache(maxsize=256)
def _decoder(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(type_)
