"""Small catalogue files for the tests, as an office would send them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

ITEM_HEADINGS = (
    "匹配类型", "药品编码", "药品名称", "剂型", "甲乙标志", "统计类别", "自负比例", "限价", "生效日期", "失效日期",
)  # fmt: skip
ITEM_ROWS: tuple[tuple[object, ...], ...] = (
    ("西药", "W001", "阿莫西林胶囊", "胶囊剂", "甲类", "2", "", "", "2025-01-01", ""),
    ("1", "W002", "头孢克洛胶囊", "胶囊剂", "乙", "2", "0.1", "20.5", "2025/1/1", ""),
    ("2", "Z001", "板蓝根颗粒", "颗粒剂", "2", "4", "5%", "", "20250101", "2027-12-31"),
    ("0", "T001", "普通门诊诊查费", "", "1", "18", "", "", "2025-01-01", ""),
)
MATCH_HEADINGS = (
    "医药机构编码", "本院编码", "本院名称", "本院规格", "匹配类型", "中心编码", "甲乙标志",
    "生效日期", "失效日期", "本院单价",
)  # fmt: skip


def match_rows(*institutions: str) -> list[tuple[object, ...]]:
    """Matches of these institutions to the items of `ITEM_ROWS`."""
    return [
        row
        for code in institutions
        for row in (
            (code, "A1", "阿莫西林", "0.25g×24粒", "1", "W001", "", "", "", "8.6"),
            (code, "A2", "头孢克洛", "0.25g×6粒", "1", "W002", "乙类", "2025-03-01", "", ""),
            (code, "A3", "诊查费", "", "0", "T001", "", "", "2026-12-31", "10"),
        )
    ]


def write_csv(file: Path, headings: Sequence[str], rows: Sequence[Sequence[object]], encoding: str = "utf-8") -> Path:
    """A CSV file with a heading row."""
    with file.open("w", encoding=encoding, newline="") as out:
        csv.writer(out).writerows([headings, *rows])
    return file


def write_workbook(file: Path, headings: Sequence[str], rows: Sequence[Sequence[object]], sheet: str = "目录") -> Path:
    """An xlsx file with one sheet of data, and one of notes before it."""
    from openpyxl import Workbook

    book = Workbook()
    notes = book.active
    assert notes is not None
    notes.title = "说明"
    notes.append(["本表由试验局填写"])
    table = book.create_sheet(sheet)
    table.append(list(headings))
    for row in rows:
        table.append(list(row))
    book.save(file)
    return file
