"""`jiesuan reconcile`: institutions' own books against the centre's, at the centre; their files, at a front-end."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, Stop

if TYPE_CHECKING:
    from center.reconciling.daily import DayStatus
    from center.reconciling.differences import Found

app = typer.Typer(help="机构对账 Institutions' own books against the centre's.", no_args_is_help=True)

Institution = Annotated[str, typer.Option(help="医院编号 YYBH.")]
Day = Annotated[str, typer.Argument(help="结算日期 The day (YYYY-MM-DD).")]
Number = Annotated[int, typer.Argument(help="差异编号 Number of the difference.")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]

RESULTS = {"0": "平", "1": "中心多", "2": "机构多", "3": "不一致", "": "未对"}
STATES = {
    "open": "未处理",
    "proposed": "待复核",
    "ordered": "已下发",
    "repaired": "已修复",
    "explained": "已说明",
    "gone": "已消失",
}
DAYS_SHOWN = 7


@app.command()
def status(
    since: Annotated[str, typer.Option(help="From this day (YYYY-MM-DD); seven days back when left out.")] = "",
    institution: Institution = "",
    as_json: AsJson = False,
) -> None:
    """总览 Every institution-day: handed in or not, even or not, what is open. Exit code 1 while anything is."""
    from center.reconciling.daily import status as of_days
    from city.commands.catalogue_office import at_the_centre, day_of, print_json, print_table

    with at_the_centre() as (connection, at):
        first = day_of(since, at.date() - timedelta(days=DAYS_SHOWN))
        days = of_days(connection, since=first, until=at.date(), institution_code=institution)
    if as_json:
        print_json([_status_document(each) for each in days])
    else:
        print_table(
            f"机构对账 {first} 起",
            ["日期", "医药机构", "账", "结果", "机构总额", "中心总额", "未处理差异", "差异金额"],
            [_status_row(each) for each in days],
        )
    if any(each.open_differences or not each.handed_in for each in days if each.result):
        raise typer.Exit(REFUSED)


@app.command()
def totals(day: Day, institution: Institution = "", as_json: AsJson = False) -> None:
    """总账 The centre's totals of a day by scheme and clearing type, with refunds and without (3201)."""
    from center.reconciling.totals import of_day
    from city.commands.catalogue_office import at_the_centre, day_of, print_json, print_table
    from domain.money import yuan

    with at_the_centre() as (connection, at):
        rows = of_day(connection, day_of(day, at.date()), institution_code=institution)
    if as_json:
        print_json([row.as_document() for row in rows])
        return
    print_table(
        f"中心总账 {day}",
        ["医药机构", "险种", "清算类别", "退费", "笔数", "总金额", "统筹支付", "账户支付", "现金支付"],
        [
            [
                row.institution_code,
                row.scheme,
                row.clearing_type,
                "含" if row.with_refunds else "不含",
                row.figures.documents,
                *map(yuan, row.figures.money()),
            ]
            for row in rows
        ],
    )


@app.command()
def lines(day: Day, institution: Institution, as_json: AsJson = False) -> None:
    """明细账 Compare the institution's newest book of the day once more, line by line (3202)."""
    from center.reconciling.daily import compare_all
    from center.reconciling.daily import newest_book as newest
    from center.reconciling.differences import of_day
    from city.commands.catalogue_office import at_the_centre, day_of, print_json

    with at_the_centre() as (connection, at):
        on = day_of(day, at.date())
        book = newest(connection, institution, on)
        if book is None:
            raise Stop(f"机构 {institution} 没有提交 {on} 的账", REFUSED)
        compared, *_ = compare_all(connection, book, at=at)
        found = [row for row in of_day(connection, institution, on) if row.is_open]
    if as_json:
        print_json({"result": compared.result, "differences": [_document(row) for row in found]})
    else:
        print(f"{on} {institution}：{RESULTS[compared.result]}，未处理差异 {len(found)} 笔")
        _table(found)
    if found:
        raise typer.Exit(REFUSED)


