"""What holds a person (预结算占用): a prepared claim, until it is confirmed, cancelled or expired.

While it holds them, nothing else of the person, or of the relative whose account they may use, is settled, prepared or
refunded: so a confirmation commits what was prepared, to the fen. `person.held_until` says so where the person is read
anyway; the outcome's own row decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import psycopg

from center.settling.records import InsuredPerson


def is_held(persons: Iterable[InsuredPerson | None], at: datetime) -> bool:
    """Whether a prepared claim holds one of these locked persons now."""
    return any(each is not None and each.held_until is not None and each.held_until > at for each in persons)


def met_expired(persons: Iterable[InsuredPerson], at: datetime) -> list[int]:
    """Those of the locked persons who were held, and are not any more."""
    return [each.person_no for each in persons if each.held_until is not None and each.held_until <= at]


def release_expired(cursor: psycopg.Cursor[Any], person_nos: Collection[int], *, at: datetime) -> int:
    """Let go of these locked persons where their time is up; how many prepared claims expired.

    Whoever meets an expired hold calls this before moving the person: from here on its confirmation is refused.
    """
    persons = list(person_nos)
    cursor.execute(
        "UPDATE outcome SET state = 'expired', decided_at = %(at)s, decided_by = 'center'"
        " WHERE state = 'prepared' AND expires_at <= %(at)s"
        " AND (person_no = ANY(%(persons)s::bigint[]) OR family_person_no = ANY(%(persons)s::bigint[]))",
        {"at": at, "persons": persons},
    )
    expired = cursor.rowcount
    cursor.execute(
        "UPDATE person SET held_until = NULL WHERE person_no = ANY(%s::bigint[]) AND held_until <= %s", [persons, at]
    )
    return expired


def hold(cursor: psycopg.Cursor[Any], person_nos: Collection[int], *, until: datetime) -> None:
    """Hold these locked persons."""
    cursor.execute("UPDATE person SET held_until = %s WHERE person_no = ANY(%s::bigint[])", [until, list(person_nos)])


def let_go(cursor: psycopg.Cursor[Any], person_nos: Collection[int]) -> None:
    """Let go of these locked persons, whose prepared claim has just been decided."""
    cursor.execute("UPDATE person SET held_until = NULL WHERE person_no = ANY(%s::bigint[])", [list(person_nos)])
