"""What of clearing takes a second person: deductions, payments, contras of clearings, shares withheld and released."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import wraps
from typing import ParamSpec

from sqlalchemy import Connection

from center.approving import proposals
from center.approving.actions import Action, CannotDo, Payload
from center.clearing import closing, deductions, payments, periods, withholding
from center.clearing.deductions import CannotDeduct, Part
from center.clearing.periods import CannotStep
from center.clearing.withholding import CannotRelease
from domain.clearing import WORDS, ClearingType, Flow
from domain.money import RATIO_SCALE, unscaled, yuan

P = ParamSpec("P")


def _told(work: Callable[P, str]) -> Callable[P, str]:
    """What cannot be done here, in the words of the approvals."""

    @wraps(work)
    def told(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return work(*args, **kwargs)
        except (CannotDeduct, CannotRelease, CannotStep) as why:
            raise CannotDo(str(why)) from None

    return told


def flow_in_words(flow: Flow) -> str:
    """Whose clearing it is, in one word."""
    kind = WORDS.get(ClearingType(flow.clearing_type), flow.clearing_type)
    return f"{flow.institution_code} {flow.scheme} {kind}"


@_told
def institution_of(connection: Connection, payload: Payload) -> str:
    """The institution a proposal concerns; "*" is every one. Raises CannotDo."""
    if "institution_code" in payload:
        return str(payload["institution_code"])
    if "period_no" in payload:
        return periods.find(connection, payload["period_no"]).institution_code
    return deductions.flow_of(connection, parts_of(payload)).institution_code


# ── Deductions ────────────────────────────────────────────────────────────────────────────────────────────


def parts_of(payload: Payload) -> list[Part]:
    """The parts of a deduction as proposed."""
    return [Part(*part) for part in payload["parts"]]


@_told
def _predict_deduction(connection: Connection, payload: Payload, *, at: datetime) -> str:
    parts = parts_of(payload)
    flow = deductions.flow_of(connection, parts)
    each = "；".join(f"结算单 {part.settlement_no} {part.layer} {yuan(part.amount_fen)} 元" for part in parts[:20])
    more = f"；等 {len(parts)} 项" if len(parts) > 20 else ""
    total = yuan(sum(part.amount_fen for part in parts))
    return f"{flow_in_words(flow)}：扣款 {total} 元退回基金，计入下一次清算（{each}{more}）"


@_told
def _deduct(
    connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
) -> str:
    parts = parts_of(payload)
    flow = deductions.flow_of(connection, parts)
    periods.lock(connection, flow.institution_code)
    reason = _reason(connection, proposal_no)
    number = deductions.deduct(connection, parts, by=by, approved_by=approved_by, reason=reason, at=at)
    return f"已记扣款 {number}，计入下一次清算"


# ── Payments and contras of clearings ─────────────────────────────────────────────────────────────────────


@_told
def _predict_payment(connection: Connection, payload: Payload, *, at: datetime) -> str:
    period = periods.find(connection, payload["period_no"])
    amount_fen = payments.to_pay(connection, period)
    what = f"拨付 {yuan(amount_fen)} 元" if amount_fen else "应付不大于零，不拨付，余额结转下期"
    return f"{flow_in_words(period.flow)} {period.name}（清算 {period.clearing_no}）：{what}"


@_told
def _pay(connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime) -> str:
    reason = _reason(connection, proposal_no)
    number, amount_fen = payments.pay(
        connection, payload["period_no"], by=by, approved_by=approved_by, reason=reason, at=at
    )
    return "已结转，无拨付" if number is None else f"已拨付 {yuan(amount_fen)} 元，凭证 {number}"


@_told
def _predict_reopening(connection: Connection, payload: Payload, *, at: datetime) -> str:
    period = periods.find(connection, payload["period_no"])
    closing.require_can_take_back(connection, period)
    return f"{flow_in_words(period.flow)} {period.name}：清算 {period.clearing_no} 以红字凭证冲回，清算期重新开账"


@_told
def _reopen(
    connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
) -> str:
    reason = _reason(connection, proposal_no)
    number = closing.take_back(connection, payload["period_no"], by=by, approved_by=approved_by, reason=reason, at=at)
    return f"已冲回，红字凭证 {number}"


# ── What is withheld ──────────────────────────────────────────────────────────────────────────────────────


@_told
def _predict_share(connection: Connection, payload: Payload, *, at: datetime) -> str:
    withholding.require_share(payload["share_1e4"])
    whose = "全部机构" if payload["institution_code"] == withholding.EVERY else payload["institution_code"]
    kind = payload["clearing_type"]
    of_kind = "全部类别" if kind == withholding.EVERY else WORDS[ClearingType(kind)]
    return f"{whose} {of_kind}：{payload['since']} 及以后结束的清算期，基金支付预留 {_percent(payload['share_1e4'])}"


@_told
def _set_share(
    connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
) -> str:
    withholding.set_share(
        connection,
        institution_code=payload["institution_code"],
        clearing_type=payload["clearing_type"],
        since=date.fromisoformat(payload["since"]),
        share_1e4=payload["share_1e4"],
        by=by,
        approved_by=approved_by,
        reason=_reason(connection, proposal_no),
        at=at,
    )
    return f"已设预留比例 {_percent(payload['share_1e4'])}"


def _flow_in(payload: Payload) -> Flow:
    return Flow(payload["institution_code"], payload["scheme"], payload["clearing_type"])


@_told
def _predict_release(connection: Connection, payload: Payload, *, at: datetime) -> str:
    flow, year, share = _flow_in(payload), payload["year"], payload["share_1e4"]
    withholding.require_share(share)
    held = withholding.held_in(connection, flow, year, today=at.date())
    held_fen, paid_fen = sum(held.values()), sum(withholding.earned(held, share).values())
    return (
        f"{flow_in_words(flow)}：{year} 年预留金 {yuan(held_fen)} 元，按 {_percent(share)} 返还 {yuan(paid_fen)} 元，"
        f"计入下一次清算，{yuan(held_fen - paid_fen)} 元退回基金"
    )


@_told
def _release(
    connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
) -> str:
    flow = _flow_in(payload)
    periods.lock(connection, flow.institution_code)
    number = withholding.release(
        connection,
        flow,
        payload["year"],
        payload["share_1e4"],
        by=by,
        approved_by=approved_by,
        reason=_reason(connection, proposal_no),
        at=at,
    )
    return f"已结清预留金，凭证 {number}"


def _percent(share_1e4: int) -> str:
    return f"{unscaled(share_1e4 * 100, RATIO_SCALE)}%"


def _reason(connection: Connection, proposal_no: int) -> str:
    found = proposals.find(connection, proposal_no)
    assert found is not None
    return found.reason


DEDUCT, PAY, REOPEN = "deduction.make", "payment.make", "clearing.reopen"
SHARE, RELEASE = "withheld.share", "withheld.release"

ACTIONS: Mapping[str, Action] = {
    DEDUCT: Action("审核扣款", _predict_deduction, _deduct),
    PAY: Action("清算拨付", _predict_payment, _pay),
    REOPEN: Action("冲回清算", _predict_reopening, _reopen),
    SHARE: Action("设置预留比例", _predict_share, _set_share),
    RELEASE: Action("结清预留金", _predict_release, _release),
}
