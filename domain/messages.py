"""The messages between front-end and centre, version 1. A released message is never edited: see docs/messages.md.

Rows that travel in bulk are named tuples, so they are arrays on the wire; a new field goes last and has a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, NamedTuple


class ClaimTotals(NamedTuple):
    """One claim asks to be settled: its key, its person, its local totals in fen (AMB-60)."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    citizen_id_no: str
    visit_type: str
    visit_date: date
    total_fen: int
    own_expense_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int
    line_count: int
    digest: bytes


class ClaimAnswer(NamedTuple):
    """The centre's answer to one claim: a settlement in fen, or a refusal with its code and sentence.

    The amounts before are those the settlement started from, so that the front-end can repeat the calculation.
    """

    visit_no: str
    charge_batch_no: int
    refusal: str = ""
    detail: str = ""
    settlement_no: int = 0
    fund_pay_fen: int = 0
    account_pay_fen: int = 0
    deductible_fen: int = 0
    self_pay_fen: int = 0
    over_cap_fen: int = 0
    institution_share_fen: int = 0
    account_before_fen: int = 0
    fund_before_fen: int = 0
    deductible_before_fen: int = 0
    settled_at: datetime | None = None


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


class DayTotals(NamedTuple):
    """One institution's settled claims of one day, as the front-end has them, in fen."""

    institution_code: str
    day: date
    claims: int
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int


class BookLine(NamedTuple):
    """One settled claim in the front-end's books, in fen."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    settlement_no: int
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsSubmitted:
    """A front-end asks the centre to settle a batch of claims."""

    KIND: ClassVar[str] = "totals.submitted"
    VERSION: ClassVar[int] = 1

    policy_version: str
    catalogue_version: str
    claims: tuple[ClaimTotals, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsAnswered:
    """The centre answered a batch of claims."""

    KIND: ClassVar[str] = "claims.answered"
    VERSION: ClassVar[int] = 1

    answers: tuple[ClaimAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadGranted:
    """The centre opened a time slice: this many lines until the cut-off, under this fencing number."""

    KIND: ClassVar[str] = "upload.granted"
    VERSION: ClassVar[int] = 1

    window: str
    fence: int
    lines: int
    cut_off: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailUploaded:
    """A front-end sends the lines of settled claims."""

    KIND: ClassVar[str] = "detail.uploaded"
    VERSION: ClassVar[int] = 1

    fence: int
    catalogue_version: str
    claims: tuple[ClaimDetail, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailReceived:
    """The centre has the lines of these claims, or found that they are not the lines the totals came from."""

    KIND: ClassVar[str] = "detail.received"
    VERSION: ClassVar[int] = 1

    receipts: tuple[DetailReceipt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksAsked:
    """The centre asks a front-end for its books of a day: totals first, the lines of these institutions if named."""

    KIND: ClassVar[str] = "books.asked"
    VERSION: ClassVar[int] = 1

    day: date
    lines_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksReported:
    """A front-end reports its books of a day."""

    KIND: ClassVar[str] = "books.reported"
    VERSION: ClassVar[int] = 1

    day: date
    totals: tuple[DayTotals, ...]
    lines_of: tuple[str, ...] = ()
    lines: tuple[BookLine, ...] = ()


Message = (
    TotalsSubmitted | ClaimsAnswered | UploadGranted | DetailUploaded | DetailReceived | BooksAsked | BooksReported
)
