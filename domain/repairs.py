"""What is to be done about a difference, what that would do to both books, and the words for it.

A repair is a document or an order, never a change of what is written: the centre writes contras and notes, the
institution is told what to write itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from domain.clearing import WORDS as CLEARING_WORDS
from domain.clearing import ClearingType
from domain.day_books import Entry, Figures
from domain.money import yuan
from domain.reconciliation import Class, Difference


class Repair(StrEnum):
    """What is proposed for a difference."""

    RESEND_ANSWER = "resend-answer"
    CONTRA = "contra"
    QUERY_THEN_CONTRA = "query-then-contra"
    SEND_CONTRA = "send-contra"
    REVERSE_AT_INSTITUTION = "reverse-at-institution"
    RESUBMIT = "resubmit"
    UPLOAD_AGAIN = "upload-again"
    NOTE = "note"
    COMPARE = "compare"
    NOTHING = "nothing"


CLASS_WORDS = {
    Class.LOST_ANSWER: "结算结果丢失",
    Class.SUBMITTED_TWICE: "重复结算",
    Class.ONE_SIDED_REFUND: "单边退费",
    Class.AMOUNT: "金额不符",
    Class.WRONG_CLEARING_TYPE: "清算类别不符",
    Class.DAY_BOUNDARY: "跨日",
    Class.CENTER_ONLY: "中心多",
    Class.INSTITUTION_ONLY: "机构多",
    Class.DETAIL_MISMATCH: "明细不符",
}

REPAIR_WORDS = {
    Repair.RESEND_ANSWER: "重发中心已存的结算结果，机构据此补记",
    Repair.CONTRA: "中心对多出的一笔开反向结算",
    Repair.QUERY_THEN_CONTRA: "向机构查询；确认机构无此笔后，中心开反向结算",
    Repair.SEND_CONTRA: "将中心的反向结算结果发给机构，机构据此记退费",
    Repair.REVERSE_AT_INSTITUTION: "通知机构冲销其多记的一笔，中心不动",
    Repair.RESUBMIT: "前置机以原就医登记号和费用批次重新提交",
    Repair.UPLOAD_AGAIN: "前置机按结算时的明细重新上传",
    Repair.NOTE: "不涉及资金，记入说明凭证",
    Repair.COMPARE: "逐项核对两边账目，由经办人判定",
    Repair.NOTHING: "账上已自行冲平，无须处理",
}


class Effect(NamedTuple):
    """What a repair adds to either book, as far as it can be known before."""

    institution: Figures = Figures()
    center: Figures = Figures()


class Proposed(NamedTuple):
    """A repair and what it would do."""

    repair: Repair
    effect: Effect


class _Gains(StrEnum):
    """Whose book a repair adds to."""

    CENTER = "center"
    INSTITUTION = "institution"
    NOBODY = "nobody"


_REPAIRS = {
    Class.LOST_ANSWER: (Repair.RESEND_ANSWER, _Gains.INSTITUTION),
    Class.SUBMITTED_TWICE: (Repair.REVERSE_AT_INSTITUTION, _Gains.INSTITUTION),
    Class.ONE_SIDED_REFUND: (Repair.CONTRA, _Gains.CENTER),
    Class.CENTER_ONLY: (Repair.QUERY_THEN_CONTRA, _Gains.CENTER),
    Class.INSTITUTION_ONLY: (Repair.RESUBMIT, _Gains.CENTER),
    Class.DETAIL_MISMATCH: (Repair.UPLOAD_AGAIN, _Gains.NOBODY),
    Class.WRONG_CLEARING_TYPE: (Repair.NOTE, _Gains.NOBODY),
    Class.DAY_BOUNDARY: (Repair.NOTE, _Gains.NOBODY),
    Class.AMOUNT: (Repair.COMPARE, _Gains.NOBODY),
}
_REPAIRS_OF_THE_CENTERS = _REPAIRS | {
    Class.SUBMITTED_TWICE: (Repair.CONTRA, _Gains.CENTER),
    Class.ONE_SIDED_REFUND: (Repair.SEND_CONTRA, _Gains.INSTITUTION),
}
"""Where only the centre has the entry."""


def proposed(difference: Difference) -> Proposed:
    """The repair of a difference. After it the money of both books is the same, unless it is a note or a comparison."""
    if not difference.is_open:
        return Proposed(Repair.NOTHING, Effect())
    repair, gains = (_REPAIRS if difference.institution else _REPAIRS_OF_THE_CENTERS)[difference.kind]
    whole = _whole(difference)
    added = abs(whole.documents)
    match gains:
        case _Gains.CENTER:
            effect = Effect(center=whole._replace(documents=added))
        case _Gains.INSTITUTION:
            effect = Effect(institution=_negated(whole)._replace(documents=added))
        case _Gains.NOBODY:
            effect = Effect()
    return Proposed(repair, effect)


def chosen(repair: Repair, theirs: Figures, ours: Figures) -> Effect:
    """What a repair would do that a person chose after comparing two amounts of one entry.

    A contra takes it out of both books, to be settled anew; a note moves nothing.
    """
    match repair:
        case Repair.CONTRA:
            return Effect(institution=_taken_out(theirs), center=_taken_out(ours))
        case Repair.REVERSE_AT_INSTITUTION:
            return Effect(institution=_taken_out(theirs))
        case Repair.RESEND_ANSWER:
            return Effect(institution=ours.minus(theirs))
        case _:
            return Effect()


def in_words(difference: Difference) -> str:
    """What differs, with both figures, in one sentence."""
    theirs, ours = difference.institution, difference.center
    if not difference.is_open:
        side, of = _sided(theirs, ours)
        return f"{side}账上 {yuan(of[0].total_fen)} 元已由反向结算 {of[-1].settlement_no} 冲平，另一方没有这两笔"
    return _WORDS[difference.kind](theirs, ours)


def _lost_answer(theirs: Entries, ours: Entries) -> str:
    number, total = ours[0].settlement_no, yuan(ours[0].total_fen)
    if not theirs:
        return f"中心已结算 {total} 元（单号 {number}），机构未收到结果"
    return f"机构有此笔 {yuan(theirs[0].total_fen)} 元，但没有中心单号 {number} 的结果（中心 {total} 元）"


def _submitted_twice(theirs: Entries, ours: Entries) -> str:
    side, of = _sided(theirs, ours)
    return f"{side}对同一笔费用记了两次，多记 {yuan(of[0].total_fen)} 元"


def _one_sided_refund(theirs: Entries, ours: Entries) -> str:
    has, lacks = ("中心", "机构") if ours else ("机构", "中心")
    return f"{has}已退费 {yuan(abs((ours or theirs)[0].total_fen))} 元，{lacks}没有退费"


def _day_boundary(theirs: Entries, ours: Entries) -> str:
    return f"同一笔 {yuan(ours[0].total_fen)} 元：机构记在 {theirs[0].day}，中心记在 {ours[0].day}"


Entries = tuple[Entry, ...]

_WORDS: dict[Class, Callable[[Entries, Entries], str]] = {
    Class.LOST_ANSWER: _lost_answer,
    Class.SUBMITTED_TWICE: _submitted_twice,
    Class.ONE_SIDED_REFUND: _one_sided_refund,
    Class.DAY_BOUNDARY: _day_boundary,
    Class.AMOUNT: lambda theirs, ours: "；".join(_amounts(theirs[0], ours[0])),
    Class.WRONG_CLEARING_TYPE: lambda theirs, ours: (
        f"清算类别不符：机构 {_type(theirs[0])}，中心 {_type(ours[0])}，金额相同"
    ),
    Class.CENTER_ONLY: lambda _, ours: f"中心已结算 {yuan(ours[0].total_fen)} 元，机构账上没有，前置机也没有",
    Class.INSTITUTION_ONLY: lambda theirs, _: f"机构账上已结算 {yuan(theirs[0].total_fen)} 元，中心没有",
    Class.DETAIL_MISMATCH: lambda _, ours: ours[0].wrong_detail,
}


def _sided(theirs: Entries, ours: Entries) -> tuple[str, Entries]:
    return ("中心", ours) if ours else ("机构", theirs)


def effect_in_words(effect: Effect) -> str:
    """What a repair would do to both books, in Chinese."""
    return f"机构账 {_moved(effect.institution)}；中心账 {_moved(effect.center)}"


AMOUNTS = (
    ("总金额", "total_fen"),
    ("统筹支付", "fund_pay_fen"),
    ("账户支付", "account_pay_fen"),
    ("现金支付", "cash_fen"),
)


def _amounts(theirs: Entry, ours: Entry) -> list[str]:
    """Every amount that differs, from both books."""
    return [
        f"{what}不符：机构 {yuan(getattr(theirs, name))} 元，中心 {yuan(getattr(ours, name))} 元"
        for what, name in AMOUNTS
        if getattr(theirs, name) != getattr(ours, name)
    ]


def _type(entry: Entry) -> str:
    known = set(ClearingType)
    kind = CLEARING_WORDS[ClearingType(entry.clearing_type)] if entry.clearing_type in known else "未填"
    return f"{entry.scheme or '未填'} {entry.clearing_type}（{kind}）"


def _moved(figures: Figures) -> str:
    if not any(figures):
        return "不变"
    parts = [
        f"{what} {'+' if getattr(figures, name) > 0 else ''}{yuan(getattr(figures, name))} 元"
        for what, name in AMOUNTS
        if getattr(figures, name)
    ]
    added = f"增加 {figures.documents} 笔" if figures.documents else "改记一笔"
    return added + "".join(f"，{part}" for part in parts)


def _whole(difference: Difference) -> Figures:
    """Institution minus centre, on whatever day either has it."""
    sums = [Figures(), Figures()]
    for side, entries in enumerate((difference.institution, difference.center)):
        for entry in entries:
            sums[side] = sums[side].plus(entry.figures())
    return sums[0].minus(sums[1])


def _taken_out(figures: Figures) -> Figures:
    """One more document, with the other sign."""
    return _negated(figures)._replace(documents=abs(figures.documents))


def _negated(figures: Figures) -> Figures:
    return Figures().minus(figures)
