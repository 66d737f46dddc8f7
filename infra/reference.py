"""Published reference data as both sites keep it: the catalogue with its matches, and the policy sets.

Both databases have the same `reference` table: kind, version, in_force, content. One catalogue version is in force;
several policy sets may be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Table, select

from domain.catalogue import Catalogue, CatalogueItem, Match
from domain.policy import PolicyBook
from domain.policy_reading import parse
from infra.codec import pack, unpack

CATALOGUE = "catalogue"
POLICY = "policy"


class NothingPublished(Exception):
    """The database holds no catalogue or no policy in force; publish one (`jiesuan seed` for the sample city)."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"no {kind} is in force in this database")


@dataclass(frozen=True, slots=True, kw_only=True)
class CataloguePublished:
    """One version of the catalogue, as published."""

    version: str
    items: tuple[CatalogueItem, ...]
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """What a site computes with."""

    catalogue: Catalogue
    policy: PolicyBook
    policy_version: str
    versions: tuple[tuple[str, str], ...]
    """(kind, version) of every row in force: a changed set means load again."""


def catalogue_row(published: CataloguePublished) -> dict[str, object]:
    """The reference row of a catalogue version."""
    return {"kind": CATALOGUE, "version": published.version, "in_force": True, "content": pack(published)}


def policy_row(text: str) -> dict[str, object]:
    """The reference row of a policy set. Raises domain.policy.PolicyUnreadable."""
    return {"kind": POLICY, "version": parse(text).version, "in_force": True, "content": text.encode()}


def versions_in_force(connection: Connection, table: Table) -> tuple[tuple[str, str], ...]:
    """(kind, version) of every row in force, sorted."""
    rows = connection.execute(
        select(table.c.kind, table.c.version).where(table.c.in_force).order_by(table.c.kind, table.c.version)
    )
    return tuple((kind, version) for kind, version in rows)


def load(connection: Connection, table: Table) -> Reference:
    """Read what is in force. Raises NothingPublished."""
    rows = connection.execute(
        select(table.c.kind, table.c.version, table.c.content)
        .where(table.c.in_force)
        .order_by(table.c.kind, table.c.version)
    ).all()
    published = [unpack(row.content, CataloguePublished) for row in rows if row.kind == CATALOGUE]
    if not published:
        raise NothingPublished(CATALOGUE)
    policies = [row for row in rows if row.kind == POLICY]
    if not policies:
        raise NothingPublished(POLICY)
    newest = published[-1]
    return Reference(
        Catalogue(newest.version, newest.items, newest.matches),
        PolicyBook([parse(row.content.decode()) for row in policies]),
        joined(row.version for row in policies),
        tuple((row.kind, row.version) for row in rows),
    )


def joined(versions: Iterable[str]) -> str:
    """The version of a book of policy sets."""
    return "+".join(versions)


class ReferenceShelf:
    """Keeps the loaded reference and looks, with one small query, whether something newer is in force."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._held: Reference | None = None

    def current(self, connection: Connection, versions: tuple[tuple[str, str], ...] | None = None) -> Reference:
        """What is in force now; `versions` if the caller has looked already. Raises NothingPublished."""
        if versions is None:
            versions = versions_in_force(connection, self._table)
        if self._held is None or versions != self._held.versions:
            self._held = load(connection, self._table)
        return self._held
