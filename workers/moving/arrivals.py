"""What is on its way here: accepted by the front-end an institution came from, and not handed over yet."""

from __future__ import annotations

from sqlalchemy import Connection, select

from workers.tables import arriving


def is_arriving(connection: Connection, institution_code: str, *, visit_no: str = "", key: str = "") -> bool:
    """Whether the front-end the institution came from still has the visit, or what came under this key."""
    found = select(arriving.c.visit_no).where(arriving.c.institution_code == institution_code)
    if visit_no:
        found = found.where(arriving.c.visit_no == visit_no)
    if key:
        found = found.where(arriving.c.idempotency_key == key)
    return connection.execute(found.limit(1)).first() is not None
