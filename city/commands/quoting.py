"""`jiesuan quote`: what a claim in a file would settle to, and why. Needs no service and books nothing."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from city.commands import WRONG_USAGE, Stop
from city.commands.claim import read
from infra.settings import Settings
from producers import quote as quotes
from producers.api.problems import Problem

_AMOUNTS = (
    ("total_amount", "总金额"),
    ("fund_pay_amount", "统筹基金支付"),
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


def quote(file: Path, *, explain: bool, policy: str, as_of: str, as_json: bool) -> None:
    """Print the quote. Raises Stop when the document is wrong or no policy settles it."""
    try:
        given = quotes.read(read(file))
        if as_of:
            given["visit"]["visit_date"] = date.fromisoformat(as_of)
        quoted = quotes.settled(given, quotes.policy_book(Settings().policies_dir, policy))
    except Problem as problem:
        raise Stop(_with_fields(problem.detail, problem.errors), WRONG_USAGE) from None
    except quotes.CannotQuote as refused:
        raise Stop(_with_fields(refused.words, refused.errors)) from None
    except ValueError:
        raise Stop("--as-of 应为日期，例如 2026-03-02", WRONG_USAGE) from None
    seen = quotes.seen(quoted)
    if as_json:
        if not explain:
            seen["steps"] = []
        print(json.dumps(seen, ensure_ascii=False, indent=2))
        return
    console = Console()
    amounts = Table(box=None, show_header=False, pad_edge=False)
    amounts.add_column()
    amounts.add_column(justify="right")
    for name, label in _AMOUNTS:
        amounts.add_row(label, f"{seen['settlement'][name]} 元")  # type: ignore[literal-required]
    console.print(f"试算（不入账）　就诊日 {seen['day']}　政策 {seen['policy_version']}")
    console.print(amounts)
    if explain:
        console.print(_steps(seen))
        for number, step in enumerate(seen["steps"], 1):
            console.print(f"{number}. {step['words']}。", highlight=False)


def _steps(seen: quotes.QuoteOut) -> Table:
    table = Table("步", "规则", title="计算步骤", title_justify="left")
    for name, right in (("计算基数", True), ("比例", True), ("结果", True), ("依据", False)):
        table.add_column(name, justify="right" if right else "left")
    for number, step in enumerate(seen["steps"], 1):
        basis = " ".join(part for part in (step["fact"], step["source"]) if part)
        name = quotes.RULES_ZH.get(step["rule"], step["rule"])
        table.add_row(str(number), name, step["input_amount"], step["ratio"], step["output_amount"], basis)
    return table


def _with_fields(words: str, errors: object) -> str:
    fields = errors if isinstance(errors, list) else []
    return words + "".join(f"\n  {one['pointer']}  {one['code']}  {one['detail']}" for one in fields)
