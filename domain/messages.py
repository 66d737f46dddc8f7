"""The messages between front-end and centre, version 1. A released message is never edited: see docs/messages.md.

Rows that travel in bulk are named tuples, so they are arrays on the wire; a new field goes last and has a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, NamedTuple

from domain.clearings import MonthHeld, ToldClearing
from domain.entitlement import Entitlement
from domain.settlement import AccumulatorEntry, Cell
from domain.terms import InstitutionTerms
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
    offline: bool = False
    """Settled while the link was down: the patient has it, the centre is to post it (`domain.offline`)."""


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
    submission: int = 0
    """How often it was deliberately sent again after a refusal: a refusal answers every copy up to its own number."""
    totalled_on: date | None = None
    """Of a stay: the day its lines were split on. The policy of the day of the settlement may split them otherwise."""

    def local_totals(self) -> LocalTotals:
        """The sums of the claim's lines, as the engine takes them."""
        return LocalTotals(*self[6:13], self.groups)


class ClaimSplit(NamedTuple):
    """What the centre split a claim's lines to, in fen, and by which versions."""

    own_expense_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int
    groups: tuple[GroupTotal, ...]
    policy_version: str
    catalogue_version: str
    warned: tuple[tuple[int, str], ...] = ()
    """Warnings: the place of a line in the claim, from 0, and the code."""


class FailedLine(NamedTuple):
    """A line that failed its checks: its place in the claim, from 0, and every code; it goes back with the first."""

    at: int
    codes: tuple[str, ...]


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
    split: ClaimSplit | None = None
    """Of a claim that came with its lines: what they were split to."""
    failed: tuple[FailedLine, ...] = ()
    """Of a claim that came with its lines: those that failed their checks."""


class ClaimLines(NamedTuple):
    """One claim asks to be settled from its lines: its key, its person, and the lines in their canonical bytes."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    citizen_id_no: str
    visit_type: str
    visit_date: date
    line_count: int
    total_fen: int
    digest: bytes
    packed_lines: bytes
    visit_started: date | None = None
    """Admission of a stay, or the first day of a course."""
    covers_to: date | None = None
    final: bool = True
    conditions: tuple[str, ...] = ()
    submission: int = 0
    """How often it was sent again after a refusal, as in `ClaimTotals`."""


def bare_of(sent: ClaimLines) -> ClaimTotals:
    """A claim that comes with its lines, as totals without the sums of its lines."""
    return ClaimTotals(
        sent.institution_code,
        sent.visit_no,
        sent.charge_batch_no,
        sent.citizen_id_no,
        sent.visit_type,
        sent.visit_date,
        sent.total_fen,
        0,
        0,
        0,
        0,
        sent.line_count,
        sent.digest,
        sent.visit_started,
        sent.covers_to,
        sent.final,
        sent.conditions,
        submission=sent.submission,
    )


def with_lines(totals: ClaimTotals, packed_lines: bytes) -> ClaimLines:
    """The claim as it goes to the centre with its lines."""
    return ClaimLines(
        totals.institution_code,
        totals.visit_no,
        totals.charge_batch_no,
        totals.citizen_id_no,
        totals.visit_type,
        totals.visit_date,
        totals.line_count,
        totals.total_fen,
        totals.digest,
        packed_lines,
        totals.visit_started,
        totals.covers_to,
        totals.final,
        totals.conditions,
        totals.submission,
    )


def with_split(claim: ClaimTotals, split: ClaimSplit) -> ClaimTotals:
    """The claim with the sums its lines were split to."""
    return claim._replace(
        own_expense_fen=split.own_expense_fen,
        over_limit_fen=split.over_limit_fen,
        pre_self_pay_fen=split.pre_self_pay_fen,
        in_scope_fen=split.in_scope_fen,
        groups=split.groups,
    )


class ClaimDetail(NamedTuple):
    """The lines of one settled claim, in the canonical bytes its digest was taken over."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    line_count: int
    total_fen: int
    packed_lines: bytes


class ClaimKey(NamedTuple):
    """A claim by its own key."""

    institution_code: str
    visit_no: str
    charge_batch_no: int


class OutcomeDecision(NamedTuple):
    """What an institution decided about a claim: to be settled as it was prepared, or not to be settled at all."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    confirm: bool


class ToldOutcome(NamedTuple):
    """What the centre has under a claim's key, and why it did not do what was asked, if it did not."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    state: str
    """domain.outcomes.OutcomeState."""
    refusal: str = ""
    detail: str = ""
    answer: ClaimAnswer | None = None
    """prepared: what it would be settled to, without a number; confirmed: what it was settled to."""
    seconds_left: int = 0
    """prepared: how long the centre holds it from now on, by its own clock."""
    submission: int = 0
    """refused: the number of the submission that was refused."""


