"""A lease in the database, with a fencing number: whoever holds it may work; whoever slept past it writes nothing."""

from __future__ import annotations

from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError


class LeaseLost(Exception):
    """Somebody else took the lease meanwhile; the work of this holder must not be written."""


def take(connection: Connection, table: Table, *, name: str, holder: str, now: float, seconds: float) -> int | None:
    """Take or renew the lease and return its fencing number, or None while another holder has it.

    Renewing by the same holder keeps the number; a new holder gets the next one.
    """
    row = connection.execute(select(table.c.fence, table.c.holder, table.c.until).where(table.c.name == name)).first()
    if row is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(table).values(name=name, fence=1, holder=holder, until=now + seconds))
        except IntegrityError:
            return None
        return 1
    if row.holder != holder and row.until > now:
        return None
    fence = int(row.fence) if row.holder == holder else int(row.fence) + 1
    taken = connection.execute(
        update(table)
        .where(table.c.name == name, table.c.fence == row.fence, table.c.holder == row.holder)
        .values(fence=fence, holder=holder, until=now + seconds)
    )
    return fence if taken.rowcount == 1 else None


def guard(connection: Connection, table: Table, *, name: str, fence: int) -> None:
    """Raise LeaseLost unless the fencing number is still the newest; call it in the transaction of the write."""
    held = connection.execute(select(table.c.fence).where(table.c.name == name).with_for_update()).scalar()
    if held != fence:
        raise LeaseLost(name)
