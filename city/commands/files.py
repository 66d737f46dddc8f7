"""What `jiesuan dbf` does: one file read now, error lists, rows the HIS could not read, samples."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from city.commands import REFUSED, WRONG_USAGE, Stop
from infra.settings import Settings

if TYPE_CHECKING:
    from producers.his.outgoing import Outgoing


def import_file(file: Path, *, institution: str, as_json: bool) -> None:
    """Read one MZXM file now, with the registrations beside it. Raises MissingSetting, or Stop when rows are wrong."""
    from producers.his.importer import import_file as imported
    from workers.tasks import Frontend

    frontend = Frontend(Settings())
    if not file.is_file():
        raise FileNotFoundError(2, "", str(file))
    code = institution or file.resolve().parent.name
    report = imported(frontend.engine, file, institution_code=code, at=frontend.now(), doorbell=frontend.doorbell)
    counted = {
        "accepted": report.accepted,
        "imported": report.imported,
        "known": report.known,
        "postponed": report.postponed,
        "refused": dict(report.refused),
        "problems": len(report.problems),
    }
    if as_json:
        print(json.dumps({"institution_code": code, **counted}))
    else:
        for name, value in counted.items():
            print(f"{name}\t{value}")
    if report.problems:
        raise Stop(f"{file.name}：{len(report.problems)} 处不能读取", REFUSED)


def errors(institution: str, *, day: str, visit: str, out: Path | None, as_json: bool) -> None:
    """List the charge lines that wait to be mended, and write the list as xlsx and DBF beside the exchange files.

    Raises Stop when the day is no day or there is no folder to write into.
    """
    from producers.his.failed_lines import failed_lines
    from producers.his.failures import as_row, write_lists
    from workers.tasks import Frontend

    frontend = Frontend(Settings())
    of_day = _day(day)
    folder = _folder(frontend.settings, institution)
    found = failed_lines(frontend.engine, institution, day=of_day, visit_no=visit, folder=folder)
    into = out or folder
    if into is None:
        raise Stop(f"没有 {institution} 的交换目录；用 --out 指定写到哪里", WRONG_USAGE)
    into.mkdir(parents=True, exist_ok=True)
    workbook, table = write_lists(into, found, day=of_day or frontend.now().date())
    rows = [as_row(failure) for failure in found]
    if as_json:
        print(json.dumps({"files": [str(workbook), str(table)], "lines": rows}, ensure_ascii=False))
        return
    shown = ("就医登记号", "项目序号", "项目编号", "错误代码", "处理办法", "来源")
    _print(f"{len(rows)} 条明细待改正", shown, [[row[name] for name in shown] for row in rows])
    for path in (workbook, table):
        print(path, file=sys.stderr)


def refused(institution: str, *, as_json: bool) -> None:
    """List the rows of ours that the HIS could not read (DRBZ=2). Raises Stop without a folder."""
    found = _outgoing(institution).refused()
    rows = [[row.kind, row.visit_no, row.file, str(row.record), row.said] for row in found]
    if as_json:
        names = ("kind", "visit_no", "file", "record", "said")
        print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], ensure_ascii=False))
    else:
        _print(f"{len(rows)} 条 HIS 读入失败", ("文件", "就医登记号", "文件名", "记录号", "HIS 备注"), rows)


def again(institution: str, visits: Sequence[str]) -> None:
    """Export those rows of these visits again, now. Raises Stop without a folder."""
    count = _outgoing(institution).write_again(at=Settings().time.now(), only=visits)
    print(f"{count}")


def samples(folder: Path) -> None:
    """Write a small sample of each of the seven files."""
    from producers.his.samples import write_samples

    for path in write_samples(folder):
        print(path)


def _outgoing(institution: str) -> Outgoing:
    from producers.his.outgoing import Outgoing

    folder = _folder(Settings(), institution)
    if folder is None:
        raise Stop(f"没有 {institution} 的交换目录", WRONG_USAGE)
    side = Outgoing(folder)
    for problem in side.refresh():
        print(problem.message_zh, file=sys.stderr)
    return side


def _folder(settings: Settings, institution: str) -> Path | None:
    if settings.exchange_dir is None:
        return None
    folder = settings.exchange_dir / institution
    return folder if folder.is_dir() else None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Stop("--day 应为日期，例如 2026-03-02", WRONG_USAGE) from None


def _print(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*names, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
