"""The terms of this front-end's institutions (接入条款): asked of the centre, and obeyed without a restart.

The centre names every institution this front-end serves or served. What it does not name is not served.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from domain.messages import TermsAsked, TermsSent
from domain.terms import DEFAULT_BACKLOG_CAP, InstitutionTerms, Standing, digest_of_versions
from infra.codec import unpack
from infra.reference import CATALOGUE, POLICY
from workers.moving import handing
from workers.numbers import wait_for_turn
from workers.tables import institution, reference

log = logging.getLogger("frontend")

_SAME = (
    "institution_code", "short_code", "name", "kind", "level", "size", "way", "weight", "rate_per_second", "burst",
    "active", "suspended", "standing", "moved_to", "offline", "offline_claim_fen", "offline_total_fen",
    "offline_hours", "connection", "move_no", "settle_lanes",
)  # fmt: skip
"""Terms that are columns of the same name."""


@dataclass(frozen=True, slots=True)
class _Levels:
    """Of `infra.reference.CataloguePublished`: whom it is for."""

    levels: tuple[tuple[str, int], ...] = ()


_COVERED: dict[tuple[str, str, int], tuple[str, ...]] = {}
"""Of the catalogue read last, by database, version and edition: the question is asked often, the answer is large."""
NOT_NAMED = "中心未登记由本前置机为该机构服务"


def asking(connection: Connection) -> TermsAsked:
    """What we hold, and what we could settle with: the centre answers only where it has other terms for us."""
    everyone = connection.execute(select(institution)).all()
    held = [row for row in everyone if row.terms_version > 0]
    catalogue, covered = _catalogue(connection)
    policies = select(reference.c.version).where(reference.c.kind == POLICY, reference.c.in_force)
    return TermsAsked(
        digest=digest_of_versions((row.institution_code, row.terms_version, row.standing) for row in held),
        catalogue_version=catalogue,
        policy_versions=tuple(sorted(connection.execute(policies).scalars())),
        covered=covered,
        short_codes=tuple(sorted((row.institution_code, row.short_code) for row in everyone)),
    )


def keep(connection: Connection, sent: TermsSent) -> bool:
    """Obey these terms; False for a list older than the one held. Doing it twice changes nothing.

    It waits for its turn among the doors: when it returns, nobody is in the middle of taking a claim on other terms.
    """
    wait_for_turn(connection)
    held = {row.institution_code: row for row in connection.execute(select(institution))}
    if sent.version < max((row.terms_version for row in held.values()), default=0):
        return False
    for terms in sent.terms:
        _obey(connection, terms, held.get(terms.institution_code))
    named = {terms.institution_code for terms in sent.terms}
    for code, row in held.items():
        if code not in named and (row.active or row.terms_version):
            log.warning("institution_not_named", extra={"institution": code})
            closed = {"active": False, "standing": Standing.MOVED, "suspended": NOT_NAMED, "terms_version": 0}
            connection.execute(update(institution).where(institution.c.institution_code == code).values(closed))
    return True


def covered_by(content: bytes) -> tuple[str, ...]:
    """The institutions whose matches a catalogue holds, of its stored content; the rest of it is not read."""
    return tuple(sorted(code for code, _ in unpack(content, _Levels).levels))


def lacks_matches(connection: Connection) -> bool:
    """Whether an institution on its way here is not in the catalogue in force: it is asked for anew."""
    coming = select(institution.c.institution_code).where(institution.c.standing == Standing.MOVING_IN)
    codes = set(connection.execute(coming).scalars())
    return bool(codes) and not codes <= set(_catalogue(connection)[1])


def newest(connection: Connection) -> int:
    """The version of the newest terms held; 0 before the first."""
    return int(connection.execute(select(func.max(institution.c.terms_version))).scalar() or 0)


def _obey(connection: Connection, terms: InstitutionTerms, row: Any) -> None:
    values = _values(terms)
    if row is not None:
        if row.frontends > terms.parts:
            # Cut into parts for good: a centre that was restored from before that does not know what the others gave.
            values = {**values, "frontends": row.frontends, "frontend_part": row.frontend_part}
        if any(row._mapping[name] != value for name, value in values.items()):
            known = institution.c.institution_code == terms.institution_code
            connection.execute(update(institution).where(known).values(values))
            if row.standing in (Standing.MOVING_OUT, Standing.MOVED) and terms.standing == Standing.OPEN:
                handing.took_back(connection, terms.institution_code)
            log.info("terms_kept", extra={"institution": terms.institution_code, "terms": terms.version})
        return
    connection.execute(insert(institution).values({"backlog_cap": DEFAULT_BACKLOG_CAP, **values}))
    log.info("institution_added", extra={"institution": terms.institution_code, "standing": terms.standing})


def _values(terms: InstitutionTerms) -> Mapping[str, object]:
    values: dict[str, object] = {name: getattr(terms, name) for name in _SAME}
    values |= {"frontends": terms.parts, "frontend_part": terms.part, "terms_version": terms.version}
    if terms.backlog_cap:
        values["backlog_cap"] = terms.backlog_cap
    return values


def _catalogue(connection: Connection) -> tuple[str, tuple[str, ...]]:
    """The version of the catalogue in force, and whose matches it holds: read again when more of it has come."""
    in_force = reference.c.kind == CATALOGUE, reference.c.in_force
    row = connection.execute(select(reference.c.version, reference.c.edition).where(*in_force)).first()
    if row is None:
        return "", ()
    key = (str(connection.engine.url), row.version, row.edition)
    if key not in _COVERED:
        content = connection.execute(select(reference.c.content).where(*in_force)).scalar_one()
        _COVERED.clear()
        _COVERED[key] = covered_by(content)
    return row.version, _COVERED[key]
