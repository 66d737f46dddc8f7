"""The documents of clearing: how a period stands and what it comes to, out; what the institution says of it, in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, TypeAdapter, with_config
from typing_extensions import TypedDict

from domain.clearing import SCHEMES, STATE_WORDS, WORDS, ClearingType, PeriodState
from domain.clearings import MOST_BY, MOST_REASON, ClearedDay, ClearedFund, ClearingHead, ClearingSums
from domain.money import yuan
from domain.projection import fund_type
from domain.settlement import FUND_PREFIX
from producers.api.wire import moment
from producers.values import STRICT, Amount
from workers.clearings.held import Held
from workers.clearings.saying import Said

_NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"

ClearingNo = Annotated[
    int, Field(ge=1, le=10**18 - 1, description="清算编号 of the figures that were looked at", examples=[1047230])
]
By = Annotated[
    str,
    StringConstraints(pattern=_NO_CONTROLS, min_length=1, max_length=MOST_BY, strip_whitespace=True),
    Field(description="who at the institution says so", examples=["医保办 王敏"]),
]
Reason = Annotated[
    str,
    StringConstraints(pattern=_NO_CONTROLS, min_length=1, max_length=MOST_REASON, strip_whitespace=True),
    Field(description="what is wrong with it", examples=["3 月 17 日少一笔住院"]),
]


@with_config(STRICT)
class ConfirmationIn(TypedDict):
    """The institution agrees with the clearing (确认无异议)."""

    clearing_no: ClearingNo
    by: By


@with_config(STRICT)
class ObjectionIn(TypedDict):
    """The institution does not agree with it (提出异议)."""

    clearing_no: ClearingNo
    by: By
    reason: Reason


class SaidOut(TypedDict):
    """What the institution said last of the period."""

    decision: Annotated[str, Field(description="confirm, object")]
    state: Annotated[str, Field(description="sent: the centre's answer is awaited; taken; refused")]
    clearing_no: int
    by: str
    reason: str
    decided_at: str
    heard_at: str | None
    code: Annotated[str, Field(description="why it was refused; empty otherwise", examples=["clearing-another"])]
    words: str


class FiguresOfClearing(TypedDict):
    """What a clearing comes to."""

    documents: int
    contra_documents: int
    persons: int
    total_amount: Amount
    fund_pay_amount: Amount
    account_pay_amount: Amount
    withheld_amount: Annotated[Amount, Field(description="减：预留金")]
    deducted_amount: Annotated[Amount, Field(description="减：审核扣款")]
    released_amount: Annotated[Amount, Field(description="加：返还预留金")]
    carried_in_amount: Annotated[Amount, Field(description="加：上期结转")]
    due_amount: Annotated[Amount, Field(description="应付金额; negative: carried into the next period")]


class FundOfClearing(TypedDict):
    """What one fund pays of it."""

    fund: Annotated[str, Field(examples=["basic"])]
    code: Annotated[str, Field(description="基金支付类型 fund_pay_type", examples=["310100"])]
    name: str
    fund_pay_amount: Amount
    withheld_amount: Amount
    deducted_amount: Amount
    released_amount: Amount


class DayOfClearing(TypedDict):
    """What one day brought into it."""

    day: str
    documents: int
    contra_documents: int
    total_amount: Amount
    fund_pay_amount: Amount
    account_pay_amount: Amount


class ClearingOut(TypedDict):
    """A period as the centre told it last, and what the institution said of it."""

    period_no: int
    month: Annotated[str, Field(description="清算年月 clr_ym", examples=["2026-03"])]
    scheme: str
    insutype: str
    clearing_type: Annotated[str, Field(description="清算类别 clr_type")]
    clearing_type_name: str
    first_day: str
    last_day: str
    closes_on: str
    state: Annotated[str, Field(description="open, closed, confirmed, paid")]
    state_words: str
    clearing_no: int | None
    closed_at: str | None
    objection: str
    objected_at: str | None
    confirmed_at: str | None
    confirmed_by: str
    paid_at: str | None
    payment_no: int | None
    told_at: Annotated[str, Field(description="when the centre told it; it is asked every few minutes")]
    figures: FiguresOfClearing | None
    said: SaidOut | None


class ClearingDetailOut(ClearingOut):
    """The same with funds and days."""

    funds: list[FundOfClearing]
    days: list[DayOfClearing]


class ClearingsOut(TypedDict):
    """An institution's periods, newest first."""

    clearings: list[ClearingOut]


