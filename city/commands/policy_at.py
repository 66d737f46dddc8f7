"""`jiesuan policy at DAY`: which set is in force on a day, by scheme, and until when nothing changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from city.commands import Stop
from city.commands.policy_files import day_of, found, read
from city.commands.policy_words import SCHEMES_ZH
from domain.policy.cases import days_of_change
from domain.policy.facts import SCHEMES, PolicySet


def at(day: str, names: Sequence[str], *, as_json: bool) -> None:
    """Print what is in force. Raises Stop when a file does not read, or nothing is in force."""
    on = day_of(day, "DAY")
    rows = [row for file in found(names) for row in _in_force(read(str(file))[1], on)]
    rows.sort(key=lambda row: (row["region"], row["scheme"], row["version"]))
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    elif rows:
        table = Table("统筹区", "险种", "政策", "版本", "适用条款", "自", "至", box=None, pad_edge=False)
        for row in rows:
            table.add_row(
                row["region"], SCHEMES_ZH[row["scheme"]], row["title"], row["version"], str(row["facts"]),
                row["since"], row["until"] or "无期限",
            )  # fmt: skip
        Console().print(table)
    if not rows:
        raise Stop(f"{on} 没有适用的政策")


def _in_force(policy: PolicySet, day: date) -> Iterator[dict[str, Any]]:
    for scheme in SCHEMES:
        if not policy.covers(scheme, day):
            continue
        facts = [fact for fact in policy.facts if scheme in fact.insured]
        days = days_of_change(facts)
        after = [each for each in days if each > day]
        yield {
            "region": policy.region,
            "scheme": scheme,
            "title": policy.title,
            "version": policy.version,
            "facts": sum(fact.in_force_on(day) for fact in facts),
            "since": max(each for each in days if each <= day).isoformat(),
            "until": date.fromordinal(after[0].toordinal() - 1).isoformat() if after else "",
        }
