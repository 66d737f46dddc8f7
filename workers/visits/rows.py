"""Reading registered visits, and the statements that several steps of a visit share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, or_, select

from domain.checks import Standing, Unsettled
from domain.lifecycle import ClaimState, VisitState
from domain.visit import FIRST_OF_CENTRE, ChargeLine, Discharge, Registration, unpack_lines
from infra.clock import SHANGHAI
from infra.codec import unpack
from infra.database import execute_many
from workers.admission import DOORS
from workers.tables import STILL_FAILS, claim, hand_out, institution, line_failure, visit, visit_lines

CHANNEL = "visit"
"""The channel of a registered visit's claims: their results go through `to_hand_out`."""

MOST_BATCHES = FIRST_OF_CENTRE - 1
"""FYPC is NUMBER(4) (AMB-16), and the last of its numbers are the centre's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitView:
    """A registered visit as its institution may see it."""

    registration: Registration
    state: VisitState
    registered_at: datetime
    last_batch_no: int
    final_batch_no: int | None
    discharge: Discharge | None
    lines_imported: int
    lines_unsettled: int
    unsettled_fen: int
    lines_failed: int


# Lines are free to be settled when no claim holds them: none was made of them, it went back for a failed line before
# it ever left this server, or its settlement was taken back.
CLAIM_OF_LINES = and_(
    claim.c.visit_no == visit_lines.c.visit_no, claim.c.charge_batch_no == visit_lines.c.charge_batch_no
)
CONTRA = claim.alias("contra")
CONTRA_OF_CLAIM = and_(CONTRA.c.visit_no == claim.c.visit_no, CONTRA.c.charge_batch_no == claim.c.refunded_by)
ARE_FREE = or_(
    visit_lines.c.charge_batch_no.is_(None),
    claim.c.state == ClaimState.RETURNED,
    CONTRA.c.state == ClaimState.SETTLED,
)
LINES = visit_lines.outerjoin(claim, CLAIM_OF_LINES).outerjoin(CONTRA, CONTRA_OF_CLAIM)

_SERVED = select(
    institution.c.institution_code,
    institution.c.short_code,
    institution.c.frontends,
    institution.c.frontend_part,
    institution.c.exchange,
    institution.c.outpatient_flow,
    institution.c.move_no,
    *DOORS,
).where(institution.c.institution_code.in_(bindparam("codes", expanding=True)), institution.c.active)
_VISITS = select(visit).where(visit.c.visit_no.in_(bindparam("visits", expanding=True)))
_UNSETTLED = (
    select(
        visit_lines.c.visit_no,
        func.sum(visit_lines.c.positive_fen),
        func.sum(visit_lines.c.negative_fen),
        func.sum(visit_lines.c.line_count),
    )
    .select_from(LINES)
    .where(visit_lines.c.visit_no.in_(bindparam("visits", expanding=True)), ARE_FREE)
    .group_by(visit_lines.c.visit_no)
)
_IMPORTED = (
    select(visit_lines.c.visit_no, func.sum(visit_lines.c.line_count))
    .where(visit_lines.c.visit_no.in_(bindparam("visits", expanding=True)))
    .group_by(visit_lines.c.visit_no)
)
_FAILED = (
    select(line_failure.c.visit_no, func.count())
    .where(STILL_FAILS, line_failure.c.visit_no.in_(bindparam("visits", expanding=True)))
    .group_by(line_failure.c.visit_no)
)
_HAND_OUT = insert(hand_out)
_IN_CHANNEL = ("dbf", "tables")


def served(connection: Connection, codes: Collection[str]) -> dict[str, Any]:
    """The institutions among these that this front-end serves."""
    return {row.institution_code: row for row in connection.execute(_SERVED, {"codes": list(codes)})}


def visits_by_no(connection: Connection, visit_nos: Collection[str]) -> dict[str, Any]:
    """The rows of these visits, whosesoever they are."""
    if not visit_nos:
        return {}
    return {row.visit_no: row for row in connection.execute(_VISITS, {"visits": sorted(visit_nos)})}


def registration_of(row: Any) -> Registration:
    """What was registered."""
    return unpack(row.content, Registration)


def standing_of(row: Any) -> Standing:
    """What the visit is to the checks."""
    citizen_id_no = registration_of(row).citizen_id_no
    return Standing(row.institution_code, citizen_id_no, row.visit_date, VisitState(row.state), row.discharge_date)


def unsettled(connection: Connection, visit_nos: Collection[str]) -> dict[str, Unsettled]:
    """The amounts of each visit's lines that are imported and not settled; a visit without any is left out."""
    rows = connection.execute(_UNSETTLED, {"visits": sorted(visit_nos)}) if visit_nos else ()
    return {visit_no: Unsettled(int(positive), int(negative)) for visit_no, positive, negative, _ in rows}


