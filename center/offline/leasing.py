"""Leasing a limit of a personal account for off-line use: what is leased is kept, so the worst case stays known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, delete, select, tuple_

from center.offline.tables import offline_lease
from center.served import SPEAKS
from domain.entitlement import Entitlement
from domain.offline import LEASE, Grant, lease_limit

LEASES = 7372
"""The class of advisory locks on persons of whom something is leased."""

_TERMS = (
    "SELECT coalesce(max(offline_claim_fen), 0), coalesce(max(offline_hours), 0)"
    " FROM institution JOIN served_by USING (institution_code)"
    f" WHERE served_by.frontend = %s AND active AND offline AND way = 'local' AND {SPEAKS}"
)
_LOCK = (
    "SELECT pg_advisory_xact_lock(%s, (person_no %% 2147483647)::int) FROM"
    " (SELECT person_no FROM person WHERE citizen_id_no = ANY(%s) ORDER BY person_no) AS asked"
)
_HELD = (
    "SELECT p.citizen_id_no, p.person_no, l.frontend, l.limit_fen, l.until"
    " FROM person p LEFT JOIN offline_lease l ON l.person_no = p.person_no AND l.until > %s"
    " WHERE p.citizen_id_no = ANY(%s)"
)
_KEEP = (
    "INSERT INTO offline_lease AS held (person_no, frontend, limit_fen, leased_at, until)"
    " VALUES (%(person_no)s, %(frontend)s, %(limit_fen)s, %(at)s, %(until)s)"
    " ON CONFLICT (person_no, frontend) DO UPDATE SET leased_at = excluded.leased_at,"
    " until = greatest(held.until, excluded.until), limit_fen ="
    " CASE WHEN held.until > %(at)s THEN greatest(held.limit_fen, excluded.limit_fen) ELSE excluded.limit_fen END"
)


class _Known(NamedTuple):
    person_no: int
    others: list[Grant]


def grant(
    cursor: psycopg.Cursor[Any], frontend: str, entitlements: Sequence[Entitlement], *, at: datetime
) -> list[Entitlement]:
    """The same entitlements, with what this front-end may spend of each account while its link is down.

    Nothing of it where none of its institutions may settle off-line. A limit that was leased before counts until it
    can no longer be posted, though a smaller one is leased now: nobody knows whether the answer arrives.
    """
    cursor.execute(_TERMS, [frontend])
    most_fen, hours = cursor.fetchone() or (0, 0)
    leasing = [each for each in entitlements if each.known and each.entitled and each.account_balance_fen > 0]
    if most_fen <= 0 or hours <= 0 or not leasing:
        return list(entitlements)
    known = _known(cursor, frontend, [each.citizen_id_no for each in leasing], at)
    leased: dict[str, Entitlement] = {}
    for each in leasing:
        of = known[each.citizen_id_no]
        limit = lease_limit(each.account_balance_fen, of.others, most_fen=most_fen, at=at)
        if limit > 0:
            leased[each.citizen_id_no] = each._replace(offline_limit_fen=limit, offline_until=at + LEASE)
            until = at + LEASE + timedelta(hours=hours)
            row = {"person_no": of.person_no, "frontend": frontend, "limit_fen": limit, "at": at, "until": until}
            cursor.execute(_KEEP, row)
    return [leased.get(each.citizen_id_no, each) for each in entitlements]


def _known(cursor: psycopg.Cursor[Any], frontend: str, citizens: list[str], at: datetime) -> dict[str, _Known]:
    """The persons with what others hold of their accounts; nobody else leases of them until this is committed."""
    cursor.execute(_LOCK, [LEASES, citizens])
    cursor.execute(_HELD, [at, citizens])
    known: dict[str, _Known] = {}
    for number, person_no, holder, limit_fen, until in cursor.fetchall():
        of = known.setdefault(number, _Known(person_no, []))
        if holder is not None and holder != frontend:
            of.others.append(Grant(holder, limit_fen, until))
    return known


def prune(connection: Connection, *, at: datetime) -> int:
    """Let go of leases of which nothing can be posted any more, but those that are being renewed just now; how many."""
    key = offline_lease.c.person_no, offline_lease.c.frontend
    over = select(*key).where(offline_lease.c.until <= at).with_for_update(skip_locked=True)
    return connection.execute(delete(offline_lease).where(tuple_(*key).in_(over))).rowcount


def held(connection: Connection, *, at: datetime) -> dict[int, list[Grant]]:
    """What is leased now, by person number."""
    rows = connection.execute(
        offline_lease.select().where(offline_lease.c.until > at).order_by(offline_lease.c.person_no)
    )
    found: dict[int, list[Grant]] = defaultdict(list)
    for row in rows:
        found[row.person_no].append(Grant(row.frontend, row.limit_fen, row.until))
    return found
