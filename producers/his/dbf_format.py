"""What a dBase III file looks like: its header, the columns it names, and the ways it can be no such file."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import zip_longest

from producers.his.fields import Field, Kind

ENCODING = "gb18030"
END_OF_FILE = b"\x1a"
LIVE, DELETED = b" ", b"*"

_VERSION = 0x03
_CODE_PAGE = 0x4D
_HEADER = struct.Struct("<B3sIHH16xBB2x")
_COLUMN = struct.Struct("<11scIBB14x")  # name, kind, place in the record as FoxPro has it, width, decimals
_END_OF_COLUMNS = b"\r"
_MAX_NAME_BYTES = 10

_KINDS: dict[bytes, Kind] = {b"C": "C", b"N": "N", b"F": "N", b"D": "D", b"L": "L"}
_GB_PAGES = {0x4D, 0x7A, 0x00}  # 0x00: FoxPro for DOS and many HIS write none
_OTHER_PAGES = {
    0x01: "CP437",
    0x02: "CP850",
    0x03: "Windows-1252",
    0x13: "Shift-JIS",
    0x4E: "CP949",
    0x4F: "Big5",
    0x57: "ANSI",
    0x78: "Big5",
    0x79: "CP949",
    0x7B: "Shift-JIS",
    0xC8: "Windows-1250",
    0xC9: "Windows-1251",
}
_OTHER_VERSIONS = {
    0x02: "FoxBASE",
    0x04: "dBase 7",
    0x30: "Visual FoxPro",
    0x31: "Visual FoxPro",
    0x32: "Visual FoxPro",
    0x43: "dBase IV SQL",
    0x63: "dBase IV SQL",
}
_MEMO_VERSIONS = {0x83: "dBase III", 0x8B: "dBase IV", 0xCB: "dBase IV SQL", 0xF5: "FoxPro 2"}


class DbfProblem(Exception):
    """A file could not be read or written; `message_zh` is for the hospital and holds no field's content."""

    def __init__(self, file: str, message: str, message_zh: str) -> None:
        super().__init__(f"{file}: {message}")
        self.file = file
        self.message_zh = f"{file}：{message_zh}"


class NotYet(DbfProblem):
    """The file may be good a moment later: try again."""


class IncompleteFile(NotYet):
    """Less has arrived than the header promises: the file is still being written, or was cut."""

    def __init__(self, file: str, expected: int, found: int) -> None:
        super().__init__(
            file,
            f"{found} of {expected} bytes have arrived",
            f"文件不完整（应有{expected}字节，现有{found}字节），可能仍在写入，稍后重试",
        )


class NotDbf(DbfProblem):
    """The first byte is that of no DBF file."""

    def __init__(self, file: str) -> None:
        super().__init__(file, "not a DBF file", "不是DBF文件")


class UnsupportedVersion(DbfProblem):
    """A DBF file of another product, whose records may look different."""

    def __init__(self, file: str, product: str) -> None:
        super().__init__(
            file,
            f"a {product} table, dBase III is read",
            f"文件为{product}格式，请另存为dBase III格式（FoxPro：COPY TO … TYPE FOX2X）",
        )


class MemoRefused(DbfProblem):
    """The file keeps part of its text in a second file."""

    def __init__(self, file: str, where: str, where_zh: str) -> None:
        super().__init__(file, f"memo in {where}", f"{where_zh}含备注型（Memo）数据，不支持")


class UnsupportedKind(DbfProblem):
    """A column of a kind other than C, N, F, D, L."""

    def __init__(self, file: str, column: str, kind: str) -> None:
        super().__init__(
            file,
            f"column {column} is of kind {kind!r}",
            f"字段{column}的类型{kind!r}不支持，只支持C、N、F、D、L",
        )


class UnsupportedCodePage(DbfProblem):
    """The header names a code page other than GBK: its Chinese would be read wrongly."""

    def __init__(self, file: str, code_page: int) -> None:
        named = f"0x{code_page:02X}"
        if code_page in _OTHER_PAGES:
            named += f" {_OTHER_PAGES[code_page]}"
        super().__init__(file, f"code page {named} is not GBK", f"文件的代码页为{named}，请用简体中文GBK（0x4D）输出")


class DamagedFile(DbfProblem):
    """It begins as a DBF file and contradicts itself further on."""


