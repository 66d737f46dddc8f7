"""Which doors are open: what a front-end answers for an institution that moves, and for what travels with it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from domain.refusals import VisitRefusal
from domain.terms import Standing
from workers.moving.arrivals import is_arriving
from workers.tables import institution
from workers.visit_steps import NotReady, not_ready


class DoorClosed(Exception):
    """The institution is served elsewhere, or not yet here: nothing was taken. The message is for a person."""

    def __init__(self, against: NotReady) -> None:
        self.against = against
        super().__init__(against.words)


def against(of: Any) -> NotReady | None:
    """Why nothing new is taken of an institution (its row: standing, moved_to); None where it is."""
    if of.standing == Standing.OPEN:
        return None
    if of.standing == Standing.MOVING_IN:
        return not_ready(VisitRefusal.ARRIVING)
    return not_ready(VisitRefusal.MOVED, of.moved_to)


def against_institution(connection: Connection, institution_code: str) -> NotReady | None:
    """The same by its code; None of one that is not known here."""
    columns = institution.c.standing, institution.c.moved_to
    of = connection.execute(select(*columns).where(institution.c.institution_code == institution_code)).first()
    return None if of is None else against(of)


def against_step(connection: Connection, institution_code: str, row: Any | None, visit_no: str) -> NotReady | None:
    """Why no step is taken of a visit (its row, None where it is not known): it is live elsewhere, or on its way."""
    columns = institution.c.institution_code, institution.c.standing, institution.c.moved_to, institution.c.move_no
    of = connection.execute(select(*columns).where(institution.c.institution_code == institution_code)).first()
    if of is None:
        return None
    if row is not None and row.institution_code == institution_code and row.moved_to:
        return not_ready(VisitRefusal.MOVED, row.moved_to)
    if row is None and visit_is_awaited(connection, of, visit_no):
        return not_ready(VisitRefusal.ARRIVING)
    return against(of)


def visit_is_awaited(connection: Connection, of: Any, visit_no: str) -> bool:
    """Whether a visit that is not known here is on its way, or may be: another front-end of the institution (its row:
    institution_code, standing, moved_to, move_no) is handing over what it has, and has not said yet what that is."""
    if of.standing == Standing.OPEN and of.moved_to:
        return True
    return bool(of.move_no) and is_arriving(connection, of.institution_code, visit_no=visit_no)


def against_key(connection: Connection, of: Any, key: str) -> NotReady | None:
    """The same of what comes under a key: that very request may be on its way from where it was made first."""
    elsewhere = against(of)
    if elsewhere is None and key and of.move_no and is_arriving(connection, of.institution_code, key=key):
        return not_ready(VisitRefusal.ARRIVING)
    return elsewhere


def against_unknown_key(connection: Connection, institution_code: str, key: str) -> NotReady | None:
    """Why nothing is said here of a key under which nothing came: nothing of the institution would be taken here, or
    this is on its way."""
    of = connection.execute(select(institution).where(institution.c.institution_code == institution_code)).first()
    return not_ready(VisitRefusal.NOT_SERVED) if of is None or not of.active else against_key(connection, of, key)


def unknown(connection: Connection, institution_code: str, visit_no: str) -> NotReady:
    """What is answered of a visit this front-end does not have: nobody knows it, or it is on its way."""
    elsewhere = against_step(connection, institution_code, None, visit_no)
    is_coming = elsewhere is not None and VisitRefusal.ARRIVING in elsewhere.codes
    return elsewhere if elsewhere is not None and is_coming else not_ready(VisitRefusal.VISIT_UNKNOWN)
