"""The front-end's books of a day, as the centre asks for them: totals per institution, then lines where they differ."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from domain.lifecycle import ClaimState
from domain.messages import BookLine, BooksAsked, BooksReported, ClaimAnswer, DayTotals
from infra.codec import unpack
from workers.tables import claim


def report(connection: Connection, asked: BooksAsked) -> BooksReported:
    """What this front-end has recorded as settled on the day, before the moment asked for."""
    # What came with a move stands in the books of the front-end that settled it.
    on_the_day = [claim.c.settled_day == asked.day, claim.c.state == ClaimState.SETTLED, claim.c.origin == ""]
    if asked.before is not None:
        on_the_day.append(claim.c.settled_at < asked.before)
    totals = connection.execute(
        select(
            claim.c.institution_code,
            func.count(),
            func.sum(claim.c.total_fen),
            func.sum(claim.c.fund_pay_fen),
            func.sum(claim.c.account_pay_fen),
        )
        .where(*on_the_day)
        .group_by(claim.c.institution_code)
        .order_by(claim.c.institution_code)
    )
    day_totals = tuple(
        DayTotals(code, asked.day, count, int(total), int(fund), int(account))
        for code, count, total, fund, account in totals
    )
    if not asked.lines_of:
        return BooksReported(day=asked.day, totals=day_totals, before=asked.before)
    rows = connection.execute(
        select(
            claim.c.institution_code,
            claim.c.visit_no,
            claim.c.charge_batch_no,
            claim.c.total_fen,
            claim.c.fund_pay_fen,
            claim.c.account_pay_fen,
            claim.c.answer,
        )
        .where(*on_the_day, claim.c.institution_code.in_(asked.lines_of))
        .order_by(claim.c.visit_no, claim.c.charge_batch_no)
    )
    lines = tuple(
        BookLine(
            row.institution_code,
            row.visit_no,
            row.charge_batch_no,
            unpack(row.answer, ClaimAnswer).settlement_no,
            row.total_fen,
            row.fund_pay_fen,
            row.account_pay_fen,
        )
        for row in rows
    )
    return BooksReported(day=asked.day, totals=day_totals, lines_of=asked.lines_of, lines=lines, before=asked.before)
