"""How a good document is broken: by its grammar, so that it surely is wrong, and by its bytes, so that nobody knows."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

Path = tuple[str | int, ...]

_INSTEAD_OF_A_VALUE: tuple[Any, ...] = ({"a": 1}, [[]], [1], "\x00", "字" * 5000, {})
_INSTEAD_OF_A_WHOLE: tuple[Any, ...] = ("text", 7, None, True, 1.5)
_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e400", "1E-400", "01", "+1", ".5", "0x10", "1_000", "--1", "9" * 5000)
_INTRUDERS = (b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1a", b"[", b"{", b'"', b"\x85")
_WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", b"\x7f\xff\xff\xff")
_MARK = "\u2603number\u2603"


def by_grammar(chance: Random, document: dict[str, Any]) -> bytes:
    """The document with one thing that no reader may accept."""
    broken = copy.deepcopy(document)
    break_ = chance.choice((_wrong_kind, _wrong_kind, _unknown_field, _no_number, _twice, _deep))
    return break_(chance, broken)


def by_bytes(chance: Random, good: bytes) -> bytes:
    """The bytes with a few of them changed, lost, doubled, or put in from nowhere. It may still be good."""
    content = bytearray(good)
    for _ in range(chance.choice((1, 1, 1, 2, 5, 40))):
        at = chance.randrange(len(content)) if content else 0
        match chance.randrange(7):
            case 0:
                content[at : at + 1] = bytes((chance.randrange(256),))
            case 1:
                del content[at : at + chance.choice((1, 2, 30, 1000))]
            case 2:
                content[at:at] = chance.randbytes(chance.choice((1, 3, 60)))
            case 3:
                content[at:at] = content[at : at + chance.randrange(1, 200)]
            case 4:
                del content[at:]
            case 5:
                content[at:at] = chance.choice(
                    (b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1a", b"[", b"{", b'"', b"\x85")
                )
            case _:
                content[at : at + 4] = chance.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", b"\x7f\xff\xff\xff")
                )
    return bytes(content)


def _wrong_kind(chance: Random, document: dict[str, Any]) -> bytes:
    path, held = chance.choice(list(_nodes(document)))
    instead = _INSTEAD_OF_A_WHOLE if isinstance(held, dict | list) else _INSTEAD_OF_A_VALUE
    _put(document, path, chance.choice(instead))
    return _written(document)


def _unknown_field(chance: Random, document: dict[str, Any]) -> bytes:
    objects = [held for _, held in [((), document), *_nodes(document)] if isinstance(held, dict)]
    chance.choice(objects)[f"unknown_{chance.randrange(100)}"] = chance.choice((1, "x", None, [], {}))
    return _written(document)


def _no_number(chance: Random, document: dict[str, Any]) -> bytes:
    values = [path for path, held in _nodes(document) if not isinstance(held, dict | list)]
    _put(document, chance.choice(values), _MARK)
    return _written(document).replace(f'"{_MARK}"'.encode(), chance.choice(_NUMBERS).encode())


def _twice(chance: Random, document: dict[str, Any]) -> bytes:
    """A field of the document that stands in it a second time."""
    name = chance.choice(list(document))
    return _written(document)[:-1] + b"," + _written({name: document[name]})[1:]


def _deep(chance: Random, document: dict[str, Any]) -> bytes:
    depth = chance.choice((40, 300, 3000))
    path, _ = chance.choice(list(_nodes(document)))
    _put(document, path, _MARK)
    return _written(document).replace(f'"{_MARK}"'.encode(), b"[" * depth + b"]" * depth)


def _nodes(held: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value below the document itself, with the way to it."""
    inside = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ()
    for name, value in inside:
        yield (*path, name), value
        yield from _nodes(value, (*path, name))


def _put(document: Any, path: Path, value: Any) -> None:
    for name in path[:-1]:
        document = document[name]
    document[path[-1]] = value


def _written(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
