"""Charge lines out of a DBF table, column by column: exact numbers, and code 90 to 96 where a record is no line.

CFXM and MZXM have the same columns. Which column becomes which field of a line is said by their names alone: a field
is called as the column's identifier, with its unit behind it where it is a scaled number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import repeat
from typing import NamedTuple

from domain.identity import written
from domain.money import half_up
from domain.visit import ChargeLine, Visit
from producers.his.dbf import BadValue, Flaw, Table
from producers.his.dbf_format import ENCODING
from producers.his.fields import Field, layout

MZXM = layout("MZXM")
_UNIT = re.compile(r"_(1e\d|fen)$")
_VALUES = tuple(MZXM.named(_UNIT.sub("", name)) for name in ChargeLine._fields if name != "door_code")
_INSTITUTION, _PERSON, _VISIT = map(MZXM.named, ("institution_code", "citizen_id_no", "visit_no"))
_VISIT_DATE = MZXM.named("visit_date")

_REPEATED_TOGETHER = (
    ("JYDJH", "YYBH", "GMSFHM", "ZYH", "RYRQ", "FYRQ"),
    ("XMBH", "XMMC", "FLDM", "YPGG", "YPJX", "JG"),
)
"""What the lines of a visit repeat, and the lines of an item of the price list."""

UNKNOWN_VISIT = "90"
OTHER_INSTITUTION = "92"
OTHER_PERSON = "93"
LINE_NO_REPEATED = "94"
UNREADABLE = "96"

_make: Callable[[Iterable[object]], ChargeLine] = partial(tuple.__new__, ChargeLine)


class ReadLines(NamedTuple):
    """The records of a table as charge lines, in their order, and what YYBH, GMSFHM and RYRQ say on each."""

    lines: list[ChargeLine]
    """With the door's code 96 where a record cannot be read as a line."""
    institutions: list[str]
    persons: list[str]
    visit_dates: list[date | None]
    """RYRQ; what is no day says nothing."""


def read_lines(table: Table) -> ReadLines:
    """Read a table of charge lines, column by column."""
    for neighbours in _REPEATED_TOGETHER:
        table.decode_together(*neighbours)
    columns = _Columns(table)
    lines = list(map(_make, zip(*map(columns.of, _VALUES), repeat(""), strict=False)))
    institutions, persons = columns.texts(_INSTITUTION), columns.texts(_PERSON)
    columns.texts(_VISIT)
    visit_dates = [day if isinstance(day, date) else None for day in table.dates(_VISIT_DATE.code)]
    for place in columns.unreadable:
        lines[place] = lines[place]._replace(door_code=UNREADABLE)
    return ReadLines(lines, institutions, persons, visit_dates)


def with_door_codes(read: ReadLines, visit: Visit | None, institution_code: str) -> list[ChargeLine]:
    """The lines of one visit with the first of 90, 92 and 93 that applies to each; 96 comes before them."""
    lines, institutions, persons, _ = read
    # Nearly every visit is in order, so all of its records are asked at once.
    if (
        visit is not None
        and visit.institution_code == institution_code
        and institutions.count(institution_code) == persons.count(visit.citizen_id_no) == len(lines)
    ):
        return lines
    coded = []
    for line, institution, person in zip(lines, institutions, persons, strict=True):
        code = line.door_code or _door_code(visit, institution, person, institution_code)
        coded.append(line._replace(door_code=code) if code else line)
    return coded


def _door_code(visit: Visit | None, institution: str, person: str, institution_code: str) -> str:
    """The first of 90, 92 and 93 that applies to a record, or nothing."""
    if visit is None:
        return UNKNOWN_VISIT
    if not institution == institution_code == visit.institution_code:
        return OTHER_INSTITUTION
    return "" if written(person) == visit.citizen_id_no else OTHER_PERSON


class _Columns:
    """The columns of a table as charge lines need them; notes the places of what could not be read."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._widths = {field.code: field.width for field in table.header.fields}
        self.unreadable: set[int] = set()

    def of(self, field: Field) -> Sequence[object]:
        """The values of a column as a charge line holds them."""
        match field.kind:
            case "C":
                return self.texts(field)
            case "D":
                return self.days(field)
            case _:
                return self.scaled(field) if field.decimals else self.whole(field)

    def texts(self, field: Field) -> list[str]:
        """A text column; a code of more bytes than the specification gives it is unreadable (AMB-19)."""
        code, longest = field.code, field.width
        cells = self._table.texts(code)
        if not field.is_free_text and self._widths[code] > longest:
            too_long = {cell for cell in set(cells) if isinstance(cell, str) and _bytes(cell) > longest}
            self.unreadable.update(at for at, cell in enumerate(cells) if cell in too_long)
        if self._table.bad_values(code):
            self.unreadable.update(at for at, cell in enumerate(cells) if isinstance(cell, BadValue))
            return ["" if isinstance(cell, BadValue) else cell for cell in cells]
        return cells  # type: ignore[return-value]  # no bad value among them

    def days(self, field: Field) -> list[date | None]:
        """A date column; what is no date of the calendar is no date, and code 04 says so."""
        code = field.code
        cells = self._table.dates(code)
        if not self._table.bad_values(code):
            return cells  # type: ignore[return-value]  # no bad value among them
        self.unreadable.update(
            at for at, cell in enumerate(cells) if isinstance(cell, BadValue) and cell.flaw is not Flaw.NOT_A_DATE
        )
        return [None if isinstance(cell, BadValue) else cell for cell in cells]

    def scaled(self, field: Field) -> list[int | None]:
        """A number column as whole numbers of its last place, within the digits the specification gives it.

        Some products write the amount as price times quantity comes out: that is rounded, like the product in check 14.
        """
        bound, places = 10 ** (field.digits or 0), field.decimals
        is_rounded = field.identifier == "line_amount"

        def meaning(value: Decimal) -> int | None:
            scaled = value.scaleb(places)
            whole = int(scaled)
            if whole != scaled:
                if not is_rounded:
                    return None
                whole = half_up(*scaled.as_integer_ratio())
            return whole if abs(whole) < bound else None

        return self._numbers(field.code, meaning)

    def whole(self, field: Field) -> list[int | None]:
        """A column of counters or codes; lines are numbered from 1 (AMB-16)."""
        bound, lowest = 10 ** (field.digits or 0), int(field.identifier == "line_no")

        def meaning(value: Decimal) -> int | None:
            whole = int(value)
            return whole if whole == value and lowest <= whole < bound else None

        return self._numbers(field.code, meaning)

    def _numbers(self, code: str, meaning: Callable[[Decimal], int | None]) -> list[int | None]:
        values, without = self._table.mapped(code, meaning)
        self.unreadable.update(without)
        return values


def _bytes(text: str) -> int:
    return len(text.encode(ENCODING))
