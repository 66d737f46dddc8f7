"""Closing (关账): a period becomes a clearing, a document of the ledger; and its contra, which opens the period again.

A closing takes the lock of the institution's chain first, so no settlement of it is half in: it was committed and is
added up, or it waits, and what it settles of a closed day is late and belongs to the next clearing.
"""

from __future__ import annotations

import logging
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, text

from center.clearing import deductions, periods
from center.clearing.figures import Figures
from center.clearing.members import ITEM, LATE, OF_FLOW, STANDING
from center.clearing.periods import CannotStep, PeriodRow
from center.clearing.reckoning import reckon
from center.clearing.tables import clearing, clearing_day, clearing_layer, clearing_member
from center.ledger import audit, chain, documents
from center.ledger.documents import Document
from center.settling.records import cursor_of
from center.transactions import in_transaction
from domain import ledger
from domain.clearing import PeriodState

log = logging.getLogger("center")

CLEARING, CONTRA = "clearing", "clearing-contra"


def close(engine: Engine, period_no: int, *, by: str, reason: str, at: datetime) -> int:
    """Close a period that is over; the number of the clearing. Raises CannotStep, BooksDiffer, NotPayable.

    Periods of a flow are closed in their order. Of two closings at once one finds it closed.
    """

    def close_now(connection: Connection) -> int:
        return close_in(connection, period_no, by=by, reason=reason, at=at)

    clearing_no = in_transaction(engine, close_now)
    log.info("period_closed", extra={"period": period_no, "clearing": clearing_no})
    return clearing_no


def close_in(connection: Connection, period_no: int, *, by: str, reason: str, at: datetime) -> int:
    """As `close`, in the caller's transaction."""
    period = periods.find(connection, period_no)
    link_no = periods.lock(connection, period.institution_code)
    period = periods.find(connection, period_no)
    _require_turn(connection, period, at.date())
    given_back = deductions.give_back(cursor_of(connection), period.flow, until=period.last_day, by=by, at=at)

    figures = reckon(connection, period.flow, period.last_day)

    clearing_no = documents.write(
        cursor_of(connection),
        _document(period, figures, by=by, reason=reason),
        _postings(figures),
        at=at,
    )
    periods.step(connection, period, PeriodState.CLOSED, clearing_no=clearing_no, closed_at=at)
    _record(connection, period, figures, clearing_no, link_no)
    chain.seal(cursor_of(connection), {period.institution_code: [*given_back, clearing_no]}, at=at)
    audit.note(
        connection,
        by=by,
        action="clearing.close",
        subject=str(period_no),
        reason=reason,
        institution_code=period.institution_code,
        at=at,
        details={"period": period.name, "clearing_no": clearing_no},
    )
    return clearing_no


def _require_turn(connection: Connection, period: PeriodRow, today: date) -> None:
    """Raise CannotStep unless the period is open, over, and the next of its flow."""
    if period.state != PeriodState.OPEN:
        raise CannotStep(f"清算期 {period.period_no} 已关账")
    if period.last_day >= today:
        raise CannotStep(f"清算期 {period.period_no} 到 {period.last_day} 才结束，不能关账")
    periods.require_not_frozen(connection, period.flow)
    earlier = connection.execute(
        text(f"SELECT min(period_no) FROM clearing_period WHERE {OF_FLOW} AND state = 'open' AND last_day < :last_day"),
        {**period.flow._asdict(), "last_day": period.last_day},
    ).scalar()
    if earlier is not None:
        raise CannotStep(f"要先关账清算期 {earlier}")
    later = connection.execute(
        text(f"{STANDING} AND clearing.last_day > :last_day LIMIT 1"),
        {**period.flow._asdict(), "last_day": period.last_day},
    ).first()
    if later is not None:
        raise CannotStep(f"其后的清算 {later.clearing_no} 已关账，清算期 {period.period_no} 的账已归入其中")


def _postings(figures: Figures) -> list[tuple[str, int]]:
    """What is payable becomes cleared, less what is withheld. Deductions and releases were posted when approved."""
    flow = figures.flow
    return [
        (ledger.payable(*flow), figures.owed_fen),
        (ledger.cleared(*flow), figures.withheld_fen - figures.owed_fen),
        (ledger.withheld(*flow), -figures.withheld_fen),
    ]


