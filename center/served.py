"""Which institutions a front-end speaks for."""

from __future__ import annotations

from sqlalchemy import Connection, select

from center.tables import institution


def institutions_of(connection: Connection, frontend: str) -> set[str]:
    """The codes of the institutions that are this front-end's, those no longer active included."""
    codes = select(institution.c.institution_code).where(institution.c.frontend == frontend)
    return set(connection.execute(codes).scalars())
