"""Moves that were lost with the centre, as both their front-ends remember them.

When an operator makes such a move again it goes on under its old number: the source still has what it handed over, and
the target knows what of it it took.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.messages import LastMove
from infra.codec import unpack

_TOLD = (
    "SELECT c.moves, e.first_no FROM catching_up c JOIN epoch e USING (epoch)"
    " WHERE c.epoch = (SELECT max(epoch) FROM epoch) AND c.frontend = :frontend AND c.moves IS NOT NULL"
)


def number_of(connection: Connection, institution_code: str, source: str, target: str) -> int | None:
    """The number of the last move of the institution, by both front-ends, where this life of the centre knows none."""
    told = _told(connection, institution_code, source)
    if told is None or told != _told(connection, institution_code, target):
        return None
    known = connection.execute(text("SELECT 1 FROM move WHERE move_no = :number"), {"number": told}).first()
    return told if known is None else None


def awaited(connection: Connection, *frontends: str) -> list[str]:
    """Who of them has not said yet, since the restore, which moves it had a part in."""
    rows = text(
        "SELECT frontend FROM catching_up WHERE epoch = (SELECT max(epoch) FROM epoch) AND frontend = ANY(:frontends)"
        " AND complete_at IS NULL AND waived_by IS NULL ORDER BY 1"
    )
    return list(connection.execute(rows, {"frontends": list(frontends)}).scalars())


def _told(connection: Connection, institution_code: str, frontend: str) -> int | None:
    row = connection.execute(text(_TOLD), {"frontend": frontend}).first()
    if row is None:
        return None
    numbers = (
        each.move_no for each in unpack(row.moves, tuple[LastMove, ...]) if each.institution_code == institution_code
    )
    return next((number for number in numbers if 0 < number < row.first_no), None)
