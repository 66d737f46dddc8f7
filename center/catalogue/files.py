"""Catalogue and matches from a spreadsheet: xlsx, xls or CSV. Every error is reported, with its sheet, row and column.

A column is found by its heading: the Chinese label of the specification, the column code of its view, or our own
identifier. Order does not matter, columns nobody knows are named in the report and otherwise passed over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from io import StringIO
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from domain.catalogue import OPEN_END, CoverageClass, Match
from domain.catalogue_records import (
    COVERAGE_CLASSES,
    MATCH_TYPES,
    MAX_INSTITUTION_BYTES,
    MAX_LOCAL_CODE_BYTES,
    SERVICE,
    ItemRecord,
)
from domain.money import PRICE_SCALE, RATIO_SCALE, NotAnAmount, scaled

R = TypeVar("R", ItemRecord, Match)

Cell = Any
"""A cell as the reader gives it: text, a number, a day, or nothing."""


class UnreadableFile(Exception):
    """The file is not a spreadsheet this release reads, or has no sheet with the columns that are needed."""


class Problem(NamedTuple):
    """One thing wrong: where it stands and why, in Chinese."""

    sheet: str
    row: int
    column: str
    reason: str


class Sheet(NamedTuple):
    """A sheet of a file: its heading row, and the rows under it with their numbers as the spreadsheet shows them."""

    name: str
    headings: list[str]
    rows: list[tuple[int, Sequence[Cell]]]


@dataclass(slots=True)
class Reading(Generic[R]):
    """What a file came to: the records with the row each came from, what is wrong, and what was passed over."""

    records: list[tuple[int, R]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unknown_columns: list[str] = field(default_factory=list)


class Column(NamedTuple):
    """A column of a file: our name for it, the headings it may stand under, how its cells are read."""

    name: str
    headings: tuple[str, ...]
    read: Callable[[Cell], Any]
    needed: bool = False
    default: Any = ""


class _Wrong(ValueError):
    """The cell cannot be read; the message is for the clerk."""


# ── Cells ─────────────────────────────────────────────────────────────────────────────────────────────────


def _text(cell: Cell) -> str:
    """The cell as a person sees it: a whole number without its decimal point, no blanks around it."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()


def _words(most: int) -> Callable[[Cell], str]:
    def read(cell: Cell) -> str:
        text = _text(cell)
        if len(text) > most:
            raise _Wrong(f"最多 {most} 个字")
        if not text.isprintable():
            raise _Wrong("含有不能显示的字符，如换行、制表符")
        return text

    return read


def _code(most_bytes: int) -> Callable[[Cell], str]:
    def read(cell: Cell) -> str:
        text = _text(cell)
        if len(text.encode("gb18030", errors="replace")) > most_bytes:
            raise _Wrong(f"最多 {most_bytes} 个字节")
        if not text.isprintable() or re.search(r"\s", text):
            raise _Wrong("编码中不能有空格或不能显示的字符")
        return text

    return read


def _one_of(known: Mapping[str, str]) -> Callable[[Cell], str]:
    spellings = dict(known)
    for value, label in known.items():
        for spelling in (value, *label.split("/"), label):
            spellings[spelling] = value

    def read(cell: Cell) -> str:
        text = _text(cell)
        if text not in spellings or not text:
            choices = "、".join(f"{value} {label}" for value, label in known.items())
            raise _Wrong(f"只能填 {choices}")
        return spellings[text] if text not in known else text

    return read


_match_type = _one_of(MATCH_TYPES)
_coverage_words = _one_of(COVERAGE_CLASSES)
_SHORT_CLASSES = {
    "甲": CoverageClass.A.value,
    "乙": CoverageClass.B.value,
    "丙": CoverageClass.OWN_EXPENSE.value,
    "丙类": CoverageClass.OWN_EXPENSE.value,
    "自费": CoverageClass.OWN_EXPENSE.value,
}


def _coverage_class(cell: Cell) -> str:
    text = _text(cell)
    return _SHORT_CLASSES.get(text) or _coverage_words(text)


def _flag(cell: Cell) -> str:
    text = _text(cell)
    if text in ("1", "是", "Y", "y", "有效", "√"):
        return "1"
    if text in ("0", "否", "N", "n", "无效", "×"):
        return "0"
    raise _Wrong("只能填 1（是）或 0（否）")


def _stat_category(cell: Cell) -> str:
    text = _text(cell)
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII):
        raise _Wrong("统计类别应为 1 至 3 位数字")
    return text


def _number(cell: Cell) -> int:
    text = _text(cell)
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII):
        raise _Wrong("应为至多 10 位的整数")
    return int(text)


