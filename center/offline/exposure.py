"""What off-line settlement can cost at most, as an operator reads it: by person and by front-end."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from center.offline import leasing
from domain import offline


class Exposed(NamedTuple):
    """One person: what all front-ends together may spend of the account unheard, and who holds how much."""

    person_no: int
    worst_fen: int
    holders: dict[str, int]


class Exposure(NamedTuple):
    """The worst case of all leases of a moment, in fen."""

    persons: int
    worst_fen: int
    several: int
    """Persons of whom more than one front-end holds a lease."""
    by_frontend: dict[str, int]
    largest: list[Exposed]


def exposure(connection: Connection, *, at: datetime, most: int = 20) -> Exposure:
    """The worst case now: what accounts would be overdrawn by, were every lease and every account spent."""
    persons: list[Exposed] = []
    by_frontend: defaultdict[str, int] = defaultdict(int)
    for person_no, grants in leasing.held(connection, at=at).items():
        holders = {grant.frontend: grant.limit_fen for grant in grants}
        persons.append(Exposed(person_no, offline.exposure(grants, at=at), holders))
        for frontend, limit_fen in holders.items():
            by_frontend[frontend] += limit_fen
    return Exposure(
        len(persons),
        sum(each.worst_fen for each in persons),
        sum(1 for each in persons if len(each.holders) > 1),
        dict(sorted(by_frontend.items())),
        sorted(persons, key=lambda each: (-each.worst_fen, each.person_no))[:most],
    )
