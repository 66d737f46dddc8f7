"""What a settlement statement (医疗费用结算单) says, in words and figures, whatever it is printed on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain import check_value, money
from domain.check_value import Stated
from domain.projection import ExchangeAmounts
from domain.visit import VisitType
from infra.clock import SHANGHAI
from producers.settled import Sheet, sheet
from workers.claims import ClaimView

VISIT_TYPES = {
    VisitType.INPATIENT: "住院",
    VisitType.SPECIFIC_OUTPATIENT: "门诊特定项目",
    VisitType.OUTPATIENT: "门诊",
    VisitType.PHARMACY: "购药",
}


class NotSettled(Exception):
    """There is no statement of a claim without a settlement."""


@dataclass(frozen=True, slots=True)
class Row:
    """One charge line of the statement."""

    line_no: str
    name: str
    specification: str
    unit_price: str
    quantity: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Everything that is printed, already in words."""

    institution_name: str
    facts: list[tuple[str, str]]
    rows: list[Row]
    sheet: Sheet | None
    """Who bears what of each segment; None where the answer is from before it was told."""
    amounts: list[tuple[str, str]]
    cash_name: str
    cash: str
    total_in_capitals: str
    cash_in_capitals: str
    check: str
    """The check value, four by four; empty where there is none."""
    code: str
    """The line of the QR code; empty where there is no check value."""
    unchecked: str
    """Why there is none."""


def statement(view: ClaimView, *, institution_name: str, key: bytes | None) -> Statement:
    """The statement of a settled claim, with its check value under the key of this front-end, if it has one.

    Raises NotSettled.
    """
    answer, split, visit, paid = view.answer, view.totals, view.visit, view.amounts
    if answer is None or split is None or paid is None:
        raise NotSettled(view.claim_no)
    is_stay = visit.visit_type == VisitType.INPATIENT
    settled_at = _in_beijing(answer.settled_at or view.settled_at)
    facts = [
        ("就医登记号", view.visit_no),
        ("费用批次", str(view.charge_batch_no)),
        ("结算编号", str(answer.settlement_no)),
        ("姓名", visit.person_name or "—"),
        ("公民身份号码", masked(visit.citizen_id_no)),
        ("就诊类别", VISIT_TYPES[VisitType(visit.visit_type)]),
        ("入院日期" if is_stay else "就诊日期", visit.visit_date.isoformat()),
        ("结算时间", f"{settled_at:%Y-%m-%d %H:%M:%S}" if settled_at else "—"),
        ("诊断", visit.admission_diagnosis or "—"),
    ]  # fmt: skip
    if is_stay:
        facts += [
            ("住院号", visit.outpatient_no or "—"),
            ("费用截至", split.covers_to.isoformat() if split.covers_to else "—"),
            ("结算方式", "出院结算" if split.final else "中途结算"),
        ]
    is_refund = paid.total_fen < 0
    if is_refund:
        facts.append(("结算类别", "退费冲销"))
    if view.refunded_by is not None:
        facts.append(("退费", f"已申请退费（费用批次 {view.refunded_by}），办结后以该批次的结算单为准"))
    if view.offline_at is not None:
        posted = "待中心入账" if view.provisional else "中心已入账"
        facts.append(("结算类别", f"脱机结算（{view.offline_at:%Y-%m-%d %H:%M:%S}），{posted}"))
    elif view.provisional:
        facts.append(("结算状态", "本地结算，待中心确认"))
    if answer.recomputed:
        facts.append(("说明", answer.recomputed))
    amounts = [
        ("总金额", paid.total_fen),
        ("社保支付金额", paid.fund_pay_fen),
        ("个人自费金额", paid.own_pay_fen),
        ("　其中：部分项目自付", paid.pre_self_pay_fen),
        ("　其中：超限价", split.over_limit_fen),
        ("个人自付金额", paid.self_pay_fen),
        ("　其中：起付金额", paid.deductible_fen),
        ("超限额个人自付", paid.over_cap_fen),
        ("医药机构分担金额", paid.institution_share_fen),
        ("个人负担合计", paid.person_share_fen),
        ("　其中：个人账户支付", paid.account_pay_fen),
    ]
    rows = [
        Row(
            str(line.line_no or ""),
            line.local_item_name or line.local_item_code,
            line.specification,
            money.unscaled(line.unit_price_1e4 or 0, money.PRICE_SCALE),
            money.unscaled(line.quantity_1e2 or 0, money.QUANTITY_SCALE),
            money.yuan(line.line_amount_fen or 0),
        )
        for line in view.lines
    ]
    cash_fen = abs(paid.cash_fen) if is_refund else paid.cash_fen
    stated = None if view.provisional or settled_at is None else _stated(view, paid, settled_at)
    return Statement(
        institution_name=institution_name,
        facts=facts,
        rows=rows,
        sheet=sheet(answer.cells) if answer.cells else None,
        amounts=[(name, money.yuan(fen)) for name, fen in amounts],
        cash_name="应退现金" if is_refund else "应收现金",
        cash=money.yuan(cash_fen),
        total_in_capitals=money.capitals(paid.total_fen),
        cash_in_capitals=money.capitals(cash_fen),
        **_checked(stated, key),
    )


def _checked(stated: Stated | None, key: bytes | None) -> dict[str, str]:
    if stated is None:
        return {"check": "", "code": "", "unchecked": "本单未经中心确认，没有校验码"}
    if key is None:
        return {"check": "", "code": "", "unchecked": "前置机没有配置密钥，本单没有校验码"}
    value = check_value.grouped(check_value.check_value(stated, key))
    return {"check": value, "code": check_value.written(stated, key), "unchecked": ""}


def stated_of(view: ClaimView) -> Stated:
    """What the statement of a settled claim can be held to. Raises NotSettled."""
    settled_at = None if view.answer is None else _in_beijing(view.answer.settled_at or view.settled_at)
    if view.amounts is None or view.provisional or settled_at is None:
        raise NotSettled(view.claim_no)
    return _stated(view, view.amounts, settled_at)


def _stated(view: ClaimView, paid: ExchangeAmounts, settled_at: datetime) -> Stated:
    assert view.answer is not None
    return Stated(
        institution_code=view.institution_code,
        visit_no=view.visit_no,
        charge_batch_no=view.charge_batch_no,
        settlement_no=view.answer.settlement_no,
        settled_at=settled_at.replace(microsecond=0, tzinfo=None),
        total_fen=paid.total_fen,
        fund_pay_fen=paid.fund_pay_fen,
        account_pay_fen=paid.account_pay_fen,
        cash_fen=paid.cash_fen,
    )


def _in_beijing(moment: datetime | None) -> datetime | None:
    return moment.astimezone(SHANGHAI) if moment is not None and moment.tzinfo is not None else moment


def masked(citizen_id_no: str) -> str:
    """The number as it is printed: region and last four, the birthday hidden."""
    return citizen_id_no[:6] + "*" * max(len(citizen_id_no) - 10, 0) + citizen_id_no[-4:]
