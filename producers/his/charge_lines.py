"""Charge lines out of a DBF table, column by column: exact numbers, and code 90 to 96 where a record is no line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import repeat

from domain.identity import written
from domain.visit import ChargeLine, Visit
from producers.his.dbf import BadValue, Flaw, Table
from producers.his.dbf_format import ENCODING
from producers.his.fields import layout

MZXM = layout("MZXM")

UNKNOWN_VISIT = "90"
OTHER_INSTITUTION = "92"
OTHER_PERSON = "93"
LINE_NO_REPEATED = "94"
UNREADABLE = "96"

_make: Callable[[Iterable[object]], ChargeLine] = partial(tuple.__new__, ChargeLine)


def charge_lines(
    table: Table, visits: Mapping[str, Visit], places: Mapping[str, range], institution_code: str
) -> list[ChargeLine]:
    """The records of an MZXM table as charge lines, in their order, each with the door's code if it deserves one.

    `places` says which records belong to which visit number, `visits` which visits are registered.
    """
    columns = _Columns(table)
    lines = list(
        map(
            _make,
            zip(
                columns.whole("XMXH", lowest=1),
                columns.days("FYRQ"),
                columns.texts("XMBH", longest=MZXM["XMBH"].width),
                columns.texts("XMMC"),
                columns.whole("FLDM", lowest=0),
                columns.texts("YPGG"),
                columns.texts("YPJX"),
                columns.scaled("JG", places=4),
                columns.scaled("MCYL", places=2),
                columns.scaled("JE", places=2),
                columns.texts("YPLY"),
                repeat(""),
                strict=False,
            ),
        )
    )
    institutions, persons = columns.texts("YYBH"), columns.texts("GMSFHM")
    columns.texts("JYDJH")
    unreadable = columns.unreadable

    all_ours = institutions.count(institution_code) == len(institutions)
    for visit_no, at in places.items():
        visit = visits.get(visit_no)
        # Nearly every visit is in order, so all of its records are asked at once.
        if visit is None or not all_ours or persons[at.start : at.stop].count(visit.citizen_id_no) < len(at):
            for place in at:
                code = _door_code(visit, institutions[place], persons[place], institution_code)
                if code and place not in unreadable:
                    lines[place] = lines[place]._replace(door_code=code)
    for place in unreadable:
        lines[place] = lines[place]._replace(door_code=UNREADABLE)
    return lines


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

    def texts(self, code: str, *, longest: int | None = None) -> list[str]:
        """A text column; with `longest`, texts of more bytes than that are unreadable."""
        cells = self._table.texts(code)
        if longest is not None and self._widths[code] > longest:
            too_long = {cell for cell in set(cells) if isinstance(cell, str) and _bytes(cell) > longest}
            self.unreadable.update(at for at, cell in enumerate(cells) if cell in too_long)
        if self._table.bad_values(code):
            self.unreadable.update(at for at, cell in enumerate(cells) if isinstance(cell, BadValue))
            return ["" if isinstance(cell, BadValue) else cell for cell in cells]
        return cells  # type: ignore[return-value]  # no bad value among them

    def days(self, code: str) -> list[date | None]:
        """A date column; what is no date of the calendar is no date, and code 04 says so."""
        cells = self._table.dates(code)
        if not self._table.bad_values(code):
            return cells  # type: ignore[return-value]  # no bad value among them
        self.unreadable.update(
            at for at, cell in enumerate(cells) if isinstance(cell, BadValue) and cell.flaw is not Flaw.NOT_A_DATE
        )
        return [None if isinstance(cell, BadValue) else cell for cell in cells]

    def scaled(self, code: str, *, places: int) -> list[int | None]:
        """A number column as whole numbers of its last place, within the digits the specification gives it."""
        bound = 10 ** (MZXM[code].digits or 0)

        def meaning(value: Decimal) -> int | None:
            scaled = value.scaleb(places)
            whole = int(scaled)
            return whole if whole == scaled and abs(whole) < bound else None

        return self._numbers(code, meaning)

    def whole(self, code: str, *, lowest: int) -> list[int | None]:
        """A column of counters or codes."""
        bound = 10 ** (MZXM[code].digits or 0)

        def meaning(value: Decimal) -> int | None:
            whole = int(value)
            return whole if whole == value and lowest <= whole < bound else None

        return self._numbers(code, meaning)

    def _numbers(self, code: str, meaning: Callable[[Decimal], int | None]) -> list[int | None]:
        """Ask each different cell once. Equal cells are one object, which is faster to look up than its value."""
        cells = self._table.numbers(code)
        different = dict(zip(map(id, cells), cells, strict=True))
        meant: dict[int, int | None] = {}
        bad: set[int] = set()
        for key, cell in different.items():
            value = None if cell is None or isinstance(cell, BadValue) else meaning(cell)
            meant[key] = value
            if value is None and cell is not None:
                bad.add(key)
        if bad:
            self.unreadable.update(at for at, cell in enumerate(cells) if id(cell) in bad)
        return list(map(meant.__getitem__, map(id, cells)))


def _bytes(text: str) -> int:
    return len(text.encode(ENCODING))
