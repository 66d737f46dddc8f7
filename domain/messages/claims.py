"""A claim that asks to be settled, as totals or with all its lines, and what the centre answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, NamedTuple

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


class ClaimKey(NamedTuple):
    """A claim by its own key."""

    institution_code: str
    visit_no: str
    charge_batch_no: int


class Resubmitted(NamedTuple):
    """Which submission of a claim a refusal answers, where it is not the first."""

    visit_no: str
    charge_batch_no: int
    submission: int


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
