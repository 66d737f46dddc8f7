"""Rows that travel from one front-end's database to another's, by the names of their columns.

The two may be of different releases: a column the reader does not know is left out, one the writer did not know keeps
its default.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import Column, Date, Table

from infra.codec import UnreadableMessage, pack, unpack
from infra.database import Moment

Values = Mapping[str, Any]
Cargo = Mapping[str, list[dict[str, Any]]]
"""Rows by what they are."""


def carried(row: Any, table: Table, *, but: Collection[str] = ()) -> dict[str, Any]:
    """A row as it travels, without the columns named."""
    return {column.name: row._mapping[column.name] for column in table.c if column.name not in but}


def packed(cargo: Cargo) -> bytes:
    """The rows as bytes."""
    return pack(cargo)


def unpacked(content: bytes) -> dict[str, list[dict[str, Any]]]:
    """The rows again. Raises UnreadableMessage."""
    try:
        return unpack(content, dict[str, list[dict[str, Any]]])
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError, TypeError) as error:
        raise UnreadableMessage("a bundle that cannot be read") from error


def planted(values: Values, table: Table, **change: Any) -> dict[str, Any]:
    """A row that travelled, as this database stores it. Raises UnreadableMessage."""
    known = {name: _stored(table.c[name], value) for name, value in values.items() if name in table.c}
    return known | change


def of(cargo: Cargo, name: str) -> Iterable[dict[str, Any]]:
    """The rows of this kind; none where the writer sent none."""
    return cargo.get(name, [])


def _stored(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    try:
        if isinstance(column.type, Moment):
            return msgspec.convert(value, datetime)
        if isinstance(column.type, Date):
            return msgspec.convert(value, date)
    except msgspec.ValidationError as error:
        raise UnreadableMessage(f"a bundle with a column that does not fit: {column.name}") from error
    return value
