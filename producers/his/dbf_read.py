"""Reading a DBF file: a snapshot of its bytes, decoded column by column and only where somebody asks."""

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import Enum
from functools import cached_property
from itertools import chain, count
from operator import eq
from pathlib import Path
from typing import TypeAlias, cast

from producers.his.dbf_format import (
    DELETED,
    ENCODING,
    END_OF_FILE,
    LIVE,
    DamagedFile,
    Header,
    IncompleteFile,
    LayoutMismatch,
    read_header,
)
from producers.his.fields import Layout


class Flaw(Enum):
    """Why a cell holds no value; the text is for the hospital."""

    OVERFLOW = "数值溢出（只有星号）"
    NOT_A_NUMBER = "不是数值"
    NOT_A_DATE = "不是有效日期"
    NOT_LOGICAL = "不是逻辑值"
    NOT_TEXT = "含有无法识别的汉字编码"


@dataclass(frozen=True, slots=True)
class BadValue:
    """Stands in a column where the file has something that is no value; says where, never what."""

    record: int
    column: str
    flaw: Flaw

    @property
    def message_zh(self) -> str:
        return f"第{self.record}条记录字段{self.column}：{self.flaw.value}"


@dataclass(frozen=True, slots=True)
class CutText:
    """A text whose last character was halved by the field's end; the column holds it without the half."""

    record: int
    column: str

    @property
    def message_zh(self) -> str:
        return f"第{self.record}条记录字段{self.column}：末尾汉字被截断"


Cell: TypeAlias = str | Decimal | date | bool | BadValue | None


class _Column:
    """A decoded column: what its different cells mean, and which of them stands where."""

    def __init__(
        self, meanings: Sequence["_Meaning"], places: Sequence[int], code: str, records: Sequence[int]
    ) -> None:
        self.meanings, self.places = meanings, places
        self.bad: list[BadValue] = []
        self.cut: list[CutText] = []
        if any(isinstance(value, Flaw | _Halved) for value in meanings):
            self._mark(code, records)

    @cached_property
    def values(self) -> list[Cell]:
        """The value of each record."""
        return list(map(cast(Sequence[Cell], self.meanings).__getitem__, self.places))

    def _mark(self, code: str, records: Sequence[int]) -> None:
        """Give each flaw the number of its record."""
        self.values = []
        for record, place in zip(records, self.places, strict=True):
            match self.meanings[place]:
                case Flaw() as flaw:
                    bad = BadValue(record, code, flaw)
                    self.bad.append(bad)
                    self.values.append(bad)
                case _Halved(text):
                    self.cut.append(CutText(record, code))
                    self.values.append(text)
                case value:
                    self.values.append(value)


