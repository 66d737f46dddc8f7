"""The documents of reconciliation: totals and lines in, the comparison and its differences out."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, NotRequired

from pydantic import Field, StringConstraints, TypeAdapter, with_config
from typing_extensions import TypedDict

from domain import money
from domain.day_books import Result
from domain.messages import ComparedTotals, FoundDifference, InstitutionLine, ScopeTotals
from domain.reconciliation import Class
from domain.repairs import CLASS_WORDS, REPAIR_WORDS, Repair
from producers.api.wire import moment
from producers.values import STRICT, Amount
from workers.reconciling.books import DayBook
from workers.reconciling.orders import Notice

MOST_LINES = 5000
RESULT_WORDS = {
    Result.EVEN: "平",
    Result.CENTER_MORE: "中心多",
    Result.INSTITUTION_MORE: "机构多",
    Result.DIFFERENT: "不一致",
}

Scheme = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_]{0,16}$"),
    Field(description="险种, as the centre names it; left out: all of them", examples=["employee"]),
]
ClearingTypeIn = Annotated[
    Literal["", "11", "21", "41"],
    Field(description="清算类别 clr_type: 11 门诊, 21 住院, 41 药店购药; left out: all of them", examples=["11"]),
]
Count = Annotated[int, Field(ge=0, le=9_999_999, description="笔数; a refund is a document of its own")]
SettlementNo = Annotated[int, Field(ge=0, le=10**18 - 1, description="结算单号; 0 or left out: no result came")]
VisitNoIn = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,16}$"), Field(description="就医登记号 JYDJH")]


@with_config(STRICT)
class TotalIn(TypedDict):
    """What the institution has of one scheme and clearing type on the day (3201)."""

    scheme: NotRequired[Scheme]
    clearing_type: NotRequired[ClearingTypeIn]
    with_refunds: NotRequired[
        Annotated[bool, Field(description="false: neither refunds count nor what they take back; true when left out")]
    ]
    documents: Count
    total_amount: Amount
    fund_pay_amount: Amount
    account_pay_amount: Amount
    cash_amount: NotRequired[Annotated[Amount | None, Field(description="left out: not compared")]]


@with_config(STRICT)
class DayTotalsIn(TypedDict):
    """The totals of a day."""

    day: Annotated[date, Field(description="结算日期, as the centre's results have it")]
    totals: Annotated[list[TotalIn], Field(min_length=1, max_length=100)]


@with_config(STRICT)
class BookLineIn(TypedDict):
    """One document in the institution's book (3202)."""

    visit_no: VisitNoIn
    settlement_no: NotRequired[SettlementNo]
    refund: NotRequired[Annotated[bool, Field(description="退费结算标志: a contra settlement, with negative amounts")]]
    total_amount: Amount
    fund_pay_amount: Amount
    account_pay_amount: Amount
    cash_amount: NotRequired[Annotated[Amount | None, Field(description="left out: not compared")]]
    charge_batch_no: NotRequired[Annotated[int, Field(ge=0, le=9999, description="费用批次 FYPC; 0: not said")]]
    scheme: NotRequired[Scheme]
    clearing_type: NotRequired[ClearingTypeIn]
    refund_of: NotRequired[Annotated[SettlementNo, Field(description="of a refund: what it takes back")]]


@with_config(STRICT)
class DayLinesIn(TypedDict):
    """The lines of a day, all of them; more than so many come as a file."""

    day: Annotated[date, Field(description="结算日期, as the centre's results have it")]
    lines: Annotated[list[BookLineIn], Field(max_length=MOST_LINES)]


class FiguresOut(TypedDict):
    """The numbers of one side."""

    documents: int
    total_amount: Amount
    fund_pay_amount: Amount
    account_pay_amount: Amount
    cash_amount: Amount


class ComparedOut(TypedDict):
    """One total beside the centre's."""

    scheme: str
    clearing_type: str
    with_refunds: bool
    result: Annotated[str, Field(description="stmt_rslt: 0 平, 1 中心多, 2 机构多, 3 不一致")]
    institution: FiguresOut
    center: FiguresOut


class DifferenceOut(TypedDict):
    """One difference of the lines."""

    difference_no: int
    kind: Annotated[str, Field(description="domain.reconciliation.Class", examples=["lost-answer"])]
    title: Annotated[str, Field(examples=["结算结果丢失"])]
    visit_no: str
    charge_batch_no: int
    settlement_no: int
    refund: bool
    state: Annotated[str, Field(description="open, proposed, ordered, repaired, explained")]
    words: str
    repair: Annotated[str, Field(examples=["resend-answer"])]
    repair_words: str
    effect: str
    institution: FiguresOut
    center: FiguresOut


