"""Refunds whose later settlements are still as they were before: the office's list of what may be corrected."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, select

from center.approving.tables import OPEN, proposal
from center.correcting.actions import SETTLE
from center.correcting.recomputing import Recomputed, recompute
from center.policy.shelf import PolicyShelf
from center.settling import records

_CANDIDATES = """
SELECT original.settlement_no, original.person_no, original.institution_code, original.visit_no,
       original.charge_batch_no, contra.settled_day
FROM settlement contra JOIN settlement original ON original.settlement_no = contra.contra_of
WHERE contra.kind = 'contra' AND contra.settled_day BETWEEN %(first)s AND %(last)s
  AND NOT EXISTS (SELECT FROM correction WHERE correction.contra_no = contra.settlement_no)
  AND EXISTS (SELECT FROM settlement later
              WHERE later.settlement_no IN (SELECT settlement_no FROM accumulator_entry
                                            WHERE person_no = original.person_no
                                              AND settlement_no > original.settlement_no)
                AND later.kind = 'normal'
                AND NOT EXISTS (SELECT FROM settlement taken WHERE taken.contra_of = later.settlement_no))
ORDER BY contra.settlement_no
"""


class Due(NamedTuple):
    """A refund that left later settlements as they were."""

    settlement_no: int
    person_no: int
    institution_code: str
    visit_no: str
    charge_batch_no: int
    refunded_on: date
    found: Recomputed
    proposal_no: int | None
    """The open proposal to correct them."""


def due(connection: Connection, first_day: date, last_day: date) -> list[Due]:
    """The refunds of these days with later settlements that would be others without them, in the order they were
    made. One that is corrected, or changed nothing, is left out."""
    cursor = records.cursor_of(connection)
    cursor.execute(_CANDIDATES, {"first": first_day, "last": last_day})
    policies, listed = PolicyShelf(), []
    for row in cursor.fetchall():
        found = recompute(connection, row[1], refunded_no=row[0], policies=policies)
        if found.changes or found.impossible:
            listed.append(Due._make((*row, found, _proposed(connection, row[0]))))
    return listed


def _proposed(connection: Connection, settlement_no: int) -> int | None:
    columns = proposal.c
    number: int | None = connection.execute(
        select(columns.proposal_no).where(
            columns.action == SETTLE, columns.state == OPEN, columns.payload == {"refunded": settlement_no}
        )
    ).scalar()
    return number
