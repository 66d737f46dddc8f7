"""Claims that go to the centre with all their lines (明细集中): the centre checks them and says what comes of it.

What is sent is what was handed in, in chunks as detail goes; `workers.line_answers` records what comes back. How a
claim goes is noted with it: it goes so again until it is answered, whatever way its institution settles by meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from domain.messages import ClaimLines, ClaimTotals, with_lines
from domain.totals import digest_of
from domain.visit import Visit
from workers.tables import claim_content

CLAIMS_PER_CHUNK = 200
CHUNK_BYTES = 512 * 1024

_CONTENTS = select(claim_content.c.claim_id, claim_content.c.lines).where(
    claim_content.c.claim_id.in_(bindparam("ids", expanding=True))
)


def bare_totals(row: Any, visit: Visit) -> ClaimTotals:
    """What is known of a claim that goes with its lines: everything but what its lines are split to."""
    return ClaimTotals(
        visit.institution_code,
        visit.visit_no,
        row.charge_batch_no,
        visit.citizen_id_no,
        visit.visit_type,
        visit.visit_date,
        row.total_fen,
        0,
        0,
        0,
        0,
        row.line_count,
        digest_of(row.lines),
        visit_started=visit.visit_date if visit.is_stay else None,
        covers_to=row.covers_to,
        final=row.final,
        conditions=visit.conditions,
        submission=row.submission,
    )


def read(connection: Connection, totals: Mapping[int, ClaimTotals]) -> list[ClaimLines]:
    """These claims, by id, as they go with their lines, in the order of their ids."""
    if not totals:
        return []
    lines = {row.claim_id: row.lines for row in connection.execute(_CONTENTS, {"ids": list(totals)})}
    return [with_lines(totals[claim_id], lines[claim_id]) for claim_id in sorted(totals)]


def chunks(claims: Sequence[ClaimLines]) -> Iterator[Sequence[ClaimLines]]:
    """The claims in messages: as many as fit, at least one."""
    start = size = 0
    for place, each in enumerate(claims):
        size += len(each.packed_lines)
        if place > start and (size > CHUNK_BYTES or place - start == CLAIMS_PER_CHUNK):
            yield claims[start:place]
            start, size = place, len(each.packed_lines)
    if start < len(claims):
        yield claims[start:]
