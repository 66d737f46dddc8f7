"""What each institution of this front-end has of it, and how the greedy ones are held back (R39).

The desks note what they spent on whom and look every few seconds; where somebody is to be judged, one of them, under
a lease, lowers the weight of who takes more than is fair and restores it when it is over. Nothing is lowered to
nothing; every change is written down, and where nothing changes nothing is written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, insert, select, update

from domain.fairness import Conduct, effective_weight, judged, noisy_from
from infra.database import reading
from infra.lease import take
from workers.tables import IS_OPEN, claim, institution, lease, tenant_conduct, tenant_event, tenant_use

log = logging.getLogger("tenants")

SLOT_SECONDS = 10
LOOKED_BACK_SLOTS = 3
"""The shares are those of the last half minute, and what has begun of the next slot."""
LOOKED_BACK_SECONDS = float(SLOT_SECONDS * (LOOKED_BACK_SLOTS + 1))
KEPT_SECONDS = 3600.0
LEASE_SECONDS = 10.0

_ADD = (
    update(tenant_use)
    .where(tenant_use.c.institution_code == bindparam("code"), tenant_use.c.slot == bindparam("at_slot"))
    .values(
        busy_us=tenant_use.c.busy_us + bindparam("busy"),
        claims=tenant_use.c.claims + bindparam("taken"),
        work=tenant_use.c.work + bindparam("worked"),
    )
)
_SERVED = (
    select(
        institution.c.institution_code,
        institution.c.name,
        institution.c.weight,
        institution.c.rate_per_second,
        institution.c.burst,
        institution.c.backlog_cap,
        institution.c.suspended,
        institution.c.standing,
        tenant_conduct.c.lowered,
        tenant_conduct.c.calm,
    )
    .select_from(
        institution.outerjoin(tenant_conduct, tenant_conduct.c.institution_code == institution.c.institution_code)
    )
    .where(institution.c.active)
    .order_by(institution.c.institution_code)
)
_IN_FLIGHT = (
    select(claim.c.institution_code, func.count())
    .where(IS_OPEN, claim.c.waits_for.is_(None))
    .group_by(claim.c.institution_code)
)


@dataclass(slots=True)
class Use:
    """What a desk has spent on an institution since it last wrote it down."""

    busy_us: int = 0
    claims: int = 0
    work: int = 0


@dataclass(frozen=True, slots=True)
class Tenant:
    """How an institution stands among those of this front-end."""

    institution_code: str
    name: str
    weight: int
    lowered: int
    """How often its weight is halved at the moment."""
    share: Fraction
    """Of the processing time of the last half minute."""
    fair: Fraction
    """Its weight among all weights."""
    in_flight: int
    """Handed in and not answered, but for what waits at the centre for a reason of its own."""
    in_flight_share: Fraction
    claims: int
    """Taken by the desks in the last half minute."""
    rate_per_second: int
    burst: int
    backlog_cap: int
    suspended: str
    standing: str
    calm: int = 0

    @property
    def conduct(self) -> Conduct:
        """How it has behaved."""
        return Conduct(self.lowered, self.calm)

    @property
    def effective_weight(self) -> Fraction:
        """The weight that counts now; never zero."""
        return effective_weight(self.weight, self.lowered)


@dataclass(frozen=True, slots=True)
class Changed:
    """A weight that was lowered or restored by one step."""

    institution_code: str
    at: datetime
    lowered_from: int
    lowered_to: int
    share: Fraction
    in_flight: int


def note_use(connection: Connection, spent: Mapping[str, Use], *, now: float) -> None:
    """Add what a desk has spent; `now` is real seconds. What is too old to be looked at goes when a slot begins."""
    slot = int(now // SLOT_SECONDS)
    is_new = False
    for code, use in spent.items():
        figures = {"busy": use.busy_us, "taken": use.claims, "worked": use.work}
        if not connection.execute(_ADD, {"code": code, "at_slot": slot, **figures}).rowcount:
            is_new = True
            connection.execute(
                insert(tenant_use).values(
                    institution_code=code, slot=slot, busy_us=use.busy_us, claims=use.claims, work=use.work
                )
            )
    if is_new:
        connection.execute(delete(tenant_use).where(tenant_use.c.slot < int((now - KEPT_SECONDS) // SLOT_SECONDS)))


def tenants(connection: Connection, *, now: float) -> list[Tenant]:
    """Every institution this front-end serves, with its shares; `now` is real seconds."""
    served = connection.execute(_SERVED).all()
    since = int(now // SLOT_SECONDS) - LOOKED_BACK_SLOTS
    used = {
        row.institution_code: row
        for row in connection.execute(
            select(
                tenant_use.c.institution_code,
                func.sum(tenant_use.c.busy_us).label("busy"),
                func.sum(tenant_use.c.claims).label("claims"),
            )
            .where(tenant_use.c.slot >= since)
            .group_by(tenant_use.c.institution_code)
        )
    }
    in_flight = {code: int(count) for code, count in connection.execute(_IN_FLIGHT)}
    wholes = _Wholes(
        busy=sum(int(row.busy) for row in used.values()),
        weight=sum(row.weight for row in served),
        in_flight=sum(in_flight.values()),
    )
    return [
        _tenant(row, used.get(row.institution_code), in_flight.get(row.institution_code, 0), wholes) for row in served
    ]


def look(engine: Engine, *, holder: str, batch: int, now: float, at: datetime) -> list[Tenant]:
    """Every institution as it stands, after those were judged that are to be, if it is this process's turn to.

    `batch` is the desk's; `now` is real seconds.
    """
    with reading(engine) as connection:
        found = tenants(connection, now=now)
    if all(_judged(one, batch) == one.conduct for one in found):
        return found
    with engine.begin() as connection:
        if take(connection, lease, name="tenants", holder=holder, now=now, seconds=LEASE_SECONDS) is None:
            return found
        found = tenants(connection, now=now)
        changes = [change for one in found if (change := _judge(connection, one, batch, at))]
    for change in changes:
        log.warning(
            "tenant_weight_lowered" if change.lowered_to > change.lowered_from else "tenant_weight_restored",
            extra={
                "institution": change.institution_code,
                "steps": change.lowered_to,
                "share_percent": round(float(change.share) * 100, 1),
                "in_flight": change.in_flight,
            },
        )
    lowered = {change.institution_code: change.lowered_to for change in changes}
    return [replace(one, lowered=lowered.get(one.institution_code, one.lowered)) for one in found]


def changes_of(connection: Connection, institution_code: str = "", *, most: int = 20) -> Sequence[Changed]:
    """The newest changes of weights, of one institution or all, newest first."""
    found = select(tenant_event).order_by(tenant_event.c.event_id.desc()).limit(most)
    if institution_code:
        found = found.where(tenant_event.c.institution_code == institution_code)
    return [
        Changed(
            row.institution_code, row.at, row.lowered_from, row.lowered_to, Fraction(row.share, 1000), row.in_flight
        )
        for row in connection.execute(found)
    ]


@dataclass(frozen=True, slots=True)
class _Wholes:
    """What all tenants have together."""

    busy: int
    weight: int
    in_flight: int


def _tenant(row: Any, used: Any, in_flight: int, wholes: _Wholes) -> Tenant:
    return Tenant(
        row.institution_code,
        row.name,
        row.weight,
        row.lowered or 0,
        Fraction(int(used.busy), wholes.busy) if used is not None and wholes.busy else Fraction(0),
        Fraction(row.weight, wholes.weight),
        in_flight,
        Fraction(in_flight, wholes.in_flight) if wholes.in_flight else Fraction(0),
        int(used.claims) if used is not None else 0,
        row.rate_per_second,
        row.burst,
        row.backlog_cap,
        row.suspended,
        row.standing,
        row.calm or 0,
    )


def _judged(one: Tenant, batch: int) -> Conduct:
    many = noisy_from(one.weight, batch=batch)
    return judged(one.conduct, share=one.share, fair=one.fair, in_flight=one.in_flight, many=many)


def _judge(connection: Connection, one: Tenant, batch: int, at: datetime) -> Changed | None:
    before, after, code = one.conduct, _judged(one, batch), one.institution_code
    if after == before:
        return None
    values = {"lowered": after.lowered, "calm": after.calm}
    where = and_(tenant_conduct.c.institution_code == code)
    if not connection.execute(update(tenant_conduct).where(where).values(values)).rowcount:
        connection.execute(insert(tenant_conduct).values(institution_code=code, **values))
    if after.lowered == before.lowered:
        return None
    change = Changed(code, at, before.lowered, after.lowered, one.share, one.in_flight)
    connection.execute(
        insert(tenant_event).values(
            institution_code=code,
            at=at,
            lowered_from=change.lowered_from,
            lowered_to=change.lowered_to,
            share=round(change.share * 1000),
            in_flight=change.in_flight,
        )
    )
    return change
