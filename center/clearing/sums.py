"""The days of a period as the ledger has them, against the sums that were kept of them when they were settled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy import Connection, text

from center.clearing.figures import Day, Members
from center.clearing.members import OF_FLOW
from domain import ledger
from domain.clearing import Flow


class BooksDiffer(Exception):
    """The ledger and the sums of a day are not the same: the period cannot be closed. Names the flow and the day."""

    def __init__(self, flow: Flow, day: date, ours: Day | None, summed: Day | None) -> None:
        self.flow, self.day = flow, day
        told = [
            "无" if one is None else f"{one.documents} 笔 {one.total_fen}/{one.fund_fen}/{one.account_fen} 分"
            for one in (ours, summed)
        ]
        super().__init__(
            f"{day} 的账与日汇总不符（{flow.institution_code} {flow.scheme} {flow.clearing_type}）："
            f"总账 {told[0]}，日汇总 {told[1]}；不能关账"
        )


class NotPayable(Exception):
    """What funds and accounts pay on a day is not what the ledger owes the institution for it."""

    def __init__(self, flow: Flow, day: date, paid_fen: int, payable_fen: int) -> None:
        super().__init__(
            f"{day} 基金与个人账户支付 {paid_fen} 分，应付 {payable_fen} 分，不符"
            f"（{flow.institution_code} {flow.scheme} {flow.clearing_type}）；不能关账"
        )


_MEMBER = f"""
WITH member AS (
    SELECT settlement_no, settled_day, kind, person_no, total_fen FROM settlement
    WHERE {OF_FLOW} AND settlement_no <> ALL(:elsewhere)
      AND (settled_day <= :last_day AND (CAST(:since_day AS date) IS NULL OR settled_day > :since_day)
           OR settlement_no = ANY(:late)))
"""


def ledger_days(connection: Connection, flow: Flow, members: Members) -> tuple[tuple[Day, ...], dict[str, int], int]:
    """The days as the ledger has them, what each fund layer pays, and how many persons there are.

    Funds and accounts are added up from the postings. Raises NotPayable where they are not what is payable.
    """
    values = {**flow._asdict(), **members._asdict(), "late": list(members.late), "elsewhere": list(members.elsewhere)}
    del values["items"]
    counted = connection.execute(
        text(
            f"{_MEMBER} SELECT settled_day, count(*), count(*) FILTER (WHERE kind = 'contra'),"
            " sum(total_fen)::bigint FROM member GROUP BY settled_day ORDER BY settled_day"
        ),
        values,
    ).all()
    persons = connection.execute(text(f"{_MEMBER} SELECT count(DISTINCT person_no) FROM member"), values).scalar_one()
    posted = connection.execute(
        text(
            f"{_MEMBER} SELECT settled_day,"
            " CASE WHEN account LIKE 'account:%' THEN 'account' ELSE account END AS name, sum(amount_fen)::bigint"
            " FROM member JOIN posting ON document_no = settlement_no"
            " WHERE account LIKE 'fund:%' OR account LIKE 'account:%' OR account = :payable GROUP BY 1, 2"
        ),
        {**values, "payable": ledger.payable(*flow)},
    ).all()

    funds: dict[str, int] = defaultdict(int)
    by_day: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0])
    for day, account, amount_fen in posted:
        if account.startswith("fund:"):
            funds[account.rpartition(":")[2]] += amount_fen
            by_day[day][0] += amount_fen
        else:
            by_day[day][1 if account == "account" else 2] += amount_fen
    for day, (fund_fen, account_fen, payable_fen) in by_day.items():
        if fund_fen + account_fen + payable_fen:
            raise NotPayable(flow, day, fund_fen + account_fen, -payable_fen)
    days = tuple(Day(*row, *by_day[row[0]][:2]) for row in counted)
    return days, dict(funds), persons


def compare(flow: Flow, days: Sequence[Day], summed: Mapping[date, Day]) -> None:
    """Raise BooksDiffer for the first day the ledger and the sums have differently."""
    ours = {day.day: day for day in days}
    for day in sorted(ours.keys() | summed.keys()):
        if ours.get(day) != summed.get(day):
            raise BooksDiffer(flow, day, ours.get(day), summed.get(day))
