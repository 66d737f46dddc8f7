"""The messages between front-end and centre, version 1. A released message is never edited: see docs/messages.md.

Rows that travel in bulk are named tuples, so they are arrays on the wire; a new field goes last and has a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, NamedTuple

from domain.entitlement import Entitlement
from domain.settlement import AccumulatorEntry, Cell
from domain.totals import GroupTotal, LocalTotals


class LocalResult(NamedTuple):
    """What a locally settling front-end came to, in fen, and the leased snapshot it started from."""

    snapshot_version: int
    """The version of the person's row the front-end believes the centre to be at when this claim comes."""
    settled_at: datetime
    fund_pay_fen: int
    account_pay_fen: int
    deductible_fen: int
    self_pay_fen: int
    over_cap_fen: int
    institution_share_fen: int
    account_before_fen: int = 0
    family_before_fen: int = 0
    accumulators: tuple[tuple[str, int], ...] = ()
    """(key, fen) of the snapshot, those that stood at something and that the rules look at."""


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
    visit_started: date | None = None
    """Admission of a stay, or the first day of a course."""
    covers_to: date | None = None
    """The last day the charges cover: discharge, or the day of the interim settlement."""
    final: bool = True
    """False: an interim settlement of a visit that goes on."""
    conditions: tuple[str, ...] = ()
    """Of the visit, as policy facts name them: "unfiled", "delivery", "disease:<x>", ..."""
    groups: tuple[GroupTotal, ...] = ()
    """The sums of the catalogue's benefit groups, part of the totals above."""
    local: LocalResult | None = None
    """What the front-end settled itself, for the centre to confirm."""

    def local_totals(self) -> LocalTotals:
        """The sums of the claim's lines, as the engine takes them."""
        return LocalTotals(*self[6:13], self.groups)


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
    cells: tuple[Cell, ...] = ()
    """The settlement's matrix: (segment, payer, fen), those that are not zero."""
    entries: tuple[AccumulatorEntry, ...] = ()
    """The accumulators that moved: (key, before, applied)."""
    scheme: str = ""
    category: str = ""
    recomputed: str = ""
    """How this differs from what the front-end settled itself, in Chinese; empty when it is the same."""


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
    """One institution's settled claims of one day, as the front-end has them, in fen.

    A contra settlement is a claim of its own day, with negative amounts.
    """

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
class PersonAsked:
    """A front-end asks who these persons are to the insurance, at registration."""

    KIND: ClassVar[str] = "person.asked"
    VERSION: ClassVar[int] = 1

    citizens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonAnswered:
    """The centre says who these persons are, and leases the front-end their accumulators for a while."""

    KIND: ClassVar[str] = "person.answered"
    VERSION: ClassVar[int] = 1

    entitlements: tuple[Entitlement, ...]
    settling_locally: tuple[str, ...] = ()
    """The institutions of this front-end that settle locally, by code; its others leave the benefit to the centre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAsked:
    """A front-end asks the centre to take a settlement back, and to settle what is kept of it: both or neither."""

    KIND: ClassVar[str] = "refund.asked"
    VERSION: ClassVar[int] = 1

    institution_code: str
    visit_no: str
    charge_batch_no: int
    contra_batch_no: int
    """The charge batch number of the contra settlement: the key of this request."""
    reason: str
    policy_version: str
    catalogue_version: str
    kept: tuple[ClaimTotals, ...] = ()
    """The totals of the kept lines, under a batch number of their own; none or one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAnswered:
    """The centre took a settlement back, or says why not."""

    KIND: ClassVar[str] = "refund.answered"
    VERSION: ClassVar[int] = 1

    institution_code: str
    visit_no: str
    charge_batch_no: int
    contra_batch_no: int
    refusal: str = ""
    detail: str = ""
    answers: tuple[ClaimAnswer, ...] = ()
    """That of the contra settlement, amounts with the other sign; then that of the kept lines."""


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


class ReferenceRow(NamedTuple):
    """One published row of reference data, as the centre has it for this front-end.

    `content` is the text of a policy set or the manifest of a catalogue, empty where the front-end holds it already.
    """

    kind: str
    version: str
    in_force: bool
    effective_date: date | None
    withdrawn: bool
    content: bytes


class ReferencePart(NamedTuple):
    """A part of a catalogue, named by the digest of its content."""

    digest: bytes
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceAsked:
    """A front-end says which versions it holds (kind:version), and asks for what is new and for the parts it wants."""

    KIND: ClassVar[str] = "reference.asked"
    VERSION: ClassVar[int] = 1

    holds: tuple[str, ...]
    wants: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSent:
    """The centre lists what is published for this front-end, and sends parts it asked for."""

    KIND: ClassVar[str] = "reference.sent"
    VERSION: ClassVar[int] = 1

    rows: tuple[ReferenceRow, ...]
    parts: tuple[ReferencePart, ...] = ()


Message = (
    TotalsSubmitted
    | ClaimsAnswered
    | PersonAsked
    | PersonAnswered
    | RefundAsked
    | RefundAnswered
    | UploadGranted
    | DetailUploaded
    | DetailReceived
    | BooksAsked
    | BooksReported
    | ReferenceAsked
    | ReferenceSent
)
