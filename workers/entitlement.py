"""Leased entitlements: the centre is asked at registration, and what it says is good for a short while.

A row is found by a digest of the identity number and holds neither the number nor a name. It is a copy of what the
centre knew; the centre decides again, under its own lock, whatever is settled by it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Protocol

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from domain import messages
from domain.entitlement import Entitlement
from domain.messages import PersonAnswered, PersonAsked
from domain.offline import LEASE, MOST_LEASES
from infra import lanes
from infra.codec import pack, unpack
from infra.database import execute_many
from workers import epochs
from workers.tables import entitlement

log = logging.getLogger("frontend")

CENTRAL, LOCAL = "central", "local"
"""Who computes the benefit of an institution's claims: the centre, or this front-end and the centre confirms."""

OFFLINE = LEASE
"""So long after its lease a row still says who a person is, to register somebody while the link is down."""
PERSONS_PER_QUESTION = 300

_HELD = select(
    entitlement.c.person_key, entitlement.c.content, entitlement.c.version, entitlement.c.leased_until
).where(entitlement.c.person_key.in_(bindparam("keys", expanding=True)))
_MOVED = (
    update(entitlement)
    .where(entitlement.c.person_key == bindparam("key"), entitlement.c.version == bindparam("before"))
    .values(version=bindparam("after"), content=bindparam("packed"))
)


class Asking(Protocol):
    """What it takes to ask the centre: `workers.tasks.Frontend`."""

    def send(self, task: str, lane: str, message: messages.Message, shown: dict[str, object]) -> bool:
        """Send one sealed message; False when the broker is away."""


def ask(frontend: Asking, citizens: Iterable[str]) -> bool:
    """Ask the centre who these persons are; False when the broker is away. The answers come to `keep`, or never:
    whoever needs one and has none asks again, or settles at the centre."""
    wanted = sorted(set(citizens))
    for start in range(0, len(wanted), PERSONS_PER_QUESTION):
        some = tuple(wanted[start : start + PERSONS_PER_QUESTION])
        if not frontend.send(lanes.PERSONS_ASK, lanes.ADMIN, PersonAsked(citizens=some), {"persons": len(some)}):
            return False
    return True


def keep(engine: Engine, answered: PersonAnswered, *, at: datetime) -> int:
    """Keep what the centre said of the persons it knows; how many were newer than what was held.

    An answer that comes twice, or late, changes nothing: a version never goes back. What is out of date goes.
    """
    rows = {
        key_of(held.citizen_id_no): held
        for held in answered.entitlements
        if held.known and held.leased_until is not None and held.leased_until > at - OFFLINE
    }
    with engine.begin() as connection:
        if not epochs.met(connection, answered.epoch, at=at):
            return 0
        connection.execute(delete(entitlement).where(entitlement.c.leased_until < at - OFFLINE))
        held_now = {
            row.person_key: (row.version, row.leased_until) for row in connection.execute(_HELD, {"keys": list(rows)})
        }
        newer = {
            key: held
            for key, held in rows.items()
            if key not in held_now or (held.version, held.leased_until) > held_now[key]
        }
        unknown = [key_of(held.citizen_id_no) for held in answered.entitlements if not held.known]
        connection.execute(delete(entitlement).where(entitlement.c.person_key.in_([*newer, *unknown])))
        if newer:
            connection.execute(insert(entitlement), [_row(key, held) for key, held in newer.items()])
            _keep_at_most(connection, MOST_LEASES)
    return len(newer)


def leased(connection: Connection, citizen_id_no: str, *, at: datetime) -> Entitlement | None:
    """What the centre said of the person, while its lease holds."""
    return leases(connection, [citizen_id_no], at=at).get(citizen_id_no)


def leases(connection: Connection, citizens: Sequence[str], *, at: datetime) -> dict[str, Entitlement]:
    """What the centre said of these persons, for those whose lease holds; one query however many."""
    return {number: held for number, held in _found(connection, citizens).items() if held.holds_at(at)}


def last_known(connection: Connection, citizen_id_no: str, *, at: datetime) -> Entitlement | None:
    """Who the person was when the centre was last asked, at most a day after the lease: to register somebody while
    the link is down and to estimate, never to settle by but within `offline_limit_fen`."""
    return last_known_of(connection, [citizen_id_no], at=at).get(citizen_id_no)


def last_known_of(connection: Connection, citizens: Sequence[str], *, at: datetime) -> dict[str, Entitlement]:
    """The same of many, for those of whom something is known; one query."""
    return {
        number: held
        for number, held in _found(connection, sorted(set(citizens))).items()
        if held.leased_until is not None and held.leased_until >= at - OFFLINE
    }


def move(connection: Connection, moved: Mapping[str, tuple[int, Entitlement]]) -> set[str]:
    """Count our own settlements into the rows: by identity number, the version they started from and what stands now.

    The numbers of those whose row was still at that version; the others were moved by somebody else meanwhile.
    """
    return {
        number
        for number, (before, held) in moved.items()
        if execute_many(
            connection,
            _MOVED,
            [{"key": key_of(number), "before": before, "after": held.version, "packed": _packed(held)}],
        )
    }


def forget(connection: Connection, citizens: Iterable[str]) -> None:
    """Give up what was said of these persons: the centre said something else since."""
    keys = [key_of(number) for number in citizens]
    if keys:
        connection.execute(delete(entitlement).where(entitlement.c.person_key.in_(keys)))


def key_of(citizen_id_no: str) -> bytes:
    """The digest a person's row is found by."""
    return blake2b(citizen_id_no.encode(), digest_size=16, person=b"entitlement").digest()


def _found(connection: Connection, citizens: Sequence[str]) -> dict[str, Entitlement]:
    numbers = {key_of(number): number for number in citizens}
    if not numbers:
        return {}
    rows = connection.execute(_HELD, {"keys": list(numbers)})
    return {
        numbers[row.person_key]: unpack(row.content, Entitlement)._replace(citizen_id_no=numbers[row.person_key])
        for row in rows
    }


def _row(key: bytes, held: Entitlement) -> dict[str, object]:
    return {
        "person_key": key,
        "version": held.version,
        "leased_until": held.leased_until,
        "content": _packed(held),
    }


def _keep_at_most(connection: Connection, most: int) -> None:
    """Let the oldest go: a front-end is no copy of the centre."""
    extra = (connection.execute(select(func.count()).select_from(entitlement)).scalar() or 0) - most
    if extra > 0:
        oldest = select(entitlement.c.person_key).order_by(entitlement.c.leased_until).limit(extra)
        connection.execute(delete(entitlement).where(entitlement.c.person_key.in_(oldest)))


def _packed(held: Entitlement) -> bytes:
    return pack(held._replace(citizen_id_no=""))
