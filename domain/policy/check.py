"""The compiler (政策检查): refuses a policy file that is no law, with every error at once and the case that shows it.

An error makes a file nobody may settle by: a case with two answers, a gap, a fact that can never hold, a border where
a dearer bill costs the person less. A warning is something the office should know: values nobody has found yet, facts
that end soon. A file with errors is loaded by nobody, not even in part.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from domain.policy.cases import CATEGORIES, days_of_change
from domain.policy.check_cases import answers
from domain.policy.facts import SCHEMES, VISITS, PolicySet
from domain.policy.findings import ERROR, Finding, Report, error, warning
from domain.policy.places import Path, places
from domain.policy.reading import PolicyUnreadable, parse
from domain.visit import VisitType

SCHEMES_ZH = {"employee": "职工", "resident": "居民"}

CIRCLE = "follows-itself"

NOT_DECLARED = frozenset({"institution", "registration_kind", "medical_type"})
"""Conditions whose values are codes kept elsewhere: a policy file need not declare them."""


def check(text: str, *, today: date) -> Report:
    """Everything that is wrong with a policy file, and everything worth a warning on that day."""
    try:
        policy = parse(text)
    except PolicyUnreadable as unreadable:
        return Report(findings=tuple(_unreadable(text, unreadable)), policy=None)
    document, lines = tomllib.loads(text), places(text)
    found = [*_sources(policy, document, lines), *_names(policy, lines), *_circles(policy)]
    if not any(each.code == CIRCLE for each in found):
        found += answers(policy, today)
    placed = sorted((each.placed(lines) for each in found), key=lambda each: (each.severity, each.line or 0, each.code))
    return Report(
        findings=tuple(placed),
        policy=None if any(each.severity == ERROR for each in placed) else policy,
    )


def overlaps(policies: Sequence[tuple[str, PolicySet]]) -> list[Finding]:
    """Days on which two sets of one region cover a scheme: which of them holds nobody could say. Named by file."""
    found = []
    for position, (name, policy) in enumerate(policies):
        for other_name, other in policies[position + 1 :]:
            if policy.region != other.region:
                continue
            days = days_of_change((*policy.facts, *other.facts))
            for scheme in SCHEMES:
                both = [day for day in days if policy.covers(scheme, day) and other.covers(scheme, day)]
                if both:
                    words = f"{name} 与 {other_name} 自 {both[0]} 起同时适用于 {policy.region} 的{SCHEMES_ZH[scheme]}"
                    found.append(error("two-sets", words))
    return found


def _circles(policy: PolicySet) -> Iterator[Finding]:
    """Shares that follow another visit type, whose shares follow back; conditions that follow from themselves."""
    follows = [(fact, VISITS[fact.values["follows"]]) for fact in policy.facts if "follows" in fact.values]
    for fact, target in follows:
        reached, seen = {target}, set[VisitType]()
        while reached - seen:
            seen |= reached
            reached = {to for other, to in follows for visit in seen if other.visits is None or visit in other.visits}
        if fact.visits is None or fact.visits & seen:
            yield error(CIRCLE, "比例同另一就诊类别，而后者又绕回来", fact.number)
    derived = [fact for fact in policy.facts if fact.kind == "condition"]
    asks: dict[str, set[str]] = {}
    for fact in derived:
        names = {name.removeprefix("not:") for names in fact.conditions for name in names}
        asks.setdefault(fact.values["name"], set()).update(names)
    for fact in derived:
        if fact.values["name"] in _reached(fact.values["name"], asks):
            yield error(CIRCLE, f"条件 {fact.values['name']} 由自身推定", fact.number)


def _reached(start: str, leads_to: Mapping[str, set[str]]) -> set[str]:
    """What a name leads to, directly or over others."""
    seen, ahead = set[str](), set(leads_to.get(start, ()))
    while ahead:
        seen |= ahead
        ahead = {name for each in ahead for name in leads_to.get(each, ())} - seen
    return seen


_FACT = re.compile(r"#([0-9]+)\b")
_TABLE = re.compile(r"\[([^\]]+)\]")
_LINE = re.compile(r" \(line [0-9]+\)$")


def _unreadable(text: str, unreadable: PolicyUnreadable) -> Iterator[Finding]:
    """The reader's errors, each at its line."""
    try:
        tomllib.loads(text)
        lines = places(text)
    except (ValueError, RecursionError):
        lines = {}
    for words in unreadable.errors:
        fact, table = _FACT.match(words), _TABLE.match(words)
        number = int(fact[1]) if fact else 0
        line = lines.get(("policy", "facts", number - 1))
        if table:
            path = tuple(table[1].split(".", 1))
            line = lines.get(path, lines.get(path[:1]))
        yield error("unreadable", _LINE.sub("", words), *([number] if number else []), line=line)


def _sources(policy: PolicySet, document: Mapping[str, Any], lines: Mapping[Path, int]) -> Iterator[Finding]:
    used = {fact.source for fact in policy.facts}
    for source in policy.sources:
        if source not in used:
            yield warning("unused-source", f"来源 {source} 没有条款引用", line=lines.get(("source", source)))
    for fact in policy.facts:
        if document["source"][fact.source]["verified"] == "memory" and not fact.assumed:
            yield error("not-marked", f"来源 {fact.source} 只凭记忆，条款须注明 assumed = true", fact.number)
    assumed = [fact.number for fact in policy.facts if fact.assumed]
    if assumed:
        yield warning("assumed", f"{len(assumed)} 条的数值或起始日期是假定的，查到文件后请替换", *assumed)


def _names(policy: PolicySet, lines: Mapping[Path, int]) -> Iterator[Finding]:
    derived = {fact.values["name"] for fact in policy.facts if fact.kind == "condition"}
    asked = set()
    for fact in policy.facts:
        for name in (name.removeprefix("not:") for names in fact.conditions for name in names):
            asked.add(name)
            if name.partition(":")[0] not in NOT_DECLARED and name not in policy.conditions and name not in derived:
                table = f'[condition."{name}"]' if ":" in name else f"[condition.{name}]"
                yield error("unknown-name", f"没有 {table}：条件 {name} 没有登记，窗口无从给出", fact.number)
        unknown = sorted((fact.persons or frozenset()) - {code for each in fact.insured for code in CATEGORIES[each]})
        if unknown:
            schemes = "、".join(SCHEMES_ZH[each] for each in fact.insured)
            yield error("unknown-person", f"人员类别 {'、'.join(unknown)} 不是{schemes}的代码", fact.number)
    for name in policy.conditions:
        if name not in asked:
            yield warning("unused-name", f"条件 {name} 没有条款使用", line=lines.get(("condition", name)))
