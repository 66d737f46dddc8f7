"""The books of a day: a front-end's against the centre's, and an institution's own against both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, NamedTuple

from domain.messages.claims import ClaimAnswer


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
