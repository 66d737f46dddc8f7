"""What is on its way here: accepted by the front-end an institution came from, and not handed over yet.

It comes as long as the institution is here by that move. A centre that was restored to the beginning of a move may take
it back after the target has heard what to expect: then it stays where it is, and where the institution is.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, select

from domain.terms import Standing
from workers.tables import arriving, institution

_IS_HERE_BY_IT = and_(
    institution.c.institution_code == arriving.c.institution_code,
    institution.c.move_no == arriving.c.move_no,
    institution.c.standing.in_([str(Standing.MOVING_IN), str(Standing.OPEN)]),
)


def is_arriving(connection: Connection, institution_code: str, *, visit_no: str = "", key: str = "") -> bool:
    """Whether the front-end the institution came from still has the visit, or what came under this key."""
    found = select(arriving.c.visit_no).join(institution, _IS_HERE_BY_IT)
    found = found.where(arriving.c.institution_code == institution_code)
    if visit_no:
        found = found.where(arriving.c.visit_no == visit_no)
    if key:
        found = found.where(arriving.c.idempotency_key == key)
    return connection.execute(found.limit(1)).first() is not None
