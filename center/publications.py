"""What a front-end is told of published reference data: the versions, and the parts of a catalogue it does not have."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, or_, select
from sqlalchemy.dialects.postgresql import insert

from center.catalogue.tables import reference_part, reference_report
from center.served import institutions_of
from center.tables import reference
from domain.messages import ReferenceAsked, ReferencePart, ReferenceRow, ReferenceSent
from infra.codec import pack, unpack
from infra.publication import for_institutions
from infra.reference import CATALOGUE, CataloguePublished

MOST_BYTES = 4 * 1024 * 1024
"""Parts in one message, before compression; a front-end asks again for the rest."""


def answer(connection: Connection, asked: ReferenceAsked, *, frontend: str, at: datetime) -> ReferenceSent:
    """The versions that count or will count, and those of the wanted parts that concern the front-end's institutions.

    A row the front-end holds comes without its content. A part it may not see is not sent, as if it were not there.
    """
    _note(connection, asked, frontend, at)
    codes = institutions_of(connection, frontend)
    held = set(asked.holds)
    rows: list[ReferenceRow] = []
    visible: dict[bytes, int] = {}
    columns = reference.c
    counts = or_(columns.in_force, columns.effective_date > at.date())
    for row in connection.execute(select(reference).where(counts).order_by(columns.kind, columns.version)):
        content = bytes(row.content)
        if row.kind == CATALOGUE:
            manifest = for_institutions(unpack(content, CataloguePublished), codes)
            visible |= {part.digest: part.size for part in manifest.parts}
            content = pack(manifest)
        if f"{row.kind}:{row.version}" in held:
            content = b""
        rows.append(ReferenceRow(row.kind, row.version, row.in_force, row.effective_date, row.withdrawn, content))
    return ReferenceSent(rows=tuple(rows), parts=_parts(connection, asked.wants, visible))


def _parts(connection: Connection, wants: Iterable[bytes], visible: dict[bytes, int]) -> tuple[ReferencePart, ...]:
    wanted: list[bytes] = []
    room = MOST_BYTES
    for digest in wants:
        if digest in visible and (not wanted or visible[digest] <= room):
            wanted.append(digest)
            room -= visible[digest]
    rows = connection.execute(
        select(reference_part.c.digest, reference_part.c.content).where(reference_part.c.digest.in_(wanted))
    )
    return tuple(ReferencePart(bytes(row.digest), bytes(row.content)) for row in rows)


def _note(connection: Connection, asked: ReferenceAsked, frontend: str, at: datetime) -> None:
    values = {"versions": ",".join(asked.holds), "heard_at": at}
    connection.execute(
        insert(reference_report)
        .values(frontend=frontend, **values)
        .on_conflict_do_update(index_elements=[reference_report.c.frontend], set_=values)
    )
