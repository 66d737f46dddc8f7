"""Published reference data as both sites keep it: the catalogue with its matches, and the policy sets.

Both databases have the same `reference` table: kind, version, in_force, content, and the days it holds. One catalogue
version is in force; several policy sets may be. A catalogue is published ahead of its day (`effective_date`), and
`activate` brings it into force when the day has come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Table, and_, select, update

from domain.catalogue import OPEN_END, Catalogue, CatalogueItem, Match
from domain.policy import PolicyBook
from domain.policy.reading import parse
from infra.codec import pack, unpack

CATALOGUE = "catalogue"
POLICY = "policy"
GRACE = timedelta(days=3)
"""How long after its last day a catalogue is still accepted from a front-end that was cut off."""


class NothingPublished(Exception):
    """The database holds no catalogue or no policy in force; publish one (`jiesuan seed` for the sample city)."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"no {kind} is in force in this database")


class CataloguePart(NamedTuple):
    """A part of a published catalogue: `items/<bucket>` or `matches/<institution>`, and the digest of its bytes."""

    name: str
    digest: bytes
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CataloguePublished:
    """One version of the catalogue, as published.

    The centre keeps the manifest (version, parts, levels) and the parts beside it; a front-end puts items and matches
    together once and keeps them here as well, so that a process loads them with one read.
    """

    version: str
    items: tuple[CatalogueItem, ...] = ()
    matches: tuple[Match, ...] = ()
    parts: tuple[CataloguePart, ...] = ()
    levels: tuple[tuple[str, int], ...] = ()
    """(institution, level), for items whose price limit depends on it."""

    @property
    def catalogue(self) -> Catalogue:
        """To settle with."""
        return Catalogue(self.version, self.items, self.matches, dict(self.levels))


@dataclass(frozen=True, slots=True)
class Reference:
    """What a site computes with."""

    catalogue: Catalogue
    policy: PolicyBook
    policy_version: str
    versions: tuple[tuple[str, ...], ...]
    """As `versions_in_force` tells them: a changed set means load again."""
    catalogue_days: tuple[tuple[str, date], ...] = ()
    """(version, last day it is accepted) of the catalogue in force and of those it took the place of."""

    def accepts_catalogue(self, version: str, day: date) -> bool:
        """Whether a claim totalled with this version may be settled on the day: the one in force, or its predecessor
        for a few days, because claims are on their way and a front-end may have been cut off."""
        return any(version == held and day <= last for held, last in self.catalogue_days)


def catalogue_row(published: CataloguePublished, *, in_force: bool = True) -> dict[str, object]:
    """The reference row of a catalogue version."""
    return {"kind": CATALOGUE, "version": published.version, "in_force": in_force, "content": pack(published)}


def policy_row(text: str) -> dict[str, object]:
    """The reference row of a policy set. Raises domain.policy.PolicyUnreadable."""
    return {"kind": POLICY, "version": parse(text).version, "in_force": True, "content": text.encode()}


def versions_in_force(connection: Connection, table: Table) -> tuple[tuple[str, ...], ...]:
    """(kind, version) of every row in force, sorted; at a front-end with the edition, as more of one may have come."""
    rows = connection.execute(select(*_named(table)).where(table.c.in_force).order_by(table.c.kind, table.c.version))
    return tuple(tuple(str(name) for name in row) for row in rows)


def _named(table: Table) -> list[Column[Any]]:
    return [table.c[name] for name in ("kind", "version", "edition") if name in table.c]


def load(connection: Connection, table: Table) -> Reference:
    """Read what is in force. Raises NothingPublished."""
    rows = connection.execute(
        select(*_named(table), table.c.content).where(table.c.in_force).order_by(table.c.kind, table.c.version)
    ).all()
    published = [unpack(row.content, CataloguePublished) for row in rows if row.kind == CATALOGUE]
    if not published:
        raise NothingPublished(CATALOGUE)
    policies = [row for row in rows if row.kind == POLICY]
    if not policies:
        raise NothingPublished(POLICY)
    newest = published[-1]
    return Reference(
        newest.catalogue,
        PolicyBook([parse(row.content.decode()) for row in policies]),
        joined(row.version for row in policies),
        tuple(tuple(str(name) for name in row[:-1]) for row in rows),
        _catalogue_days(connection, table),
    )


def _catalogue_days(connection: Connection, table: Table) -> tuple[tuple[str, date], ...]:
    rows = connection.execute(
        select(table.c.version, table.c.in_force, table.c.retired_on)
        .where(table.c.kind == CATALOGUE, table.c.in_force | table.c.retired_on.is_not(None))
        .order_by(table.c.version)
    )
    return tuple((row.version, OPEN_END if row.in_force else row.retired_on + GRACE) for row in rows)


def activate(connection: Connection, table: Table, day: date) -> str:
    """Bring the catalogue of the day into force: the newest whose day has come. Its version; empty when none changed.

    A row without `effective_date` holds since ever, until another one takes its place.
    """
    due = (
        connection.execute(
            select(table.c.version)
            .where(table.c.kind == CATALOGUE, table.c.effective_date <= day, table.c.withdrawn.is_(False))
            .order_by(table.c.effective_date.desc(), table.c.version.desc())
            .limit(1)
        )
        .scalars()
        .first()
    )
    in_force = and_(table.c.kind == CATALOGUE, table.c.in_force)
    held = connection.execute(select(table.c.version).where(in_force)).scalars().all()
    if due is None or held == [due]:
        return ""
    connection.execute(update(table).where(in_force, table.c.version != due).values(in_force=False, retired_on=day))
    connection.execute(
        update(table).where(table.c.kind == CATALOGUE, table.c.version == due).values(in_force=True, retired_on=None)
    )
    return str(due)


def joined(versions: Iterable[str]) -> str:
    """The version of a book of policy sets."""
    return "+".join(versions)


class ReferenceShelf:
    """Keeps the loaded reference and looks, with one small query, whether something newer is in force."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._held: Reference | None = None

    def current(self, connection: Connection, versions: tuple[tuple[str, ...], ...] | None = None) -> Reference:
        """What is in force now; `versions` if the caller has looked already. Raises NothingPublished."""
        if versions is None:
            versions = versions_in_force(connection, self._table)
        if self._held is None or versions != self._held.versions:
            self._held = load(connection, self._table)
        return self._held