class LayoutMismatch(DbfProblem):
    """Columns are missing or are not what the specification says."""

    def __init__(self, file: str, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        super().__init__(
            file,
            f"columns differ from the specification: {', '.join(columns)}",
            f"字段缺少或与接口规定不符：{'、'.join(columns)}",
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The first part of a DBF file."""

    fields: tuple[Field, ...]
    count: int
    length: int
    record_length: int
    code_page: int
    updated: date | None

    @property
    def end(self) -> int:
        """Where the last counted record ends; what follows is the end mark or surplus."""
        return self.length + self.count * self.record_length

    def record_at(self, number: int) -> int:
        """Return where the record of this number begins; the first is number 1."""
        return self.length + (number - 1) * self.record_length

    def offset(self, code: str) -> int:
        """Return where a column begins in its record; the first byte of a record is the deletion flag."""
        codes = [field.code for field in self.fields]
        return 1 + sum(field.width for field in self.fields[: codes.index(code)])


def read_header(data: bytes, file: str) -> Header:
    """Read the header at the start of `data`, or say why this is no dBase III file of ours."""
    _refuse_other_formats(data, file)
    if len(data) < _HEADER.size:
        raise IncompleteFile(file, _HEADER.size, len(data))
    _, day, count, length, record_length, _, code_page = _HEADER.unpack_from(data)
    if len(data) < length:
        raise IncompleteFile(file, length, len(data))
    if code_page not in _GB_PAGES:
        raise UnsupportedCodePage(file, code_page)
    fields = tuple(_columns(data, length, file))
    if record_length != 1 + sum(field.width for field in fields):
        raise DamagedFile(file, "columns do not add up to the record", "各字段宽度之和与记录长度不符")
    return Header(fields, count, length, record_length, code_page, _day(day))


def header_bytes(fields: Iterable[Field], count: int, day: date) -> bytes:
    """Return the header of a dBase III file with GBK code page, changed last on `day`."""
    columns = b""
    record_length = 1
    for field in fields:
        name = field.code.encode(ENCODING)
        if len(name) > _MAX_NAME_BYTES:
            raise ValueError(f"a DBF column name has at most {_MAX_NAME_BYTES} bytes: {field.code}")
        columns += _COLUMN.pack(name, field.kind.encode(), record_length, field.width, field.decimals)
        record_length += field.width
    length = _HEADER.size + len(columns) + len(_END_OF_COLUMNS)
    start = _HEADER.pack(_VERSION, day_bytes(day), count, length, record_length, 0, _CODE_PAGE)
    return start + columns + _END_OF_COLUMNS


def day_bytes(day: date) -> bytes:
    """Return a day as the header keeps it: years since 1900, month, day."""
    return bytes((day.year - 1900, day.month, day.day))


def require_same_shape(found: Iterable[Field], wanted: Iterable[Field], file: str) -> None:
    """Refuse a file whose columns are not exactly the wanted ones, in their order."""
    pairs = zip_longest(found, wanted)
    other = [(want or have).code for have, want in pairs if not (have and want and have.shape == want.shape)]
    if other:
        raise LayoutMismatch(file, other)


def _refuse_other_formats(data: bytes, file: str) -> None:
    if not data:
        raise IncompleteFile(file, _HEADER.size, 0)
    version = data[0]
    if version in _MEMO_VERSIONS:
        product = _MEMO_VERSIONS[version]
        raise MemoRefused(file, f"the {product} table", f"{product}文件")
    if version in _OTHER_VERSIONS:
        raise UnsupportedVersion(file, _OTHER_VERSIONS[version])
    if version != _VERSION:
        raise NotDbf(file)


def _columns(data: bytes, length: int, file: str) -> Iterable[Field]:
    """Yield the columns the header describes; a name stands once."""
    seen: set[str] = set()
    at = _HEADER.size
    while data[at : at + 1] != _END_OF_COLUMNS:
        if at + _COLUMN.size >= length:
            raise DamagedFile(file, "the list of columns has no end", "文件头的字段表不完整")
        field = _column(*_COLUMN.unpack_from(data, at), file=file)
        if field.code in seen:
            raise DamagedFile(file, f"column {field.code} stands twice", f"字段{field.code}重复")
        seen.add(field.code)
        yield field
        at += _COLUMN.size


def _column(name: bytes, kind: bytes, _: int, width: int, decimals: int, *, file: str) -> Field:
    try:
        code = name.partition(b"\0")[0].decode(ENCODING).strip().upper()
    except UnicodeDecodeError:
        raise DamagedFile(file, "a column's name is not text", "文件头中有无法识别的字段名") from None
    if not code or not width:
        raise DamagedFile(file, "a column has no name or no width", "文件头中有字段缺少名称或宽度")
    if kind == b"M":
        raise MemoRefused(file, f"column {code}", f"字段{code}")
    if kind not in _KINDS:
        raise UnsupportedKind(file, code, kind.decode("latin-1"))
    known = _KINDS[kind]
    return Field(code, known, width, decimals if known == "N" else 0)


def _day(raw: bytes) -> date | None:
    try:
        return date(1900 + raw[0], raw[1], raw[2])
    except ValueError:
        return None
