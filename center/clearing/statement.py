"""The statement of a clearing (医疗费用清算单) for the institution: what it is owed, why, and for which days.

Its figures are added up from the ledger anew; a statement that would say something else than the clearing is not made.
The same books give the same statement, byte for byte: no moment of printing is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text

from center.clearing import periods
from center.clearing.figures import Day, Members
from center.clearing.members import members_of_closed
from center.clearing.periods import CannotStep, PeriodRow
from center.clearing.sums import ledger_days
from center.clearing.tables import clearing, clearing_layer
from center.tables import institution
from domain.clearing import SCHEMES, STATE_WORDS, WORDS, ClearingType, Flow, PeriodState
from domain.money import capitals, yuan
from domain.projection import ACCOUNT_TYPE, fund_type
from domain.settlement import FUND_PREFIX
from infra.clock import SHANGHAI


class StatementDiffers(Exception):
    """The ledger gives other figures than the clearing has: no statement is made. Names the clearing and the figure."""

    def __init__(self, clearing_no: int, what: str, ledger: object, cleared: object) -> None:
        super().__init__(f"清算 {clearing_no} 的{what}与总账不符：总账 {ledger}，清算 {cleared}；不出清算单")


class Fund(NamedTuple):
    """What one fund pays, in yuan; the accounts of persons are the last."""

    code: str
    name: str
    claimed: str
    withheld: str
    deducted: str
    released: str
    paid: str


class DayRow(NamedTuple):
    """One day, in yuan."""

    day: str
    documents: str
    contras: str
    total: str
    fund: str
    account: str
    payable: str


class Contra(NamedTuple):
    """A contra settlement of the period."""

    settlement_no: str
    taken_back: str
    day: str
    total: str
    payable: str
    reason: str


class Deducted(NamedTuple):
    """A part of a deduction, or of its giving back."""

    document_no: str
    settlement_no: str
    fund: str
    amount: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Everything that is printed, already in words and in yuan."""

    institution_name: str
    facts: list[tuple[str, str]]
    funds: list[Fund]
    sums: list[tuple[str, str]]
    due_name: str
    due: str
    capitals: str
    days: list[DayRow]
    days_sum: DayRow
    contras: list[Contra]
    deductions: list[Deducted]
    late: list[tuple[str, str]]
    """Settlements of earlier periods that are paid with this one: number and day."""

    def as_data(self) -> dict[str, Any]:
        """As JSON knows it, for a template."""
        return asdict(self)


def statement(connection: Connection, period_no: int) -> Statement:
    """The statement of a closed period. Raises CannotStep while it is open, StatementDiffers."""
    period = periods.find(connection, period_no)
    if period.clearing_no is None:
        raise CannotStep(f"清算期 {period_no} 未关账，没有清算单；可用 preview 试算")
    held = connection.execute(select(clearing).where(clearing.c.clearing_no == period.clearing_no)).one()
    members = members_of_closed(connection, held, period.flow)
    days, funds, persons = ledger_days(connection, period.flow, members)
    layers = connection.execute(
        select(clearing_layer).where(clearing_layer.c.clearing_no == held.clearing_no).order_by(clearing_layer.c.layer)
    ).all()
    _require_same(held, layers, days, funds, persons)
    return Statement(
        institution_name=connection.execute(
            select(institution.c.name).where(institution.c.institution_code == period.institution_code)
        ).scalar_one(),
        facts=_facts(connection, period),
        funds=_funds(period.flow, layers, held.account_fen),
        sums=_sums(held),
        due_name="应付金额" if held.due_fen >= 0 else "结转下期（机构应退）",
        due=yuan(held.due_fen),
        capitals=capitals(held.due_fen),
        days=[_day_row(day) for day in days],
        days_sum=_day_row(_sum_of(days))._replace(day="合计"),
        contras=_contras(connection, period.flow, members),
        deductions=_deductions(connection, period.flow, members),
        late=_late(connection, members),
    )


def _require_same(held: Any, layers: Sequence[Any], days: Sequence[Day], funds: dict[str, int], persons: int) -> None:
    """Raise StatementDiffers unless the ledger still says what the clearing said."""
    summed = _sum_of(days)
    pairs = {
        "笔数": (summed.documents, held.documents),
        "冲销笔数": (summed.contra_documents, held.contra_documents),
        "人数": (persons, held.persons),
        "医疗费总额": (summed.total_fen, held.total_fen),
        "基金支付": (summed.fund_fen, held.fund_fen),
        "个人账户支付": (summed.account_fen, held.account_fen),
        **{f"{layer.layer} 基金": (funds.get(layer.layer, 0), layer.fund_fen) for layer in layers},
        "基金层": (sorted(funds), sorted(layer.layer for layer in layers if layer.layer in funds)),
    }
    for what, (ledger, cleared) in pairs.items():
        if ledger != cleared:
            raise StatementDiffers(held.clearing_no, what, ledger, cleared)