CONFIRMATION_IN: TypeAdapter[ConfirmationIn] = TypeAdapter(ConfirmationIn)
OBJECTION_IN: TypeAdapter[ObjectionIn] = TypeAdapter(ObjectionIn)


def seen(held: Held, said: Said | None) -> ClearingOut:
    """A period as it stands."""
    head, sums = held.clearing.head, held.clearing.sums
    return {
        **_period(head),
        "told_at": moment(held.told_at),
        "figures": None if sums is None else _figures(sums),
        "said": None if said is None else _said(said),
    }


def seen_wholly(held: Held, said: Said | None) -> ClearingDetailOut:
    """The same with funds and days."""
    scheme = held.clearing.head.scheme
    return {
        **seen(held, said),
        "funds": [_fund(scheme, fund) for fund in held.clearing.funds],
        "days": [_day(day) for day in held.clearing.days],
    }


class _Period(TypedDict):
    period_no: int
    month: str
    scheme: str
    insutype: str
    clearing_type: str
    clearing_type_name: str
    first_day: str
    last_day: str
    closes_on: str
    state: str
    state_words: str
    clearing_no: int | None
    closed_at: str | None
    objection: str
    objected_at: str | None
    confirmed_at: str | None
    confirmed_by: str
    paid_at: str | None
    payment_no: int | None


def _period(head: ClearingHead) -> _Period:
    known_type = head.clearing_type in set(ClearingType)
    known_state = head.state in set(PeriodState)
    return {
        "period_no": head.period_no,
        "month": head.name,
        "scheme": head.scheme,
        "insutype": SCHEMES.get(head.scheme, ("", ""))[0],
        "clearing_type": head.clearing_type,
        "clearing_type_name": WORDS[ClearingType(head.clearing_type)] if known_type else "",
        "first_day": head.first_day.isoformat(),
        "last_day": head.last_day.isoformat(),
        "closes_on": head.closes_on.isoformat(),
        "state": head.state,
        "state_words": STATE_WORDS[PeriodState(head.state)] if known_state else "",
        "clearing_no": head.clearing_no or None,
        "closed_at": None if head.closed_at is None else moment(head.closed_at),
        "objection": head.objection,
        "objected_at": None if head.objected_at is None else moment(head.objected_at),
        "confirmed_at": None if head.confirmed_at is None else moment(head.confirmed_at),
        "confirmed_by": head.confirmed_by,
        "paid_at": None if head.paid_at is None else moment(head.paid_at),
        "payment_no": head.payment_no or None,
    }


def _figures(sums: ClearingSums) -> FiguresOfClearing:
    return {
        "documents": sums.documents,
        "contra_documents": sums.contra_documents,
        "persons": sums.persons,
        "total_amount": yuan(sums.total_fen),
        "fund_pay_amount": yuan(sums.fund_fen),
        "account_pay_amount": yuan(sums.account_fen),
        "withheld_amount": yuan(sums.withheld_fen),
        "deducted_amount": yuan(sums.deducted_fen),
        "released_amount": yuan(sums.released_fen),
        "carried_in_amount": yuan(sums.carried_in_fen),
        "due_amount": yuan(sums.due_fen),
    }


def _fund(scheme: str, fund: ClearedFund) -> FundOfClearing:
    named = fund_type(FUND_PREFIX + fund.layer, scheme)
    return {
        "fund": fund.layer,
        "code": named.code,
        "name": named.name,
        "fund_pay_amount": yuan(fund.fund_fen),
        "withheld_amount": yuan(fund.withheld_fen),
        "deducted_amount": yuan(fund.deducted_fen),
        "released_amount": yuan(fund.released_fen),
    }


def _day(day: ClearedDay) -> DayOfClearing:
    return {
        "day": day.day.isoformat(),
        "documents": day.documents,
        "contra_documents": day.contra_documents,
        "total_amount": yuan(day.total_fen),
        "fund_pay_amount": yuan(day.fund_fen),
        "account_pay_amount": yuan(day.account_fen),
    }


def _said(said: Said) -> SaidOut:
    return {
        "decision": said.decision,
        "state": said.state,
        "clearing_no": said.clearing_no,
        "by": said.said_by,
        "reason": said.reason,
        "decided_at": moment(said.decided_at),
        "heard_at": None if said.heard_at is None else moment(said.heard_at),
        "code": said.code,
        "words": said.words,
    }
