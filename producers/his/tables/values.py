"""Values between our records and the columns of the shared tables, in both directions, driven by the field table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import Enum
from typing import NamedTuple

from domain.visit import ChargeLine
from producers.his.charge_lines import UNREADABLE
from producers.his.dbf_format import ENCODING
from producers.his.fields import Field, layout

Value = str | int | Decimal | date | None
"""What a column holds: text without trailing blanks, exact numbers, days."""


class Bad(Enum):
    """A value no column of its type can hold. Only SQLite lets such values in."""

    VALUE = "value"


_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_UNIT = re.compile(r"_(1e\d|fen)$")
_LINE = layout("HIS_CFXM")
_VALUES = tuple(_LINE.named(_UNIT.sub("", name)) for name in ChargeLine._fields if name != "door_code")


class SharedLine(NamedTuple):
    """One row of HIS_CFXM or HIS_MZXM: the line, and whose it is said to be."""

    visit_no: str
    institution_code: str
    citizen_id_no: str
    line: ChargeLine
    visit_date: date | None = None
    """RYRQ."""


def line_of(row: Mapping[str, object]) -> SharedLine:
    """The charge line in a row; with code 96 where one of its values cannot be read."""
    owner = [_text(row[code]) for code in _OWNER]
    values = [read(row[code]) for code, read in _READERS]
    unreadable = Bad.VALUE in values or any(
        len(value) * 4 > width and bytes_of(value) > width
        for value, width in zip((*owner, *(values[at] for at in _CODES)), _CODE_WIDTHS, strict=True)
        if isinstance(value, str)
    )
    if unreadable:
        values = [value if not isinstance(value, Bad) else None for value in values]
    line = ChargeLine._make((*values, UNREADABLE if unreadable else ""))
    visit_no, institution, person = owner
    return SharedLine(visit_no, institution, person, line, _day(row[_VISIT_DATE]))


def value_of(field: Field, stored: object) -> Value | Bad:
    """What a stored value means: numbers rounded to the column's places as NUMBER(p,s) does, blank as nothing."""
    match field.kind:
        case "C":
            return _text(stored)
        case "D":
            return _day(stored)
        case _:
            return _number(field, stored)


def stored_as(field: Field, value: Value, *, native: bool) -> object:
    """What to hand to the driver: `native` where it takes days and decimals as they are, else as SQLite keeps them."""
    if value is None or value == "":
        return None
    if native:
        return value
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def bytes_of(text: str) -> int:
    """How much of a VARCHAR2 a text takes (AMB-19)."""
    return len(text.encode(ENCODING, "replace"))


def _text(stored: object) -> str:
    return "" if stored is None else str(stored).rstrip()


def _scaled(field: Field) -> Callable[[object], object]:
    """Reads a number as a charge line has it: prices, quantities and amounts as whole numbers of their last place."""
    factor, bound = 10**field.decimals, 10 ** (field.digits or 0)
    least = -bound if field.is_signed else int(field.identifier == "line_no") - 1

    def read(stored: object) -> object:
        if type(stored) is Decimal and stored.is_finite():
            whole = int(stored * factor)
            if whole == stored * factor and least < whole < bound:
                return whole
        value = _number(field, stored)
        if not isinstance(value, Decimal):
            return value
        whole = int(value.scaleb(field.decimals))
        return whole if least < whole else Bad.VALUE

    return read


def _reader(field: Field) -> Callable[[object], object]:
    match field.kind:
        case "C":
            return _text
        case "D":
            return _day
        case _:
            return _scaled(field)


def _day(stored: object) -> date | None:
    """A day; what is no day of the calendar is none, and code 04 says so."""
    if isinstance(stored, datetime):
        return stored.date()
    if isinstance(stored, date):
        return stored
    match = _ISO.match(str(stored or ""))
    if match is None:
        return None
    try:
        return date(*map(int, match.groups()))
    except ValueError:
        return None


def _number(field: Field, stored: object) -> Decimal | Bad | None:
    if stored is None or stored == "":
        return None
    try:
        value = Decimal(str(stored)).quantize(Decimal(1).scaleb(-field.decimals), ROUND_HALF_UP)
    except InvalidOperation:
        return Bad.VALUE
    whole_digits = (field.digits or 0) - field.decimals
    if not value.is_finite() or abs(value) >= Decimal(10) ** whole_digits or (value < 0 and not field.is_signed):
        return Bad.VALUE
    return value


_OWNER = tuple(_LINE.named(name).code for name in SharedLine._fields[:3])
_VISIT_DATE = _LINE.named("visit_date").code
_READERS = tuple((field.code, _reader(field)) for field in _VALUES)
_CODES = tuple(at for at, field in enumerate(_VALUES) if field.kind == "C" and not field.is_free_text)
_CODE_WIDTHS = (*(_LINE[code].width for code in _OWNER), *(_VALUES[at].width for at in _CODES))