def _facts(connection: Connection, period: PeriodRow) -> list[tuple[str, str]]:
    insutype, scheme = SCHEMES.get(period.scheme, ("", period.scheme))
    kind = WORDS.get(ClearingType(period.clearing_type), "")
    facts = [
        ("机构编号", period.institution_code),
        ("险种", f"{insutype} {scheme}".strip()),
        ("清算类别", f"{period.clearing_type} {kind}".strip()),
        ("清算方式", "1 按项目"),
        ("清算年月", period.name),
        ("清算期", f"{period.first_day} 至 {period.last_day}"),
        ("清算编号", str(period.clearing_no)),
        ("关账时间", _moment(period.closed_at)),
        ("状态", STATE_WORDS[PeriodState(period.state)]),
    ]
    if period.confirmed_at is not None:
        facts += [("确认", f"{period.confirmed_by} {_moment(period.confirmed_at)}")]
    if period.objected_at is not None:
        facts += [("异议", f"{period.objection} {_moment(period.objected_at)}")]
    if period.paid_at is not None:
        facts += [("拨付凭证", "无需拨付" if period.payment_no is None else str(period.payment_no))]
        facts += [("拨付时间", _moment(period.paid_at))]
    return facts


def _funds(flow: Flow, layers: Sequence[Any], account_fen: int) -> list[Fund]:
    rows = []
    sums = [0, 0, 0, 0, 0]
    for layer in layers:
        named = fund_type(FUND_PREFIX + layer.layer, flow.scheme)
        amounts = [layer.fund_fen, layer.withheld_fen, layer.deducted_fen, layer.released_fen]
        amounts.append(amounts[0] - amounts[1] - amounts[2] + amounts[3])
        sums = [one + other for one, other in zip(sums, amounts, strict=True)]
        rows.append(Fund(named.code, named.name, *map(yuan, amounts)))
    of_accounts = [account_fen, 0, 0, 0, account_fen]
    rows.append(Fund(ACCOUNT_TYPE.code, ACCOUNT_TYPE.name, *map(yuan, of_accounts)))
    sums = [one + other for one, other in zip(sums, of_accounts, strict=True)]
    return [*rows, Fund("", "合计", *map(yuan, sums))]


def _sums(held: Any) -> list[tuple[str, str]]:
    return [
        ("结算单（笔）", str(held.documents)),
        ("　其中冲销", str(held.contra_documents)),
        ("人数", str(held.persons)),
        ("医疗费总额", yuan(held.total_fen)),
        ("基金申报总额", yuan(held.fund_fen)),
        ("个人账户支付", yuan(held.account_fen)),
        ("减：预留金", yuan(held.withheld_fen)),
        ("减：审核扣款", yuan(held.deducted_fen)),
        ("加：返还预留金", yuan(held.released_fen)),
        ("加：上期结转", yuan(held.carried_in_fen)),
    ]


def _sum_of(days: Sequence[Day]) -> Day:
    sums = [sum(amounts) for amounts in zip(*(day[1:] for day in days), strict=True)] or [0] * 5
    return Day._make([days[0].day if days else None, *sums])


def _day_row(day: Day) -> DayRow:
    return DayRow(
        str(day.day),
        str(day.documents),
        str(day.contra_documents),
        yuan(day.total_fen),
        yuan(day.fund_fen),
        yuan(day.account_fen),
        yuan(day.fund_fen + day.account_fen),
    )


def _contras(connection: Connection, flow: Flow, members: Members) -> list[Contra]:
    rows = connection.execute(
        text(
            "SELECT settlement_no, contra_of, settled_day, total_fen, fund_pay_fen + account_pay_fen AS payable_fen,"
            " reason FROM settlement WHERE institution_code = :institution_code AND scheme = :scheme"
            " AND clearing_type = :clearing_type AND kind = 'contra' AND settlement_no <> ALL(:elsewhere)"
            " AND (settled_day <= :last_day AND (CAST(:since_day AS date) IS NULL OR settled_day > :since_day)"
            "      OR settlement_no = ANY(:late)) ORDER BY settlement_no"
        ),
        {
            **flow._asdict(),
            "since_day": members.since_day,
            "last_day": members.last_day,
            "late": list(members.late),
            "elsewhere": list(members.elsewhere),
        },
    )
    return [Contra(str(row[0]), str(row[1]), str(row[2]), yuan(row[3]), yuan(row[4]), row[5]) for row in rows]


def _deductions(connection: Connection, flow: Flow, members: Members) -> list[Deducted]:
    rows = connection.execute(
        text(
            "SELECT document_no, settlement_no, layer, deduction.amount_fen, reason FROM deduction"
            " JOIN ledger_document USING (document_no) WHERE document_no = ANY(:items)"
            " ORDER BY document_no, settlement_no, layer"
        ),
        {"items": list(members.items)},
    )
    return [
        Deducted(str(row[0]), str(row[1]), fund_type(FUND_PREFIX + row[2], flow.scheme).name, yuan(row[3]), row[4])
        for row in rows
    ]


def _late(connection: Connection, members: Members) -> list[tuple[str, str]]:
    rows = connection.execute(
        text("SELECT settlement_no, settled_day FROM settlement WHERE settlement_no = ANY(:late) ORDER BY 1"),
        {"late": list(members.late)},
    )
    return [(str(number), str(day)) for number, day in rows]


def _moment(at: datetime | None) -> str:
    return "—" if at is None else f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
