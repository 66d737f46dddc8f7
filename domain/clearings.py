"""Clearings as an institution is told of them: where each period stands, what it comes to; and what it says of them.

The front-end keeps what it was told. It asks for news with a digest of each month it holds; the centre tells the months
whose digest is another one, whole, so that whatever either side forgot comes right by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple


class Decision(StrEnum):
    """What an institution says of a clearing."""

    CONFIRM = "confirm"
    OBJECT = "object"


class Refused(StrEnum):
    """Why a decision was not taken; empty where it was."""

    NO = ""
    UNKNOWN = "clearing-unknown"
    """The institution has no such period."""
    OPEN = "clearing-open"
    """Not closed yet, or taken back and open again."""
    ANOTHER = "clearing-another"
    """It was taken back and closed anew: the figures that were looked at are not those that stand."""
    CONFIRMED = "clearing-confirmed"
    """Objected to after it was confirmed or paid."""
    OVERTAKEN = "clearing-overtaken"
    """A later objection came first."""


REFUSED_WORDS = {
    Refused.UNKNOWN: "中心没有本机构的这个清算期",
    Refused.OPEN: "该清算期现未关账，不能确认或提出异议，请待重新关账后按新的清算单办理",
    Refused.ANOTHER: "该清算期已重新关账，清算编号与所看的不同，请重新核对清算单后再办理",
    Refused.CONFIRMED: "该清算期已确认，不能再提出异议；有错请与中心联系，在以后的清算期更正",
    Refused.OVERTAKEN: "之后提出的异议已先到达中心，以后提出的为准",
}

MOST_REASON = 400
MOST_BY = 20


class ClearingHead(NamedTuple):
    """Where a period stands."""

    period_no: int
    scheme: str
    clearing_type: str
    name: str
    """The month it ends in, 清算年月."""
    first_day: date
    last_day: date
    closes_on: date
    state: str
    """domain.clearing.PeriodState."""
    clearing_no: int
    """The clearing that stands; 0: none."""
    closed_at: datetime | None
    objection: str
    objected_at: datetime | None
    confirmed_at: datetime | None
    confirmed_by: str
    payment_no: int
    paid_at: datetime | None


class ClearingSums(NamedTuple):
    """What a clearing comes to, in fen (`center.clearing.figures`)."""

    documents: int
    contra_documents: int
    persons: int
    total_fen: int
    fund_fen: int
    account_fen: int
    withheld_fen: int
    deducted_fen: int
    released_fen: int
    carried_in_fen: int
    due_fen: int


class ClearedFund(NamedTuple):
    """What one fund pays of a clearing, in fen."""

    layer: str
    fund_fen: int
    withheld_fen: int
    deducted_fen: int
    released_fen: int


class ClearedDay(NamedTuple):
    """What a day brought into a clearing, in fen."""

    day: date
    documents: int
    contra_documents: int
    total_fen: int
    fund_fen: int
    account_fen: int


class ToldClearing(NamedTuple):
    """A period as the institution is told of it; without sums while nothing of it is closed."""

    head: ClearingHead
    sums: ClearingSums | None = None
    funds: tuple[ClearedFund, ...] = ()
    days: tuple[ClearedDay, ...] = ()


class MonthHeld(NamedTuple):
    """What a front-end was told of an institution's month: the digest of it."""

    institution_code: str
    name: str
    digest: bytes


def digest(heads: Iterable[ClearingHead]) -> bytes:
    """What the heads of a month come to, in whatever order: the same where nothing has moved.

    Sums, funds and days hang on the number of the clearing, which is written once.
    """
    moved = sorted(
        (
            head.period_no,
            head.last_day.isoformat(),
            head.closes_on.isoformat(),
            head.state,
            head.clearing_no,
            head.objection,
            head.confirmed_by,
            head.payment_no,
        )
        for head in heads
    )
    return blake2b(repr(moved).encode(), digest_size=8).digest()
