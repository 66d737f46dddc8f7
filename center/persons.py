"""Entitlements (待遇资格) for front-ends: who a person is to the insurance, leased for a while (WF-08).

A front-end learns only of persons whose full identity number it names, a bounded number at a time, and only while it
speaks for an institution. It learns what settling needs, no name and no address.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection

from center.backup import epochs
from center.offline import leasing
from center.served import SPEAKS
from center.settling.records import cursor_of
from domain.entitlement import Entitlement
from domain.messages import PersonAnswered, PersonAsked
from infra.codec import UnreadableMessage

log = logging.getLogger("center")

LEASE = timedelta(minutes=30)
"""How long a front-end may settle by what it was told."""
PERSONS_PER_QUESTION = 300
LONGEST_ID = 18

LOCAL = "local"
"""The way of settling in which the front-end computes and the centre confirms."""


def entitlements(
    asked: PersonAsked, *, frontend: str, connection: Connection, at: datetime, lease: timedelta = LEASE
) -> PersonAnswered:
    """What the centre says of the persons asked for, in their order: asked again, it answers anew. Nobody
    while a restored centre has not got back what it lost: accounts and accumulators stand where they stood once.

    A number that is not known, or could not be one, is answered as unknown. Raises UnreadableMessage for more persons
    than a question may hold. A front-end without an institution in service learns nothing.
    """
    if len(asked.citizens) > PERSONS_PER_QUESTION:
        raise UnreadableMessage("a question for too many persons")
    cursor = cursor_of(connection)
    epoch = epochs.current(cursor)
    ways = _ways(cursor, frontend)
    local = tuple(code for code, way in ways if way == LOCAL)
    if not epoch.is_open:
        return PersonAnswered(entitlements=(), settling_locally=local, epoch=epoch.number)
    held: dict[str, Entitlement] = {}
    if ways:
        wanted = [number for number in set(asked.citizens) if _could_be_one(number)]
        found = leasing.grant(cursor, frontend, _held(cursor, wanted, at + lease), at=at)
        held = {row.citizen_id_no: row for row in found}
    else:
        log.warning("asked_by_nobody", extra={"frontend": frontend, "persons": len(asked.citizens)})
    answers = [held.get(number) or Entitlement(number, known=False) for number in asked.citizens]
    log.info("persons_answered", extra={"frontend": frontend, "persons": len(answers), "known": len(held)})
    return PersonAnswered(entitlements=tuple(answers), settling_locally=local, epoch=epoch.number)


def _could_be_one(number: str) -> bool:
    return 0 < len(number) <= LONGEST_ID and number.isascii() and number.isprintable()


def _ways(cursor: psycopg.Cursor[Any], frontend: str) -> list[tuple[str, str]]:
    """The institutions in service this front-end speaks for, each with its way of settling."""
    cursor.execute(
        "SELECT institution_code, way FROM institution JOIN served_by USING (institution_code)"
        f" WHERE served_by.frontend = %s AND active AND {SPEAKS} ORDER BY institution_code",
        [frontend],
    )
    return cursor.fetchall()


def _held(cursor: psycopg.Cursor[Any], citizens: list[str], leased_until: datetime) -> list[Entitlement]:
    """The persons with their accumulators, in one statement: amounts and version are of one moment.

    Whoever uses a family member's account sees a version that rises with that account, too.
    """
    cursor.execute(
        "SELECT p.citizen_id_no, p.entitled, p.scheme, p.category, p.civil_servant, p.rank, p.groups, p.birth,"
        " p.account_balance_fen, coalesce(f.account_balance_fen, 0), p.version + coalesce(f.version, 0),"
        " ARRAY(SELECT key FROM accumulator a WHERE a.person_no = p.person_no AND amount_fen <> 0 ORDER BY key),"
        " ARRAY(SELECT amount_fen FROM accumulator a WHERE a.person_no = p.person_no AND amount_fen <> 0 ORDER BY key)"
        " FROM person p LEFT JOIN person f ON f.citizen_id_no = p.family_citizen_id_no"
        " WHERE p.citizen_id_no = ANY(%s)",
        [citizens],
    )
    return [
        Entitlement(
            citizen_id_no=row[0],
            known=True,
            entitled=row[1],
            scheme=row[2],
            category=row[3],
            civil_servant=row[4],
            rank=row[5],
            groups=tuple(sorted(row[6])),
            birth=row[7],
            account_balance_fen=row[8],
            family_balance_fen=row[9],
            accumulators=tuple(zip(row[11], row[12], strict=True)),
            version=row[10],
            leased_until=leased_until,
        )
        for row in cursor.fetchall()
    ]
