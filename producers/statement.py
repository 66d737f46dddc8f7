"""The settlement statement (医疗费用结算单): what the patient takes home, as a page to print or as plain text."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from domain import money
from domain.visit import VisitType
from infra.clock import SHANGHAI
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
    amounts: list[tuple[str, str]]
    cash: str


def statement(view: ClaimView, *, institution_name: str) -> Statement:
    """The statement of a settled claim. Raises NotSettled."""
    answer, split, visit = view.answer, view.totals, view.visit
    if answer is None or split is None or answer.refusal:
        raise NotSettled(view.claim_no)
    own_pay = split.own_expense_fen + split.over_limit_fen + split.pre_self_pay_fen
    person_share = own_pay + answer.self_pay_fen + answer.over_cap_fen
    settled_at = answer.settled_at or view.settled_at
    facts = [
        ("就医登记号", view.visit_no),
        ("费用批次", str(view.charge_batch_no)),
        ("结算编号", str(answer.settlement_no)),
        ("姓名", visit.person_name or "—"),
        ("公民身份号码", masked(visit.citizen_id_no)),
        ("就诊类别", VISIT_TYPES[VisitType(visit.visit_type)]),
        ("就诊日期", visit.visit_date.isoformat()),
        ("结算时间", f"{settled_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}" if settled_at and settled_at.tzinfo
         else f"{settled_at:%Y-%m-%d %H:%M:%S}" if settled_at else "—"),
        ("诊断", visit.admission_diagnosis or "—"),
    ]  # fmt: skip
    amounts = [
        ("总金额", view.total_fen),
        ("社保支付金额", answer.fund_pay_fen),
        ("个人自费金额", own_pay),
        ("　其中：部分项目自付", split.pre_self_pay_fen),
        ("　其中：超限价", split.over_limit_fen),
        ("个人自付金额", answer.self_pay_fen),
        ("　其中：起付金额", answer.deductible_fen),
        ("超限额个人自付", answer.over_cap_fen),
        ("医药机构分担金额", answer.institution_share_fen),
        ("个人负担合计", person_share),
        ("　其中：个人账户支付", answer.account_pay_fen),
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
        amounts=[(name, money.yuan(fen)) for name, fen in amounts],
        cash=money.yuan(person_share - answer.account_pay_fen),
    )


def as_page(view: ClaimView, *, institution_name: str) -> str:
    """The statement as an HTML page that prints on one sheet and needs nothing else."""
    return _template().render(page=statement(view, institution_name=institution_name))


def as_text(view: ClaimView, *, institution_name: str) -> str:
    """The statement for a terminal or a receipt printer."""
    page = statement(view, institution_name=institution_name)
    heads = Row("序号", "项目名称", "规格", "单价", "数量", "金额")
    table = [(r.line_no, r.name, r.specification, r.unit_price, r.quantity, r.amount) for r in (heads, *page.rows)]
    widths = [max(_columns(cell) for cell in column) for column in zip(*table, strict=True)]
    label = max(_columns(name) for name, _ in page.facts + page.amounts)
    amount = max(_columns(value) for _, value in page.amounts)
    lines = [f"{page.institution_name}　医疗费用结算单", ""]
    lines += [f"{_left(name, label)}  {value}" for name, value in page.facts]
    lines.append("")
    for row in table:
        cells = [(_left if place in (1, 2) else _right)(cell, widths[place]) for place, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    lines.append("")
    lines += [f"{_left(name, label)}  {_right(value, amount)} 元" for name, value in page.amounts]
    lines.append(f"{_left('应收现金', label)}  {_right(page.cash, amount)} 元")
    return "\n".join(lines) + "\n"


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
