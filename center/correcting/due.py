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
       original.charge_batch_no, contra.settled_day, contra.settlement_no
FROM settlement contra JOIN settlement original ON original.settlement_no = contra.contra_of
JOIN person ON person.person_no = original.person_no
WHERE contra.contra_of IS NOT NULL AND contra.settled_day BETWEEN %(first)s AND %(last)s
  AND NOT EXISTS (SELECT FROM correction WHERE correction.contra_no = contra.settlement_no)
  AND EXISTS (SELECT FROM settlement later
              WHERE later.person_no IN (
                  SELECT original.person_no
                  UNION SELECT person_no FROM person owner WHERE owner.citizen_id_no = person.family_citizen_id_no
                  UNION SELECT person_no FROM person used WHERE used.family_citizen_id_no
                      IN (person.citizen_id_no, person.family_citizen_id_no)
                  UNION SELECT substr(account, 9)::bigint FROM posting
                  WHERE document_no = original.settlement_no AND account LIKE 'account:%%')
                AND later.settlement_no > original.settlement_no AND later.kind = 'normal'
                AND NOT EXISTS (SELECT FROM settlement taken WHERE taken.contra_of = later.settlement_no))
  {and_}
ORDER BY contra.settlement_no LIMIT %(most)s
"""
_NOT_CONSIDERED = "AND NOT EXISTS (SELECT FROM considered_refund c WHERE c.contra_no = contra.settlement_no)"
MOST = 10_000


class Candidate(NamedTuple):
    """A refund after which somebody of the household has a settlement that stands."""

    settlement_no: int
    person_no: int
    institution_code: str
    visit_no: str
    charge_batch_no: int
    refunded_on: date
    contra_no: int


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
    policies, listed = PolicyShelf(), []
    for row in _candidates(connection, first_day, last_day, most=MOST, and_=""):
        found = recompute(connection, row.person_no, refunded_no=row.settlement_no, policies=policies)
        if found.changes or found.impossible:
            listed.append(Due._make((*row[:-1], found, _proposed(connection, row.settlement_no))))
    return listed


def candidates(connection: Connection, first_day: date, last_day: date, *, most: int) -> list[Candidate]:
    """Refunds of these days that nobody has considered yet, the oldest first."""
    return _candidates(connection, first_day, last_day, most=most, and_=_NOT_CONSIDERED)


def _candidates(connection: Connection, first_day: date, last_day: date, *, most: int, and_: str) -> list[Candidate]:
    cursor = records.cursor_of(connection)
    cursor.execute(_CANDIDATES.format(and_=and_), {"first": first_day, "last": last_day, "most": most})
    return [Candidate._make(row) for row in cursor.fetchall()]


def _proposed(connection: Connection, settlement_no: int) -> int | None:
    columns = proposal.c
    number: int | None = connection.execute(
        select(columns.proposal_no).where(
            columns.action == SETTLE, columns.state == OPEN, columns.payload == {"refunded": settlement_no}
        )
    ).scalar()
    return number
