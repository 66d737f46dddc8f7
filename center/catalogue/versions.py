"""Versions of the catalogue: what the draft came to, how two of them differ, and publishing one ahead of its day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from center.catalogue.entries import standing_items, standing_matches, waiting_matches
from center.catalogue.tables import catalogue_version, reference_part
from center.ledger import audit
from center.tables import institution, reference
from domain.catalogue import Match
from domain.catalogue_records import ItemRecord, classed, record_of
from infra.codec import pack, unpack
from infra.publication import digest_of, in_parts, items_of, matches_of
from infra.reference import CATALOGUE, CataloguePublished, activate

DRAFT = "draft"


class NoSuchVersion(Exception):
    """No version of this name was published here."""

    def __init__(self, version: str) -> None:
        super().__init__(f"没有发布过版本 {version}")


class CannotPublish(Exception):
    """The version cannot be published as asked; the message is for the clerk."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a version, or the draft, holds."""

    items: Sequence[ItemRecord]
    matches: Sequence[Match]


class Change(NamedTuple):
    """A record that is in both, with the fields that differ: (name, before, after)."""

    key: tuple[str, ...]
    name: str
    fields: tuple[tuple[str, object, object], ...]


@dataclass(slots=True)
class Difference:
    """How one content became another. `touched`: institution to how many of its matches point to changed items."""

    items_added: list[ItemRecord] = field(default_factory=list)
    items_removed: list[ItemRecord] = field(default_factory=list)
    items_changed: list[Change] = field(default_factory=list)
    matches_added: list[Match] = field(default_factory=list)
    matches_removed: list[Match] = field(default_factory=list)
    matches_changed: list[Change] = field(default_factory=list)
    touched: dict[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """The two are the same."""
        return not (
            self.items_added
            or self.items_removed
            or self.items_changed
            or self.matches_added
            or self.matches_removed
            or self.matches_changed
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A version that was published: whether it is in force already, and how it differs from the one before."""

    version: str
    effective_date: date
    digest: bytes
    in_force: bool
    items: int
    matches: int
    difference: Difference


# ── Content ───────────────────────────────────────────────────────────────────────────────────────────────


def draft(connection: Connection) -> Content:
    """What would be published now: everything that stands, and the matches that wait, marked as not audited."""
    items = standing_items(connection)
    of_key: dict[tuple[str, str], list[ItemRecord]] = defaultdict(list)
    for item in items:
        of_key[item.key].append(item)
    entered = [*standing_matches(connection), *waiting_matches(connection)]
    matches = [
        part for match in entered for part in classed(match, of_key.get((match.match_type, match.centre_item_code), ()))
    ]
    return Content(items, matches)


def content_of(connection: Connection, version: str) -> Content:
    """What a published version holds. Raises NoSuchVersion."""
    published = manifest_of(connection, version)
    if not published.parts:
        return Content([record_of(item) for item in published.items], published.matches)
    read = reader(connection)
    return Content(items_of(published, read), matches_of(published, read))


def manifest_of(connection: Connection, version: str) -> CataloguePublished:
    """The reference row of a version. Raises NoSuchVersion."""
    content = connection.execute(
        select(reference.c.content).where(reference.c.kind == CATALOGUE, reference.c.version == version)
    ).scalar()
    if content is None:
        raise NoSuchVersion(version)
    return unpack(content, CataloguePublished)


def reader(connection: Connection) -> Any:
    """Reads parts from this database."""

    def read(digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        rows = connection.execute(
            select(reference_part.c.digest, reference_part.c.content).where(reference_part.c.digest.in_(digests))
        )
        return {bytes(digest): bytes(content) for digest, content in rows}

    return read


def versions(connection: Connection) -> list[Row[Any]]:
    """Every version there is, newest first, with who published it where that is known."""
    made = catalogue_version
    return list(
        connection.execute(
            select(
                reference.c.version,
                reference.c.in_force,
                reference.c.effective_date,
                reference.c.retired_on,
                reference.c.withdrawn,
                made.c.digest,
                made.c.item_count,
                made.c.match_count,
                made.c.published_by,
                made.c.published_at,
                made.c.note,
            )
            .outerjoin(made, made.c.version == reference.c.version)
            .where(reference.c.kind == CATALOGUE)
            .order_by(reference.c.effective_date.desc().nulls_last(), reference.c.version.desc())
        )
    )


def newest(connection: Connection) -> str:
    """The version that holds last: in force, or published ahead; empty when there is none."""
    rows = [row for row in versions(connection) if not row.withdrawn]
    ahead = [row.version for row in rows if row.effective_date is not None]
    return ahead[0] if ahead else next((row.version for row in rows if row.in_force), "")


# ── Difference ────────────────────────────────────────────────────────────────────────────────────────────


def difference(before: Content, after: Content) -> Difference:
    """How `before` became `after`, record by record; a record is known by its codes and its first day."""
    found = Difference()
    found.items_added, found.items_removed, found.items_changed = _compared(
        before.items, after.items, lambda item: (item.match_type, item.item_code, item.effective_date.isoformat())
    )
    found.matches_added, found.matches_removed, found.matches_changed = _compared(
        before.matches,
        after.matches,
        lambda match: (match.institution_code, match.local_item_code, match.effective_date.isoformat()),
    )
    moved = {item.key for item in (*found.items_added, *found.items_removed)}
    moved |= {(change.key[0], change.key[1]) for change in found.items_changed}
    points = Counter(
        match.institution_code for match in after.matches if (match.match_type, match.centre_item_code) in moved
    )
    found.touched = dict(sorted(points.items()))
    return found


def _compared(before: Iterable[Any], after: Iterable[Any], key: Any) -> tuple[list[Any], list[Any], list[Change]]:
    held: dict[Any, list[Any]] = defaultdict(list)
    for record in before:
        held[key(record)].append(record)
    added, changed = [], []
    for record in after:
        same = held.get(key(record))
        if not same:
            added.append(record)
            continue
        # Two records of one key (code 07) are compared with their like first.
        old = same.pop(same.index(record)) if record in same else same.pop(0)
        if old != record:
            differing = tuple(
                (name, was, now) for name, was, now in zip(record._fields, old, record, strict=True) if was != now
            )
            name = record.item_name if isinstance(record, ItemRecord) else record.local_item_name
            changed.append(Change(key(record), name, differing))
    return added, [record for rows in held.values() for record in rows], changed


# ── Publish ───────────────────────────────────────────────────────────────────────────────────────────────


def publish(
    connection: Connection,
    *,
    effective_date: date,
    by: str,
    at: datetime,
    version: str = "",
    note: str = "",
) -> Published:
    """Publish what stands, to be in force from a day on: all of it, or nothing. Raises CannotPublish.

    Front-ends fetch it as soon as it is here and bring it into force on its day, as the centre does.
    """
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("jiesuan catalogue publish"))))
    if effective_date < at.date():
        raise CannotPublish("生效日不能早于今天")
    after = draft(connection)
    if not after.items:
        raise CannotPublish("还没有审核通过的目录，不能发布")
    before = newest(connection)
    _check_order(connection, effective_date)
    changes = difference(content_of(connection, before) if before else Content((), ()), after)
    if changes.is_empty:
        raise CannotPublish(f"与版本 {before} 没有差别，不必发布")

    name = version or _next_name(connection, effective_date)
    if any(row.version == name for row in versions(connection)):
        raise CannotPublish(f"版本 {name} 已经有了")
    levels = connection.execute(select(institution.c.institution_code, institution.c.level)).all()
    made = in_parts(name, after.items, after.matches, {row.institution_code: row.level for row in levels})
    connection.execute(
        upsert(reference_part).on_conflict_do_nothing(),
        [{"digest": digest, "content": content} for digest, content in sorted(made.parts.items())],
    )
    packed = pack(made.manifest)
    digest = digest_of(packed)
    row = {"kind": CATALOGUE, "version": name, "in_force": False, "content": packed, "effective_date": effective_date}
    connection.execute(insert(reference), row)
    connection.execute(
        insert(catalogue_version).values(
            version=name,
            digest=digest,
            item_count=len(after.items),
            match_count=len(after.matches),
            effective_date=effective_date,
            published_by=by,
            published_at=at,
            note=note,
        )
    )
    in_force = activate(connection, reference, at.date()) == name
    audit.note(
        connection,
        by=by,
        action="catalogue.publish",
        subject=name,
        reason=note,
        at=at,
        details={"effective_date": effective_date.isoformat(), "digest": digest.hex()},
    )
    return Published(name, effective_date, digest, in_force, len(after.items), len(after.matches), changes)


def withdraw(connection: Connection, version: str, *, by: str, at: datetime, note: str = "") -> None:
    """Take back a version whose day has not come; it is never in force. Raises NoSuchVersion or CannotPublish."""
    row = next((row for row in versions(connection) if row.version == version), None)
    if row is None:
        raise NoSuchVersion(version)
    if row.in_force or row.retired_on is not None or row.effective_date is None or row.effective_date <= at.date():
        raise CannotPublish(f"版本 {version} 已经生效，不能撤回；请发布新版本")
    connection.execute(
        update(reference).where(reference.c.kind == CATALOGUE, reference.c.version == version).values(withdrawn=True)
    )
    audit.note(connection, by=by, action="catalogue.withdraw", subject=version, reason=note, at=at)


def _check_order(connection: Connection, effective_date: date) -> None:
    later = [
        row.version
        for row in versions(connection)
        if row.effective_date is not None and row.effective_date > effective_date and not row.withdrawn
    ]
    if later:
        raise CannotPublish(f"已有更晚生效的版本 {'、'.join(later)}：先撤回，或把生效日定在其后")


def _next_name(connection: Connection, effective_date: date) -> str:
    """The day it begins, and a number within the day; later versions sort later."""
    taken = {row.version for row in versions(connection)}
    number = 1
    while (name := f"{effective_date:%Y%m%d}-{number:02d}") in taken:
        number += 1
    return name