def _price(cell: Cell) -> int:
    try:
        value = scaled(_decimal(cell), PRICE_SCALE)
    except NotAnAmount:
        raise _Wrong("应为金额（元），至多四位小数") from None
    if value <= 0:
        raise _Wrong("应大于 0")
    return value


def _ratio(cell: Cell) -> int:
    text = _decimal(cell)
    percent = text.endswith("%")
    try:
        value = scaled(text.rstrip("%").strip(), RATIO_SCALE)
    except NotAnAmount:
        raise _Wrong("应为 0 至 1 之间的小数，至多四位，或百分数") from None
    if percent:
        value, rest = divmod(value, 100)
        if rest:
            raise _Wrong("百分数至多两位小数")
    if not 0 <= value <= RATIO_SCALE:
        raise _Wrong("自负比例应在 0 与 1 之间：10% 写作 0.1 或 10%")
    return value


def _decimal(cell: Cell) -> str:
    """A number of a spreadsheet as plain decimal text; what a float shows in fifteen digits is what was typed."""
    if isinstance(cell, float):
        text = f"{cell:.10f}".rstrip("0").rstrip(".")
        return text or "0"
    return _text(cell)


_DAY_FORMS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y.%m.%d", "%Y年%m月%d日", "%Y-%m-%d %H:%M:%S")


def _day(cell: Cell) -> date:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    text = _text(cell)
    for form in _DAY_FORMS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007  # a day has no zone
        except ValueError:
            continue
    raise _Wrong("应为日期，例如 2026-12-01")


def _level_limits(cell: Cell) -> tuple[tuple[int, int], ...]:
    try:
        return tuple(sorted((int(level), _price(limit)) for level, limit in _pairs(cell)))
    except ValueError as error:
        raise _Wrong("应为 级别=限价，用分号隔开，例如 3=120;2=100") from error


def _group_ratios(cell: Cell) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((group, _ratio(ratio)) for group, ratio in _pairs(cell)))


def _pairs(cell: Cell) -> Iterator[tuple[str, str]]:
    for pair in re.split(r"[;；]", _text(cell)):
        left, equals, right = pair.partition("=")
        if not equals or not left.strip():
            raise _Wrong("应为 名称=数值，用分号隔开")
        yield left.strip(), right.strip()


# ── Columns ───────────────────────────────────────────────────────────────────────────────────────────────

ITEM_COLUMNS: tuple[Column, ...] = (
    Column("item_code", ("药品编码", "诊疗项目编码", "项目编码", "编码", "MEDI_CODE", "ITEM_CODE"), _code(20), True),
    Column("item_name", ("药品名称", "诊疗项目名称", "项目名称", "名称", "MEDI_NAME", "ITEM_NAME"), _words(200), True),
    Column("match_type", ("项目药品类型", "匹配类型", "目录类型", "MEDI_ITEM_TYPE", "MATCH_TYPE"), _match_type, True),
    Column("coverage_class", ("甲乙标志", "目录等级", "STAPLE_FLAG"), _coverage_class, True),
    Column("stat_category", ("统计类别", "STAT_TYPE"), _stat_category, True),
    Column(
        "pre_self_pay_ratio_1e4", ("自负比例", "自付比例", "SELF_SCALE", "pre_self_pay_ratio"), _ratio, default=None
    ),
    Column("price_limit_1e4", ("限价", "最高限价", "price_limit"), _price, default=None),
    Column("effective_date", ("生效日期", "开始日期", "EFFECT_DATE"), _day, True),
    Column("expiry_date", ("失效日期", "结束日期", "EXPIRE_DATE"), _day, default=OPEN_END),
    Column("benefit_group", ("待遇分组",), _code(32)),
    Column("level_limits", ("分级限价",), _level_limits, default=()),
    Column("group_ratios", ("分人群自负比例",), _group_ratios, default=()),
    Column("catalogue_class_code", ("目录分类编码", "CLASS_CODE"), _code(20)),
    Column("drug_name_en", ("药品英文名称", "英文名称", "ENGLISH_NAME"), _words(200)),
    Column("wubi_code", ("五笔码", "CODE_WB"), _code(20)),
    Column("pinyin_code", ("首拼码", "拼音码", "CODE_PY"), _code(20)),
    Column("dosage_form", ("剂型", "MODEL"), _words(60)),
    Column("standard_unit", ("标准单位", "单位", "UNIT"), _words(20)),
    Column("item_serial_no", ("诊疗项目序列号", "序列号", "SERIAL_ITEM"), _number, default=None),
    Column("prescription_flag", ("处方用药标志", "OTC"), _flag, default="0"),
    Column("medical_catalogue_flag", ("医疗目录", "MT_FLAG"), _flag, default="1"),
    Column("work_injury_catalogue_flag", ("工伤补充目录", "WL_FLAG"), _flag, default="0"),
    Column("maternity_catalogue_flag", ("生育补充目录", "BO_FLAG"), _flag, default="0"),
    Column("valid_flag", ("有效标志", "VALID_FLAG"), _flag, default="1"),
    Column("child_catalogue_flag", ("儿童补充目录标志", "CHILD_FLAG"), _flag, default="0"),
    Column("resident_outpatient_flag", ("城居门诊目录标志", "DIAGNOSE_FLAG"), _flag, default="0"),
    Column("employee_outpatient_flag", ("城职门诊目录标志", "PATIENT_FLAG"), _flag, default="0"),
)

