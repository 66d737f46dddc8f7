"""Claims that wait here for the link: which there are, whose, and how much money stands in them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select

from domain.link import CLOCK_BOUND
from workers.tables import IS_OFFLINE, IS_OPEN, IS_QUEUED, claim


class Waiting(NamedTuple):
    """What waits at one institution while the link is down, or until it is drained."""

    institution_code: str
    claims: int
    """Accepted and not settled."""
    total_fen: int
    offline_claims: int
    """Of them: settled off-line, and not posted yet."""
    offline_fen: int
    """What accounts paid of these."""


def waiting(connection: Connection) -> list[Waiting]:
    """What is accepted and not settled, by institution."""
    rows = connection.execute(
        select(
            claim.c.institution_code,
            func.count(),
            func.coalesce(func.sum(claim.c.total_fen), 0),
            func.count(claim.c.offline_at),
            func.coalesce(func.sum(claim.c.offline_fen), 0),
        )
        .where(IS_OPEN)
        .group_by(claim.c.institution_code)
        .order_by(claim.c.institution_code)
    )
    return [Waiting(code, *(int(value) for value in rest)) for code, *rest in rows]


def persons_waiting(connection: Connection, keys: Collection[bytes]) -> set[bytes]:
    """Those of the persons who have a claim in the queue; all of them while it is not known whose a queued one is."""
    whose_is_unknown = select(claim.c.claim_id).where(IS_QUEUED, claim.c.person_key.is_(None)).limit(1)
    if connection.execute(whose_is_unknown).first() is not None:
        return set(keys)
    found = connection.execute(
        select(claim.c.person_key).where(IS_QUEUED, claim.c.person_key.in_(sorted(keys))).distinct()
    )
    return {bytes(key) for key in found.scalars()}


def persons_unsettled(connection: Connection, keys: Collection[bytes], *, but: Collection[int]) -> set[bytes]:
    """Those of the persons for whom a queued claim waits that is not settled off-line; `but` those claims."""
    found = connection.execute(
        select(claim.c.person_key)
        .where(IS_QUEUED, claim.c.offline_at.is_(None), claim.c.person_key.in_(sorted(keys)))
        .where(claim.c.claim_id.not_in(sorted(but)))
        .distinct()
    )
    return {bytes(key) for key in found.scalars()}


def spent_offline(connection: Connection, person_key: bytes, *, leased_at: datetime) -> int:
    """What a person's account has paid off-line here under a lease of that moment, by the centre's clock, and before it
    where that is not posted yet."""
    of_lease = or_(claim.c.offline_at >= leased_at - CLOCK_BOUND, IS_OPEN)
    found = connection.execute(
        select(func.coalesce(func.sum(claim.c.offline_fen), 0)).where(
            IS_OFFLINE, claim.c.person_key == person_key, of_lease
        )
    )
    return int(found.scalar_one())
