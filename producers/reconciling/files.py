"""Reconciliation files up and down (9101, 9102): one TAB-separated text in UTF-8, in a ZIP.

The reader is strict and finds everything that is wrong at once. It never writes to a disk, and never holds more than it
says it would.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from datetime import date

from domain.messages import FoundDifference, InstitutionLine
from domain.settlement_files import MORE, NATIONAL, Wrong, read_row, write_result

MAX_ZIP = 16 * 1024 * 1024
MAX_TEXT = 32 * 1024 * 1024
MAX_LINES = 200_000
MOST_WRONG = 1000
"""So many errors are listed; more are only counted as there being more."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_WIDTHS = (len(NATIONAL), len(NATIONAL) + len(MORE))
_ENCRYPTED = 0x1
_BOM = b"\xef\xbb\xbf"


class FileRefused(Exception):
    """The file cannot be taken; everything that is wrong with it, rows in their order."""

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        self.wrong = list(wrong)
        super().__init__(f"{len(self.wrong)} errors")


def read(packed: bytes) -> list[InstitutionLine]:
    """The lines of the book in a ZIP. Raises FileRefused."""
    return read_text(_unzipped(packed))


def read_text(content: bytes) -> list[InstitutionLine]:
    """The lines of the book. Raises FileRefused."""
    if content.startswith(_BOM):
        raise _refused("bom", "文件以 BOM 开头，应为不带 BOM 的 UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        at = content[: error.start].count(b"\n") + 1
        raise FileRefused([Wrong(at, "", "not-utf8", "不是 UTF-8 编码")]) from None
    rows = text.replace("\r\n", "\n").split("\n")
    if rows[-1] == "":
        rows.pop()
    if len(rows) > MAX_LINES:
        raise _refused("too-many-rows", f"多于 {MAX_LINES} 行")
    width = rows[0].count("\t") + 1 if rows else _WIDTHS[0]
    if width not in _WIDTHS:
        raise FileRefused([Wrong(1, "", "wrong-width", f"应为 {_WIDTHS[0]} 或 {_WIDTHS[1]} 列，有 {width} 列")])
    wrong: list[Wrong] = []
    lines = []
    for number, row in enumerate(rows, 1):
        values = row.split("\t")
        if len(values) != width:
            wrong.append(Wrong(number, "", "wrong-width", f"应为 {width} 列，有 {len(values)} 列"))
        else:
            line = read_row(number, values, wrong)
            if line is not None:
                lines.append(line)
        if len(wrong) >= MOST_WRONG:
            wrong = [*wrong[:MOST_WRONG], Wrong(0, "", "more", f"只列出前 {MOST_WRONG} 处错误")]
            break
    if wrong:
        raise FileRefused(wrong)
    return lines


def result_name(institution_code: str, day: date) -> str:
    """What the text in a result is called."""
    return f"{institution_code}_{day:%Y%m%d}_result.txt"


def write(name: str, differences: Sequence[FoundDifference]) -> bytes:
    """The result of a comparison as a ZIP with one text of this name; the same bytes for the same differences."""
    text = "".join(f"{row}\n" for row in write_result(differences))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text.encode(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _unzipped(packed: bytes) -> bytes:
    if len(packed) > MAX_ZIP:
        raise _refused("zip-too-large", f"压缩文件大于 {MAX_ZIP >> 20} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as file:
            return _only_text(file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, ValueError, OSError):
        raise _refused("not-a-zip", "不是完好的 ZIP 文件") from None


def _only_text(file: zipfile.ZipFile) -> bytes:
    members = file.infolist()
    if len(members) != 1:
        raise _refused("one-file", f"ZIP 内应恰有一个 .txt 文件，有 {len(members)} 个")
    (member,) = members
    if "/" in member.filename or "\\" in member.filename or not member.filename.lower().endswith(".txt"):
        raise _refused("wrong-name", "ZIP 内的文件应以 .txt 结尾，且不在文件夹内")
    if member.flag_bits & _ENCRYPTED:
        raise _refused("encrypted", "ZIP 文件不得加密")
    if member.compress_type not in _METHODS:
        raise _refused("not-a-zip", "ZIP 的压缩方法不是 deflate")
    # What the archive says of the size may be a lie, so it is never asked: reading stops one byte after the limit.
    with file.open(member) as text:
        content = text.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT:
        raise _refused("text-too-large", f"展开后大于 {MAX_TEXT >> 20} MiB")
    return content


def _refused(code: str, words: str) -> FileRefused:
    return FileRefused([Wrong(0, "", code, words)])
