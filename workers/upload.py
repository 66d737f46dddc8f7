"""Detail upload (分时段上传): within a granted slice the lines of settled claims go to the centre, oldest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, bindparam, select, update

from domain.messages import ClaimDetail, DetailUploaded, UploadGranted
from infra.database import reading
from workers.tables import DETAIL_IS_DUE, claim, claim_content

CLAIMS_PER_CHUNK = 200
CHUNK_BYTES = 512 * 1024
RESEND_AFTER_SECONDS = 15.0
"""Detail without a receipt for this long is due again (real seconds)."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What a granted slice came to."""

    claims: int
    lines: int


def upload(
    engine: Engine,
    granted: UploadGranted,
    *,
    send: Callable[[DetailUploaded], bool],
    now: Callable[[], datetime],
    seconds: Callable[[], float],
) -> Slice:
    """Send chunks until the slice's lines are used up, its cut-off passes, nothing is due, or the broker is away.

    What was sent stays due until the centre's receipt is recorded, so a slice may stop anywhere.
    """
    claims = lines = 0
    while lines < granted.lines and now() < granted.cut_off:
        with reading(engine) as connection:
            chunk, ids = _next_chunk(connection, granted, granted.lines - lines, seconds())
        if chunk is None or not send(chunk):
            break
        with engine.begin() as connection:
            connection.execute(
                update(claim).where(claim.c.claim_id == bindparam("id")).values(rung_at=seconds()),
                [{"id": claim_id} for claim_id in ids],
            )
        claims += len(ids)
        lines += sum(row.line_count for row in chunk.claims)
    return Slice(claims, lines)


def _next_chunk(
    connection: Connection, granted: UploadGranted, lines_left: int, now: float
) -> tuple[DetailUploaded | None, list[int]]:
    """The oldest due claims of one catalogue version that fit in the lines left (at least one) and in a chunk."""
    rows = connection.execute(
        select(
            claim.c.claim_id,
            claim.c.institution_code,
            claim.c.visit_no,
            claim.c.charge_batch_no,
            claim.c.line_count,
            claim.c.total_fen,
            claim.c.catalogue_version,
            claim_content.c.lines,
        )
        .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
        .where(
            DETAIL_IS_DUE,
            claim.c.rung_at < now - RESEND_AFTER_SECONDS,
        )
        .order_by(claim.c.claim_id)
        .limit(CLAIMS_PER_CHUNK)
    ).all()
    if not rows:
        return None, []
    version = rows[0].catalogue_version
    taken: list[ClaimDetail] = []
    ids: list[int] = []
    lines = size = 0
    for row in rows:
        lines += row.line_count
        size += len(row.lines)
        if ids and (row.catalogue_version != version or lines > lines_left or size > CHUNK_BYTES):
            break
        ids.append(row.claim_id)
        taken.append(
            ClaimDetail(
                row.institution_code,
                row.visit_no,
                row.charge_batch_no,
                row.line_count,
                row.total_fen,
                row.lines,
            )
        )
    return DetailUploaded(fence=granted.fence, catalogue_version=version, claims=tuple(taken)), ids