class Table:
    """One snapshot of a DBF file. Records are numbered from 1 as dBase does; deleted ones are left out."""

    def __init__(self, name: str, snapshot: bytes, header: Header) -> None:
        self.name = name
        self.snapshot = snapshot
        self.header = header
        tail = snapshot[header.end :]
        self.surplus_bytes = len(tail) - tail.startswith(END_OF_FILE)
        self.records, self._live = _live_records(name, snapshot, header)
        self.deleted = header.count - len(self.records)
        self._decoded: dict[str, _Column] = {}

    def __len__(self) -> int:
        return len(self.records)

    @property
    def columns(self) -> Mapping[str, list[Cell]]:
        """The columns by code. The table keeps none: in a cycle it would outlive its use, bytes and all."""
        return _Columns(self)

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(field.code for field in self.header.fields)

    def expect(self, layout: Layout) -> None:
        """Refuse the file when a column of the layout is missing or of another kind; any width will do."""
        kinds = {field.code: field.kind for field in self.header.fields}
        other = [field.code for field in layout if kinds.get(field.code) != field.kind]
        if other:
            raise LayoutMismatch(self.name, other)

    def only(self, records: Sequence[int]) -> "Table":
        """The same table with these records alone: what is not asked for need not be decoded."""
        header, content = self.header, self.snapshot
        if len(records) == header.count and all(map(eq, records, self.records)):
            return self
        length = header.record_length
        starts = [header.record_at(record) for record in records]
        count = len(records).to_bytes(4, "little")
        body = b"".join([content[start : start + length] for start in starts])
        return parse(content[:4] + count + content[8 : header.length] + body, self.name)

    def texts(self, code: str) -> list[str | BadValue]:
        """Return a C column: blank is the empty text, blanks at the end are not part of it."""
        return cast(list[str | BadValue], self._values(code, "C"))

    def numbers(self, code: str) -> list[Decimal | BadValue | None]:
        """Return an N column, exactly as written."""
        return cast(list[Decimal | BadValue | None], self._values(code, "N"))

    def dates(self, code: str) -> list[date | BadValue | None]:
        """Return a D column."""
        return cast(list[date | BadValue | None], self._values(code, "D"))

    def rows(self, *codes: str) -> Iterator[dict[str, Cell]]:
        """Yield the records as dictionaries, of all columns or of those named."""
        wanted = codes or self.codes
        for row in zip(*(self.columns[code] for code in wanted), strict=True):
            yield dict(zip(wanted, row, strict=True))

    def bad_values(self, *codes: str) -> list[BadValue]:
        """Return what could not be read in all columns or in those named."""
        return [bad for code in codes or self.codes for bad in self._column(code).bad]

    def cut_texts(self, *codes: str) -> list[CutText]:
        """Return where a half character was dropped in all columns or in those named."""
        return [cut for code in codes or self.codes for cut in self._column(code).cut]

    def _values(self, code: str, kind: str) -> list[Cell]:
        if not any(field.code == code and field.kind == kind for field in self.header.fields):
            raise LayoutMismatch(self.name, [code])
        return self.columns[code]

    def mapped(self, code: str, meaning: Callable[[Decimal], int | None]) -> tuple[list[int | None], list[int]]:
        """An N column as something else, each different cell asked once; and where (from 0) a cell has no meaning.

        What is blank is None by right.
        """
        column = self._column(code)
        meant: list[int | None] = []
        strange = set()
        for place, value in enumerate(column.meanings):
            meant.append(meaning(value) if isinstance(value, Decimal) else None)
            if meant[place] is None and value is not None:
                strange.add(place)
        without = [at for at, place in enumerate(column.places) if place in strange] if strange else []
        return list(map(meant.__getitem__, column.places)), without

    def decode_together(self, *codes: str) -> None:
        """Decode neighbouring columns at once: worth it where records repeat all of them together.

        Nothing happens where the columns do not stand side by side in this file.
        """
        fields = [field for field in self.header.fields if field.code in codes]
        first = self.header.fields.index(fields[0]) if fields else 0
        if self.header.fields[first : first + len(codes)] != tuple(fields) or len(fields) != len(codes):
            return
        begin = self.header.offset(fields[0].code)
        different, places = self._cells(begin, sum(field.width for field in fields))
        for field in fields:
            at = self.header.offset(field.code) - begin
            parts = [cell[at : at + field.width] for cell in different]
            once = {part: place for place, part in enumerate(set(parts))}
            meanings = _DECODERS[field.kind](list(once))
            of_parts = [meanings[once[part]] for part in parts]
            self._decoded[field.code] = _Column(of_parts, places, field.code, self.records)

    def _column(self, code: str) -> _Column:
        if code not in self._decoded:
            field = next((field for field in self.header.fields if field.code == code), None)
            if field is None:
                raise KeyError(code)
            # Hospitals repeat dates, names, prices and quantities: every different cell is decoded once.
            different, places = self._cells(self.header.offset(code), field.width)
            meanings = _DECODERS[field.kind](different) if different else []
            self._decoded[code] = _Column(meanings, places, code, self.records)
        return self._decoded[code]

    def _cells(self, begin: int, width: int) -> tuple[list[bytes], list[int]]:
        """The different contents of some bytes of the records, and which of them stands in each."""
        after = self.header.record_length - begin - width
        cells: list[bytes] = list(chain.from_iterable(struct.iter_unpack(f"{begin}x{width}s{after}x", self._live)))
        different = list(set(cells))
        return different, list(map(dict(zip(different, count(), strict=False)).__getitem__, cells))


