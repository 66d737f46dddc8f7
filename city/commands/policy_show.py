"""`jiesuan policy show`: a set as a table of its facts, or the rules of one case with where they come from."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from city.commands import WRONG_USAGE, Stop
from city.commands.policy_case import print_rules
from city.commands.policy_files import day_of, read
from city.commands.policy_words import (
    CATEGORIES_ZH,
    KINDS_ZH,
    LEVELS_ZH,
    PERIODS_ZH,
    SCHEMES_ZH,
    VISITS_ZH,
    case_in_words,
)
from domain.money import RATIO_SCALE, unscaled, yuan
from domain.policy import PolicyBook
from domain.policy.facts import VISITS, Case, CaseNotCovered, Fact, NoPolicyInForce, PolicySet
from domain.policy.values import AMOUNTS, RATIOS
from infra.settings import Settings


class Asked(NamedTuple):
    """What the command line says of the case; without a scheme it asks for the whole set."""

    scheme: str
    category: str
    visit: str
    level: int
    day: str
    when: tuple[str, ...]


def show(name: str, asked: Asked, *, as_json: bool) -> None:
    """Print the set or the rules of the case. Raises Stop when the file does not read or the case is not settled."""
    _, policy = read(name)
    if not asked.scheme:
        _print_set(policy, as_json=as_json)
        return
    case = _case(asked)
    try:
        rules = PolicyBook([policy]).rules_for(case)
    except CaseNotCovered as refused:
        raise Stop(f"{case_in_words(case)}：不能结算" + "".join(f"\n  {each}" for each in refused.reasons)) from None
    except NoPolicyInForce:
        raise Stop(f"{case.day} 没有适用于{SCHEMES_ZH[case.scheme]}的规定") from None
    print_rules(policy, case, rules, as_json=as_json)


def _case(asked: Asked) -> Case:
    if asked.scheme not in ("employee", "resident") or asked.visit not in VISITS or asked.category not in CATEGORIES_ZH:
        raise Stop(
            "查看一种情形须给出 --scheme（employee、resident）、--category（人员类别代码）与 --visit（"
            + "、".join(VISITS) + "）",
            WRONG_USAGE,
        )  # fmt: skip
    day = day_of(asked.day, "--day") if asked.day else Settings().time.now().date()
    holds = frozenset(name for name in asked.when if not name.startswith("age:"))
    ages = [int(name[4:]) for name in asked.when if name.startswith("age:") and name[4:].isdecimal()]
    servant = "civil_servant" in holds or any(name.startswith("rank:") for name in holds)
    return Case(
        asked.scheme, asked.category, servant, VISITS[asked.visit], asked.level, day, holds - {"civil_servant"},
        ages[0] if ages else None,
    )  # fmt: skip


# ── The whole set ─────────────────────────────────────────────────────────────────────────────────────────


def _print_set(policy: PolicySet, *, as_json: bool) -> None:
    rows = [_row(fact, policy) for fact in policy.facts]
    if as_json:
        heading = {"id": policy.set_id, "version": policy.version, "region": policy.region, "title": policy.title}
        print(json.dumps({**heading, "sources": dict(policy.sources), "facts": rows}, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    console.print(f"{policy.title}　统筹区 {policy.region}　版本 {policy.version}", markup=False)
    table = Table("条", "内容", "险种或层次", "适用", "数值", "期间", "来源", box=None, pad_edge=False)
    for row in rows:
        source = row["source"] + ("（假定）" if row["assumed"] else "")
        table.add_row(f"#{row['number']}", row["says"], row["scheme"], row["about"], row["values"], row["days"], source)
    console.print(table)
    for key, title in policy.sources.items():
        console.print(f"{key}：{title}", markup=False)


def _row(fact: Fact, policy: PolicySet) -> dict[str, Any]:
    return {
        "number": fact.number,
        "kind": fact.kind,
        "says": KINDS_ZH.get(fact.kind, fact.kind),
        "scheme": SCHEMES_ZH.get(fact.scheme, fact.scheme),
        "about": about_in_words(fact, policy),
        "values": values_in_words(fact),
        "days": f"{fact.first_day} 至 {fact.last_day}" if fact.last_day else f"{fact.first_day} 起",
        "source": fact.source,
        "assumed": fact.assumed,
    }


def about_in_words(fact: Fact, policy: PolicySet) -> str:
    """Whom and what a fact is about; conditions by the titles the set gives them."""
    parts = []
    if fact.visits is not None:
        parts.append("、".join(VISITS_ZH[visit.value] for visit in sorted(fact.visits)))
    if fact.persons is not None:
        parts.append("、".join(CATEGORIES_ZH.get(code, code) for code in sorted(fact.persons)))
    if fact.levels is not None:
        parts.append("、".join(LEVELS_ZH[level] for level in sorted(fact.levels)))
    if fact.has_age:
        parts.append(f"{fact.age_from or 0} 至 {'' if fact.age_to is None else fact.age_to} 岁")
    parts.extend("或".join(_titled(name, policy) for name in names) for names in fact.conditions)
    return "，".join(parts) or "全部"


def _titled(name: str, policy: PolicySet) -> str:
    plain = name.removeprefix("not:")
    title = str(policy.conditions.get(plain, {}).get("title", plain))
    return title if plain == name else f"非{title}"


def values_in_words(fact: Fact) -> str:
    """What a fact says, key by key, as it stands in the file."""
    parts = []
    for key, value in fact.values.items():
        if value is None:
            parts.append(f"{key} 未知")
        elif key in AMOUNTS:
            parts.append(f"{key} {yuan(value)}")
        elif key in RATIOS:
            parts.append(f"{key} {unscaled(value, RATIO_SCALE)}")
        elif key == "per":
            parts.append(PERIODS_ZH[value])
        elif isinstance(value, tuple):
            parts.append(f"{key} {'、'.join(map(str, value)) or '无'}")
        elif value is not False:
            parts.append(key if value is True else f"{key} {value}")
    return "，".join(parts)
