"""`jiesuan policy check`: refuse policy files that are no law, and say where, why and for which case."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from city.commands import Stop
from city.commands.policy_files import day_of, found
from city.commands.policy_words import CODES_ZH, case_in_words
from domain.money import yuan
from domain.policy.check import check as check_text
from domain.policy.check import overlaps
from domain.policy.example_reading import ExamplesUnreadable, read_examples
from domain.policy.findings import ERROR, Finding, Report, error
from domain.policy.places import Path as TomlPath
from domain.policy.places import places
from infra.settings import Settings


def check(names: Sequence[str], *, today: str, as_json: bool) -> None:
    """Check the files, each for itself and against the others. Raises Stop when there is an error."""
    day = day_of(today, "--today") if today else Settings().time.now().date()
    reports = [(file, _checked(file, day)) for file in found(names)]
    together = overlaps([(file.name, report.policy) for file, report in reports if report.policy is not None])
    errors = sum(len(report.errors) for _, report in reports) + len(together)
    warnings = sum(len(report.warnings) for _, report in reports)
    if as_json:
        rows = [seen(file, finding) for file, report in reports for finding in report.findings]
        rows += [seen(None, finding) for finding in together]
        print(json.dumps({"errors": errors, "warnings": warnings, "findings": rows}, ensure_ascii=False, indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False, markup=False)
        for file, report in reports:
            console.print(f"{file}　错误 {len(report.errors)}　警告 {len(report.warnings)}")
            for finding in report.findings:
                tell(finding, console)
        for finding in together:
            tell(finding, console)
    if errors:
        raise Stop(f"{errors} 处错误，{warnings} 处警告")


def _checked(file: Path, day: date) -> Report:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return Report(findings=(error("unreadable", "不是 UTF-8 文本"),), policy=None)
    report = check_text(text, today=day)
    try:
        if report.policy is not None:
            read_examples(text)
    except ExamplesUnreadable as unreadable:
        lines = places(text)
        wrong = tuple(error("example", words, line=_line(words, lines)) for words in unreadable.errors)
        return Report(findings=(*wrong, *report.findings), policy=None)
    return report


def _line(words: str, lines: Mapping[TomlPath, int]) -> int | None:
    """The line of the example an error begins with, `example 2 (id): ...`."""
    found = re.match(r"example ([0-9]+)", words)
    return lines.get(("example", int(found[1]) - 1)) if found else None


def seen(file: Path | None, finding: Finding) -> dict[str, Any]:
    """A finding for programs."""
    return {
        "file": str(file or ""),
        "line": finding.line,
        "severity": finding.severity,
        "code": finding.code,
        "facts": list(finding.facts),
        "words": finding.words,
        "case": case_in_words(finding.case) if finding.case else "",
        "bills": [yuan(bill) for bill in finding.bills_fen],
    }


def tell(finding: Finding, console: Console) -> None:
    """A finding for people."""
    label = "错误" if finding.severity == ERROR else "警告"
    numbers = [f"#{number}" for number in finding.facts[:8]]
    facts = "、".join(numbers) + (f" 等 {len(finding.facts)} 条" if len(finding.facts) > len(numbers) else "")
    place = "　".join(part for part in (f"第 {finding.line} 行" if finding.line else "", facts) if part)
    console.print(f"  {label}　{CODES_ZH.get(finding.code, finding.code)}　{place}")
    console.print(f"    {finding.words}")
    if finding.case is not None:
        console.print(f"    例：{case_in_words(finding.case)}")