def lines_imported(connection: Connection, visit_nos: Collection[str]) -> dict[str, int]:
    """How many lines each visit has."""
    rows = connection.execute(_IMPORTED, {"visits": sorted(visit_nos)}) if visit_nos else ()
    return {visit_no: int(count) for visit_no, count in rows}


def lines_failed(connection: Connection, visit_nos: Collection[str]) -> dict[str, int]:
    """How many lines of each visit failed their checks and were not corrected yet."""
    rows = connection.execute(_FAILED, {"visits": sorted(visit_nos)}) if visit_nos else ()
    return {visit_no: int(count) for visit_no, count in rows}


def put_out(connection: Connection, rows: Iterable[tuple[Any, str, str, int]]) -> None:
    """Note what an exchange is to be given: (row of the institution, visit number, kind, number).

    An institution that uses the API only has no exchange and is asked for nothing.
    """
    waiting = [
        {"institution_code": of.institution_code, "visit_no": visit_no, "kind": kind, "number": number}
        for of, visit_no, kind, number in rows
        if of.exchange in _IN_CHANNEL
    ]
    execute_many(connection, _HAND_OUT, waiting)


def find(connection: Connection, institution_code: str, visit_no: str) -> VisitView | None:
    """The institution's registered visit of this number; another institution's is as unknown as none."""
    return next(iter(views(connection, institution_code, [visit_no])), None)


def views(connection: Connection, institution_code: str, visit_nos: Collection[str]) -> list[VisitView]:
    """The institution's registered visits of these numbers, in the order given; those that are none are left out."""
    held = visits_by_no(connection, visit_nos)
    free = {row[0]: row for row in connection.execute(_UNSETTLED, {"visits": sorted(held)})} if held else {}
    imported_lines, failed = lines_imported(connection, list(held)), lines_failed(connection, list(held))
    found = []
    for visit_no in visit_nos:
        row = held.get(visit_no)
        if row is None or row.institution_code != institution_code:
            continue
        _, positive, negative, count = free.get(visit_no, (visit_no, 0, 0, 0))
        found.append(
            VisitView(
                registration=registration_of(row),
                state=VisitState(row.state),
                registered_at=row.registered_at,
                last_batch_no=row.last_batch_no,
                final_batch_no=row.final_batch_no,
                discharge=None if row.discharge is None else unpack(row.discharge, Discharge),
                lines_imported=imported_lines.get(visit_no, 0),
                lines_unsettled=int(count),
                unsettled_fen=int(positive) + int(negative),
                lines_failed=failed.get(visit_no, 0),
            )
        )
    return found


def listed(
    connection: Connection,
    institution_code: str,
    *,
    states: Collection[VisitState] = (VisitState.OPEN,),
    day: date | None = None,
    limit: int = 100,
) -> list[Registration]:
    """The institution's visits in these states, registered on the day if one is named, newest number first."""
    asked = select(visit.c.content).where(
        visit.c.institution_code == institution_code, visit.c.state.in_([str(state) for state in states])
    )
    if day is not None:
        begins = datetime.combine(day, time(), SHANGHAI)
        asked = asked.where(visit.c.registered_at >= begins, visit.c.registered_at < begins + timedelta(days=1))
    rows = connection.execute(asked.order_by(visit.c.visit_no.desc()).limit(limit))
    return [unpack(content, Registration) for content in rows.scalars()]


def imported(connection: Connection, visit_no: str) -> list[ChargeLine]:
    """Every imported line of a visit, in the order of import."""
    rows = connection.execute(
        select(visit_lines.c.lines).where(visit_lines.c.visit_no == visit_no).order_by(visit_lines.c.import_id)
    )
    return [line for packed in rows.scalars() for line in unpack_lines(packed)]


def charges_end(connection: Connection, visit_no: str) -> date | None:
    """The latest day a visit's imported lines were charged on; None without lines."""
    return max((line.charge_date for line in imported(connection, visit_no) if line.charge_date), default=None)
