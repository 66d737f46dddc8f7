"""What a hospital hands in: the visit (就诊) and its charge lines (费用明细), named as the specification names them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

import msgspec


class VisitType(StrEnum):
    """就诊类别 JZLB."""

    INPATIENT = "1"
    SPECIFIC_OUTPATIENT = "2"
    OUTPATIENT = "3"
    PHARMACY = "4"


STAYS = frozenset({VisitType.INPATIENT, VisitType.SPECIFIC_OUTPATIENT})

LAST_BATCH = 9_999
"""FYPC is NUMBER(4) (AMB-16)."""
FIRST_OF_CENTRE = 9_001
"""From here on charge batch numbers are the centre's, for documents it begins itself; no front-end gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One registered visit: MZDJ, field by field under the identifiers of the specification (2.1.3.2.1)."""

    visit_no: str
    institution_code: str
    citizen_id_no: str
    visit_type: VisitType
    visit_date: date
    person_name: str = ""
    person_category: str = ""
    outpatient_no: str = ""
    admission_diagnosis: str = ""
    admission_diagnosis_code: str = ""
    department_code: str = ""
    conditions: tuple[str, ...] = ()
    """What policy facts may ask of the visit: "unfiled", "delivery", "prescription", "disease:<x>", ..."""

    @property
    def is_stay(self) -> bool:
        """Inpatient and specific outpatient: RYDJ, CFXM, FYJS, CYDJ; the others: MZDJ, MZXM, MZJS (INV-53)."""
        return self.visit_type in STAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(Visit):
    """A visit as it is registered: all that RYDJ (2.1.2.2.1) and MZDJ say of it. ZYH is `outpatient_no` for all."""

    employer_name: str = ""
    sex: str = ""
    birth_date: date | None = None
    bed_no: str = ""
    special_treatment_approval_no: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Discharge:
    """The end of a stay or of a specific-outpatient course: CYDJ (2.1.2.2.4)."""

    visit_no: str
    discharge_date: date
    discharge_diagnosis_1: str
    discharge_diagnosis_code_1: str = ""
    discharge_diagnosis_2: str = ""
    discharge_diagnosis_code_2: str = ""
    discharge_outcome: str = ""
    """出院情况 CYQK: 1 cured, 2 improved, 3 not cured, 4 died, 5 other, 6 untreated."""


class ChargeLine(NamedTuple):
    """One charged item: MZXM (2.1.3.2.2). A value the institution left out is None or empty: the checks say so.

    The order of the fields is the canonical order: it is what the digest of a claim's lines is taken over.
    """

    line_no: int | None
    charge_date: date | None
    local_item_code: str
    local_item_name: str
    charge_category: int | None
    specification: str
    dosage_form: str
    unit_price_1e4: int | None
    quantity_1e2: int | None
    line_amount_fen: int | None
    drug_origin: str = ""
    door_code: str = ""
    """Set by the door when the record could not even be read as a line of its visit: 90 to 93 or 96."""


_writer = msgspec.msgpack.Encoder()
_reader = msgspec.msgpack.Decoder(list[ChargeLine])


def pack_lines(lines: list[ChargeLine]) -> bytes:
    """The canonical bytes of a claim's lines: msgpack rows in the order given, days as ISO text.

    The door's code is left out where it is empty, as it is on every line that can be settled.
    """
    return _writer.encode([line if line.door_code else line[:-1] for line in lines])


def unpack_lines(packed: bytes) -> list[ChargeLine]:
    """The lines that `pack_lines` wrote. Raises msgspec.MsgspecError when it did not write these bytes."""
    return _reader.decode(packed)
