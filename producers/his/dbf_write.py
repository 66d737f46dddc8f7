"""Writing DBF files: whole files that appear at once, and records added to the file of the day."""

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import Enum
from itertools import chain, repeat
from pathlib import Path
from typing import TypeAlias

from producers.his.dbf_format import (
    ENCODING,
    END_OF_FILE,
    LIVE,
    DbfProblem,
    Header,
    IncompleteFile,
    day_bytes,
    header_bytes,
    read_header,
    require_same_shape,
)
from producers.his.dbf_lock import locked
from producers.his.fields import Field, Layout

Value: TypeAlias = str | int | Decimal | date | bool | None

_HEADER_AT_MOST = 65_535
_DAY_AT, _COUNT_AT = 1, 4
_QUANTA = [Decimal(1).scaleb(-decimals) for decimals in range(16)]
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])


class Misfit(Enum):
    """Why a value cannot stand in its column; the text is for the hospital."""

    KIND = "值的类型与字段不符"
    LENGTH = "文本超过字段长度（按GB18030字节计）"
    ENCODING = "含有无法用GB18030表示的字符"
    SCALE = "小数位数超过字段规定"
    OVERFLOW = "数值超出字段范围"
    SIGN = "该字段不允许负数"


class DoesNotFit(DbfProblem):
    """A value does not fit its column; nothing was written."""

    def __init__(self, file: str, record: int, column: str, misfit: Misfit) -> None:
        self.record, self.column, self.misfit = record, column, misfit
        super().__init__(
            file,
            f"record {record}, column {column}: {misfit.name.lower()}",
            f"第{record}条记录字段{column}：{misfit.value}",
        )


class UnknownColumn(DbfProblem):
    """A record has a value for a column that the file does not have; nothing was written."""

    def __init__(self, file: str, record: int, columns: Iterable[str]) -> None:
        named = sorted(columns)
        super().__init__(
            file,
            f"record {record} names columns the file does not have: {', '.join(named)}",
            f"第{record}条记录含有文件中没有的字段：{'、'.join(named)}",
        )


class FileExists(DbfProblem):
    """A file of this name is there already; it may hold read-in flags, so it is not replaced."""

    def __init__(self, file: str) -> None:
        super().__init__(file, "exists already", "文件已存在，未覆盖")


def write(path: Path, layout: Layout, rows: Iterable[Mapping[str, Value]], *, day: date) -> None:
    """Write a new file that others see complete or not at all; a column left out of a row stays blank."""
    body, count = _body(path.name, layout.fields, rows, first=1)
    content = header_bytes(layout.fields, count, day) + body + END_OF_FILE

    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(unfinished, path)  # unlike a rename it does not replace what came in between
    except FileExistsError:
        raise FileExists(path.name) from None
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_folder(path.parent)


def append(path: Path, layout: Layout, rows: Iterable[Mapping[str, Value]], *, day: date) -> int:
    """Add records to the file, or begin it, and return the number of the first one.

    A reader that does not lock sees the old records or all of them: the count changes last.
    """
    rows = list(rows)
    while True:
        try:
            with locked(path) as file:
                return _append(file, path.name, layout, rows, day)
        except FileNotFoundError:
            pass
        try:
            write(path, layout, rows, day=day)
            return 1
        except FileExists:  # somebody else began it meanwhile
            continue


def shorten(text: str, width: int) -> str:
    """Return as many whole characters of a free text as fit into `width` bytes (AMB-19)."""
    return text.encode(ENCODING)[:width].decode(ENCODING, errors="ignore")


def cell(field: Field, value: Value) -> bytes:
    """Return a value as the bytes of its column, or raise `Unfit`."""
    if value is None:
        return b" " * field.width
    match field.kind:
        case "C":
            return _text(field, value)
        case "N":
            return _number(field, value)
        case "D":
            return _date(value)
        case "L":
            return _logical(value)


class Unfit(Exception):
    """A value does not fit; whoever knows the record makes a `DoesNotFit` of it."""

    def __init__(self, misfit: Misfit) -> None:
        super().__init__(misfit.name)
        self.misfit = misfit


