"""What the centre's books say of a settlement, as its printed statement says it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from center.tables import settlement
from domain.check_value import Stated
from infra.clock import SHANGHAI


class Booked(NamedTuple):
    """A settlement as its statement is held to it, and the front-end whose key the check value is under."""

    stated: Stated
    frontend: str
    taken_back_by: int | None = None
    """The contra settlement that took it back."""


def booked(connection: Connection, settlement_no: int) -> Booked | None:
    """The settlement of this number, in fen and Beijing time; None where there is none."""
    columns, contra = settlement.c, settlement.alias("contra")
    own_pay = func.coalesce(
        columns.own_pay_fen, columns.own_expense_fen + columns.over_limit_fen + columns.pre_self_pay_fen
    )
    row = connection.execute(
        select(
            columns.institution_code,
            columns.visit_no,
            columns.charge_batch_no,
            columns.settlement_no,
            columns.settled_at,
            columns.total_fen,
            columns.fund_pay_fen,
            columns.account_pay_fen,
            own_pay + columns.self_pay_fen + columns.over_cap_fen - columns.account_pay_fen,
            columns.frontend,
            select(contra.c.settlement_no)
            .where(contra.c.contra_of == columns.settlement_no)
            .scalar_subquery()
            .label("taken_back_by"),
        ).where(columns.settlement_no == settlement_no)
    ).first()
    if row is None:
        return None
    settled_at = row.settled_at.astimezone(SHANGHAI).replace(microsecond=0, tzinfo=None)
    return Booked(Stated(*row[:4], settled_at, *row[5:9]), row.frontend, row.taken_back_by)
