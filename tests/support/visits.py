"""Registered visits at a front-end: what a test registers, delivers and settles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from domain.visit import ChargeLine, Registration, VisitType
from tests.support.frontend import DAY, HOSPITAL, NOON, PERSON, line, shelf
from workers.visits import Delivery, LineVerdict, Per, Registered, import_lines, register

ADMITTED = DAY - timedelta(days=5)


def registration(**change: Any) -> Registration:
    """An inpatient stay that began five days ago; its number is still to be issued."""
    values: dict[str, Any] = {
        "visit_no": "",
        "institution_code": HOSPITAL,
        "citizen_id_no": PERSON,
        "visit_type": VisitType.INPATIENT,
        "visit_date": ADMITTED,
        "person_name": "试验人",
        "admission_diagnosis": "肺炎",
    }
    return Registration(**values | change)


def outpatient(**change: Any) -> Registration:
    """An outpatient visit of today."""
    return registration(visit_type=VisitType.OUTPATIENT, visit_date=DAY, **change)


def registered(engine: Engine, *asked: Registration, at: datetime = NOON) -> list[str]:
    """The numbers of these visits, registered now; of one stay when none is named."""
    outcomes = register(engine, asked or [registration()], at=at)
    assert all(isinstance(outcome, Registered) for outcome in outcomes), outcomes
    return [outcome.visit_no for outcome in outcomes if isinstance(outcome, Registered)]


def charge(line_no: int, day: date = DAY, **change: Any) -> ChargeLine:
    """A good line of a day: 25.00 yuan."""
    return line(line_no, charge_date=day, **change)


def give_back(line_no: int, quantity_1e2: int = -200, day: date = DAY, **change: Any) -> ChargeLine:
    """A reversal of the item of `charge`."""
    return charge(line_no, day, quantity_1e2=quantity_1e2, line_amount_fen=quantity_1e2 * 125000 // 10000, **change)


def delivery(visit_no: str, *lines: ChargeLine, **change: Any) -> Delivery:
    """What one source delivers of a visit of the hospital."""
    values: dict[str, Any] = {"institution_code": HOSPITAL, "channel": "tables", "source": "HIS_CFXM"}
    return Delivery(visit_no=visit_no, lines=list(lines), **values | change)


def deliver(
    engine: Engine, *deliveries: Delivery, per: Per = Per.VISIT, at: datetime = NOON
) -> list[list[LineVerdict]]:
    """Import these deliveries together."""
    return import_lines(engine, shelf(), deliveries, at=at, per=per)


def codes(verdicts: Sequence[LineVerdict]) -> list[str]:
    """BZ3 of each line."""
    return [verdict.code for verdict in verdicts]


def flags(verdicts: Sequence[LineVerdict]) -> list[int]:
    """DRBZ of each line."""
    return [verdict.flag for verdict in verdicts]
