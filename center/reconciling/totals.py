"""The centre's totals of a day, as 3201 asks for them: by scheme and clearing type, with refunds and without."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from center.reconciling import entries
from center.tables import settlement
from domain.day_books import Figures
from domain.money import yuan


class DayTotal(NamedTuple):
    """One number of 3201."""

    institution_code: str
    scheme: str
    clearing_type: str
    with_refunds: bool
    figures: Figures

    def as_document(self) -> dict[str, Any]:
        """As JSON has it: amounts are strings."""
        documents, total, fund, account, cash = self.figures
        return {
            "institution_code": self.institution_code,
            "scheme": self.scheme,
            "clearing_type": self.clearing_type,
            "with_refunds": self.with_refunds,
            "documents": documents,
            "total_amount": yuan(total),
            "fund_pay_amount": yuan(fund),
            "account_pay_amount": yuan(account),
            "cash_amount": yuan(cash),
        }


def of_day(connection: Connection, day: date, *, institution_code: str = "") -> list[DayTotal]:
    """The totals of one institution, or of all that settled on the day."""
    columns = settlement.c
    query = select(columns.institution_code).where(columns.settled_day == day).distinct()
    if institution_code:
        query = query.where(columns.institution_code == institution_code)
    return [
        DayTotal(code, group.scheme, group.clearing_type, with_refunds, figures)
        for code in connection.execute(query.order_by(columns.institution_code)).scalars().all()
        for with_refunds in (True, False)
        for group, figures in sorted(entries.totals(connection, code, day, with_refunds=with_refunds).items())
    ]