MATCH_COLUMNS: tuple[Column, ...] = (
    Column(
        "institution_code",
        ("医药机构编码", "医药机构编号", "医院编号", "HOSPITAL_ID", "YYBH"),
        _code(MAX_INSTITUTION_BYTES),
        True,
    ),
    Column("local_item_code", ("医院目录编码", "本院编码", "HOSP_CODE", "XMBH"), _code(MAX_LOCAL_CODE_BYTES), True),
    Column("local_item_name", ("医院目录名称", "本院名称", "HOSP_NAME", "XMMC"), _words(200), True),
    Column("match_type", ("匹配类型", "MATCH_TYPE"), _match_type, True),
    Column("centre_item_code", ("中心目录编码", "中心编码", "ITEM_CODE"), _code(20), True),
    Column("centre_item_name", ("中心目录名称", "中心名称", "ITEM_NAME"), _words(200)),
    Column("coverage_class", ("目录等级（甲乙标志）", "目录等级", "甲乙标志", "STAPLE_FLAG"), _coverage_class),
    Column("effective_date", ("生效日期", "开始日期", "EFFECT_DATE"), _day, default=date.min),
    Column("expiry_date", ("失效日期", "结束日期", "EXPIRE_DATE"), _day, default=OPEN_END),
    Column("local_dosage_form", ("医院目录剂型", "本院剂型", "HOSP_MODEL", "YPJX"), _words(60)),
    Column("local_specification", ("医院目录规格", "本院规格", "HOSP_STANDARD", "YPGG"), _words(60)),
    Column("local_unit_price_1e4", ("本院单价", "local_unit_price"), _price, default=None),
)


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────


def sheets(file: Path) -> list[Sheet]:
    """The sheets of a file that are not empty. Raises UnreadableFile."""
    if file.suffix.lower() in (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"):
        return _workbook(file)
    return [_comma_separated(file)]


def entered_by_hand(pairs: Sequence[str]) -> Sheet:
    """A sheet of one row, from `heading=value` as a person types them. Raises UnreadableFile."""
    headings, cells = [], []
    for pair in pairs:
        heading, equals, value = pair.partition("=")
        if not equals or not heading.strip():
            raise UnreadableFile(f"{pair} 应写作 列名=内容，例如 药品编码=W001")
        headings.append(_heading(heading))
        cells.append(value.strip())
    return Sheet("命令行", headings, [(1, cells)])


def _workbook(file: Path) -> list[Sheet]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(str(file)) as book:
            tables = [
                (name, book.get_sheet_by_name(name).to_python(skip_empty_area=False)) for name in book.sheet_names
            ]
    except CalamineError as error:
        raise UnreadableFile(f"{file.name} 不是能读取的电子表格（{type(error).__name__}）") from error
    return [_sheet(name, enumerate(rows, 1)) for name, rows in tables if any(any(row) for row in rows)]


def _comma_separated(file: Path) -> Sheet:
    raw = file.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise UnreadableFile(f"{file.name} 的编码既不是 UTF-8 也不是 GB18030")
    if "\0" in text:
        raise UnreadableFile(f"{file.name} 不是 CSV 文本")
    first = text.partition("\n")[0]
    delimiter = "\t" if first.count("\t") > first.count(",") else ","
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    # A quoted cell may hold line breaks, so the row's number is the line it ends on.
    return _sheet("CSV", ((reader.line_num, row) for row in reader))


def _sheet(name: str, numbered: Iterator[tuple[int, Sequence[Cell]]] | enumerate[Sequence[Cell]]) -> Sheet:
    rows = [(number, row) for number, row in numbered if any(_is_filled(cell) for cell in row)]
    headings = [_heading(cell) for cell in rows[0][1]] if rows else []
    return Sheet(name, headings, rows[1:])


def _heading(cell: Cell) -> str:
    return re.sub(r"[\s*＊]", "", str(cell))


def _is_filled(cell: Cell) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))


# ── Records ───────────────────────────────────────────────────────────────────────────────────────────────


