"""Discharge (出院登记): a stay or a specific-outpatient course comes to its end (2.1.2.2.4, AMB-51)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, update

from domain.lifecycle import AFTER, ALLOWED, VisitState, VisitStep
from domain.refusals import Reason, VisitRefusal, not_in_this_state, reason
from domain.visit import Discharge
from infra.codec import pack
from workers.moving.standing import against_step, unknown
from workers.numbers import wait_for_turn
from workers.tables import visit
from workers.visit_steps import Done, NotReady
from workers.visits import rows
from workers.visits.handout import Kind


def discharge(engine: Engine, institution_code: str, of: Discharge, *, at: datetime) -> Done | NotReady:
    """Discharge a visit: no charge comes in after it, only reversals, and those until its final settlement.

    The day is not before the admission nor before the last charge, and not in the future. Saying the same twice is
    saying it once.
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        row = rows.visits_by_no(connection, [of.visit_no]).get(of.visit_no)
        if row is None or row.institution_code != institution_code:
            return unknown(connection, institution_code, of.visit_no)
        if row.discharge == pack(of):
            return Done(of.visit_no)
        if (elsewhere := against_step(connection, institution_code, row, of.visit_no)) is not None:
            return elsewhere
        against = _against(connection, row, of, at.date())
        if against:
            return NotReady(tuple(against))
        connection.execute(
            update(visit)
            .where(visit.c.visit_no == of.visit_no)
            .values(
                state=AFTER[VisitState(row.state), VisitStep.DISCHARGE],
                discharge_date=of.discharge_date,
                discharge=pack(of),
            )
        )
        served = rows.served(connection, [institution_code])
        rows.put_out(connection, [(each, of.visit_no, Kind.DISCHARGE, 0) for each in served.values()])
    return Done(of.visit_no)


def _against(connection: Connection, row: Any, of: Discharge, today: date) -> list[Reason]:
    if not rows.registration_of(row).is_stay:
        return [reason(VisitRefusal.NO_STAY)]
    state = VisitState(row.state)
    if VisitStep.DISCHARGE not in ALLOWED[state]:
        return [not_in_this_state(state, VisitStep.DISCHARGE)]
    found: list[Reason] = []
    charged = rows.charges_end(connection, of.visit_no)
    if of.discharge_date < row.visit_date:
        found.append(reason(VisitRefusal.DISCHARGE_TOO_EARLY, f"入院日期 {row.visit_date}"))
    elif charged is not None and of.discharge_date < charged:
        found.append(reason(VisitRefusal.DISCHARGE_TOO_EARLY, f"最后一笔费用的日期 {charged}"))
    if of.discharge_date > today:
        found.append(reason(VisitRefusal.DISCHARGE_IN_FUTURE))
    return found
