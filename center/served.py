"""Which institutions a front-end serves, and where an institution is reached: `served_by` is the truth."""

from __future__ import annotations

from sqlalchemy import Connection, select

from center.serving.tables import served_by
from center.tables import institution, settlement
from domain.terms import Standing

SPEAKS = "served_by.until IS NULL AND served_by.standing <> 'moving_in'"
"""SQL: a front-end of this row may send claims of the institution now."""


def institutions_of(connection: Connection, frontend: str) -> set[str]:
    """The codes of the institutions this front-end serves, makes ready for, or once served: what it may be told of,
    and whose books and detail it may report."""
    codes = select(served_by.c.institution_code).where(served_by.c.frontend == frontend)
    return set(connection.execute(codes).scalars())


def frontends(connection: Connection, *, also_former: bool = False) -> list[str]:
    """Every front-end that serves an institution in service, sorted; with those that once did, if asked."""
    named = (
        select(served_by.c.frontend)
        .join(institution, institution.c.institution_code == served_by.c.institution_code)
        .where(institution.c.active)
    )
    if not also_former:
        named = named.where(served_by.c.until.is_(None))
    return list(connection.execute(named.distinct().order_by(served_by.c.frontend)).scalars())


def frontend_of(connection: Connection, institution_code: str) -> str | None:
    """Where the institution is reached now: the front-end that takes what is new, of several the one with the first
    part. None of one that nobody serves."""
    order = served_by.c.standing != Standing.OPEN, served_by.c.standing != Standing.MOVING_OUT, served_by.c.part
    named = select(served_by.c.frontend).where(
        served_by.c.institution_code == institution_code, served_by.c.until.is_(None)
    )
    found: str | None = connection.execute(named.order_by(*order).limit(1)).scalar()
    return found


def keeper_of(connection: Connection, institution_code: str, visit_no: str, charge_batch_no: int) -> str | None:
    """In which front-end's books a settlement stands, while that one still serves the institution; else where the
    institution is reached now."""
    stands = select(settlement.c.frontend).where(
        settlement.c.institution_code == institution_code,
        settlement.c.visit_no == visit_no,
        settlement.c.charge_batch_no == charge_batch_no,
    )
    serves = select(served_by.c.frontend).where(
        served_by.c.institution_code == institution_code,
        served_by.c.frontend == stands.limit(1).scalar_subquery(),
        served_by.c.until.is_(None),
    )
    found: str | None = connection.execute(serves).scalar()
    return found or frontend_of(connection, institution_code)