class _Columns(Mapping[str, list[Cell]]):
    """The columns of a table by code, each decoded at its first use."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __getitem__(self, code: str) -> list[Cell]:
        return self._table._column(code).values

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.codes)

    def __len__(self) -> int:
        return len(self._table.codes)


def read(path: Path) -> Table:
    """Read a DBF file as it stands now."""
    return parse(path.read_bytes(), path.name)


def parse(snapshot: bytes, name: str) -> Table:
    """Read the bytes of a DBF file; `name` is how messages call it."""
    header = read_header(snapshot, name)
    if len(snapshot) < header.end:
        raise IncompleteFile(name, header.end, len(snapshot))
    return Table(name, snapshot, header)


def _live_records(name: str, snapshot: bytes, header: Header) -> tuple[Sequence[int], bytes | memoryview]:
    """Return numbers and bytes of the records that are not deleted, NUL padding turned into blanks."""
    start, end, step = header.length, header.end, header.record_length
    flags = snapshot[start:end:step]
    _refuse_odd_flags(name, flags, header)

    live: bytes | memoryview = memoryview(snapshot)[start:end]
    records: Sequence[int] = range(1, header.count + 1)
    if DELETED in flags:
        records = [number for number, flag in enumerate(flags, 1) if flag != DELETED[0]]
        live = b"".join(live[(number - 1) * step : number * step] for number in records)
    if snapshot.find(b"\0", start, end) >= 0:
        live = bytes(live).replace(b"\0", b" ")
    return records, live


def _refuse_odd_flags(name: str, flags: bytes, header: Header) -> None:
    odd = flags.translate(None, LIVE + DELETED)
    if not odd:
        return
    number = flags.index(odd[0]) + 1
    if odd[:1] in (b"\0", END_OF_FILE):  # counted, but its bytes have not been written
        raise IncompleteFile(name, header.end, header.length + (number - 1) * header.record_length)
    raise DamagedFile(
        name, f"record {number} begins with an unknown flag", f"第{number}条记录的删除标志无效，文件已损坏"
    )


@dataclass(frozen=True, slots=True)
class _Halved:
    text: str


_Meaning: TypeAlias = str | Decimal | date | bool | Flaw | _Halved | None


# Joined cells are decoded in one call. The separator is never part of a cell, because NUL was turned into
# a blank, and never of a character, because the bytes after the first are 0x30 or more.
_BETWEEN = b"\0"


def _texts(cells: Sequence[bytes]) -> list[_Meaning]:
    try:
        together = _BETWEEN.join(cells).decode(ENCODING)
    except UnicodeDecodeError:
        return [_text(cell) for cell in cells]
    return [written.rstrip(" ") for written in together.split("\0")]


def _text(cell: bytes) -> _Meaning:
    written = cell.rstrip(b" ")
    try:
        return written.decode(ENCODING)
    except UnicodeDecodeError as error:
        whole, rest = written[: error.start], written[error.start :]
        # A half character: it runs to the end and begins as a character of several bytes does.
        if error.end == len(written) and 0x81 <= rest[0] <= 0xFE:
            return _Halved(whole.decode(ENCODING).rstrip(" "))
        return Flaw.NOT_TEXT


_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)")
_IN_NUMBERS = b"0123456789.+- "
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])


def _numbers(cells: Sequence[bytes]) -> list[_Meaning]:
    together = _BETWEEN.join(cells)
    if together.translate(None, _IN_NUMBERS + _BETWEEN):
        return [_number(cell) for cell in cells]
    exactly = _EXACT.create_decimal
    try:
        return [None if written.isspace() else exactly(written) for written in together.decode("ascii").split("\0")]
    except (Inexact, InvalidOperation):
        return [_number(cell) for cell in cells]


def _number(cell: bytes) -> _Meaning:
    written = cell.strip(b" ")
    if not written:
        return None
    if _NUMBER.fullmatch(written):
        return Decimal(written.decode("ascii"))
    return Flaw.NOT_A_NUMBER if written.strip(b"*") else Flaw.OVERFLOW


def _dates(cells: Sequence[bytes]) -> list[_Meaning]:
    return [_date(cell.strip(b" ")) for cell in cells]


def _date(written: bytes) -> _Meaning:
    if not written or written == b"00000000":
        return None
    if len(written) != 8 or not written.isdigit():
        return Flaw.NOT_A_DATE
    try:
        return date(int(written[:4]), int(written[4:6]), int(written[6:]))
    except ValueError:
        return Flaw.NOT_A_DATE


_LOGICAL: dict[bytes, bool | None] = {
    **dict.fromkeys((b"T", b"t", b"Y", b"y"), True),
    **dict.fromkeys((b"F", b"f", b"N", b"n"), False),
    **dict.fromkeys((b"", b"?"), None),
}


def _logicals(cells: Sequence[bytes]) -> list[_Meaning]:
    return [_LOGICAL.get(cell.strip(b" "), Flaw.NOT_LOGICAL) for cell in cells]


_DECODERS: dict[str, Callable[[Sequence[bytes]], list[_Meaning]]] = {
    "C": _texts,
    "N": _numbers,
    "D": _dates,
    "L": _logicals,
}