@app.command("differences")
def list_(
    day: Annotated[str, typer.Option(help="Of this day only (YYYY-MM-DD).")] = "",
    institution: Institution = "",
    everything: Annotated[bool, typer.Option("--all", help="Those that are closed, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """差异清单 The differences that are open, oldest first."""
    from center.reconciling.differences import listed
    from city.commands.catalogue_office import at_the_centre, day_of, print_json

    with at_the_centre() as (connection, at):
        on = day_of(day, at.date()) if day else None
        found = listed(connection, institution_code=institution, day=on, everything=everything)
    if as_json:
        print_json([_document(row) for row in found])
    elif not found:
        print("没有未处理的差异")
    else:
        _table(found)


@app.command()
def show(difference_no: Number, as_json: AsJson = False) -> None:
    """查看 One difference: both figures, every line of the visit in both books, the repair and what it would do."""
    from center.reconciling.differences import find
    from center.reconciling.lines import of_visit
    from city.commands.catalogue_office import at_the_centre, print_json, print_table
    from domain.money import yuan
    from domain.repairs import REPAIR_WORDS, Repair

    with at_the_centre() as (connection, _):
        found = find(connection, difference_no)
        if found is None:
            raise Stop(f"没有差异 {difference_no}", REFUSED)
        books = of_visit(connection, found)
    if as_json:
        print_json(_document(found) | {"lines": [_line(side, entry) for side, entry in books]})
        return
    print(f"差异 {found.difference_no}　{found.day}　{found.institution_code}　{_title(found)}　{STATES[found.state]}")
    print(found.words)
    print(f"处理：{REPAIR_WORDS[Repair(found.repair)]}")
    print(f"预测：{found.effect}")
    if found.proposal_no:
        print(f"申请：{found.proposal_no}（jiesuan approval show {found.proposal_no}）")
    if found.outcome:
        print(f"结果：{found.outcome}")
    print_table(
        f"就医登记号 {found.visit_no}",
        ["账", "日期", "批次", "结算单号", "退费", "险种", "清算类别", "总金额", "统筹", "账户", "现金"],
        [
            [
                side,
                entry.day,
                entry.charge_batch_no or "",
                entry.settlement_no or "",
                "是" if entry.contra else "",
                entry.scheme,
                entry.clearing_type,
                *map(yuan, entry.figures().money()),
            ]
            for side, entry in books
        ],
    )


@app.command()
def propose(
    difference_no: Number,
    reason: Annotated[str, typer.Option(help="Why it is to be done.")],
    by: By = "",
    repair: Annotated[
        str, typer.Option(help="After a comparison: note, contra, resend-answer or reverse-at-institution.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """提请处理 Propose the repair of a difference; another person approves it (jiesuan approval approve)."""
    from center.approving.actions import CannotDo
    from center.approving.proposals import AlreadyProposed, CannotPropose, find
    from center.reconciling.actions import propose_repair
    from city.commands import WRONG_USAGE
    from city.commands.catalogue_office import at_the_centre, operator, print_json
    from domain.repairs import Repair

    if repair and repair not in set(Repair):
        raise Stop(f"没有处理方式 {repair}", WRONG_USAGE)
    with at_the_centre() as (connection, at):
        try:
            number = propose_repair(
                connection,
                difference_no,
                by=operator(by),
                reason=reason,
                at=at,
                repair=Repair(repair) if repair else None,
            )
        except (CannotDo, CannotPropose, AlreadyProposed) as error:
            raise Stop(str(error), REFUSED) from None
        proposal = find(connection, number)
    assert proposal is not None
    if as_json:
        print_json({"proposal_no": number, "effect": proposal.effect})
    else:
        print(f"已提请 {number}：{proposal.effect}\n请另一人复核：jiesuan approval approve {number} --by 复核人")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A ZIP with one TAB-separated text, or the text.")],
    institution: Institution,
    day: Annotated[str, typer.Option(help="结算日期 Of which day the file is (YYYY-MM-DD).")],
    as_json: AsJson = False,
) -> None:
    """上传对账文件 Hand in an institution's book of a day from a file, at its front-end (9101, 3202)."""
    from city.commands import reconcile_files

    reconcile_files.hand_in(file, institution, day, as_json=as_json)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where the result is written: a ZIP with one text.")],
    institution: Institution,
    day: Annotated[str, typer.Option(help="结算日期 Of which day (YYYY-MM-DD).")],
) -> None:
    """下载对账结果 Write the result of a day's comparison to a file, at the front-end (3202, 9102)."""
    from city.commands import reconcile_files

    reconcile_files.write_result(file, institution, day)


def _status_document(each: DayStatus) -> dict[str, Any]:
    from domain.money import yuan

    return {
        "day": each.day.isoformat(),
        "institution_code": each.institution_code,
        "handed_in": each.handed_in,
        "by_lines": each.by_lines,
        "result": each.result,
        "institution_total": yuan(each.institution_total_fen),
        "center_total": yuan(each.center_total_fen),
        "open_differences": each.open_differences,
        "open_amount": yuan(each.open_fen),
    }


def _status_row(each: DayStatus) -> list[Any]:
    from domain.money import yuan

    book = "明细" if each.by_lines else "总额" if each.handed_in else "未交"
    sums = map(yuan, (each.institution_total_fen, each.center_total_fen))
    return [
        each.day,
        each.institution_code,
        book,
        RESULTS[each.result],
        *(sums if each.result else ("", "")),
        each.open_differences or "",
        yuan(each.open_fen) if each.open_differences else "",
    ]


def _table(found: list[Found]) -> None:
    from city.commands.catalogue_office import print_table
    from domain.money import yuan

    print_table(
        "对账差异",
        ["编号", "日期", "医药机构", "就医登记号", "批次", "类别", "差额", "状态", "说明"],
        [
            [
                row.difference_no,
                row.day,
                row.institution_code,
                row.visit_no,
                row.charge_batch_no or "",
                _title(row),
                yuan(row.difference_fen),
                STATES[row.state],
                row.words,
            ]
            for row in found
        ],
    )


def _title(found: Found) -> str:
    from domain.reconciliation import Class
    from domain.repairs import CLASS_WORDS

    return CLASS_WORDS[Class(found.kind)]


def _document(found: Found) -> dict[str, Any]:
    from domain.money import yuan

    document: dict[str, Any] = {
        name: value.isoformat() if isinstance(value, date) else value for name, value in found._asdict().items()
    }
    for side in ("institution", "center"):
        documents, *amounts = document.pop(f"{side}_figures")
        document[side] = {"documents": documents} | dict(zip(_AMOUNTS, map(yuan, amounts), strict=True))
    document["difference"] = yuan(document.pop("difference_fen"))
    return document


_AMOUNTS = ("total_amount", "fund_pay_amount", "account_pay_amount", "cash_amount")


def _line(side: str, entry: Any) -> dict[str, Any]:
    from domain.money import yuan

    amounts = dict(zip(_AMOUNTS, map(yuan, entry.figures().money()), strict=True))
    return {
        "book": side,
        "day": entry.day.isoformat(),
        "charge_batch_no": entry.charge_batch_no,
        "settlement_no": entry.settlement_no,
        "refund": entry.contra,
        "scheme": entry.scheme,
        "clearing_type": entry.clearing_type,
    } | amounts
