"""Handing out to the HIS: registrations, flow-one lines, results, discharges, in the order they came about (INV-51).

What stands here says nothing of files or tables: the values are named by the identifiers of the field table, and the
door writes them in its dress. A record is handed out when the door says so, after it is written; a door that dies
between the two is given it again, and finds by its key that it is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Integer, and_, bindparam, exists, or_, select, update

from domain.entitlement import Entitlement
from domain.lifecycle import OPEN, ClaimState
from domain.projection import ExchangeAmounts
from domain.visit import ChargeLine, Discharge, Registration, unpack_lines
from infra.codec import unpack
from infra.database import execute_many
from workers.claims import ClaimOutcome, outcomes
from workers.entitlement import leases
from workers.tables import TO_HAND_OUT, claim, hand_out, visit, visit_lines

Value = str | int | Decimal | date | None
Record = Mapping[str, Value]
"""Values by the identifiers of the field table; `read_flag` 0 and the creation time in `remark1` are among them."""

GWYJB = "gwyjb"
"""The dress, and the identifier of its extra column after RYLB: the civil-servant grade."""
CANCELLED = "CANCEL"
"""What stands in `remark3` of a registration that was taken back (AMB-37)."""
ALL_BY_PERSON = "本次费用全部由个人负担"
"""ZFYY, filled when the person bears all charges (INV-25)."""

ENTITLEMENT_PATIENCE = timedelta(seconds=5)
"""A registration waits so long for the centre's answer, which fills RYLB and GWYJB; then it goes without."""


class Kind(StrEnum):
    """What is handed out."""

    REGISTRATION = "registration"
    CANCELLATION = "cancellation"
    LINES = "lines"
    RESULT = "result"
    DISCHARGE = "discharge"


FILES: dict[tuple[Kind, bool], str] = {
    (Kind.REGISTRATION, True): "RYDJ",
    (Kind.CANCELLATION, True): "RYDJ",
    (Kind.LINES, True): "CFXM",
    (Kind.RESULT, True): "FYJS",
    (Kind.DISCHARGE, True): "CYDJ",
    (Kind.REGISTRATION, False): "MZDJ",
    (Kind.CANCELLATION, False): "MZDJ",
    (Kind.LINES, False): "MZXM",
    (Kind.RESULT, False): "MZJS",
}
"""The file each kind goes to, for stays and for the others; its shared table is its counterpart."""


@dataclass(frozen=True, slots=True)
class HandOut:
    """One thing to hand out: the records to write, all of one visit and one file."""

    hand_out_id: int
    kind: Kind
    table: str
    """RYDJ, FYJS, CYDJ, MZDJ, MZXM or MZJS."""
    visit_no: str
    number: int
    """Result: charge batch number."""
    records: tuple[Record, ...]


_OF_VISIT = claim.alias("of_visit")
_UNDER_WAY = exists().where(
    _OF_VISIT.c.visit_no == hand_out.c.visit_no,
    _OF_VISIT.c.state.in_([str(state) for state in sorted(OPEN)]),
)
"""A batch of the visit is on its way to the centre: its result comes before the discharge."""
_RESULTS = (
    select(hand_out.c.hand_out_id, hand_out.c.visit_no)
    .join(claim, and_(claim.c.visit_no == hand_out.c.visit_no, claim.c.charge_batch_no == hand_out.c.number))
    .where(
        TO_HAND_OUT,
        hand_out.c.visit_no.in_(bindparam("visits", expanding=True)),
        hand_out.c.kind == Kind.RESULT,
        claim.c.state == ClaimState.SETTLED,
    )
)
_WAITING = (
    select(
        hand_out.c.hand_out_id,
        hand_out.c.visit_no,
        hand_out.c.kind,
        hand_out.c.number,
        visit.c.content,
        visit.c.discharge,
        visit.c.registered_at,
        visit_lines.c.lines,
    )
    .join(visit, visit.c.visit_no == hand_out.c.visit_no)
    .outerjoin(
        claim,
        and_(
            hand_out.c.kind == Kind.RESULT,
            claim.c.visit_no == hand_out.c.visit_no,
            claim.c.charge_batch_no == hand_out.c.number,
        ),
    )
    .outerjoin(visit_lines, and_(hand_out.c.kind == Kind.LINES, visit_lines.c.import_id == hand_out.c.number))
    .where(
        TO_HAND_OUT,
        hand_out.c.institution_code == bindparam("code"),
        or_(hand_out.c.kind != Kind.RESULT, claim.c.state == ClaimState.SETTLED),
        or_(hand_out.c.kind != Kind.DISCHARGE, ~_UNDER_WAY),
    )
    .order_by(hand_out.c.hand_out_id)
    .limit(bindparam("most", type_=Integer))
)
_HANDED_OUT = (
    update(hand_out)
    .where(hand_out.c.hand_out_id == bindparam("id"), hand_out.c.handed_at.is_(None))
    .values(handed_at=bindparam("at"))
)