def read_items(found: Sequence[Sheet]) -> Reading[ItemRecord]:
    """The items of the sheets, whatever is wrong with some of them. Raises UnreadableFile."""
    reading: Reading[ItemRecord] = Reading()
    known: dict[tuple[str, str], list[tuple[date, date, str, int]]] = {}
    for sheet, row, values in _rows(found, ITEM_COLUMNS, reading):
        record = ItemRecord(**values)
        for column, reason in (*_wrong_item(record), *_overlap(known, record.key, record, sheet, row)):
            reading.problems.append(Problem(sheet, row, column, reason))
        reading.records.append((row, record))
    return reading


def read_matches(found: Sequence[Sheet], *, institution_code: str = "") -> Reading[Match]:
    """The matches of the sheets; `institution_code` where the file has no such column. Raises UnreadableFile."""
    reading: Reading[Match] = Reading()
    known: dict[tuple[str, str], list[tuple[date, date, str, int]]] = {}
    given = {"institution_code": institution_code} if institution_code else {}
    for sheet, row, values in _rows(found, MATCH_COLUMNS, reading, given):
        record = Match(**values, audited=False)
        key = record.institution_code, record.local_item_code
        if record.effective_date > record.expiry_date:
            reading.problems.append(Problem(sheet, row, "失效日期", "早于生效日期"))
        for column, reason in _overlap(known, key, record, sheet, row):
            reading.problems.append(Problem(sheet, row, column, reason))
        reading.records.append((row, record))
    return reading


def _rows(
    found: Sequence[Sheet], columns: Sequence[Column], reading: Reading[Any], given: Mapping[str, str] | None = None
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(sheet, row, values) of every row that could be read whole; the others are in `reading.problems`."""
    given = given or {}
    usable = False
    for sheet in found:
        places, unknown = _places(sheet, columns)
        missing = [column for column in columns if column.needed and column.name not in places | given.keys()]
        if missing and len(found) > 1 and not any(column.name in places for column in columns[:2]):
            continue  # a sheet of notes beside the table
        usable = True
        reading.unknown_columns += [f"{sheet.name}：{heading}" for heading in unknown]
        reading.problems += [Problem(sheet.name, 1, column.headings[0], "缺少这一列") for column in missing]
        if missing:
            continue
        for number, cells in sheet.rows:
            values = dict(given)
            wrong = False
            for column in columns:
                place = places.get(column.name)
                cell = cells[place] if place is not None and place < len(cells) else None
                if not _is_filled(cell):
                    if column.name in given:
                        continue
                    values[column.name] = column.default
                    if column.needed:
                        reading.problems.append(Problem(sheet.name, number, column.headings[0], "不能为空"))
                        wrong = True
                    continue
                try:
                    values[column.name] = column.read(cell)
                except _Wrong as error:
                    reading.problems.append(Problem(sheet.name, number, column.headings[0], str(error)))
                    wrong = True
            if not wrong:
                yield sheet.name, number, values
    if not usable:
        raise UnreadableFile(
            "文件里没有找到目录的表头，至少要有：" + "、".join(c.headings[0] for c in columns if c.needed)
        )


def _places(sheet: Sheet, columns: Sequence[Column]) -> tuple[dict[str, int], list[str]]:
    """Where each column stands, and the headings nobody knows."""
    named = {heading: column.name for column in columns for heading in (*column.headings, column.name)}
    places: dict[str, int] = {}
    unknown = []
    for place, heading in enumerate(sheet.headings):
        name = named.get(heading) or named.get(heading.upper()) or named.get(heading.lower())
        if name is not None:
            places.setdefault(name, place)
        elif heading:
            unknown.append(heading)
    return places, unknown


def _wrong_item(record: ItemRecord) -> Iterator[tuple[str, str]]:
    if record.effective_date > record.expiry_date:
        yield "失效日期", "早于生效日期"
    if record.coverage_class == CoverageClass.B and record.pre_self_pay_ratio_1e4 is None:
        yield "自负比例", "乙类必须填写，否则费用返回 08"
    if record.coverage_class == CoverageClass.A and record.pre_self_pay_ratio_1e4:
        yield "自负比例", "甲类没有自负比例，应为空或 0"
    if record.match_type != SERVICE and record.item_serial_no is not None:
        yield "诊疗项目序列号", "药品没有诊疗项目序列号"


def _overlap(
    known: dict[tuple[str, str], list[tuple[date, date, str, int]]],
    key: tuple[str, str],
    record: ItemRecord | Match,
    sheet: str,
    row: int,
) -> Iterator[tuple[str, str]]:
    """Two records of one key must not hold on the same day: nobody could say which one counts."""
    periods = known.setdefault(key, [])
    for first, last, other_sheet, other_row in periods:
        if record.effective_date <= last and first <= record.expiry_date:
            yield "生效日期", f"与{other_sheet}第 {other_row} 行同一编码的有效期重叠"
            break
    periods.append((record.effective_date, record.expiry_date, sheet, row))
