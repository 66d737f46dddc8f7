"""A chunk of uploaded detail as a whole (明细包): both sides count, add up and digest it, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from domain.messages import ChunkSums, ClaimDetail
from domain.totals import DIGEST_BYTES


def sums_of(chunk_no: int, claims: Sequence[ClaimDetail]) -> ChunkSums:
    """The count, the sum in fen and the digest of the claims' lines, in the order they stand in the chunk."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    for claim in claims:
        digest.update(claim.packed_lines)
    return ChunkSums(
        chunk_no,
        sum(claim.line_count for claim in claims),
        sum(claim.total_fen for claim in claims),
        digest.digest(),
    )