def to_hand_out(
    connection: Connection,
    institution_code: str,
    *,
    at: datetime,
    limit: int,
    dress: str = "",
    withheld: Collection[str] = (),
) -> list[HandOut]:
    """What the institution's exchange has not been given yet, oldest first; one query for what waits.

    Deployed readers take any one unread result of a visit and mark all of them, so a visit gets one result at a time:
    of several the oldest, and none while the visit is among the `withheld`, whose last result the door knows to be
    unread. Nothing waits unless the door says so. A discharge comes last: after every result of its visit, those of
    batches that are on their way to the centre among them.
    """
    waiting = connection.execute(_WAITING, {"code": institution_code, "most": limit}).all()
    offered: list[Any] = []
    with_result = set(withheld)
    for row in waiting:
        if row.kind == Kind.RESULT:
            if row.visit_no in with_result:
                continue
            with_result.add(row.visit_no)
        offered.append(row)
    offered = _discharges_last(connection, offered)

    registrations = {row.visit_no: unpack(row.content, Registration) for row in offered}
    known = leases(connection, sorted({each.citizen_id_no for each in registrations.values()}), at=at)
    settled = outcomes(connection, [(row.visit_no, row.number) for row in offered if row.kind == Kind.RESULT])
    found = []
    for row in offered:
        registration = registrations[row.visit_no]
        entitlement = known.get(registration.citizen_id_no)
        if row.kind == Kind.REGISTRATION and entitlement is None and at - row.registered_at < ENTITLEMENT_PATIENCE:
            continue
        writer = _Writer(registration, entitlement, dress, settled.get((row.visit_no, row.number)))
        found.append(writer.hand_out(row, f"{at:%Y-%m-%d %H:%M:%S}"))
    return found


def _discharges_last(connection: Connection, offered: list[Any]) -> list[Any]:
    """The same without the discharges of visits that have more results waiting than are offered now, in this order."""
    discharged = {row.visit_no for row in offered if row.kind == Kind.DISCHARGE}
    if not discharged:
        return offered
    now = {row.hand_out_id for row in offered}
    waiting = connection.execute(_RESULTS, {"visits": sorted(discharged)})
    more = {row.visit_no for row in waiting if row.hand_out_id not in now}
    others = [row for row in offered if row.kind != Kind.DISCHARGE]
    return others + [row for row in offered if row.kind == Kind.DISCHARGE and row.visit_no not in more]


