"""Entering institutions with who serves them: how seeds, tests and the office do it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, insert

from center.serving.tables import served_by
from center.tables import institution

_SERVED = ("frontend", "part", "parts", "connection")


def enter(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write institutions: the columns of `institution`, and `frontend` (with `part`, `parts`, `connection` where they
    are not those of an only front-end) for who serves them."""
    for row in rows:
        connection.execute(insert(institution).values({key: row[key] for key in row if key not in _SERVED}))
        served = {key: row[key] for key in _SERVED if key in row}
        connection.execute(insert(served_by).values(institution_code=row["institution_code"], **served))
