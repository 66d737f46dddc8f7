"""`jiesuan catalogue import` and `match`: check a file, name everything wrong with it, and enter it when told to."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from center.catalogue import entries as catalogue_entries
from center.catalogue import files as catalogue_files
from center.catalogue.files import Problem, Reading, UnreadableFile
from center.catalogue.proposals import Proposals
from city.commands import REFUSED, WRONG_USAGE, Stop
from city.commands.catalogue_office import at_the_centre, operator, print_json, print_table
from domain.catalogue_records import MATCH_TYPES
from infra.publication import digest_of


@dataclass(frozen=True, slots=True)
class Source:
    """Where records come from: the name it is known by, its bytes, its sheets."""

    name: str
    content: bytes
    sheets: list[catalogue_files.Sheet]


def source(file: Path | None, by_hand: Sequence[str]) -> Source:
    """A file, or one record typed by hand. Raises Stop or FileNotFoundError."""
    if (file is None) != bool(by_hand):
        raise Stop("给出一个文件，或用 --set 列名=内容 逐列写出一条，二者只能有一个", WRONG_USAGE)
    try:
        if file is None:
            return Source("手工录入", "\n".join(by_hand).encode(), [catalogue_files.entered_by_hand(by_hand)])
        return Source(file.name, file.read_bytes(), catalogue_files.sheets(file))
    except UnreadableFile as error:
        raise Stop(str(error), WRONG_USAGE) from None


def items(file: Source, *, write: bool, by: str, errors: Path | None, as_json: bool) -> None:
    """Check, and with `write` enter, a file of items. Raises Stop when anything in it is wrong: nothing is entered."""
    reading = _read(file, catalogue_files.read_items)
    _stop_at(file, reading.problems, errors, as_json=as_json)
    if not write:
        _checked(file, reading, as_json=as_json)
        return
    with at_the_centre() as (connection, at):
        entered = _entered(catalogue_entries.enter_items, connection, file, reading.records, by=by, at=at)
    _tell(file, entered, reading, as_json=as_json)


def matches(file: Source, *, institution: str, write: bool, by: str, errors: Path | None, as_json: bool) -> None:
    """Check against the centre's items, and with `write` enter, a file of matches. Raises Stop as `items`."""
    reading = _read(file, lambda found: catalogue_files.read_matches(found, institution_code=institution))
    with at_the_centre() as (connection, at):
        good, more = catalogue_entries.wrong_matches(connection, reading.records)
        _stop_at(file, sorted([*reading.problems, *more], key=lambda one: one.row), errors, as_json=as_json)
        if not write:
            _checked(file, reading, as_json=as_json)
            return
        entered = _entered(catalogue_entries.enter_matches, connection, file, good, by=by, at=at)
    _tell(file, entered, reading, as_json=as_json)


def propose(file: Source, out: Path, *, as_json: bool) -> None:
    """Write, for every item of the file, the centre items with the most similar names; a person chooses."""
    wanted = []
    for sheet in file.sheets:
        named = {heading: place for place, heading in enumerate(sheet.headings)}
        code, name = (
            next((named[one] for one in column.headings if one in named), None)
            for column in catalogue_files.MATCH_COLUMNS[1:3]
        )
        if code is None or name is None:
            continue
        wanted += [(str(row[code]).strip(), str(row[name]).strip()) for _, row in sheet.rows if len(row) > name]
    if not wanted:
        raise Stop("文件里没有“本院编码”和“本院名称”两列", WRONG_USAGE)
    with at_the_centre() as (connection, _):
        proposals = Proposals(catalogue_entries.standing_items(connection))
    rows = 0
    with out.open("w", encoding="utf-8-sig", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["本院编码", "本院名称", "匹配类型", "中心编码", "中心名称", "剂型", "相似度"])
        for local_code, local_name in wanted:
            candidates = proposals.for_name(local_name)
            if not candidates:
                writer.writerow([local_code, local_name, "", "", "", "", "0.00"])
                rows += 1
            for item, likeness in candidates:
                cells = [item.match_type, item.item_code, item.item_name, item.dosage_form]
                writer.writerow([local_code, local_name, *cells, f"{likeness:.2f}"])
                rows += 1
    if as_json:
        print_json({"file": out.name, "items": len(wanted), "rows": rows})
    else:
        print(f"{len(wanted)} 个项目的候选已写入 {out.name}：每个项目留下一行，删去其余，再用 catalogue match 导入")


def _read(file: Source, read: Any) -> Reading[Any]:
    try:
        reading: Reading[Any] = read(file.sheets)
    except UnreadableFile as error:
        raise Stop(str(error), WRONG_USAGE) from None
    return reading


def _entered(enter: Any, connection: Any, file: Source, records: Any, *, by: str, at: Any) -> catalogue_entries.Entered:
    try:
        entered: catalogue_entries.Entered = enter(
            connection, records, source=file.name, digest=digest_of(file.content), by=operator(by), at=at
        )
    except catalogue_entries.AlreadyEntered as error:
        raise Stop(str(error)) from None
    return entered


def _stop_at(file: Source, problems: Sequence[Problem], errors: Path | None, *, as_json: bool) -> None:
    if not problems:
        return
    if errors is not None:
        with errors.open("w", encoding="utf-8-sig", newline="") as target:
            csv.writer(target).writerows([["工作表", "行", "列", "原因"], *problems])
    if as_json:
        print_json({"file": file.name, "entered": 0, "problems": [problem._asdict() for problem in problems]})
    else:
        rows = [[problem.sheet, problem.row, problem.column, problem.reason] for problem in problems]
        print_table(f"{file.name} 的错误", ["工作表", "行", "列", "原因"], rows)
    raise Stop(f"{file.name}：{len(problems)} 处错误，什么都没有录入", REFUSED)


def _checked(file: Source, reading: Reading[Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"file": file.name, "records": len(reading.records), "entered": 0, "problems": []})
    else:
        print(f"{file.name}：{len(reading.records)} 条记录，没有错误。加 --write 录入，等待审核。")
        _warn(reading)


def _tell(file: Source, entered: catalogue_entries.Entered, reading: Reading[Any], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "file": file.name,
                "records": len(reading.records),
                "batch": entered.import_id or None,
                "entered": entered.waiting,
                "unchanged": entered.unchanged,
                "problems": [],
            }
        )
        return
    if not entered.import_id:
        print(f"{file.name}：{entered.unchanged} 条记录与现有目录完全相同，没有要审核的")
    else:
        print(f"{file.name}：已录入 {entered.waiting} 条，批号 {entered.import_id}，等待另一人审核；", end="")
        print(f"{entered.unchanged} 条没有变化")
        _types(reading)
    _warn(reading)


def _types(reading: Reading[Any]) -> None:
    counts: dict[str, int] = {}
    for _, record in reading.records:
        counts[record.match_type] = counts.get(record.match_type, 0) + 1
    print("，".join(f"{MATCH_TYPES[kind]} {count}" for kind, count in sorted(counts.items())))


def _warn(reading: Reading[Any]) -> None:
    if reading.unknown_columns:
        print(f"没有读取的列：{'、'.join(reading.unknown_columns)}", file=sys.stderr)
