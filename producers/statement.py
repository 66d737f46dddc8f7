"""The settlement statement (医疗费用结算单): what the patient takes home, as a page to print or as plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from domain import money
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


def statement(view: ClaimView, *, institution_name: str) -> Statement:
    """The statement of a settled claim. Raises NotSettled."""
    answer, split, visit, paid = view.answer, view.totals, view.visit, view.amounts
    if answer is None or split is None or paid is None:
        raise NotSettled(view.claim_no)
    is_stay = visit.visit_type == VisitType.INPATIENT
    settled_at = answer.settled_at or view.settled_at
    facts = [
        ("就医登记号", view.visit_no),
        ("费用批次", str(view.charge_batch_no)),
        ("结算编号", str(answer.settlement_no)),
        ("姓名", visit.person_name or "—"),
        ("公民身份号码", masked(visit.citizen_id_no)),
        ("就诊类别", VISIT_TYPES[VisitType(visit.visit_type)]),
        ("入院日期" if is_stay else "就诊日期", visit.visit_date.isoformat()),
        ("结算时间", f"{settled_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}" if settled_at and settled_at.tzinfo
         else f"{settled_at:%Y-%m-%d %H:%M:%S}" if settled_at else "—"),
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
    if view.provisional:
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
    return Statement(
        institution_name=institution_name,
        facts=facts,
        rows=rows,
        sheet=sheet(answer.cells) if answer.cells else None,
        amounts=[(name, money.yuan(fen)) for name, fen in amounts],
        cash_name="应退现金" if is_refund else "应收现金",
        cash=money.yuan(abs(paid.cash_fen) if is_refund else paid.cash_fen),
    )


def as_page(view: ClaimView, *, institution_name: str) -> str:
    """The statement as an HTML page that prints on one sheet and needs nothing else."""
    return _template().render(page=statement(view, institution_name=institution_name))


def as_text(view: ClaimView, *, institution_name: str) -> str:
    """The statement for a terminal or a receipt printer."""
    page = statement(view, institution_name=institution_name)
    heads = Row("序号", "项目名称", "规格", "单价", "数量", "金额")
    charges = [(r.line_no, r.name, r.specification, r.unit_price, r.quantity, r.amount) for r in (heads, *page.rows)]
    label = max(_columns(name) for name, _ in page.facts + page.amounts)
    amount = max(_columns(value) for _, value in page.amounts)
    lines = [f"{page.institution_name}　医疗费用结算单", ""]
    lines += [f"{_left(name, label)}  {value}" for name, value in page.facts]
    lines += ["", *_table(charges, words=(1, 2)), ""]
    if page.sheet is not None:
        lines += _table([("", *page.sheet.columns), *((name, *cells) for name, cells in page.sheet.rows)], words=(0,))
        lines.append("")
    lines += [f"{_left(name, label)}  {_right(value, amount)} 元" for name, value in page.amounts]
    lines.append(f"{_left(page.cash_name, label)}  {_right(page.cash, amount)} 元")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Sequence[str]], words: Sequence[int]) -> list[str]:
    """The rows under each other; the columns in `words` stand left, numbers right."""
    widths = [max(_columns(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join((_left if place in words else _right)(cell, widths[place]) for place, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def masked(citizen_id_no: str) -> str:
    """The number as it is printed: region and last four, the birthday hidden."""
    return citizen_id_no[:6] + "*" * max(len(citizen_id_no) - 10, 0) + citizen_id_no[-4:]


@cache
def _template() -> Template:
    text = files("producers").joinpath("templates/statement.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        text
    )


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _left(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _right(text: str, width: int) -> str:
    return " " * (width - _columns(text)) + text
