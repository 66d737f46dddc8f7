"""`jiesuan clearing`: periods and what they come to, their closing, confirmation and payment, at the centre."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop
from city.commands.clearing_office import (
    AsJson,
    By,
    Reason,
    add_to,
    print_proposed,
    proposed,
    refusing,
)

if TYPE_CHECKING:
    from center.clearing.figures import Figures
    from center.clearing.periods import PeriodRow

app = typer.Typer(help="清算 Clearing with the institutions, at the centre.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(help="Number of the period (清算期).")]


class Form(StrEnum):
    """As what a statement is written."""

    HTML = "html"
    PDF = "pdf"
    CSV = "csv"


# ── Looking ───────────────────────────────────────────────────────────────────────────────────────────────


@app.command("list")
def list_(
    institution: Annotated[str, typer.Option(help="Only this institution's (医院编号 YYBH).")] = "",
    state: Annotated[str, typer.Option(help="open, closed, confirmed or paid.")] = "",
    month: Annotated[str, typer.Option(help="Only periods that end in this month (YYYY-MM, 清算年月).")] = "",
    as_json: AsJson = False,
) -> None:
    """列出 Periods, newest first, with what is due of each."""
    from center.clearing import periods
    from city.commands.catalogue_office import at_the_centre, print_json, print_table
    from domain.clearing import STATE_WORDS, PeriodState
    from domain.money import yuan

    if state and state not in set(PeriodState):
        raise Stop(f"没有状态 {state}：应为 open、closed、confirmed、paid", WRONG_USAGE)
    with at_the_centre() as (connection, _):
        found = periods.listed(connection, institution_code=institution, state=state, name=month)
    if as_json:
        print_json([_document(period, due_fen) for period, due_fen in found])
        return
    print_table(
        "清算期",
        ["编号", "医药机构", "险种", "类别", "清算年月", "止日", "关账日", "状态", "应付", "异议"],
        [
            [
                period.period_no,
                period.institution_code,
                period.scheme,
                period.clearing_type,
                period.name,
                period.last_day,
                period.closes_on,
                STATE_WORDS[PeriodState(period.state)],
                "" if due_fen is None else yuan(due_fen),
                period.objection,
            ]
            for period, due_fen in found
        ],
    )


@app.command()
def show(number: Number, as_json: AsJson = False) -> None:
    """查看 One period: what it came to, as its statement has it, or would come to now."""
    from center.clearing import periods
    from center.clearing.reckoning import reckon
    from center.clearing.statement import statement
    from city.commands.catalogue_office import at_the_centre, print_json, print_table

    with at_the_centre() as (connection, _), refusing():
        period = periods.find(connection, number)
        if period.clearing_no is None:
            _print_figures(period, reckon(connection, period.flow, period.last_day), as_json=as_json)
            return
        paper = statement(connection, number)
    if as_json:
        print_json({"period_no": number, **paper.as_data()})
        return
    rows = [*paper.facts, *paper.sums, (paper.due_name, paper.due), ("大写", paper.capitals)]
    print_table(f"清算单 {paper.institution_name}", ["项目", "内容"], [list(row) for row in rows])


@app.command()
def preview(number: Number, as_json: AsJson = False) -> None:
    """试算 What an open period comes to as the books are now; nothing is written."""
    from center.clearing import periods
    from center.clearing.reckoning import reckon
    from city.commands.catalogue_office import at_the_centre

    with at_the_centre() as (connection, _), refusing():
        period = periods.find(connection, number)
        if period.clearing_no is not None:
            raise Stop(f"清算期 {number} 已关账，请看 jiesuan clearing show {number}", REFUSED)
        _print_figures(period, reckon(connection, period.flow, period.last_day), as_json=as_json)


@app.command()
def statement(
    number: Number,
    out: Annotated[Path, typer.Option(help="The file to write; its folder must be there.")],
    form: Annotated[Form, typer.Option("--as", help="html, pdf or csv.")] = Form.PDF,
) -> None:
    """清算单 Write the statement for the institution, its figures from the ledger."""
    from center.clearing import printing
    from center.clearing.statement import statement as made
    from city.commands.catalogue_office import at_the_centre

    with at_the_centre() as (connection, _), refusing():
        paper = made(connection, number)
    if form is Form.PDF:
        content = printing.as_pdf(paper)
    else:
        content = (printing.as_page if form is Form.HTML else printing.as_csv)(paper).encode()
    try:
        out.write_bytes(content)
    except OSError as error:
        raise Stop(f"写不了 {out}：{error.strerror}", WRONG_USAGE) from None
    print(f"{out}: {len(content)} 字节")


# ── Doing ─────────────────────────────────────────────────────────────────────────────────────────────────


@app.command()
def close(number: Number, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """关账 Close a period that is over, before its day or after; the schedule closes by itself on its day."""
    from center.clearing.closing import close_in
    from city.commands.catalogue_office import at_the_centre, operator, print_json

    with at_the_centre() as (connection, at), refusing():
        clearing_no = close_in(connection, number, by=operator(by), reason=reason.strip(), at=at)
    if as_json:
        print_json({"period_no": number, "clearing_no": clearing_no})
    else:
        print(f"清算期 {number} 已关账，清算编号 {clearing_no}")


@app.command()
def confirm(number: Number, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """确认 The institution agrees with a closed period."""
    from center.clearing import periods
    from city.commands.catalogue_office import at_the_centre, operator, print_json

    with at_the_centre() as (connection, at), refusing():
        period = periods.confirm(connection, number, by=operator(by), reason=reason.strip(), at=at)
    if as_json:
        print_json(_document(period, None))
    else:
        print(f"清算期 {number} 已确认")


@app.command("object")
def object_(number: Number, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """异议 The institution does not agree: the period stays closed until somebody has looked."""
    from center.clearing import periods
    from city.commands.catalogue_office import at_the_centre, operator, print_json

    with at_the_centre() as (connection, at), refusing():
        period = periods.objected(connection, number, by=operator(by), reason=reason.strip(), at=at)
    if as_json:
        print_json(_document(period, None))
    else:
        print(f"清算期 {number} 的异议已记录")


@app.command()
def pay(number: Number, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """提请拨付 Propose the payment of a confirmed period; a second person approves it (`jiesuan approval approve`)."""
    from center.clearing.actions import PAY

    print_proposed(proposed(PAY, {"period_no": number}, by=by, reason=reason), as_json=as_json)


@app.command()
def reopen(number: Number, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """提请冲回 Propose the contra of a clearing that is not paid, so that its period is open again."""
    from center.clearing.actions import REOPEN

    print_proposed(proposed(REOPEN, {"period_no": number}, by=by, reason=reason), as_json=as_json)


add_to(app)


def _document(period: PeriodRow, due_fen: int | None) -> dict[str, Any]:
    from domain.money import yuan

    values = {name: value.isoformat() if isinstance(value, date) else value for name, value in period._asdict().items()}
    return values if due_fen is None else {**values, "due": yuan(due_fen)}


def _print_figures(period: PeriodRow, figures: Figures, *, as_json: bool) -> None:
    from city.commands.catalogue_office import print_json, print_table
    from domain.money import yuan

    amounts = {
        "total": figures.total("total_fen"),
        "fund": figures.total("fund_fen"),
        "account": figures.total("account_fen"),
        "withheld": figures.withheld_fen,
        "deducted": figures.deducted_fen,
        "released": figures.released_fen,
        "carried_in": figures.carried_in_fen,
        "due": figures.due_fen,
    }
    counts = {
        "documents": figures.total("documents"),
        "contra_documents": figures.total("contra_documents"),
        "persons": figures.persons,
        "late": len(figures.members.late),
    }
    if as_json:
        print_json(
            {
                "period_no": period.period_no,
                "state": period.state,
                **counts,
                **{name: yuan(fen) for name, fen in amounts.items()},
                "days": [[day.day.isoformat(), day.documents, yuan(day.fund_fen + day.account_fen)]
                         for day in figures.days],
            }
        )  # fmt: skip
        return
    words = ["笔数", "其中冲销", "人数", "往期", "医疗费总额", "基金", "个人账户", "预留金", "扣款", "返还预留金",
             "上期结转", "应付"]  # fmt: skip
    values = [*map(str, counts.values()), *map(yuan, amounts.values())]
    print_table(
        f"{period.institution_code} {period.name} 试算",
        ["项目", "数"],
        [list(row) for row in zip(words, values, strict=True)],
    )
