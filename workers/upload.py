"""Detail upload (分时段上传): within a granted slice the lines of settled claims go to the centre, the oldest first.

The slice is kept in the database. A grant sends the first chunks; each receipt of the centre sends the next, until the
slice is used up, its cut-off passes, or nothing is due. So no more is on the way than the centre keeps up with, what
is said at a counter goes in between, and a link that was killed goes on where it was: what was sent stays due until
its receipt is recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from domain.chunks import sums_of
from domain.messages import ChunkSums, DetailReceived, DetailUploaded, UploadGranted, UploadShare
from infra.codec import pack, unpack
from infra.database import reading
from workers import deliver
from workers.chunks import Due, next_claims
from workers.tables import claim, upload_chunk, upload_slice

log = logging.getLogger("frontend")

CHUNKS_UNDER_WAY = 2
RESEND_AFTER_SECONDS = 30.0
"""Detail without a receipt for this long is due again (real seconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What an upload needs besides the database: the way to the centre, and the clocks."""

    seal: Callable[[DetailUploaded], bytes]
    post: Callable[[DetailUploaded, bytes], bool]
    """False when the broker is away."""
    now: Callable[[], datetime]
    seconds: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Slice:
    """What was sent."""

    claims: int = 0
    lines: int = 0
    bytes: int = 0
    """On the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """The slice as far as it has been used."""

    granted: UploadGranted
    sent: Slice
    sent_of: tuple[UploadShare, ...]
    """Lines that were sent, by institution, of those that have a share."""
    chunk_no: int
    """Of the last chunk, in this slice or before."""

    @property
    def lines_left(self) -> int:
        return self.granted.lines - self.sent.lines

    @property
    def bytes_left(self) -> int | None:
        """None: without end."""
        return self.granted.bytes - self.sent.bytes if self.granted.bytes else None

    @property
    def is_used_up(self) -> bool:
        return self.lines_left <= 0 or (self.bytes_left is not None and self.bytes_left <= 0)

    def shares_left(self) -> list[tuple[str, int]]:
        """By institution what is left of its share, in lines; the largest first."""
        sent = dict(self.sent_of)
        left = [(code, lines - sent.get(code, 0)) for code, lines in self.granted.shares]
        return sorted(((code, lines) for code, lines in left if lines > 0), key=lambda each: (-each[1], each[0]))


def upload(engine: Engine, granted: UploadGranted, link: Link) -> Slice:
    """Begin the slice, or go on with it where it was begun before; what was sent at once."""
    with engine.begin() as connection:
        running = _running(connection)
        if running is None or (running.granted.fence, running.granted.cut_off) != (granted.fence, granted.cut_off):
            _begin(connection, granted, chunk_no=0 if running is None else running.chunk_no)
        connection.execute(delete(upload_chunk).where(upload_chunk.c.sent_at <= link.seconds() - RESEND_AFTER_SECONDS))
    return go_on(engine, link)


def go_on(engine: Engine, link: Link) -> Slice:
    """Send the next chunks of the slice, as many as may be under way; what was sent."""
    sent = Slice()
    while (chunk := _send_next(engine, link)) is not None:
        sent = _together(sent, chunk)
    return sent


def confirm(connection: Connection, received: DetailReceived) -> int:
    """Record the centre's receipts; how many were new. A chunk that came otherwise than it was sent stays due."""
    for came in received.chunk:
        kept = connection.execute(select(upload_chunk).where(upload_chunk.c.chunk_no == came.chunk_no)).first()
        connection.execute(delete(upload_chunk).where(upload_chunk.c.chunk_no == came.chunk_no))
        if kept is not None and ChunkSums(kept.chunk_no, kept.line_count, kept.total_fen, kept.digest) != came:
            log.error("chunk_answered_differently", extra={"chunk": came.chunk_no, "lines": kept.line_count})
            return 0
    return deliver.record_receipts(connection, received)


def _send_next(engine: Engine, link: Link) -> Slice | None:
    with reading(engine) as connection:
        running = _running(connection)
        if running is None or running.is_used_up or link.now() >= running.granted.cut_off:
            return None
        resend_before = link.seconds() - RESEND_AFTER_SECONDS
        under_way = select(func.count()).where(upload_chunk.c.sent_at > resend_before)
        if connection.execute(under_way).scalar_one() >= CHUNKS_UNDER_WAY:
            return None
        claims = next_claims(
            connection,
            running.shares_left(),
            lines_left=running.lines_left,
            may_exceed=running.sent.claims == 0,
            sent_before=resend_before,
        )
    fitting = _fitting(running, claims, link)
    if fitting is None or not link.post(*fitting[1:]):
        return None
    with engine.begin() as connection:
        return _record(connection, running, *fitting, seconds=link.seconds)


def _fitting(
    running: _Running, claims: Sequence[Due], link: Link
) -> tuple[Sequence[Due], DetailUploaded, bytes] | None:
    """As many claims as fit in what is left of the slice's bytes, sealed; one at least, in a slice's first chunk."""
    least = 1 if running.sent.claims == 0 else 0
    while claims:
        details = tuple(each.detail for each in claims)
        chunk = DetailUploaded(
            fence=running.granted.fence,
            catalogue_version=claims[0].catalogue_version,
            claims=details,
            chunk=(sums_of(running.chunk_no + 1, details),),
        )
        envelope, left = link.seal(chunk), running.bytes_left
        if left is None or len(envelope) <= left or len(claims) == least:
            return claims, chunk, envelope
        claims = claims[: max(least, min(len(claims) - 1, len(claims) * left // len(envelope)))]
    return None


def _record(
    connection: Connection,
    running: _Running,
    claims: Sequence[Due],
    chunk: DetailUploaded,
    envelope: bytes,
    *,
    seconds: Callable[[], float],
) -> Slice:
    """Note that the chunk is under way. Its claims stay due."""
    connection.execute(
        update(claim).where(claim.c.claim_id == bindparam("id")).values(rung_at=seconds()),
        [{"id": each.claim_id} for each in claims],
    )
    (sums,) = chunk.chunk
    connection.execute(insert(upload_chunk).values(**sums._asdict(), claims=len(claims), sent_at=seconds()))
    sent = Slice(len(claims), sums.line_count, len(envelope))
    sent_of = dict(running.sent_of)
    for each in claims:
        code = each.detail.institution_code
        sent_of[code] = sent_of.get(code, 0) + each.detail.line_count
    together = _together(running.sent, sent)
    connection.execute(
        update(upload_slice).values(
            claims_sent=together.claims,
            lines_sent=together.lines,
            bytes_sent=together.bytes,
            sent_of=pack(tuple(sent_of.items())),
            chunk_no=sums.chunk_no,
        )
    )
    return sent


def _running(connection: Connection) -> _Running | None:
    row = connection.execute(select(upload_slice)).first()
    if row is None:
        return None
    return _Running(
        granted=UploadGranted(
            window=row.window,
            fence=row.fence,
            lines=row.lines,
            cut_off=row.cut_off,
            bytes=row.bytes,
            shares=unpack(row.shares, tuple[UploadShare, ...]),
        ),
        sent=Slice(row.claims_sent, row.lines_sent, row.bytes_sent),
        sent_of=unpack(row.sent_of, tuple[UploadShare, ...]),
        chunk_no=row.chunk_no,
    )


def _begin(connection: Connection, granted: UploadGranted, *, chunk_no: int) -> None:
    connection.execute(delete(upload_slice))
    connection.execute(
        insert(upload_slice).values(
            window=granted.window,
            fence=granted.fence,
            lines=granted.lines,
            bytes=granted.bytes,
            shares=pack(granted.shares),
            cut_off=granted.cut_off,
            claims_sent=0,
            lines_sent=0,
            bytes_sent=0,
            sent_of=pack(()),
            chunk_no=chunk_no,
        )
    )


def _together(one: Slice, other: Slice) -> Slice:
    return replace(one, claims=one.claims + other.claims, lines=one.lines + other.lines, bytes=one.bytes + other.bytes)
