"""What the commands of `jiesuan catalogue` share: the centre's database, the operator, days, and printing records."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import Connection

from center.catalogue.entries import limits_text, ratios_text
from city.commands import WRONG_USAGE, Stop
from domain import money
from domain.catalogue import OPEN_END
from infra.database import opened
from infra.settings import Settings

LABELS = {
    "item_code": "编码",
    "item_name": "名称",
    "match_type": "类型",
    "coverage_class": "甲乙",
    "stat_category": "统计类别",
    "pre_self_pay_ratio_1e4": "自负比例",
    "price_limit_1e4": "限价",
    "effective_date": "生效",
    "expiry_date": "失效",
    "benefit_group": "待遇分组",
    "level_limits": "分级限价",
    "group_ratios": "分人群自负比例",
    "dosage_form": "剂型",
    "standard_unit": "单位",
    "valid_flag": "有效标志",
    "institution_code": "医药机构",
    "local_item_code": "本院编码",
    "local_item_name": "本院名称",
    "local_dosage_form": "本院剂型",
    "local_specification": "本院规格",
    "local_unit_price_1e4": "本院单价",
    "centre_item_code": "中心编码",
    "centre_item_name": "中心名称",
    "audited": "已审核",
}


@contextmanager
def at_the_centre() -> Iterator[tuple[Connection, datetime]]:
    """One transaction in the centre's database, and the moment. Raises MissingSetting."""
    settings = Settings()
    settings.need("center_database_url")
    with opened(settings.center_database_url) as engine, engine.begin() as connection:
        yield connection, settings.time.now()


def operator(by: str) -> str:
    """Who does it: the name given, or the user of this machine."""
    return (by or getpass.getuser()).strip()[:40]


def day_of(text: str, default: date) -> date:
    """A day given on the command line. Raises Stop."""
    if not text:
        return default
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Stop(f"{text} 不是日期，应写作 2026-12-01", WRONG_USAGE) from None


def shown(name: str, value: Any) -> Any:
    """A field of a record as an outside interface writes it: amounts and ratios as strings, open ends as nothing."""
    if value is None or value in (date.min, OPEN_END):
        return ""
    if name == "pre_self_pay_ratio_1e4":
        return money.unscaled(value, money.RATIO_SCALE)
    if name in ("price_limit_1e4", "local_unit_price_1e4"):
        return money.unscaled(value, money.PRICE_SCALE)
    if name == "level_limits" and not isinstance(value, str):
        return limits_text(value)
    if name == "group_ratios" and not isinstance(value, str):
        return ratios_text(value)
    return value.isoformat() if isinstance(value, date) else value


def as_document(record: Any) -> dict[str, Any]:
    """A record, or a row of a table, as JSON knows it; the names say no scale, because the values have none."""
    return {name.removesuffix("_1e4"): shown(name, value) for name, value in record._asdict().items()}


def print_json(document: Any) -> None:
    """For programs."""
    print(json.dumps(document, ensure_ascii=False, indent=2))


def print_table(title: str, headings: list[str], rows: list[list[Any]], *, most: int = 50) -> None:
    """For people: at most so many rows, and how many more there are. Words that do not fit go on below; a number, an
    amount, a day or a code is never broken, and neither is the first column, by which a row is found."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows[:most]]
    whole = [
        not place or all(_WHOLE.fullmatch(row[place]) for row in cells if place < len(row))
        for place in range(len(headings))
    ]
    columns = [
        Column(heading, overflow="fold", no_wrap=is_whole) for heading, is_whole in zip(headings, whole, strict=True)
    ]
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for row in cells:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, _least_width(headings, cells, whole))
    console.print(table)
    if len(rows) > most:
        console.print(f"……另有 {len(rows) - most} 行，用 --json 可取全部")


_WHOLE = re.compile(r"[!-~]{0,24}|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{5,8}")
"""What is not broken: a word without blanks in ASCII, a moment."""
_LEAST_OF_WORDS = 12


def _least_width(headings: list[str], cells: list[list[str]], whole: list[bool]) -> int:
    """The width at which nothing whole is cut, two blanks between columns."""
    width = 0
    for place, heading in enumerate(headings):
        widest = max(map(cell_len, (heading, *(row[place] for row in cells if place < len(row)))))
        width += 2 + (widest if whole[place] else min(widest, _LEAST_OF_WORDS))
    return width
