"""`jiesuan quote`: what a claim in a file would settle to, and why. Needs no service and books nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from city.commands import REFUSED, WRONG_USAGE, Stop
from city.commands.claim import read
from infra.settings import Settings
from producers import quote as quotes
from producers.api.problems import FieldError, Problem
from producers.settled import sheet

_AMOUNTS = (
    ("total_amount", "总金额"),
    ("fund_pay_amount", "社保支付"),
    ("person_share_amount", "个人负担合计"),
    ("own_pay_amount", "　自费（含超限价、先行自付）"),
    ("pre_self_pay_amount", "　　其中先行自付"),
    ("self_pay_amount", "　自付（含起付）"),
    ("deductible_amount", "　　其中起付"),
    ("over_cap_amount", "　超限额自付"),
    ("institution_share_amount", "医药机构分担"),
    ("account_pay_amount", "个人账户支付"),
    ("cash_amount", "现金支付"),
)


def print_schema() -> None:
    """Print the JSON Schema of what a quote is asked for with."""
    print(json.dumps(quotes.schema(), ensure_ascii=False, indent=2))


def quote(file: Path, *, explain: bool, policy: str, as_of: str, as_json: bool) -> None:
    """Print the quote. Raises Stop when the document is wrong or no policy settles it."""
    day = _day(as_of)
    try:
        book = quotes.policy_book(Settings().policies_dir, policy)
        quoted = quotes.quoted(read(file), book, as_of=day, is_chosen=bool(policy))
    except Problem as problem:
        words = "文件内容不符合要求" if problem.errors else problem.detail
        raise _refused(words, problem.kind.code, problem.errors, WRONG_USAGE, as_json=as_json) from None
    except quotes.CannotQuote as refused:
        raise _refused(refused.words, "quote-refused", refused.errors, REFUSED, as_json=as_json) from None
    seen = quotes.seen(quoted)
    if as_json:
        if not explain:
            seen["steps"] = []
        print(json.dumps(seen, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    console.print(f"试算（不入账）　待遇日 {seen['day']}　政策 {seen['policy_version']}　{seen['policy_title']}")
    console.print(_amounts(seen))
    if explain:
        _explain(console, quoted, seen)
    for name in seen["unused"]:
        console.print(f"注意：现行政策不看 {name}，它对结果没有影响。")


def _explain(console: Console, quoted: quotes.Quoted, seen: quotes.QuoteOut) -> None:
    console.print(_sheet(quoted))
    console.print(_steps(seen))
    for number, step in enumerate(seen["steps"], 1):
        console.print(f"{number}. {step['words']}。")
    console.print("".join(f"{words}。" for words in seen["words"]))
    if seen["looked_at"]:
        console.print(_accumulators(seen))
    if seen["facts"]:
        console.print(_facts(seen))
        for source, title in {fact["source"]: fact["source_title"] for fact in seen["facts"]}.items():
            console.print(f"{source}　{title}")


def _amounts(seen: quotes.QuoteOut) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, label in _AMOUNTS:
        table.add_row(label, f"{seen['settlement'][name]} 元")  # type: ignore[literal-required]
    return table


def _sheet(quoted: quotes.Quoted) -> Table:
    printed = sheet(quoted.settlement.cells)
    table = Table("分段", title="各分段由谁负担", title_justify="left")
    for name in printed.columns:
        table.add_column(name, justify="right")
    for name, cells in printed.rows:
        table.add_row(name, *cells)
    return table


def _steps(seen: quotes.QuoteOut) -> Table:
    table = Table("步", "规则", title="计算步骤", title_justify="left")
    for name, right in (("计算基数", True), ("比例", True), ("结果", True), ("依据", False)):
        table.add_column(name, justify="right" if right else "left")
    for number, step in enumerate(seen["steps"], 1):
        basis = " ".join(part for part in (step["fact"], step["source"]) if part)
        table.add_row(str(number), step["rule_name"], step["input_amount"], step["ratio"], step["output_amount"], basis)
    return table


def _accumulators(seen: quotes.QuoteOut) -> Table:
    moved = {entry["key"]: entry for entry in seen["accumulators"]}
    table = Table("累计", title="累计（此前、本次、之后）", title_justify="left")
    for name in ("此前", "本次", "之后"):
        table.add_column(name, justify="right")
    for key, before in seen["looked_at"].items():
        entry = moved.pop(key, None)
        if entry or before not in ("0", "0.00"):
            table.add_row(key, before, entry["applied_amount"] if entry else "", entry["after_amount"] if entry else "")
    for key, entry in moved.items():
        table.add_row(key, entry["before_amount"], entry["applied_amount"], entry["after_amount"])
    return table


def _facts(seen: quotes.QuoteOut) -> Table:
    table = Table("条款", "种类", "起止", "出处", title="依据的政策条款", title_justify="left")
    for fact in seen["facts"]:
        days = f"{fact['first_day']} 起" if fact["last_day"] is None else f"{fact['first_day']} 至 {fact['last_day']}"
        assumed = "（暂定）" if fact["assumed"] else ""
        table.add_row(f"#{fact['number']}", fact["kind"], days, f"{fact['source']}{assumed}")
    return table


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Stop("--as-of 应为日期，例如 2026-03-02", WRONG_USAGE) from None


def _refused(words: str, code: str, errors: Sequence[FieldError], ends: int, *, as_json: bool) -> Stop:
    """How the command ends: every wrong place, its code and the reason, one a line; for programs on stdout too."""
    if as_json:
        print(json.dumps({"code": code, "detail": words, "errors": list(errors)}, ensure_ascii=False, indent=2))
    places = "".join(f"\n  {one['pointer']}  {one['code']}  {one['detail']}" for one in errors)
    return Stop(f"{words}（{code}）{places}", ends)
