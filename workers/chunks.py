"""Which claims go into the next chunk of detail: each institution its share of the slice, the oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from domain.messages import ClaimDetail
from workers.tables import DETAIL_IS_DUE, claim, claim_content, institution

CLAIMS_PER_CHUNK = 200
CHUNK_BYTES = 512 * 1024
"""Of packed lines; on the link it is a fraction of that."""

_Key = Row[*tuple[Any, ...]]


class Due(NamedTuple):
    """A claim whose detail is due, ready to be sent."""

    claim_id: int
    catalogue_version: str
    detail: ClaimDetail


def next_claims(
    connection: Connection,
    shares: Sequence[tuple[str, int]],
    *,
    lines_left: int,
    may_exceed: bool,
    sent_before: float,
) -> list[Due]:
    """Due claims of one catalogue version that fit in the lines left and in a chunk; one at least if it may exceed.

    `shares` are institutions with what is left of their part of the slice, in lines: they come first, and what they
    leave is everybody's. What was sent after `sent_before` (real seconds) is on its way.
    """
    chosen = _Chosen(lines_left, may_exceed)
    for code, lines in shares:
        chosen.take(_due(connection, code, sent_before), at_most=lines)
    codes = connection.execute(select(institution.c.institution_code)).scalars().all()
    if not chosen.is_full:
        others = [row for code in codes for row in _due(connection, code, sent_before)]
        chosen.take(sorted(others, key=lambda row: (row.settled_at, row.claim_id)))
    return _with_lines(connection, chosen.rows)


class _Chosen:
    """What has been chosen for a chunk so far."""

    def __init__(self, lines_left: int, may_exceed: bool) -> None:
        self.rows: list[_Key] = []
        self._lines, self._may_exceed, self._ids = lines_left, may_exceed, set[int]()

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= CLAIMS_PER_CHUNK or self._lines <= 0

    def take(self, rows: Iterable[_Key], *, at_most: int | None = None) -> None:
        """Take of these rows, in their order, what fits; no later one goes before one that does not."""
        left = self._lines if at_most is None else min(at_most, self._lines)
        for row in rows:
            if row.claim_id in self._ids:
                continue
            if self.is_full or left <= 0 or (self.rows and row.catalogue_version != self.rows[0].catalogue_version):
                return
            if row.line_count > left and not (self._may_exceed and not self.rows):
                return
            self.rows.append(row)
            self._ids.add(row.claim_id)
            self._lines -= row.line_count
            left -= row.line_count


def _due(connection: Connection, institution_code: str, sent_before: float) -> Sequence[_Key]:
    return connection.execute(
        select(claim.c.claim_id, claim.c.line_count, claim.c.catalogue_version, claim.c.settled_at)
        .where(claim.c.institution_code == institution_code, DETAIL_IS_DUE, claim.c.rung_at < sent_before)
        .order_by(claim.c.settled_at, claim.c.claim_id)
        .limit(CLAIMS_PER_CHUNK)
    ).all()


def _with_lines(connection: Connection, rows: Sequence[_Key]) -> list[Due]:
    """The claims with their packed lines, as many as fit in a chunk's bytes; one at least."""
    found = connection.execute(
        select(
            claim.c.claim_id,
            claim.c.institution_code,
            claim.c.visit_no,
            claim.c.charge_batch_no,
            claim.c.line_count,
            claim.c.total_fen,
            claim_content.c.lines,
        )
        .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
        .where(claim.c.claim_id.in_([row.claim_id for row in rows]))
    )
    by_id = {row.claim_id: row for row in found}
    due: list[Due] = []
    size = 0
    for row in rows:
        held = by_id[row.claim_id]
        size += len(held.lines)
        if due and size > CHUNK_BYTES:
            break
        detail = ClaimDetail(
            held.institution_code,
            held.visit_no,
            held.charge_batch_no,
            held.line_count,
            held.total_fen,
            held.lines,
        )
        due.append(Due(row.claim_id, row.catalogue_version, detail))
    return due
