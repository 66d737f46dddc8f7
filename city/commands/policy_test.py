"""`jiesuan policy test`: settle the worked examples (算例) of policy files and compare to the fen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from city.commands import Stop
from city.commands.policy_files import found
from domain.policy import PolicyBook
from domain.policy.example_reading import ExamplesUnreadable, read_examples
from domain.policy.examples import Outcome, run
from domain.policy.places import places
from domain.policy.reading import PolicyUnreadable, parse


def test(names: Sequence[str], *, as_json: bool) -> None:
    """Run every example of the files and print what differs. Raises Stop unless all hold."""
    reports = [_of_file(file) for file in found(names)]
    if as_json:
        print(json.dumps(reports, ensure_ascii=False, indent=2))
    else:
        console = Console(soft_wrap=True)
        for report in reports:
            _tell(report, console)
    failed = sum(not one["holds"] for report in reports for one in report["examples"])
    unread = sum(bool(report["errors"]) for report in reports)
    if failed or unread:
        raise Stop(f"{failed} 个算例不符" + (f"，{unread} 个文件不能读取" if unread else ""))


def _of_file(file: Path) -> dict[str, Any]:
    report: dict[str, Any] = {"file": str(file), "errors": [], "examples": []}
    try:
        text = file.read_text(encoding="utf-8")
        policy = parse(text)
        examples = read_examples(text)
    except (PolicyUnreadable, ExamplesUnreadable) as unreadable:
        report["errors"] = list(unreadable.errors)
        return report
    except UnicodeDecodeError:
        report["errors"] = ["不是 UTF-8 文本"]
        return report
    lines = places(text)
    report["examples"] = [
        _seen(outcome, lines["example", outcome.example.number - 1]) for outcome in run(examples, PolicyBook([policy]))
    ]
    return report


def _seen(outcome: Outcome, line: int) -> dict[str, Any]:
    return {
        "id": outcome.example.example_id,
        "title": outcome.example.title,
        "line": line,
        "holds": outcome.holds,
        "differences": [each._asdict() for each in outcome.differences],
    }


def _tell(report: dict[str, Any], console: Console) -> None:
    held = sum(one["holds"] for one in report["examples"])
    console.print(f"{report['file']}　算例 {len(report['examples'])} 个，相符 {held} 个", highlight=False, markup=False)
    for error in report["errors"]:
        console.print(f"  {error}", highlight=False, markup=False)
    for one in report["examples"]:
        if one["holds"]:
            continue
        console.print(f"  第 {one['line']} 行 {one['id']}　{one['title']}", highlight=False, markup=False)
        for each in one["differences"]:
            console.print(
                f"    {each['what']}：应为 {each['expected']}，得 {each['found']}", highlight=False, markup=False
            )