class Resubmitted(NamedTuple):
    """Which submission of a claim a refusal answers, where it is not the first."""

    visit_no: str
    charge_batch_no: int
    submission: int


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


class Resent(NamedTuple):
    """One document a front-end was answered and a restored centre may lack: what was asked, and the answer."""

    kind: str
    """normal; contra: takes `contra_of` back; resettled: what is kept of it; prepared: waits to be confirmed."""
    claim: ClaimTotals
    """Of a contra settlement: the totals with the other sign."""
    answer: ClaimAnswer
    policy_version: str
    catalogue_version: str
    contra_of: int | None = None
    """The charge batch that was taken back."""
    reason: str = ""


class ResentRefusal(NamedTuple):
    """What a front-end was refused, or told is cancelled, and a restored centre may have forgotten: it stays so."""

    claim: ClaimTotals
    """As the submission was totalled that was refused."""
    refusal: str
    detail: str
    submission: int = 0
    contra_of: int | None = None
    """Of a refund: the charge batch that was to be taken back; the claim's own is the number of the request."""


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
    epoch: int = 1
    """Of the centre's database: higher than before where it was restored from a backup."""
    resubmitted: tuple[Resubmitted, ...] = ()
    """Of refused claims: which submission was refused, where it was not the first."""
    wanted: tuple[str, ...] = ()
    """Where a claim is stale: the versions it is to be totalled with, of the policy and of the catalogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesSubmitted:
    """A front-end asks the centre to settle a batch of claims, or to prepare it, from their lines."""

    KIND: ClassVar[str] = "lines.submitted"
    VERSION: ClassVar[int] = 1

    prepare: bool
    claims: tuple[ClaimLines, ...]


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
    """The institutions of this front-end that settle locally, by code; of its terms since, this is for older ones."""
    epoch: int = 1


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
    kept_lines: tuple[bytes, ...] = ()
    """The kept lines themselves, in their canonical bytes: the centre splits them by what is in force there."""


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
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareAsked:
    """A front-end asks the centre to compute claims and hold their persons, until they are confirmed or cancelled."""

    KIND: ClassVar[str] = "prepare.asked"
    VERSION: ClassVar[int] = 1

    policy_version: str
    catalogue_version: str
    claims: tuple[ClaimTotals, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeDecided:
    """Institutions decided about claims: confirm what was prepared, or cancel, known to the centre or not."""

    KIND: ClassVar[str] = "outcome.decided"
    VERSION: ClassVar[int] = 1

    decisions: tuple[OutcomeDecision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeAsked:
    """A front-end asks what became of claims whose answer it does not have."""

    KIND: ClassVar[str] = "outcome.asked"
    VERSION: ClassVar[int] = 1

    keys: tuple[ClaimKey, ...]
    asked_at: datetime | None = None
    """By the front-end's clock; the answer says it again. Asked without keys it only wants to know who hears it."""
    skew_seconds: int = 0
    """How far the centre's clock was ahead of the front-end's when that was last measured, for certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeTold:
    """The centre says what it has under these keys, after doing what it was asked to do, if anything."""

    KIND: ClassVar[str] = "outcome.told"
    VERSION: ClassVar[int] = 1

    outcomes: tuple[ToldOutcome, ...]
    epoch: int = 1
    wanted: tuple[str, ...] = ()
    """As in `ClaimsAnswered`."""
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    """By the centre's clock."""
    unopened: bool = False
    """Something came under this front-end's name that was not sealed with its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementCorrected:
    """The centre corrected a settlement because one before it was taken back: by a contra and a new settlement."""

    KIND: ClassVar[str] = "settlement.corrected"
    VERSION: ClassVar[int] = 1

    correction_no: int
    institution_code: str
    visit_no: str
    charge_batch_no: int
    """What was corrected."""
    reason: str
    answers: tuple[ClaimAnswer, ...]
    """That of the contra settlement, then that of the new one, under charge batch numbers of the centre's own."""
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionHeard:
    """A front-end has recorded a correction."""

    KIND: ClassVar[str] = "correction.heard"
    VERSION: ClassVar[int] = 1

    correction_no: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksAsked:
    """The centre asks a front-end for its books of a day: totals first, the lines of these institutions if named."""

    KIND: ClassVar[str] = "books.asked"
    VERSION: ClassVar[int] = 1

    day: date
    lines_of: tuple[str, ...] = ()
    before: datetime | None = None
    """Of what was settled before this moment, so that an answer still on its way is no difference; None: of it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksReported:
    """A front-end reports its books of a day."""

    KIND: ClassVar[str] = "books.reported"
    VERSION: ClassVar[int] = 1

    day: date
    totals: tuple[DayTotals, ...]
    lines_of: tuple[str, ...] = ()
    lines: tuple[BookLine, ...] = ()
    before: datetime | None = None
    """As it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsAsked:
    """A restored centre asks a front-end for what it was answered since a moment: the next page of it."""

    KIND: ClassVar[str] = "documents.asked"
    VERSION: ClassVar[int] = 1

    epoch: int
    since: datetime
    after: int
    """The front-end's own count of claims: the page begins behind it."""
    most: int
    """Documents on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsResent:
    """A front-end sends a page of what it was answered."""

    KIND: ClassVar[str] = "documents.resent"
    VERSION: ClassVar[int] = 1

    epoch: int
    after: int
    """As it was asked."""
    last: int
    """Where the next page begins."""
    complete: bool
    """No page comes behind this one."""
    documents: tuple[Resent, ...] = ()
    refusals: tuple[ResentRefusal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailsAsked:
    """A restored centre names settlements whose detail it lacks: it is due again."""

    KIND: ClassVar[str] = "details.asked"
    VERSION: ClassVar[int] = 1

    epoch: int
    upto: int
    """The centre's own count, to be sent back."""
    claims: tuple[ClaimKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailsMarked:
    """A front-end has marked the detail it was asked for as due."""

    KIND: ClassVar[str] = "details.marked"
    VERSION: ClassVar[int] = 1

    epoch: int
    upto: int


class ScopeTotals(NamedTuple):
    """What an institution says it has of one scheme and clearing type on a day (3201), in fen; empty: of all."""

    scheme: str
    clearing_type: str
    with_refunds: bool
    documents: int
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    cash_fen: int | None = None
    """None: not said, so not compared."""


class InstitutionLine(NamedTuple):
    """One document in an institution's own book (3202), in fen. What it does not say is empty, 0 or None."""

    line_no: int
    visit_no: str
    settlement_no: int
    contra: bool
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    charge_batch_no: int = 0
    scheme: str = ""
    clearing_type: str = ""
    cash_fen: int | None = None
    settled_on: date | None = None
    """None: on the day of the book."""
    contra_of: int = 0


class ComparedTotals(NamedTuple):
    """One of the institution's totals beside the centre's, in fen, and how they compare: 平, 中心多, 机构多, 不一致."""

    scheme: str
    clearing_type: str
    with_refunds: bool
    result: str
    institution: tuple[int, ...]
    """Documents, total, fund, account, cash."""
    center: tuple[int, ...]


class FoundDifference(NamedTuple):
    """One difference of the lines, as an operator reads it, in fen."""

    difference_no: int
    kind: str
    """domain.reconciliation.Class."""
    visit_no: str
    charge_batch_no: int
    settlement_no: int
    contra: bool
    state: str
    words: str
    repair: str
    """domain.repairs.Repair."""
    effect: str
    """What the repair would do to both books, in Chinese."""
    institution: tuple[int, ...]
    """Documents, total, fund, account, cash."""
    center: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksSubmitted:
    """An institution's own book of a day, or a part of it, as its front-end has been handed it."""

    KIND: ClassVar[str] = "books.submitted"
    VERSION: ClassVar[int] = 1

    institution_code: str
    day: date
    submission_no: int
    """Rises with every book of the day that differs from the one before."""
    line_count: int | None
    """Of all parts; None: totals only."""
    part: int
    parts: int
    totals: tuple[ScopeTotals, ...] = ()
    """In the first part."""
    lines: tuple[InstitutionLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksCompared:
    """What the centre found in an institution's book of a day, or a part of it."""

    KIND: ClassVar[str] = "books.compared"
    VERSION: ClassVar[int] = 1

    institution_code: str
    day: date
    submission_no: int
    result: str
    """domain.day_books.Result of the whole day."""
    part: int
    parts: int
    compared_at: datetime
    lines_wanted: bool = False
    totals: tuple[ComparedTotals, ...] = ()
    differences: tuple[FoundDifference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOrdered:
    """The centre, with two persons' names under it, has a front-end do its part of a repair. Sent until it is done."""

    KIND: ClassVar[str] = "repair.ordered"
    VERSION: ClassVar[int] = 1

    order_no: int
    institution_code: str
    repair: str
    """domain.repairs.Repair."""
    visit_no: str
    charge_batch_no: int
    words: str
    answer: ClaimAnswer | None = None
    """Of the settlement whose answer was lost, or of the contra settlement the centre has written."""
    contra_of: int = 0
    """The charge batch the contra settlement takes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairDone:
    """A front-end did its part of a repair, or says why it could not."""

    KIND: ClassVar[str] = "repair.done"
    VERSION: ClassVar[int] = 1

    order_no: int
    done: bool
    words: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingsAsked:
    """A front-end asks for the clearings of its institutions that are not as it was told."""

    KIND: ClassVar[str] = "clearings.asked"
    VERSION: ClassVar[int] = 1

    since: str
    """The first month it asks for, as 2026-03."""
    held: tuple[MonthHeld, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingsTold:
    """The centre tells all periods an institution has in these months."""

    KIND: ClassVar[str] = "clearings.told"
    VERSION: ClassVar[int] = 1

    institution_code: str
    months: tuple[str, ...]
    """Whole: a period that is not among `clearings` is not there any more."""
    clearings: tuple[ToldClearing, ...] = ()
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingDecided:
    """An institution confirms a clearing, or objects to it. Sent until it is heard; the same once more is one."""

    KIND: ClassVar[str] = "clearing.decided"
    VERSION: ClassVar[int] = 1

    institution_code: str
    period_no: int
    clearing_no: int
    """Whose figures were looked at."""
    decision: str
    """domain.clearings.Decision."""
    by: str
    """Who at the institution."""
    reason: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingHeard:
    """What became of an institution's decision."""

    KIND: ClassVar[str] = "clearing.heard"
    VERSION: ClassVar[int] = 1

    institution_code: str
    period_no: int
    clearing_no: int
    decision: str
    decided_at: datetime
    code: str
    """domain.clearings.Refused; empty: it was taken."""
    words: str
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsAsked:
    """A front-end says which terms it holds, and what it could settle with; the centre sends others if it has them."""

    KIND: ClassVar[str] = "terms.asked"
    VERSION: ClassVar[int] = 1

    digest: bytes
    """domain.terms.digest_of the terms it holds."""
    catalogue_version: str = ""
    """The catalogue in force there; empty: none."""
    policy_versions: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()
    """The institutions whose matches its catalogue holds."""
    short_codes: tuple[tuple[str, str], ...] = ()
    """(institution, first six characters of its visit numbers): a centre that does not know them learns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsSent:
    """The centre tells a front-end whom it serves, and on which terms: all of them; who is not named is not served."""

    KIND: ClassVar[str] = "terms.sent"
    VERSION: ClassVar[int] = 1

    terms: tuple[InstitutionTerms, ...]
    version: int
    """No list with a lower one is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverAsked:
    """The centre asks the front-end an institution moves away from for the next bundle of what travels."""

    KIND: ClassVar[str] = "handover.asked"
    VERSION: ClassVar[int] = 1

    move_no: int
    institution_code: str
    target: str
    bundle_no: int
    """The bundle wanted, from 1."""
    joins: bool = False
    """The source stays: only what the target needs to begin travels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A bundle of what travels in a move: from the source to the centre, and from there to the target."""

    KIND: ClassVar[str] = "handed.over"
    VERSION: ClassVar[int] = 1

    move_no: int
    institution_code: str
    bundle_no: int
    content: bytes
    """workers.moving.bundles: rows by table. The centre keeps it sealed until the target has it."""
    visits: tuple[str, ...] = ()
    """The visits in it: from now on they are live at the target."""
    accepted: tuple[ClaimKey, ...] = ()
    """What the source has accepted and not settled: it may still send these."""
    whole: bool = False
    """With this bundle and those before it the target can open."""
    claims: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverReported:
    """The source of a move has no further bundle at present, and says what it still holds open."""

    KIND: ClassVar[str] = "handover.reported"
    VERSION: ClassVar[int] = 1

    move_no: int
    institution_code: str
    bundle_no: int
    """The bundle it was asked for."""
    open_claims: int
    results_waiting: int
    details_due: int
    visits_behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleKept:
    """The target of a move has a bundle, and all before it."""

    KIND: ClassVar[str] = "bundle.kept"
    VERSION: ClassVar[int] = 1

    move_no: int
    institution_code: str
    bundle_no: int


Message = (
    TotalsSubmitted
    | ClaimsAnswered
    | LinesSubmitted
    | PersonAsked
    | PersonAnswered
    | RefundAsked
    | RefundAnswered
    | SettlementCorrected
    | CorrectionHeard
    | PrepareAsked
    | OutcomeDecided
    | OutcomeAsked
    | OutcomeTold
    | UploadGranted
    | DetailUploaded
    | DetailReceived
    | BooksAsked
    | BooksReported
    | BooksSubmitted
    | BooksCompared
    | RepairOrdered
    | RepairDone
    | DocumentsAsked
    | DocumentsResent
    | DetailsAsked
    | DetailsMarked
    | ReferenceAsked
    | ReferenceSent
    | TermsAsked
    | TermsSent
    | HandOverAsked
    | HandedOver
    | HandOverReported
    | BundleKept
    | ClearingsAsked
    | ClearingsTold
    | ClearingDecided
    | ClearingHeard
)
