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