def _document(period: PeriodRow, figures: Figures, *, by: str, reason: str) -> Document:
    """The document; its content is what the chain vouches for."""
    return Document(
        kind=CLEARING,
        **figures.flow._asdict(),
        day=period.last_day,
        made_by=by,
        reason=reason,
        amount_fen=figures.owed_fen,
        content={
            "period_no": period.period_no,
            "period": period.name,
            "since_day": None if figures.members.since_day is None else figures.members.since_day.isoformat(),
            "last_day": period.last_day.isoformat(),
            **_sums(figures),
            "days": [[day.day.isoformat(), *day[1:]] for day in figures.days],
            "layers": [list(layer) for layer in figures.layers],
            "late": list(figures.members.late),
            "items": list(figures.members.items),
        },
    )


def _sums(figures: Figures) -> dict[str, int]:
    return {
        "documents": figures.total("documents"),
        "contra_documents": figures.total("contra_documents"),
        "persons": figures.persons,
        "total_fen": figures.total("total_fen"),
        "fund_fen": figures.total("fund_fen"),
        "account_fen": figures.total("account_fen"),
        "withheld_fen": figures.withheld_fen,
        "deducted_fen": figures.deducted_fen,
        "released_fen": figures.released_fen,
        "carried_in_fen": figures.carried_in_fen,
        "due_fen": figures.due_fen,
    }


def _record(connection: Connection, period: PeriodRow, figures: Figures, clearing_no: int, link_no: int) -> None:
    connection.execute(
        insert(clearing).values(
            clearing_no=clearing_no,
            period_no=period.period_no,
            **figures.flow._asdict(),
            since_day=figures.members.since_day,
            last_day=period.last_day,
            link_no=link_no,
            **_sums(figures),
        )
    )
    members = [(number, LATE) for number in figures.members.late] + [(number, ITEM) for number in figures.members.items]
    rows: list[tuple[Any, list[dict[str, Any]]]] = [
        (clearing_day, [day._asdict() for day in figures.days]),
        (clearing_layer, [layer._asdict() for layer in figures.layers]),
        (clearing_member, [{"document_no": number, "why": why} for number, why in members]),
    ]
    for table, values in rows:
        if values:
            connection.execute(insert(table), [{"clearing_no": clearing_no, **value} for value in values])


def take_back(connection: Connection, period_no: int, *, by: str, approved_by: str, reason: str, at: datetime) -> int:
    """Take a clearing back by its contra, so that the period is open again; the number of the contra.

    Raises CannotStep: when it is paid, when a later one stands, or when what it withheld is released.
    """
    period = periods.locked(connection, period_no)
    require_can_take_back(connection, period)
    figures = connection.execute(select(clearing).where(clearing.c.clearing_no == period.clearing_no)).one()
    flow, owed_fen = period.flow, figures.fund_fen + figures.account_fen
    number = documents.post(
        cursor_of(connection),
        Document(
            kind=CONTRA,
            **flow._asdict(),
            day=at.date(),
            made_by=by,
            approved_by=approved_by,
            reason=reason,
            amount_fen=-owed_fen,
            refers_to=period.clearing_no,
        ),
        [
            (ledger.payable(*flow), -owed_fen),
            (ledger.cleared(*flow), owed_fen - figures.withheld_fen),
            (ledger.withheld(*flow), figures.withheld_fen),
        ],
        at=at,
    )
    open_again = {"closed_at": None, "confirmed_at": None, "confirmed_by": None, "objected_at": None, "objection": ""}
    periods.step(connection, period, PeriodState.OPEN, clearing_no=None, **open_again)
    periods.close_objection(connection, period_no, at=at)
    return number


def require_can_take_back(connection: Connection, period: PeriodRow) -> None:
    """Raise CannotStep when the clearing of this period is not to be taken back."""
    if period.state not in {PeriodState.CLOSED, PeriodState.CONFIRMED}:
        raise CannotStep(f"清算期 {period.period_no} 不是已关账未拨付，不能冲回")
    values = {**period.flow._asdict(), "last_day": period.last_day, "year": period.last_day.year}
    later = connection.execute(text(f"{STANDING} AND clearing.last_day > :last_day LIMIT 1"), values).first()
    if later is not None:
        raise CannotStep(f"其后的清算 {later.clearing_no} 已关账，要先冲回；或在以后的清算期更正")
    released = connection.execute(
        text(f"SELECT document_no FROM withheld_release WHERE {OF_FLOW} AND year = :year LIMIT 1"), values
    ).scalar()
    if released is not None:
        raise CannotStep(f"{period.last_day.year} 年的预留金已结清（{released}），不能冲回")
