"""`jiesuan tenant move`: an institution goes to another front-end, while its claims flow."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

PART = "part"
AS = ("own", "shared", "hosted", "head-office", PART)

Code = Annotated[str, typer.Argument(help="医药机构编号 Institution code (YYBH).")]
To = Annotated[str, typer.Option("--to", help="目标前置机 The front-end it goes to.")]
From = Annotated[str, typer.Option("--from", help="原前置机 The one it leaves, where it has several.")]
As = Annotated[
    str, typer.Option("--as", help=f"接入方式 How it is connected there: {', '.join(AS)}; left out: as now.")
]
Part = Annotated[int | None, typer.Option(help="号段 With --as part: which part of its visit numbers, 0 to 7.")]
Show = Annotated[bool, typer.Option("--show", help="进度 Show who serves it and how its moves stand.")]
Abort = Annotated[bool, typer.Option("--abort", help="取消 Take the move back; before anything travelled.")]
Finish = Annotated[bool, typer.Option("--finish", help="了结 End it although results wait that nobody fetches.")]
Reason = Annotated[str, typer.Option(help="原因 Why; kept in the audit log.")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


def move(  # noqa: PLR0917  # each is an option of the command line
    code: Code,
    to: To = "",
    from_: From = "",
    as_: As = "",
    part: Part = None,
    show: Show = False,
    abort: Abort = False,
    finish: Finish = False,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """机构迁移 Move an institution to another front-end while claims flow; no restart anywhere.

    It is a chain of steps that go on by themselves: the target fetches terms, catalogue and policies; the source takes
    nothing new; visits under way and what was accepted travel, sealed; the target opens; the source sees through what
    it had accepted. --show says which step it is at and what it waits for.
    """
    if [bool(to), show, abort, finish].count(True) != 1:
        raise Stop("请用 --to 迁移、--show 查看、--abort 取消、--finish 了结，四者选一", WRONG_USAGE)
    if as_ and as_ not in AS:
        raise Stop(f"没有接入方式“{as_}”；可用：{'、'.join(AS)}", WRONG_USAGE)
    if show:
        _show(code, as_json=as_json)
    elif abort or finish:
        _end(code, abort=abort, by=by, reason=reason, as_json=as_json)
    else:
        _begin(code, to, from_, as_, part, by=by, reason=reason, as_json=as_json)


def _begin(code: str, to: str, from_: str, as_: str, part: int | None, *, by: str, reason: str, as_json: bool) -> None:
    from center.serving import beginning, ringing
    from center.serving.terms import Rules, TermsRefused
    from city.commands.catalogue_office import at_the_centre, operator, print_json
    from infra.settings import Settings

    settings = Settings()
    connection_kind = "" if as_ in ("", PART) else as_.replace("-", "_")
    wish = beginning.Wish(code, to, connection_kind, joins=as_ == PART, source=from_, part=part)
    rules = Rules(civil_servants_may_share=settings.civil_servants_may_share)
    with at_the_centre() as (connection, at):
        try:
            begun = beginning.begin(connection, wish, by=operator(by), reason=reason, at=at, rules=rules)
        except TermsRefused as refused:
            raise Stop("没有开始迁移：\n" + "\n".join(f"  · {each}" for each in refused.problems), REFUSED) from None
    rung = ringing.ring(settings)
    if as_json:
        print_json({"move": begun.move_no, "institution_code": code, "target": to, "advice": begun.advice})
        return
    print(f"第 {begun.move_no} 次迁移已开始：{code} 迁往 {to}；用 jiesuan tenant move {code} --show 查看进度")
    for each in begun.advice:
        print(f"  提示：{each}")
    if not rung:
        print("  中心消息服务现联系不上，各前置机将在下一次取条款时得知")


def _end(code: str, *, abort: bool, by: str, reason: str, as_json: bool) -> None:
    from center.serving import beginning, ringing
    from center.serving.terms import TermsRefused
    from city.commands.catalogue_office import at_the_centre, operator, print_json
    from infra.settings import Settings

    with at_the_centre() as (connection, at):
        try:
            end = beginning.abort if abort else beginning.finish
            number = end(connection, code, by=operator(by), reason=reason, at=at)
        except TermsRefused as refused:
            raise Stop("；".join(refused.problems), REFUSED) from None
    ringing.ring(Settings())
    if as_json:
        print_json({"move": number, "institution_code": code, "state": "aborted" if abort else "finished"})
    elif abort:
        print(f"第 {number} 次迁移已取消：{code} 仍由原前置机受理")
    else:
        print(f"第 {number} 次迁移已了结：{code} 由目标前置机受理，原前置机的结果不再等待领取")


def _show(code: str, *, as_json: bool) -> None:
    from center.serving import beginning, showing
    from city.commands.catalogue_office import at_the_centre, print_json

    with at_the_centre() as (connection, _):
        if not beginning.known(connection, code):
            raise Stop(f"没有医药机构 {code}", REFUSED)
        shown = showing.shown(connection, code)
    if as_json:
        print_json(shown)
    else:
        _print(code, shown)


def _print(code: str, shown: dict[str, Any]) -> None:
    from city.commands.catalogue_office import print_table

    columns = ["frontend", "connection_words", "standing_words", "part_words", "until"]
    rows = [[each[column] for column in columns] for each in shown["served_by"]]
    print_table(f"{code} 的前置机", ["前置机", "接入方式", "现状", "号段", "办结于"], rows)
    columns = ["move", "source", "target", "state_words", "waits_for", "travelled_words", "open_words", "changed_at"]
    rows = [[each[column] for column in columns] for each in shown["moves"]]
    headings = ["次", "原", "目标", "步骤", "在等", "已移交", "原前置机尚余", "时间"]
    print_table("迁移", headings, rows, most=10)
