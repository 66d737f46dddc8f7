"""The list of charge lines that were not imported, or with a warning (错误清单): every code, what it says, what to do.

The same list as a workbook for people (xlsx) and as a file for the HIS (DBF). It names visits and items, no person.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font

from domain.codes import CODES, WARNINGS
from domain.visit import ChargeLine
from producers.his import dbf
from producers.his.dbf_write import Unfit, cell
from producers.his.fields import Field, Layout, layout

LIST_NAME = "CWQD"
"""错误清单: CWQD and MMDD, beside the exchange files."""
SHEET, CODE_SHEET = "错误清单", "错误代码"
MOST_OF_A_TEXT = 254
"""The longest C column of dBase III."""

ERROR, WARNING = "错误", "警告"
"""What a row of the list is: not imported, or imported with a warning."""

NO_LINE = ChargeLine(None, None, "", "", None, "", "", None, None, None)
"""Of what is no line: a refused batch."""
REFUSED_ADVICE = "请按中心所述办理后重送该批次，或撤回该批次后改正重结；在此之前本次就诊的新费用不能结算"

_KNOWN = CODES | WARNINGS
_LINES = layout("CFXM")
_WIDTHS = {"项目名称": 28, "错误原因": 60, "处理办法": 60, "来源": 18, "就医登记号": 18, "发现时间": 20}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One charge line that failed, or could not be read: where it stands, what it says, and every code it got."""

    institution_code: str
    visit_no: str
    codes: tuple[str, ...]
    """The first is the one in BZ3."""
    line: ChargeLine
    source: str = ""
    """The exchange file or shared table it came in."""
    record: int | None = None
    """Its record in the file, from 1; None where only the line is known."""
    found_at: datetime | None = None
    refused_words: str = ""
    """Of a whole batch that the centre refused: why, in the words for the cashier."""

    @property
    def is_warning(self) -> bool:
        """Whether the line was imported all the same and nothing has to be sent again."""
        return bool(self.codes) and all(code in WARNINGS for code in self.codes)

    @property
    def reasons(self) -> str:
        """What the codes say, in the specification's words; of a refused batch what the centre said."""
        if self.refused_words:
            return self.refused_words
        return "；".join(f"{code} {_KNOWN[code].message_zh if code in _KNOWN else '未知代码'}" for code in self.codes)

    @property
    def advice(self) -> str:
        """What the cashier does about it."""
        if self.refused_words:
            return REFUSED_ADVICE
        return "；".join(dict.fromkeys(_KNOWN[code].advice_zh for code in self.codes if code in _KNOWN))


def _number(scaled: int | None, places: int) -> Decimal | None:
    return None if scaled is None else Decimal(scaled).scaleb(-places)


_VALUES: tuple[tuple[Field, Callable[[Failure], dbf.Value]], ...] = (
    (_LINES.named("visit_no"), lambda failure: failure.visit_no),
    (_LINES.named("institution_code"), lambda failure: failure.institution_code),
    (_LINES.named("line_no"), lambda failure: failure.line.line_no),
    (_LINES.named("charge_date"), lambda failure: failure.line.charge_date),
    (_LINES.named("local_item_code"), lambda failure: failure.line.local_item_code),
    (_LINES.named("local_item_name"), lambda failure: failure.line.local_item_name),
    (_LINES.named("unit_price"), lambda failure: _number(failure.line.unit_price_1e4, 4)),
    (_LINES.named("quantity"), lambda failure: _number(failure.line.quantity_1e2, 2)),
    (_LINES.named("line_amount"), lambda failure: _number(failure.line.line_amount_fen, 2)),
    (Field("CWDM", "C", 40, label_zh="错误代码"), lambda failure: " ".join(failure.codes)),
    (Field("CWYY", "C", MOST_OF_A_TEXT, label_zh="错误原因"), lambda failure: failure.reasons),
    (Field("CLBF", "C", MOST_OF_A_TEXT, label_zh="处理办法"), lambda failure: failure.advice),
    (Field("LY", "C", 20, label_zh="来源"), lambda failure: failure.source),
    (Field("JLH", "N", 8, digits=8, label_zh="记录号"), lambda failure: failure.record),
    (Field("FXSJ", "C", 20, label_zh="发现时间"), lambda failure: _moment(failure.found_at)),
    (Field("LB", "C", 4, label_zh="类别"), lambda failure: WARNING if failure.is_warning else ERROR),
)
LIST = Layout(LIST_NAME, tuple(field for field, _ in _VALUES))


def write_lists(folder: Path, failures: Sequence[Failure], *, day: date) -> tuple[Path, Path]:
    """Put both lists of the day into the folder, in place of earlier ones; their paths, the workbook first."""
    workbook, table = (folder / f"{LIST_NAME}{day:%m%d}.{kind}" for kind in ("xlsx", "DBF"))
    _replace(workbook, lambda path: save_workbook(path, failures))
    _replace(table, lambda path: save_table(path, failures, day=day))
    return workbook, table


def save_table(path: Path, failures: Iterable[Failure], *, day: date) -> None:
    """Write the list as a new DBF file. A value that does not fit its column is left out or shortened."""
    dbf.write(path, LIST, [_row(failure) for failure in failures], day=day)


def save_workbook(path: Path | IO[bytes], failures: Iterable[Failure]) -> None:
    """Write the list as a workbook: the lines on one sheet, what every code means on the other."""
    workbook = Workbook(write_only=True)
    lines = workbook.create_sheet(SHEET)
    _head(lines, [field.label_zh for field in LIST])
    for failure in failures:
        lines.append([_cell(lines, value(failure)) for _, value in _VALUES])
    codes = workbook.create_sheet(CODE_SHEET)
    _head(codes, ["错误代码", "错误原因", "处理办法"])
    for code in _KNOWN.values():
        codes.append([_cell(codes, text) for text in (code.code, code.message_zh, code.advice_zh)])
    workbook.save(path)


def as_row(failure: Failure) -> dict[str, str]:
    """The failure as plain texts under the list's Chinese column names, for a terminal."""
    return {field.label_zh: _plain(value(failure)) for field, value in _VALUES}


def _row(failure: Failure) -> dict[str, dbf.Value]:
    row: dict[str, dbf.Value] = {}
    for field, value in _VALUES:
        given = value(failure)
        row[field.code] = dbf.shorten(given, field.width) if isinstance(given, str) else given
    return {code: value for code, value in row.items() if _fits(code, value)}


def _fits(code: str, value: dbf.Value) -> bool:
    try:
        cell(LIST[code], value)
    except Unfit:
        return False
    return True


def _head(sheet: Any, titles: Sequence[str]) -> None:
    for number, title in enumerate(titles):
        sheet.column_dimensions[_letter(number)].width = _WIDTHS.get(title, 12)
    sheet.freeze_panes = "A2"
    row = []
    for title in titles:
        titled = WriteOnlyCell(sheet, title)
        titled.font = Font(bold=True)
        row.append(titled)
    sheet.append(row)


def _cell(sheet: Any, value: Any) -> Any:  # openpyxl's stubs know neither write-only sheets nor dates in cells
    """A cell that shows what it holds: a hospital's text that begins with = is no formula."""
    if not isinstance(value, str):
        return WriteOnlyCell(sheet, value)
    shown = WriteOnlyCell(sheet, _CONTROL.sub("", value))
    shown.data_type = "s"
    shown.alignment = Alignment(wrap_text=len(value) > 20, vertical="top")
    return shown


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _plain(value: dbf.Value) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return "" if value is None else str(value)


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """A list of ours takes the place of the one before; nobody sees half of it."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
