"""`jiesuan policy diff`: facts added, removed and changed between two sets, and the cases that come out otherwise."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from city.commands.policy_files import read
from city.commands.policy_show import about_in_words, values_in_words
from city.commands.policy_words import KINDS_ZH, SCHEMES_ZH, case_in_words
from domain.money import RATIO_SCALE, unscaled, yuan
from domain.policy.compare import CaseChange, FactChange, compare_cases, compare_facts
from domain.policy.facts import Fact, PolicySet
from domain.policy.values import AMOUNTS, RATIOS


def diff(old: str, new: str, *, as_json: bool) -> None:
    """Print what changes from the old set to the new one. Raises Stop for a file that does not read."""
    (_, before), (_, after) = read(old), read(new)
    facts = [_seen(change, after if change.new else before) for change in compare_facts(before, after)]
    cases = [_case_seen(change) for change in compare_cases(before, after)]
    if as_json:
        shown = {"old": before.version, "new": after.version, "facts": facts, "cases": cases}
        print(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False, markup=False)
    console.print(f"{before.version} → {after.version}")
    for one in facts:
        console.print(f"{one['change']}　{one['place']}　{one['says']}　{one['about']}")
        console.print(f"    {one['words']}")
    if not facts:
        console.print("条款没有变化")
    if not cases:
        console.print("各种情形的结算没有变化")
        return
    table = Table("情形", "范围内费用", "原个人负担", "现个人负担", box=None, pad_edge=False)
    for one in cases:
        table.add_row(one["case"], one["bill"], one["old"] or "不能结算", one["new"] or "不能结算")
    console.print(table)


def _seen(change: FactChange, policy: PolicySet) -> dict[str, Any]:
    fact = change.new or change.old
    assert fact is not None
    place = "→".join(f"#{each.number}" for each in (change.old, change.new) if each is not None)
    seen = {
        "place": place,
        "kind": fact.kind,
        "says": KINDS_ZH.get(fact.kind, fact.kind),
        "about": _about(fact, policy),
    }
    if change.old is None or change.new is None:
        days = f"{fact.first_day} 至 {fact.last_day}" if fact.last_day else f"{fact.first_day} 起"
        name = "新增" if change.old is None else "删除"
        return {"change": name, **seen, "words": f"{values_in_words(fact)}，{days}，{fact.source}", "keys": {}}
    keys = {key: [_value(key, before), _value(key, after)] for key, (before, after) in change.keys.items()}
    words = "；".join(f"{key} {before or '（无）'} → {after or '（无）'}" for key, (before, after) in keys.items())
    return {"change": "改变", **seen, "words": words, "keys": keys}


def _about(fact: Fact, policy: PolicySet) -> str:
    return f"{SCHEMES_ZH.get(fact.scheme, fact.scheme)}，{about_in_words(fact, policy)}"


def _value(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key in AMOUNTS:
        return yuan(value)
    if key in RATIOS:
        return unscaled(value, RATIO_SCALE)
    if isinstance(value, date):
        return value.isoformat()
    return "、".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _case_seen(change: CaseChange) -> dict[str, str]:
    old, new = change.old_person_fen, change.new_person_fen
    return {
        "case": case_in_words(change.case),
        "bill": yuan(change.bill_fen),
        "old": "" if old is None else yuan(old),
        "new": "" if new is None else yuan(new),
    }