def handed_out(engine: Engine, hand_out_ids: Iterable[int], *, at: datetime) -> int:
    """These are written to the institution's exchange; how many were new."""
    rows = [{"id": hand_out_id, "at": at} for hand_out_id in hand_out_ids]
    with engine.begin() as connection:
        return execute_many(connection, _HANDED_OUT, rows)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the records of one visit."""

    registration: Registration
    entitlement: Entitlement | None
    dress: str
    outcome: ClaimOutcome | None

    def hand_out(self, row: Any, created: str) -> HandOut:
        kind = Kind(row.kind)
        table = FILES[kind, self.registration.is_stay]
        common: dict[str, Value] = {"remark1": created, "read_flag": 0}
        records = tuple(self._of_visit() | record | common for record in self._records(kind, row))
        return HandOut(row.hand_out_id, kind, table, row.visit_no, row.number, records)

    def _of_visit(self) -> dict[str, Value]:
        """What every record says of its visit. ZYH is called by what it is to the kind of visit."""
        of = self.registration
        return {
            "visit_no": of.visit_no,
            "institution_code": of.institution_code,
            "citizen_id_no": of.citizen_id_no,
            "inpatient_no" if of.is_stay else "outpatient_no": of.outpatient_no or None,
            "visit_date": of.visit_date,
        }

    def _records(self, kind: Kind, row: Any) -> list[dict[str, Value]]:
        match kind:
            case Kind.REGISTRATION:
                return [_registration(self.registration, self.entitlement, self.dress)]
            case Kind.CANCELLATION:
                return [_registration(self.registration, self.entitlement, self.dress) | {"remark3": CANCELLED}]
            case Kind.LINES:
                return [_line(line) for line in unpack_lines(row.lines)]
            case Kind.RESULT:
                assert self.outcome is not None
                return [_result(self.outcome)]
            case Kind.DISCHARGE:
                return [_discharge(unpack(row.discharge, Discharge))]


def _registration(of: Registration, entitlement: Entitlement | None, dress: str) -> dict[str, Value]:
    category = of.person_category or (entitlement.category if entitlement else "")
    record: dict[str, Value] = {
        "person_name": of.person_name or None,
        "employer_name": of.employer_name or None,
        "sex": of.sex or None,
        "birth_date": of.birth_date or (entitlement.birth if entitlement else None),
        "person_category": category or None,
        "visit_type": str(of.visit_type),
        "admission_diagnosis": of.admission_diagnosis or None,
        "admission_diagnosis_code": of.admission_diagnosis_code or None,
        "department_code": of.department_code or None,
        "bed_no": of.bed_no or None,
        "special_treatment_approval_no": of.special_treatment_approval_no,
    }
    if dress == GWYJB:
        record[GWYJB] = (entitlement.rank if entitlement and entitlement.civil_servant else "") or None
    return record


def _line(line: ChargeLine) -> dict[str, Value]:
    return {
        "charge_date": line.charge_date,
        "line_no": line.line_no,
        "local_item_code": line.local_item_code,
        "local_item_name": line.local_item_name,
        "charge_category": line.charge_category,
        "specification": line.specification or None,
        "dosage_form": line.dosage_form or None,
        "unit_price": _scaled(line.unit_price_1e4, 4),
        "quantity": _scaled(line.quantity_1e2, 2),
        "line_amount": _scaled(line.line_amount_fen, 2),
        "drug_origin": line.drug_origin or None,
    }


def _result(outcome: ClaimOutcome) -> dict[str, Value]:
    """A result, negative where it takes a settlement back. Outpatients have no ZYH and no CXZFJE in it (AMB-14)."""
    amounts, settled_at = outcome.amounts, outcome.settled_at
    assert amounts is not None and settled_at is not None
    record: dict[str, Value] = {
        "charge_batch_no": outcome.charge_batch_no,
        "settlement_date": settled_at.date(),
        "own_pay_reason": ALL_BY_PERSON if amounts.is_all_the_persons else None,
    }
    record |= {f"{name}_amount": _scaled(fen, 2) for name, fen in _amounts(amounts).items()}
    if not outcome.visit.is_stay:
        record["outpatient_no"] = record["over_cap_amount"] = None
    return record


def _amounts(amounts: ExchangeAmounts) -> dict[str, int]:
    every = amounts._asdict() | {"person_share_fen": amounts.person_share_fen}
    return {name.removesuffix("_fen"): fen for name, fen in every.items()}


def _discharge(of: Discharge) -> dict[str, Value]:
    return {
        "discharge_date": of.discharge_date,
        "discharge_diagnosis_1": of.discharge_diagnosis_1,
        "discharge_diagnosis_code_1": of.discharge_diagnosis_code_1 or None,
        "discharge_diagnosis_2": of.discharge_diagnosis_2 or None,
        "discharge_diagnosis_code_2": of.discharge_diagnosis_code_2 or None,
        "discharge_outcome": of.discharge_outcome or None,
    }


def _scaled(value: int | None, places: int) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(-places)
