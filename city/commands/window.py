"""`jiesuan window`: when detail may travel, how much, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

if TYPE_CHECKING:
    from center.uploading.windows import Stored

app = typer.Typer(
    help="明细上传时段 When charge detail travels to the centre, and how far it is.", invoke_without_command=True
)

By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
Reason = Annotated[str, typer.Option(help="理由 Why; it is kept in the audit.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Name = Annotated[str, typer.Argument(help="时段名称 Name of the window.")]

LONGEST_REASON = 200
DAYS_SHOWN = 7


@app.callback()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Without a command: how far the detail is 水位. Exit code 1 while any is overdue."""
    if context.invoked_subcommand is None:
        from city.commands import window_status

        raise typer.Exit(window_status.show(as_json=as_json))


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """全部时段 The windows, those out of use with them."""
    from center.uploading import windows
    from city.commands.catalogue_office import at_the_centre

    with at_the_centre() as (connection, _):
        stored = windows.every(connection)
    _print_windows(stored, as_json=as_json)


@app.command("set")
def set_(  # noqa: PLR0917  # options of a command line, handed over by name
    name: Name,
    opens: Annotated[str | None, typer.Option(help="开始 From (18:00).")] = None,
    closes: Annotated[str | None, typer.Option(help="结束 Until, not included (08:00 is the next day; 24:00).")] = None,
    days: Annotated[
        str | None, typer.Option(help="日期: 1-7 Monday to Sunday, workday 工作日, off 休息日, every; off,5 is both.")
    ] = None,
    lines: Annotated[str | None, typer.Option(help="每小时明细行数 Lines an hour, of all front-ends.")] = None,
    size: Annotated[str | None, typer.Option("--bytes", help="每小时字节数 Bytes an hour on the link (64M).")] = None,
    frontend: Annotated[str | None, typer.Option(help="前置机 For this front-end alone; * is every one.")] = None,
    slice_seconds: Annotated[str | None, typer.Option("--slice", help="片长 Seconds of one grant, 10 to 3600.")] = None,
    active: Annotated[bool | None, typer.Option("--on/--off", help="启用、停用 In use or not.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="只预览 Show the week it would make; change nothing.")
    ] = False,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """设置时段 Set a window, a new one or one that is there; what is left out stays as it is."""
    from center.uploading import windows
    from city.commands.catalogue_office import at_the_centre, operator

    asked = windows.Asked(opens, closes, days, lines, size, frontend, slice_seconds, active)
    with at_the_centre() as (connection, at):
        try:
            if dry_run:
                timetable = windows.changed(connection, name, asked)
                only = asked.frontend or next(each.window.frontend for each in timetable if each.window.name == name)
                _preview(connection, timetable, at, frontend=only, as_json=as_json)
                return
            stored = windows.put(connection, name, asked, by=operator(by), reason=_why(reason), at=at)
        except windows.WindowRefused as refused:
            raise Stop(_all(refused.problems), REFUSED) from None
    _print_windows([stored], as_json=as_json)


@app.command()
def remove(name: Name, reason: Reason = "", by: By = "") -> None:
    """删除时段 Take a window out; a slice that was granted under it runs to its end."""
    from center.uploading import windows
    from city.commands.catalogue_office import at_the_centre, operator

    with at_the_centre() as (connection, at):
        try:
            windows.remove(connection, name, by=operator(by), reason=_why(reason), at=at)
        except windows.WindowRefused as refused:
            raise Stop(_all(refused.problems), REFUSED) from None
    print(f"已删除时段 {name}")


@app.command()
def preview(
    since: Annotated[str, typer.Option("--from", help="第一天 The first day (YYYY-MM-DD); today when left out.")] = "",
    frontend: Annotated[str, typer.Option(help="前置机 As this front-end has it; * is those without their own.")] = "*",
    as_json: AsJson = False,
) -> None:
    """一周预览 The week ahead, hour by hour, with what each hour may carry and which days are worked."""
    from center import served
    from center.uploading import windows
    from city.commands.catalogue_office import at_the_centre, day_of

    with at_the_centre() as (connection, at):
        known = served.frontends(connection)
        if frontend != "*" and frontend not in known:
            raise Stop(f"没有前置机 {frontend}，现有：{'、'.join(known) or '（没有）'}", REFUSED)
        first = datetime.combine(day_of(since, at.date()), datetime.min.time(), at.tzinfo)
        _preview(connection, windows.every(connection), first, frontend=frontend, as_json=as_json)


@app.command()
def share(  # noqa: PLR0917  # options of a command line, handed over by name
    size: Annotated[list[str] | None, typer.Option(help="机构类别 CLASS=PERCENT, or CLASS=default.")] = None,
    institution: Annotated[list[str] | None, typer.Option(help="医药机构 CODE=WEIGHT; 100 is usual.")] = None,
    frontend: Annotated[list[str] | None, typer.Option(help="前置机 FRONTEND=WEIGHT; 100 is usual.")] = None,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """上传份额 Who gets how much of the budget; with options, set it."""
    from center.uploading import shares
    from city.commands.catalogue_office import at_the_centre, operator

    asked = [
        _named(kind, text)
        for kind, texts in ((shares.SIZE, size), (shares.INSTITUTION, institution), (shares.FRONTEND, frontend))
        for text in texts or ()
    ]
    with at_the_centre() as (connection, at):
        if asked:
            try:
                found = shares.change(connection, asked, by=operator(by), reason=_why(reason), at=at)
            except shares.ShareRefused as refused:
                raise Stop(_all(refused.problems), REFUSED) from None
        else:
            found = shares.load(connection)
    _print_shares(found, as_json=as_json)


def _named(kind: str, text: str) -> tuple[str, str, str]:
    name, equals, share = text.rpartition("=")
    if not equals:
        raise Stop(f"--{kind} {text} 应写作 名称=份额，如 small=8", WRONG_USAGE)
    return kind, name, share


def _why(reason: str) -> str:
    words = reason.strip()
    if not words or len(words) > LONGEST_REASON:
        raise Stop(f"请用 --reason 写明理由，至多 {LONGEST_REASON} 字", WRONG_USAGE)
    return words


def _all(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "".join(f"\n  {number}. {each}" for number, each in enumerate(problems, 1))


def _print_windows(stored: Sequence[Stored], *, as_json: bool) -> None:
    from center.uploading.windows import days_in_words
    from city.commands.catalogue_office import print_json, print_table
    from domain.timetable import ANY_FRONTEND

    if as_json:
        print_json([_document(each) for each in stored])
        return
    print_table(
        "明细上传时段",
        ["时段", "开始", "结束", "日期", "前置机", "每小时行数", "每小时字节", "片长", "状态"],
        [
            [
                window.name,
                f"{window.opens:%H:%M}",
                _until(window),
                days_in_words(window.days),
                "全部" if window.frontend == ANY_FRONTEND else window.frontend,
                f"{window.lines_per_hour:,}",
                in_units(window.bytes_per_hour),
                f"{window.slice_length.seconds} 秒",
                "启用" if active else "停用",
            ]
            for window, active in stored
        ],
    )


def _until(window: Any) -> str:
    from datetime import time

    if window.closes == window.opens == time():
        return "24:00"
    return ("次日 " if window.closes <= window.opens else "") + f"{window.closes:%H:%M}"


def _document(stored: Stored) -> dict[str, Any]:
    window = stored.window
    return {
        "name": window.name,
        "opens": f"{window.opens:%H:%M}",
        "closes": f"{window.closes:%H:%M}",
        "days": window.days,
        "frontend": window.frontend,
        "lines_per_hour": window.lines_per_hour,
        "bytes_per_hour": window.bytes_per_hour,
        "slice_seconds": window.slice_length // timedelta(seconds=1),
        "active": stored.active,
    }


def _print_shares(found: Any, *, as_json: bool) -> None:
    from city.commands.catalogue_office import print_json, print_table
    from domain.institution_class import CLASSES, Size

    if as_json:
        print_json({"classes": dict(found.classes), "institutions": found.institutions, "frontends": found.frontends})
        return
    rows = [["机构类别", CLASSES[Size(name)].name_zh, f"{percent}%"] for name, percent in found.classes.items()]
    rows += [["医药机构", code, weight] for code, weight in sorted(found.institutions.items())]
    rows += [["前置机", name, weight] for name, weight in sorted(found.frontends.items())]
    print_table("上传份额（同类机构平分；权重 100 为平常）", ["种类", "名称", "份额"], rows)


def in_units(size: int) -> str:
    """Bytes as people read them."""
    for unit, step in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size >= step:
            return f"{size / step:.1f}{unit}".replace(".0", "")
    return str(size)


def _preview(connection: Any, stored: Sequence[Stored], at: datetime, *, frontend: str, as_json: bool) -> None:
    from center.uploading.windows import calendar, span
    from city.commands.catalogue_office import print_json
    from city.commands.window_picture import picture
    from domain.timetable import hours_of

    first = at.replace(hour=0, minute=0, second=0, microsecond=0)
    is_workday = calendar(connection)
    active = [each.window for each in stored if each.active]
    hours = list(hours_of(active, frontend, first, DAYS_SHOWN, is_workday))
    if as_json:
        print_json(
            [
                {**hour._asdict(), "begins": hour.begins.isoformat(), "workday": is_workday(hour.begins.date())}
                for hour in hours
            ]
        )
        return
    for line in picture(hours, is_workday):
        print(line)
    for window in sorted(active, key=lambda each: each.name):
        print(f"{window.name}：{span(window)}，每小时 {window.lines_per_hour:,} 行、{in_units(window.bytes_per_hour)}")
    if not active:
        print("没有启用的时段：明细不会上传，jiesuan window set 可设")