class NoticeOut(TypedDict):
    """What the centre had done about a difference."""

    order_no: int
    repair: str
    visit_no: str
    charge_batch_no: int
    words: str
    done: bool
    outcome: str
    done_at: str


class BookOut(TypedDict):
    """How a day stands."""

    day: str
    submission_no: int
    state: Annotated[Literal["submitted", "compared"], Field(description="compared: the centre's answer is here")]
    lines: Annotated[int | None, Field(description="null: totals only")]
    handed_in_at: str
    compared_at: str | None
    result: Annotated[str, Field(description="stmt_rslt of the whole day; empty while it is not compared")]
    result_words: str
    lines_wanted: Annotated[bool, Field(description="totals differ, and no lines were handed in that could say why")]
    totals: list[ComparedOut]
    differences: list[DifferenceOut]


class NoticesOut(TypedDict):
    """What was done about an institution's differences, newest first."""

    notices: list[NoticeOut]


TOTALS_IN: TypeAdapter[DayTotalsIn] = TypeAdapter(DayTotalsIn)
BOOK_IN: TypeAdapter[DayLinesIn] = TypeAdapter(DayLinesIn)


def totals_of(given: DayTotalsIn) -> list[ScopeTotals]:
    """The totals as they travel."""
    return [
        ScopeTotals(
            row.get("scheme", ""),
            row.get("clearing_type", ""),
            row.get("with_refunds", True),
            row["documents"],
            money.fen(row["total_amount"]),
            money.fen(row["fund_pay_amount"]),
            money.fen(row["account_pay_amount"]),
            _fen(row.get("cash_amount")),
        )
        for row in given["totals"]
    ]


def lines_of(given: DayLinesIn) -> list[InstitutionLine]:
    """The lines as they travel."""
    return [
        InstitutionLine(
            number,
            row["visit_no"],
            row.get("settlement_no", 0),
            row.get("refund", False),
            money.fen(row["total_amount"]),
            money.fen(row["fund_pay_amount"]),
            money.fen(row["account_pay_amount"]),
            row.get("charge_batch_no", 0),
            row.get("scheme", ""),
            row.get("clearing_type", ""),
            _fen(row.get("cash_amount")),
            None,
            row.get("refund_of", 0),
        )
        for number, row in enumerate(given["lines"], 1)
    ]


def book_seen(book: DayBook) -> BookOut:
    """A day as it stands."""
    first = book.compared[0] if book.compared else None
    return {
        "day": book.day.isoformat(),
        "submission_no": book.submission_no,
        "state": "submitted" if first is None else "compared",
        "lines": book.line_count,
        "handed_in_at": moment(book.handed_in_at),
        "compared_at": None if first is None else moment(first.compared_at),
        "result": "" if first is None else first.result,
        "result_words": "" if first is None else RESULT_WORDS[Result(first.result)],
        "lines_wanted": first is not None and first.lines_wanted,
        "totals": [_compared_seen(row) for part in book.compared for row in part.totals],
        "differences": [_difference_seen(row) for part in book.compared for row in part.differences],
    }


def notice_seen(notice: Notice) -> NoticeOut:
    """What was done about a difference."""
    return {
        "order_no": notice.order_no,
        "repair": notice.repair,
        "visit_no": notice.visit_no,
        "charge_batch_no": notice.charge_batch_no,
        "words": notice.words,
        "done": notice.done,
        "outcome": notice.outcome,
        "done_at": moment(notice.done_at),
    }


def _compared_seen(row: ComparedTotals) -> ComparedOut:
    return {
        "scheme": row.scheme,
        "clearing_type": row.clearing_type,
        "with_refunds": row.with_refunds,
        "result": row.result,
        "institution": _figures(row.institution),
        "center": _figures(row.center),
    }


def _difference_seen(row: FoundDifference) -> DifferenceOut:
    return {
        "difference_no": row.difference_no,
        "kind": row.kind,
        "title": CLASS_WORDS[Class(row.kind)],
        "visit_no": row.visit_no,
        "charge_batch_no": row.charge_batch_no,
        "settlement_no": row.settlement_no,
        "refund": row.contra,
        "state": row.state,
        "words": row.words,
        "repair": row.repair,
        "repair_words": REPAIR_WORDS[Repair(row.repair)],
        "effect": row.effect,
        "institution": _figures(row.institution),
        "center": _figures(row.center),
    }


def _figures(figures: tuple[int, ...]) -> FiguresOut:
    documents, total, fund, account, cash = figures
    return {
        "documents": documents,
        "total_amount": money.yuan(total),
        "fund_pay_amount": money.yuan(fund),
        "account_pay_amount": money.yuan(account),
        "cash_amount": money.yuan(cash),
    }


def _fen(amount: str | None) -> int | None:
    return None if amount is None else money.fen(amount)
