"""The rules of one case as `jiesuan policy show` prints them: part by part, with facts, first days and sources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from city.commands.policy_words import SCHEMES_ZH, SEGMENTS_ZH, case_in_words
from domain.money import RATIO_SCALE, half_up, unscaled, yuan
from domain.policy.facts import Case, Fact, PolicySet
from domain.policy.rules import Cited, Deductible, Layer, Rules, Shares

BASES_ZH = {"fund_paid": "按基金支付计", "charges": "按费用计", "in_scope": "按范围内费用计"}


_NUMBER = re.compile(r"#([0-9]+)")


class Part(NamedTuple):
    """One line of the rules of a case."""

    name: str
    words: str
    cited: Cited


def print_rules(policy: PolicySet, case: Case, rules: Rules, *, as_json: bool) -> None:
    """Print the rules of a case, each with its facts, their first day and their sources."""
    rows = [
        (part, [policy.facts[int(number) - 1] for number in _NUMBER.findall(part.cited.fact)]) for part in parts(rules)
    ]
    sources = {fact.source: policy.sources[fact.source] for _, facts in rows for fact in facts}
    if as_json:
        shown = {
            "version": policy.version,
            "case": case_in_words(case),
            "rules": [
                {
                    "part": part.name,
                    "words": part.words,
                    "facts": [fact.number for fact in facts],
                    "sources": list(dict.fromkeys(fact.source for fact in facts)),
                    "since": _since(facts),
                }
                for part, facts in rows
            ],
            "sources": sources,
        }
        print(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    console.print(f"{case_in_words(case)}　政策 {policy.version}", markup=False)
    table = Table("部分", "规定", "条款", "来源", "自", box=None, pad_edge=False)
    for part, facts in rows:
        numbers = "、".join(f"#{fact.number}" for fact in facts)
        table.add_row(part.name, part.words, numbers, "、".join(dict.fromkeys(f.source for f in facts)), _since(facts))
    console.print(table)
    for key, title in sources.items():
        console.print(f"{key}：{title}", markup=False)


def _since(facts: Sequence[Fact]) -> str:
    """The first day on which all of them hold."""
    return max(fact.first_day for fact in facts).isoformat() if facts else ""


def parts(rules: Rules) -> Iterator[Part]:
    """The rules in the order in which they are applied."""
    yield from _before_sharing(rules)
    yield from _deductible(rules.deductible)
    yield from _sharing(rules)
    for layer in rules.layers:
        yield from _layer(layer)
    if rules.account is not None:
        segments = "、".join(SEGMENTS_ZH.get(each, each) for each in rules.account.segments) or "不得支付"
        yield Part("个人账户", segments + ("；家庭共济" if rules.account.family else ""), rules.account.cited)
    if rules.shares.bands:
        rest = {"fund": "基金", "person": "个人"}[rules.shares.rest]
        where = "各段合计" if rules.shares.once else "逐段"
        yield Part("取整", f"{where}四舍五入到分，尾差归{rest}", rules.shares.cited)


def _before_sharing(rules: Rules) -> Iterator[Part]:
    if rules.no_benefit is not None:
        yield Part("待遇状态", "不享受待遇", rules.no_benefit)
    if (institution := rules.institution) is not None:
        fixed = institution.amount_fen is not None
        words = f"超过 {yuan(institution.amount_fen or 0)} 元的部分" if fixed else f"比例 {institution.ratio}"
        yield Part("医药机构分担", words, institution.cited)
    for item in rules.items:
        what = f"项目组 {item.group}" if item.group else "整次费用"
        value = f"比例 {item.ratio}" if item.amount_fen is None else f"{yuan(item.amount_fen)} 元"
        yield Part("定额或单列项目", f"{what}：{value}", item.cited)
    if rules.visit_prepay is not None:
        yield Part("整次先行自付", f"范围内的 {rules.visit_prepay.ratio}", rules.visit_prepay.cited)


def _deductible(rule: Deductible | None) -> Iterator[Part]:
    if rule is None:
        yield Part("起付标准", "无", Cited("", ""))
        return
    yield Part("起付标准", f"{yuan(rule.amount_fen)} 元", rule.cited)
    for nth in rule.nth:
        factor = f"系数 {unscaled(nth.factor, RATIO_SCALE)}"
        value = factor if nth.amount_fen is None else f"{yuan(nth.amount_fen)} 元"
        yield Part("多次住院起付", f"第 {nth.low} 至 {nth.high} 次：{value}", nth.cited)
    if rule.again_days:
        yield Part("再次起付", f"每满 {rule.again_days} 天", rule.again)
    if rule.total_fen is not None:
        yield Part("起付累计上限", f"{yuan(rule.total_fen)} 元", rule.cited)


def _sharing(rules: Rules) -> Iterator[Part]:
    if rules.full_cover is not None:
        covered = "、".join(SEGMENTS_ZH.get(each, each) for each in rules.full_cover.segments)
        yield Part("全额保障", f"{rules.full_cover.fund}：{covered}", rules.full_cover.cited)
    yield from _bands("统筹支付比例", rules.shares)
    for cap in rules.caps:
        yield Part("最高支付限额", f"{yuan(cap.amount_fen)} 元（{BASES_ZH.get(cap.basis, cap.basis)}）", cap.cited)


def _layer(layer: Layer) -> Iterator[Part]:
    name = SCHEMES_ZH.get(layer.fund, layer.fund)
    start = (
        "统筹限额以上"
        if layer.at_cap
        else f"超过 {yuan(layer.threshold_fen)} 元"
        if layer.threshold_fen
        else "前层支付后"
    )
    yield Part(name, start + ("，账户支付之后" if layer.after_account else ""), layer.cited)
    if layer.keeps is not None:
        yield Part(name, f"个人保留 {layer.keeps_ratio}，其余支付", layer.cited)
    yield from _bands(f"{name}支付比例", layer.shares)
    for cap in layer.caps:
        yield Part(f"{name}限额", f"{yuan(cap.amount_fen)} 元（{BASES_ZH.get(cap.basis, cap.basis)}）", cap.cited)


def _bands(name: str, shares: Shares) -> Iterator[Part]:
    for band in shares.bands:
        borders = ""
        if band.low_fen or band.high_fen is not None:
            low = _border(band.low_fen)
            borders = f"{low} 以上：" if band.high_fen is None else f"{low} 至 {_border(band.high_fen)}："
        yield Part(name, f"{borders}{band.ratio}", band.cited)


def _border(amount: int | Fraction) -> str:
    """A border in yuan; one counted in the fund's money is a fraction of a fen in charges."""
    whole = half_up(amount.numerator, amount.denominator)
    return yuan(whole) if whole == amount else f"约 {yuan(whole)}"
