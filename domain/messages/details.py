"""The detail of settled claims, slice by slice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple


class ClaimDetail(NamedTuple):
    """The lines of one settled claim, in the canonical bytes its digest was taken over."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    line_count: int
    total_fen: int
    packed_lines: bytes


class DetailReceipt(NamedTuple):
    """What the centre made of one claim's detail: count, sum and digest answered in kind; `accepted` if they match."""

    visit_no: str
    charge_batch_no: int
    accepted: bool
    line_count: int
    total_fen: int
    digest: bytes


class UploadShare(NamedTuple):
    """One institution's part of a slice, in lines: what it leaves is the others'."""

    institution_code: str
    lines: int


class ChunkSums(NamedTuple):
    """A chunk of detail as a whole: its number at the front-end, its count, its sum in fen, its digest."""

    chunk_no: int
    line_count: int
    total_fen: int
    digest: bytes
    """Of its claims' packed lines, in the order they stand in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadGranted:
    """The centre opened a time slice: this many lines until the cut-off, under this fencing number."""

    KIND: ClassVar[str] = "upload.granted"
    VERSION: ClassVar[int] = 1

    window: str
    fence: int
    lines: int
    cut_off: datetime
    bytes: int = 0
    """On the link; 0: not said."""
    shares: tuple[UploadShare, ...] = ()
    """Of the lines, where several institutions have detail to send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailUploaded:
    """A front-end sends the lines of settled claims."""

    KIND: ClassVar[str] = "detail.uploaded"
    VERSION: ClassVar[int] = 1

    fence: int
    catalogue_version: str
    claims: tuple[ClaimDetail, ...]
    chunk: tuple[ChunkSums, ...] = ()
    """Of these claims together: one, or none from an earlier release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailReceived:
    """The centre has the lines of these claims, or found that they are not the lines the totals came from."""

    KIND: ClassVar[str] = "detail.received"
    VERSION: ClassVar[int] = 1

    receipts: tuple[DetailReceipt, ...]
    epoch: int = 1
    chunk: tuple[ChunkSums, ...] = ()
    """What came, under the number it was sent with: the sender compares it with what it sent."""
