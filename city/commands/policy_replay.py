"""`jiesuan policy replay`: what the settlements of a time would have come to under a draft of the policy."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from center.policy.replay import CannotReplay
from center.policy.replay import replay as replay_history
from center.policy.replayed import Figures, Replayed
from city.commands import WRONG_USAGE, Stop
from domain import money
from domain.policy.facts import PolicySet
from domain.policy.reading import PolicyUnreadable, parse
from infra.database import open_database
from infra.settings import Settings
from producers.quote.claim import CATEGORIES_ZH
from producers.quote.settling import SCHEMES_ZH
from producers.settled import payer_zh

_COLUMNS = (
    "total_amount", "fund_before_amount", "fund_after_amount", "fund_difference_amount", "person_before_amount",
    "person_after_amount", "person_difference_amount",
)  # fmt: skip
_HEADS = ("结算数", "总费用", "基金：原", "基金：草案", "差额", "个人负担：原", "个人负担：草案", "差额")


def replay(draft: Path, *, first_day: str, last_day: str, most: int, as_json: bool) -> None:
    """Print what the draft comes to. Raises Stop when it cannot be read, or when the history cannot be repeated."""
    settings = Settings()
    settings.need("center_database_url")
    policy = _draft(draft)
    first, last = _day("--from", first_day), _day("--to", last_day)
    if last < first:
        raise Stop("--to 早于 --from", WRONG_USAGE)
    engine = open_database(settings.center_database_url)
    try:
        replayed = replay_history(
            engine, policy, first_day=first, last_day=last, most=most, progress=None if as_json else _progress
        )
    except CannotReplay as refused:
        raise Stop(
            refused.words + "".join(f"\n  结算 {number}  {words}" for number, words in refused.settlements)
        ) from None
    finally:
        engine.dispose()
    if as_json:
        print(json.dumps(document(replayed), ensure_ascii=False, indent=2))
    else:
        _print(replayed)


def document(replayed: Replayed) -> dict[str, Any]:
    """What was found, for programs; amounts in yuan."""
    return {
        "draft_version": replayed.draft_version,
        "from": replayed.first_day.isoformat(),
        "to": replayed.last_day.isoformat(),
        "persons": replayed.persons,
        "changed_persons": replayed.changed_persons,
        "all": _figures(replayed.all),
        "funds": {
            fund: {
                "before_amount": money.yuan(before),
                "after_amount": money.yuan(after),
                "difference_amount": money.yuan(after - before),
            }
            for fund, (before, after) in sorted(replayed.funds.items())
        },
        "schemes": _each(replayed.schemes),
        "levels": _each(replayed.levels),
        "categories": _each(replayed.categories),
        "most_affected": [{"person_no": one.person_no, **_figures(one.figures)} for one in replayed.affected],
        "uncovered": replayed.uncovered,
        "uncovered_first": [{"settlement_no": number, "why": why} for number, why in replayed.uncovered_first],
    }


def _each(held: Mapping[str, Figures]) -> dict[str, dict[str, Any]]:
    return {name: _figures(held[name]) for name in sorted(held)}


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "settlements": figures.settlements,
        "total_amount": money.yuan(figures.total_fen),
        "fund_before_amount": money.yuan(figures.fund_before_fen),
        "fund_after_amount": money.yuan(figures.fund_after_fen),
        "fund_difference_amount": money.yuan(figures.fund_after_fen - figures.fund_before_fen),
        "person_before_amount": money.yuan(figures.person_before_fen),
        "person_after_amount": money.yuan(figures.person_after_fen),
        "person_difference_amount": money.yuan(figures.person_after_fen - figures.person_before_fen),
        "account_before_amount": money.yuan(figures.account_before_fen),
        "account_after_amount": money.yuan(figures.account_after_fen),
    }


def _print(replayed: Replayed) -> None:
    found = document(replayed)
    console = Console(highlight=False)
    console.print(
        f"{replayed.first_day} 至 {replayed.last_day} 的结算按草案 {replayed.draft_version} 重算（不入账）；"
        f"原政策已先行逐笔重算，结果与已存完全一致。"
    )
    console.print(_table("合计", {"全部": found["all"]}, ""))
    funds = Table("基金", title="按基金", title_justify="left")
    for name in ("原", "草案", "差额"):
        funds.add_column(name, justify="right")
    for fund, row in found["funds"].items():
        amounts = (row["before_amount"], row["after_amount"], row["difference_amount"])
        funds.add_row(payer_zh(f"fund:{fund}"), *amounts)
    console.print(funds)
    console.print(_table("按险种", {SCHEMES_ZH.get(name, name): row for name, row in found["schemes"].items()}, "险种"))
    console.print(_table("按机构级别", found["levels"], "级别"))
    categories = {f"{name} {CATEGORIES_ZH.get(name, '')}": row for name, row in found["categories"].items()}
    console.print(_table("按人员类别", categories, "人员类别"))
    if replayed.affected:
        people = {str(row["person_no"]): row for row in found["most_affected"]}
        title = f"负担变化最大的人（共 {replayed.changed_persons} 人有变化，{replayed.persons} 人结算过）"
        console.print(_table(title, people, "中心人员序号"))
    if replayed.uncovered:
        console.print(f"注意：有 {replayed.uncovered} 笔结算草案不能给出结果，仍按原结算计入：")
        for number, why in replayed.uncovered_first:
            console.print(f"  结算 {number}　{why}")


def _table(title: str, rows: Mapping[str, Mapping[str, Any]], name: str) -> Table:
    table = Table(name, title=title, title_justify="left")
    for head in _HEADS:
        table.add_column(head, justify="right")
    for label, row in rows.items():
        table.add_row(label, str(row["settlements"]), *(row[column] for column in _COLUMNS))
    return table


def _draft(file: Path) -> PolicySet:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except PolicyUnreadable as error:
        places = "".join(f"\n  {words}" for words in error.errors)
        raise Stop(f"草案 {file.name} 不能读取：{places}", WRONG_USAGE) from None
    except UnicodeDecodeError:
        raise Stop(f"草案 {file.name} 不是 UTF-8 编码", WRONG_USAGE) from None


def _day(option: str, given: str) -> date:
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise Stop(f"{option} 应为日期，例如 2026-03-02", WRONG_USAGE) from None


def _progress(done: int) -> None:
    print(f"\r{done}", end="", file=sys.stderr, flush=True)