def _append(file: int, name: str, layout: Layout, rows: Sequence[Mapping[str, Value]], day: date) -> int:
    header = stored_header(file, name)
    require_same_shape(header.fields, layout, name)
    body, count = _body(name, layout.fields, rows, first=header.count + 1)

    _write_at(file, header.end, body + END_OF_FILE)
    os.ftruncate(file, header.end + len(body) + 1)  # what an append that was cut short may have left
    os.fsync(file)
    _write_at(file, _COUNT_AT, (header.count + count).to_bytes(4, "little"))
    _write_at(file, _DAY_AT, day_bytes(day))
    os.fsync(file)
    return header.count + 1


def stored_header(file: int, name: str) -> Header:
    """Read the header of an open file and make sure that all its records are there."""
    header = read_header(os.pread(file, _HEADER_AT_MOST, 0), name)
    size = os.fstat(file).st_size
    if size < header.end:
        raise IncompleteFile(name, header.end, size)
    return header


def _body(name: str, fields: Sequence[Field], rows: Iterable[Mapping[str, Value]], *, first: int) -> tuple[bytes, int]:
    """Return the records as bytes, and how many there are; the file will give them numbers from `first`."""
    rows = list(rows)
    codes = {field.code for field in fields}
    for record, row in enumerate(rows, first):
        if not row.keys() <= codes:
            raise UnknownColumn(name, record, row.keys() - codes)
    columns = [_cells(name, field, [row.get(field.code) for row in rows], first) for field in fields]
    return b"".join(chain.from_iterable(zip(repeat(LIVE, len(rows)), *columns, strict=True))), len(rows)


def _cells(name: str, field: Field, values: Sequence[Value], first: int) -> list[bytes]:
    """Encode every different value once; a misfit is then looked for record by record."""
    try:
        # 1, True and 1.0 are equal: where kinds are mixed, one must not pass for the other.
        if len(set(map(type, values)) - {type(None)}) > 1:
            return [cell(field, value) for value in values]
        encoded = {value: cell(field, value) for value in set(values)}
        return [encoded[value] for value in values]
    except (Unfit, TypeError):  # TypeError: a value without a hash
        for record, value in enumerate(values, first):
            try:
                cell(field, value)
            except Unfit as unfit:
                raise DoesNotFit(name, record, field.code, unfit.misfit) from None
        raise


def _text(field: Field, value: Value) -> bytes:
    if not isinstance(value, str):
        raise Unfit(Misfit.KIND)
    try:
        encoded = value.encode(ENCODING)
    except UnicodeEncodeError:
        raise Unfit(Misfit.ENCODING) from None
    if b"\0" in encoded:  # would be read as padding
        raise Unfit(Misfit.ENCODING)
    if len(encoded) > field.width:
        raise Unfit(Misfit.LENGTH)
    return encoded.ljust(field.width)


def _number(field: Field, value: Value) -> bytes:
    quantum = _QUANTA[field.decimals]
    # An amount above zero with the column's own decimals, as nearly every number is, is written as it stands.
    if type(value) is Decimal and value.same_quantum(quantum) and value > 0:
        text = str(value)
        if "E" not in text and len(text) <= _longest(field.width, field.digits, field.decimals):
            return text.encode().rjust(field.width)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Unfit(Misfit.KIND)
    number = Decimal(value)
    if not number.is_finite():
        raise Unfit(Misfit.OVERFLOW)
    try:
        exact = number if number.same_quantum(quantum) else number.quantize(quantum, context=_EXACT)
    except Inexact:
        raise Unfit(Misfit.SCALE) from None
    except InvalidOperation:
        raise Unfit(Misfit.OVERFLOW) from None
    if not exact:
        exact = exact.copy_abs()  # no "-0.00"
    if exact < 0 and not field.is_signed:
        raise Unfit(Misfit.SIGN)
    written = f"{exact:f}".encode()
    too_many_digits = field.digits is not None and exact.adjusted() >= field.digits - field.decimals
    if len(written) > field.width or too_many_digits:
        raise Unfit(Misfit.OVERFLOW)
    return written.rjust(field.width)


def _longest(width: int, digits: int | None, decimals: int) -> int:
    """The most characters of a number above zero that is written with all its decimals."""
    return width if digits is None else min(width, digits + (decimals > 0) + (digits == decimals))


def _date(value: Value) -> bytes:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise Unfit(Misfit.KIND)
    return f"{value.year:04}{value.month:02}{value.day:02}".encode()


def _logical(value: Value) -> bytes:
    if not isinstance(value, bool):
        raise Unfit(Misfit.KIND)
    return b"T" if value else b"F"


def _write_at(file: int, offset: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
