"""Outpatient visits with imported lines that nobody settled yet: what a door that settles at once catches up on."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import Connection, select

from domain.lifecycle import VisitState
from domain.visit import STAYS, VisitType
from workers.tables import visit, visit_lines

DAYS_BACK = 7
"""Visits registered before are left alone: somebody had a week to settle them at the desk."""


def unsettled_outpatients(connection: Connection, institution_code: str, short_code: str, *, day: date) -> list[str]:
    """The institution's recent outpatient visits with lines that are in no charge batch, by number."""
    outpatient = [str(each) for each in VisitType if each not in STAYS]
    rows = connection.execute(
        select(visit.c.visit_no)
        .distinct()
        .join(visit_lines, visit_lines.c.visit_no == visit.c.visit_no)
        .where(
            visit.c.institution_code == institution_code,
            visit.c.state == VisitState.OPEN,
            visit.c.visit_no >= f"{short_code}{day - timedelta(days=DAYS_BACK):%y%m%d}",
            visit.c.visit_type.in_(outpatient),
            visit_lines.c.charge_batch_no.is_(None),
        )
        .order_by(visit.c.visit_no)
    )
    return list(rows.scalars())
