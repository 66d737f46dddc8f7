"""How published reference data comes to a front-end: it asks, keeps what comes, and brings it into force on its day.

A catalogue comes in parts named by their content. What is here is not fetched again, so a new version costs the parts
that changed, and a broken connection goes on where it broke. A version is in `reference` only when it is whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, update

from domain.messages import ReferenceAsked, ReferencePart, ReferenceRow, ReferenceSent
from domain.terms import Standing
from infra.codec import UnreadableMessage, pack, unpack
from infra.database import reading
from infra.publication import assembled, digest_of
from infra.reference import CATALOGUE, POLICY, CataloguePublished, activate
from workers.tables import institution, reference, reference_part
from workers.terms import covered_by

log = logging.getLogger("frontend")

MOST_WANTED_BYTES = 4 * 1024 * 1024
AFTER_MIDNIGHT = timedelta(minutes=2)
"""A front-end changes over a little after the centre, so that the centre knows the version before it comes."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of a message: the versions that are whole now, and the parts still to ask for."""

    versions: tuple[str, ...]
    wants: tuple[bytes, ...]


class Pace:
    """How often to ask: at every tick while the centre answers, ever more seldom while it does not.

    Questions nobody takes would otherwise fill the centre's lane while its office is down.
    """

    LONGEST_SECONDS = 3600.0

    def __init__(self, every_seconds: float) -> None:
        self._every = self._patience = every_seconds
        self._asked_at: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether to ask at this tick; `now` is real seconds. Counts as asked when it is."""
        if self._asked_at is not None:
            if now - self._asked_at < self._patience:
                return False
            self._patience = min(2 * self._patience, self.LONGEST_SECONDS)
        self._asked_at = now
        return True

    def answered(self) -> None:
        """The centre has answered: ask at the next tick again."""
        self._asked_at, self._patience = None, self._every


def asking(connection: Connection, wants: tuple[bytes, ...] = ()) -> ReferenceAsked:
    """The question to the centre: what we hold, and which parts we want.

    A catalogue without the matches of an institution that is on its way here is not held: its manifest comes anew.
    """
    rows = connection.execute(select(reference.c.kind, reference.c.version).order_by(reference.c.version))
    held = [f"{row.kind}:{row.version}" for row in rows]
    coming = set(
        connection.execute(
            select(institution.c.institution_code).where(institution.c.standing == Standing.MOVING_IN)
        ).scalars()
    )
    if coming:
        narrow = {f"{CATALOGUE}:{version}" for version, codes in _covered(connection).items() if not coming <= codes}
        held = [each for each in held if each not in narrow]
    return ReferenceAsked(holds=tuple(held), wants=wants)


def keep(engine: Engine, sent: ReferenceSent, *, at: datetime) -> Kept:
    """Keep what came; a version whose last part it was is published here now. Doing it twice changes nothing.

    A catalogue is put together between two short transactions: the counters write meanwhile. Raises UnreadableMessage.
    """
    try:
        for published in sent.rows:
            if published.kind == CATALOGUE and published.content:
                unpack(published.content, CataloguePublished)
        with engine.begin() as connection:
            _store(connection, sent.parts)
        with reading(engine) as connection:
            new, missing = _whole(connection, sent.rows)
    except msgspec.MsgspecError as error:
        raise UnreadableMessage("what is published cannot be read") from error
    with engine.begin() as connection:
        held = _held(connection)
        for row in new:
            if (row["kind"], row["version"]) not in held:
                connection.execute(insert(reference).values(row))
            elif row["kind"] == CATALOGUE:
                _widen(connection, row)
        _mirror(connection, sent.rows)
        bring_into_force(connection, at=at)
    made = tuple(f"{row['kind']}:{row['version']}" for row in new)
    if made:
        log.info("reference_kept", extra={"versions": " ".join(made)})
    return Kept(made, _first(missing))


def _whole(connection: Connection, rows: Iterable[ReferenceRow]) -> tuple[list[dict[str, object]], dict[bytes, int]]:
    """The rows of `reference` that can be written now, and the parts the others still lack, with their sizes."""
    held = _held(connection)
    covered: dict[str, set[str]] | None = None
    new: list[dict[str, object]] = []
    missing: dict[bytes, int] = {}
    for row in rows:
        is_held = (row.kind, row.version) in held
        if not row.content or (is_held and row.kind != CATALOGUE):
            continue
        content = row.content
        if row.kind == CATALOGUE:
            manifest = unpack(content, CataloguePublished)
            if is_held:
                covered = _covered(connection) if covered is None else covered
                if {code for code, _ in manifest.levels} <= covered.get(row.version, set()):
                    continue
            lacking = _lacking(connection, manifest)
            if not manifest.parts or lacking:
                missing |= lacking
                continue
            content = pack(assembled(manifest, reader(connection)))
        new.append(_new(row, content))
    return new, missing


def bring_into_force(connection: Connection, *, at: datetime) -> str:
    """The catalogue of the day comes into force when its day has come; its version, or empty when nothing changed."""
    version = activate(connection, reference, (at - AFTER_MIDNIGHT).date())
    if version:
        log.info("catalogue_in_force", extra={"catalogue": version})
        _forget_parts(connection)
    return version


def reader(connection: Connection) -> Any:
    """Reads parts from this front-end's database."""

    def read(digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        rows = connection.execute(
            select(reference_part.c.digest, reference_part.c.content).where(reference_part.c.digest.in_(digests))
        )
        return {bytes(row.digest): bytes(row.content) for row in rows}

    return read


def _store(connection: Connection, parts: Iterable[ReferencePart]) -> None:
    sound = {part.digest: part.content for part in parts if digest_of(part.content) == part.digest}
    there = reader(connection)(list(sound))
    new = [{"digest": digest, "content": content} for digest, content in sound.items() if digest not in there]
    if new:
        connection.execute(insert(reference_part), new)


def _covered(connection: Connection) -> dict[str, set[str]]:
    """The institutions each catalogue that counts, or will count, holds the matches of."""
    rows = connection.execute(
        select(reference.c.version, reference.c.content).where(
            reference.c.kind == CATALOGUE, reference.c.retired_on.is_(None)
        )
    )
    return {row.version: set(covered_by(row.content)) for row in rows}


def _widen(connection: Connection, row: Mapping[str, Any]) -> None:
    """The same version with the matches of more institutions: whoever has loaded it loads it again."""
    connection.execute(
        update(reference)
        .where(reference.c.kind == CATALOGUE, reference.c.version == row["version"])
        .values(content=row["content"], edition=reference.c.edition + 1)
    )


def _held(connection: Connection) -> set[tuple[str, str]]:
    return {(row.kind, row.version) for row in connection.execute(select(reference.c.kind, reference.c.version))}


def _lacking(connection: Connection, manifest: CataloguePublished) -> dict[bytes, int]:
    digests = [part.digest for part in manifest.parts]
    query = select(reference_part.c.digest).where(reference_part.c.digest.in_(digests))
    here = {bytes(digest) for digest in connection.execute(query).scalars()}
    return {part.digest: part.size for part in manifest.parts if part.digest not in here}


def _new(row: ReferenceRow, content: bytes) -> dict[str, object]:
    """Nothing is in force by arriving: the catalogue waits for its day, policy sets for all of theirs."""
    return {
        "kind": row.kind,
        "version": row.version,
        "in_force": False,
        "content": content,
        "effective_date": (row.effective_date or date.min) if row.kind == CATALOGUE else row.effective_date,
        "withdrawn": row.withdrawn,
    }


def _mirror(connection: Connection, rows: Iterable[ReferenceRow]) -> None:
    """Withdrawn versions are withdrawn here; the policy sets in force are the centre's, once all of them are here."""
    rows = list(rows)
    for row in rows:
        where = (reference.c.kind == row.kind, reference.c.version == row.version)
        connection.execute(
            update(reference).where(*where, reference.c.withdrawn != row.withdrawn).values(withdrawn=row.withdrawn)
        )
    wished = {row.version for row in rows if row.kind == POLICY and row.in_force}
    held = {version for kind, version in _held(connection) if kind == POLICY}
    if not wished or not wished <= held:
        return
    is_policy = reference.c.kind == POLICY
    changed = (
        (is_policy & reference.c.version.in_(wished), True),
        (is_policy & reference.c.version.not_in(wished), False),
    )
    for where_, in_force in changed:
        connection.execute(update(reference).where(where_, reference.c.in_force != in_force).values(in_force=in_force))


def _first(missing: Mapping[bytes, int]) -> tuple[bytes, ...]:
    """As many of the missing parts as one answer carries."""
    wants: list[bytes] = []
    room = MOST_WANTED_BYTES
    for digest, size in missing.items():
        if wants and size > room:
            break
        wants.append(digest)
        room -= size
    return tuple(wants)


def _forget_parts(connection: Connection) -> None:
    """Parts of versions that are over go; the next version shares nothing with them that this one does not have."""
    rows = connection.execute(
        select(reference.c.content).where(reference.c.kind == CATALOGUE, reference.c.retired_on.is_(None))
    ).scalars()
    kept = {part.digest for content in rows for part in unpack(content, CataloguePublished).parts}
    here = {bytes(digest) for digest in connection.execute(select(reference_part.c.digest)).scalars()}
    for digest in here - kept:
        connection.execute(delete(reference_part).where(reference_part.c.digest == digest))
