"""Opening (开账): a period for whatever belongs to none yet, by the calendar; and which are due to be closed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import Connection, select, text, update
from sqlalchemy.dialects.postgresql import insert

from center.clearing.calendar import Calendar
from center.clearing.members import ITEMS
from center.clearing.tables import clearing_period
from domain.clearing import Flow, PeriodState


def open_due(connection: Connection, calendar: Calendar, today: date) -> int:
    """Open a period for everything that belongs to none yet, and keep the closing days of open ones; how many are new.

    What lies before the calendar's first period belongs to that one.
    """
    dues = calendar.until(today)
    if not dues:
        return 0
    wanted: dict[tuple[Flow, date], dict[str, Any]] = {}
    content = _open_content(connection)
    with_days = {flow for flow, _, is_item in content if not is_item}
    for flow, first_open, is_item in content:
        if is_item and flow in with_days:
            continue  # the next of its periods to be closed takes it up
        due = next((due for due in dues if due.period.last_day >= first_open), None)
        if due is not None:
            wanted[flow, due.period.last_day] = {
                **flow._asdict(),
                "name": due.period.name,
                "first_day": due.period.first_day,
                "last_day": due.period.last_day,
                "closes_on": due.closes_on,
            }
    opened = _insert(connection, wanted.values())
    for due in dues:
        connection.execute(
            update(clearing_period)
            .where(
                clearing_period.c.last_day == due.period.last_day,
                clearing_period.c.state == str(PeriodState.OPEN),
                clearing_period.c.closes_on != due.closes_on,
            )
            .values(closes_on=due.closes_on)
        )
    return opened


def _insert(connection: Connection, rows: Iterable[dict[str, Any]]) -> int:
    ordered = sorted(rows, key=lambda row: tuple(map(str, row.values())))
    if not ordered:
        return 0
    added = insert(clearing_period).values(ordered).on_conflict_do_nothing(constraint="uq_clearing_period")
    return len(connection.execute(added.returning(clearing_period.c.period_no)).all())


def _open_content(connection: Connection) -> list[tuple[Flow, date, bool]]:
    """Each day of a flow with something no standing clearing has, and whether it is a deduction or a release.

    The day after the newest clearing stands for every day that is closed.
    """
    rows = connection.execute(
        text(
            """
            WITH standing AS (
                SELECT clearing.* FROM clearing JOIN clearing_period USING (clearing_no)),
            ends AS (
                SELECT institution_code, scheme, clearing_type, max(last_day) AS last_day FROM standing
                GROUP BY institution_code, scheme, clearing_type),
            taken AS (
                SELECT institution_code, scheme, clearing_type, day, sum(clearing_day.documents) AS documents
                FROM clearing_day JOIN standing USING (clearing_no)
                GROUP BY institution_code, scheme, clearing_type, day),
            content AS (
                SELECT institution_code, scheme, clearing_type, day, false AS is_item
                FROM day_sum LEFT JOIN taken USING (institution_code, scheme, clearing_type, day)
                GROUP BY institution_code, scheme, clearing_type, day, taken.documents
                HAVING sum(day_sum.documents) <> coalesce(taken.documents, 0)
                UNION
                SELECT institution_code, scheme, clearing_type, day, true FROM ledger_document AS document
                WHERE kind = ANY(:kinds) AND NOT EXISTS (
                    SELECT FROM clearing_member JOIN clearing_period USING (clearing_no)
                    WHERE clearing_member.document_no = document.document_no))
            SELECT institution_code, scheme, clearing_type, greatest(day, last_day + 1), is_item FROM content
            LEFT JOIN ends USING (institution_code, scheme, clearing_type)
            """
        ),
        {"kinds": list(ITEMS)},
    )
    return sorted({(Flow(*row[:3]), row[3], row[4]) for row in rows})


def due_to_close(connection: Connection, today: date) -> list[int]:
    """The open periods whose closing day has come, in the order they are to be closed."""
    columns = clearing_period.c
    return list(
        connection.execute(
            select(columns.period_no)
            .where(columns.state == str(PeriodState.OPEN), columns.closes_on <= today)
            .order_by(columns.last_day, columns.institution_code, columns.scheme, columns.clearing_type)
        ).scalars()
    )
