"""What a claim must be by itself, before anybody is looked up: storable, and the sums of some lines."""

from __future__ import annotations

from typing import NamedTuple

from domain.messages import ClaimTotals, FailedLine
from domain.money import MAX_FEN, yuan
from domain.refusals import Refusal, sentence
from domain.totals import DIGEST_BYTES
from domain.visit import VisitType

MAX_INTEGER = 2**31 - 1
LONGEST_CONDITION = 64
MOST_CONDITIONS = 64
MOST_GROUPS = 256

_VISIT_TYPES = frozenset(kind.value for kind in VisitType)
_CHECKED = (
    "医院编号", "就医登记号", "公民身份号码", "就诊类别", "费用批次", "明细笔数", "明细摘要", "金额",
    "就诊情形", "起止日期",
)  # fmt: skip


Failed = tuple[FailedLine, ...]
"""The lines of a claim that failed their checks."""


class Refused(NamedTuple):
    """A claim the centre does not settle: the code, and the sentence a cashier reads."""

    refusal: Refusal
    detail: str
    stored: int | None = None
    """Told again: the number of the submission it was the answer to. None where it is decided now."""
    failed: Failed = ()
    """Of a claim that came with its lines: those that failed their checks."""


def refuse(refusal: Refusal, sent: str = "", held: str = "") -> Refused:
    """The refusal with what was sent and what is held, where its sentence has room for them."""
    return Refused(refusal, sentence(refusal, sent, held))


def malformed(claim: ClaimTotals) -> str:
    """What of the claim cannot be stored or looked up, in Chinese; empty when nothing is wrong."""
    amounts = claim[6:11]
    fits = (
        is_code(claim.institution_code, 18),
        is_code(claim.visit_no, 16),
        is_code(claim.citizen_id_no, 18),
        claim.visit_type in _VISIT_TYPES,
        0 <= claim.charge_batch_no <= MAX_INTEGER and 0 <= claim.submission <= MAX_INTEGER,
        0 <= claim.line_count <= MAX_INTEGER,
        len(claim.digest) == DIGEST_BYTES,
        min(amounts) >= -MAX_FEN and max(amounts) <= MAX_FEN,
        (not claim.conditions and not claim.groups) or _are_storable(claim),
        claim.covers_to is None or claim.covers_to >= (claim.visit_started or claim.visit_date),
    )
    return "" if all(fits) else "、".join(what for what, good in zip(_CHECKED, fits, strict=True) if not good)


def unequal(claim: ClaimTotals) -> Refused | None:
    """Totals that are not those of any lines: parts that are not the whole, amounts below zero, no lines at all.

    A part may be the odd fen below zero: reversals within a claim are rounded line by line, each by less than a fen.
    """
    least = min(claim[7:11])
    parts = claim.own_expense_fen + claim.over_limit_fen + claim.pre_self_pay_fen + claim.in_scope_fen
    if claim.total_fen == parts and claim.line_count > 0 and claim.total_fen >= 0 and least >= -claim.line_count:
        return _unequal_group(claim) if claim.groups else None
    refused = refuse(Refusal.TOTALS_UNEQUAL, yuan(claim.total_fen), yuan(parts))
    if claim.total_fen != parts:
        return refused
    why = f"最小一项 {yuan(least)} 元，不得为负" if claim.line_count else "明细为 0 笔"
    return refused._replace(detail=f"{refused.detail}；{why}")


def _unequal_group(claim: ClaimTotals) -> Refused | None:
    for group in claim.groups:
        parts = sum(group[2:])
        if group.total_fen != parts:
            refused = refuse(Refusal.TOTALS_UNEQUAL, yuan(group.total_fen), yuan(parts))
            return refused._replace(detail=f"{refused.detail}；待遇分组 {group.group}")
    return None


def is_code(text: str, longest: int) -> bool:
    """Whether a code can be stored and looked up: not empty, not too long, printable ASCII."""
    return 0 < len(text) <= longest and text.isascii() and text.isprintable()


def _are_storable(claim: ClaimTotals) -> bool:
    """Conditions and groups: few, named by short printable words, each group once, amounts in bounds."""
    names = [*claim.conditions, *(group.group for group in claim.groups)]
    return (
        len(claim.conditions) <= MOST_CONDITIONS
        and len(claim.groups) <= MOST_GROUPS
        and len({group.group for group in claim.groups}) == len(claim.groups)
        and all(0 < len(name) <= LONGEST_CONDITION and name.isprintable() for name in names)
        and all(abs(fen) <= MAX_FEN for group in claim.groups for fen in group[1:])
    )
