"""Which documents belong to which clearing.

Settlements belong to the period of their day, the day after the period before at the earliest; but what was committed
after its day was closed is *late* and belongs to the next clearing. Late ones are found by the institution's chain,
whose links are in the order of commit. Deductions and releases belong to the next period that is closed.
"""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from center.clearing.figures import Day, Members
from domain.clearing import Flow

DEDUCTION, DEDUCTION_BACK, RELEASE = "deduction", "deduction-back", "withheld-release"
ITEMS = (DEDUCTION, DEDUCTION_BACK, RELEASE)
"""Kinds of documents besides settlements that a clearing takes up."""

LATE, ITEM = "late", "item"
"""Why a document is named as member of a clearing."""

OF_FLOW = "institution_code = :institution_code AND scheme = :scheme AND clearing_type = :clearing_type"

STANDING = """
SELECT clearing.* FROM clearing JOIN clearing_period USING (clearing_no)
WHERE clearing.institution_code = :institution_code AND clearing.scheme = :scheme
  AND clearing.clearing_type = :clearing_type
"""
"""The clearings of a flow that no contra took back."""


class Before(NamedTuple):
    """The clearing that stands before a period; None and 0 where it is the first."""

    last_day: date | None
    link_no: int
    due_fen: int


def before(connection: Connection, flow: Flow, last_day: date) -> Before:
    """The newest clearing of the flow that stands and ends before the day."""
    found = connection.execute(
        text(f"{STANDING} AND clearing.last_day < :last_day ORDER BY clearing.last_day DESC LIMIT 1"),
        {**flow._asdict(), "last_day": last_day},
    ).first()
    return Before(None, 0, 0) if found is None else Before(found.last_day, found.link_no, found.due_fen)


def open_days(connection: Connection, flow: Flow, until: date) -> dict[date, Day]:
    """What the sums of each day say that no standing clearing has taken up yet."""
    rows = connection.execute(
        text(
            f"""
            WITH summed AS (
                SELECT day, sum(documents)::bigint AS documents,
                       coalesce(sum(documents) FILTER (WHERE kind = 'contra'), 0)::bigint AS contra_documents,
                       sum(total_fen)::bigint AS total_fen, sum(fund_pay_fen)::bigint AS fund_fen,
                       sum(account_pay_fen)::bigint AS account_fen
                FROM day_sum WHERE {OF_FLOW} AND day <= :until GROUP BY day),
            taken AS (
                SELECT day, sum(clearing_day.documents)::bigint AS documents,
                       sum(clearing_day.contra_documents)::bigint AS contra_documents,
                       sum(clearing_day.total_fen)::bigint AS total_fen,
                       sum(clearing_day.fund_fen)::bigint AS fund_fen,
                       sum(clearing_day.account_fen)::bigint AS account_fen
                FROM clearing_day JOIN ({STANDING}) AS standing USING (clearing_no) GROUP BY day)
            SELECT day, summed.documents - coalesce(taken.documents, 0),
                   summed.contra_documents - coalesce(taken.contra_documents, 0),
                   summed.total_fen - coalesce(taken.total_fen, 0), summed.fund_fen - coalesce(taken.fund_fen, 0),
                   summed.account_fen - coalesce(taken.account_fen, 0)
            FROM summed LEFT JOIN taken USING (day) ORDER BY day
            """
        ),
        {**flow._asdict(), "until": until},
    )
    days = [Day(*row) for row in rows]
    return {day.day: day for day in days if any(day[1:])}


def members_of_open(connection: Connection, flow: Flow, last_day: date, held: Before) -> Members:
    """What belongs to a period that is not closed, as the books are now."""
    late: tuple[int, ...] = ()
    if held.last_day is not None and open_days(connection, flow, held.last_day):
        late = _committed_after(connection, flow, held.link_no, held.last_day)
    return Members(held.last_day, last_day, late, items=_items(connection, flow))


def members_of_closed(connection: Connection, clearing: Any, flow: Flow) -> Members:
    """What belongs to a clearing (a row of it)."""
    named = connection.execute(
        text("SELECT document_no, why FROM clearing_member WHERE clearing_no = :no ORDER BY document_no"),
        {"no": clearing.clearing_no},
    ).all()
    own_late = tuple(row.document_no for row in named if row.why == LATE)
    taken_late = connection.execute(
        text(
            f"SELECT document_no FROM clearing_member JOIN ({STANDING}) AS standing USING (clearing_no)"
            " WHERE why = 'late' AND clearing_no <> :no"
        ),
        {**flow._asdict(), "no": clearing.clearing_no},
    ).scalars()
    newest = connection.execute(text(f"{STANDING} ORDER BY clearing.last_day DESC LIMIT 1"), flow._asdict()).one()
    elsewhere = {*taken_late, *_committed_after(connection, flow, newest.link_no, clearing.last_day)}
    items = tuple(row.document_no for row in named if row.why == ITEM)
    return Members(clearing.since_day, clearing.last_day, own_late, tuple(sorted(elsewhere)), items)


def _committed_after(connection: Connection, flow: Flow, link_no: int, last_day: date) -> tuple[int, ...]:
    """The settlements up to a day that came into the institution's chain after a link."""
    found = connection.execute(
        text(
            "SELECT settlement_no FROM chain_link CROSS JOIN unnest(documents) AS number"
            " JOIN settlement ON settlement_no = number"
            " WHERE chain_link.institution_code = :institution_code AND link_no > :link_no"
            " AND chain_link.kind = 'ledger' AND settled_day <= :last_day AND scheme = :scheme"
            " AND clearing_type = :clearing_type ORDER BY settlement_no"
        ),
        {**flow._asdict(), "link_no": link_no, "last_day": last_day},
    )
    return tuple(found.scalars())


def _items(connection: Connection, flow: Flow) -> tuple[int, ...]:
    """Deductions and releases that no standing clearing has taken up."""
    found = connection.execute(
        text(
            f"SELECT document_no FROM ledger_document AS document WHERE {OF_FLOW} AND kind = ANY(:kinds)"
            " AND NOT EXISTS (SELECT FROM clearing_member JOIN clearing_period USING (clearing_no)"
            "                 WHERE clearing_member.document_no = document.document_no) ORDER BY document_no"
        ),
        {**flow._asdict(), "kinds": list(ITEMS)},
    )
    return tuple(found.scalars())
