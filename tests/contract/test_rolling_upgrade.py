"""Old and new releases beside each other: every message, with less and with more than this release writes.

What an older sender leaves out has its default; what a newer adds is passed over, wherever it stands; what cannot be
read is refused loudly and set aside. So the reader is upgraded first: the centre before its front-ends, and any two
releases in between work together.
"""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_type_hints

import msgpack
import pytest

from domain import messages as m
from infra.codec import UnreadableMessage, decode, encode
from tests.contract.test_golden_messages import VALUES

MORE = "since next year"


def row_type(hint: Any) -> Any:
    """The named tuple a hint holds: one, one or none, or a tuple of them."""
    return next((each for each in (hint, *get_args(hint)) if hasattr(each, "_fields")), None)


def walked(value: Any, hint: Any, change: Any) -> Any:
    """The value as builtins, every row in it changed, the inner ones first."""
    kind = row_type(hint)
    if value is None or kind is None:
        return value
    if kind is not hint and kind not in get_args(hint):
        return value
    if (
        isinstance(value, list)
        and value
        and isinstance(value[0], list)
        and hint is not kind
        and not _is_one(hint, kind)
    ):
        return [walked(each, kind, change) for each in value]
    if isinstance(value, list) and not value and not _is_one(hint, kind):
        return value
    hints = get_type_hints(kind)
    inner = [walked(each, hints[name], change) for name, each in zip(kind._fields, value, strict=False)]
    return change(kind, inner)


def _is_one(hint: Any, kind: Any) -> bool:
    """Whether the hint is a row itself, or one or none."""
    return hint is kind or type(None) in get_args(hint)


def rewritten(message: Any, change: Any, fields: Any) -> bytes:
    """The bytes of a message with every row of it changed, and its fields."""
    kind, version, body = msgpack.unpackb(encode(message))
    hints = get_type_hints(type(message))
    changed = {name: walked(value, hints[name], change) for name, value in body.items()}
    return msgpack.packb([kind, version, fields(changed)])


@pytest.mark.parametrize("name", VALUES)
def test_what_a_newer_sender_adds_anywhere_is_passed_over(name):
    message = VALUES[name]
    hints = get_type_hints(type(message))
    kind, version, body = msgpack.unpackb(encode(message))

    def whole(rows: Any, hint: Any) -> Any:
        """Rows as long as this release knows them: a newer one writes all before what it adds."""
        return walked(rows, hint, lambda of, row: [*row, *_defaults(of, len(row)), MORE])

    longer = {field: whole(value, hints[field]) for field, value in body.items()} | {"since_next_year": {"a": [1]}}
    assert decode(msgpack.packb([kind, version, longer]), type(message)) == message


def _defaults(of: Any, length: int) -> list[Any]:
    """What the places behind so many hold by default."""
    missing = of._fields[length:]
    return [list(value) if isinstance(value := of._field_defaults[name], tuple) else value for name in missing]


@pytest.mark.parametrize("name", VALUES)
def test_what_an_older_sender_leaves_out_has_its_default(name):
    """Every field and every place of a row that has a default may be left out, from the end."""
    message = VALUES[name]
    optional = {field.name for field in dataclasses.fields(message) if field.default is not dataclasses.MISSING}

    def shorter(of: Any, row: list[Any]) -> list[Any]:
        return row[: len(of._fields) - len(of._field_defaults)]

    bare = rewritten(message, shorter, lambda body: {key: body[key] for key in body if key not in optional})
    read = decode(bare, type(message))
    for field in dataclasses.fields(message):
        if field.name in optional:
            assert getattr(read, field.name) == field.default
    assert decode(encode(read), type(message)) == read


@pytest.mark.parametrize("name", VALUES)
def test_what_has_no_default_may_not_be_left_out(name):
    message = VALUES[name]
    needed = [field.name for field in dataclasses.fields(message) if field.default is dataclasses.MISSING]
    for without in needed:
        packed = rewritten(
            message, lambda _of, row: row, lambda body, gone=without: {k: body[k] for k in body if k != gone}
        )
        with pytest.raises(UnreadableMessage):
            decode(packed, type(message))


@pytest.mark.parametrize("kind", get_args(m.Message), ids=lambda kind: kind.KIND)
def test_what_is_new_comes_last_and_has_a_default(kind):
    """Places of rows can only be told apart by where they stand: a default before a place without one is none."""
    for hint in get_type_hints(kind).values():
        of = row_type(hint)
        if of is not None:
            with_default = [name in of._field_defaults for name in of._fields]
            assert with_default == sorted(with_default)
