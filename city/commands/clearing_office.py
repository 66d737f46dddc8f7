"""What the office sets and proposes of clearing: calendar, shares withheld and released, deductions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any, NamedTuple

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
Reason = Annotated[str, typer.Option(help="理由 Why; it is kept with the document and in the audit.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]

LOOK_AHEAD = timedelta(days=365)


class Proposed(NamedTuple):
    """A proposal that waits for a second person."""

    proposal_no: int
    effect: str


@contextmanager
def refusing() -> Iterator[None]:
    """What the rules of clearing refuse ends the command with their words. Raises Stop."""
    from center.approving.actions import CannotDo
    from center.approving.proposals import AlreadyProposed, CannotPropose
    from center.clearing.calendar import CannotSet
    from center.clearing.periods import CannotStep
    from center.clearing.statement import StatementDiffers
    from center.clearing.sums import BooksDiffer, NotPayable

    try:
        yield
    except (
        AlreadyProposed, BooksDiffer, CannotDo, CannotPropose, CannotSet, CannotStep, NotPayable, StatementDiffers,
    ) as why:  # fmt: skip
        raise Stop(str(why), REFUSED) from None


def proposed(action: str, payload: dict[str, Any], *, by: str, reason: str) -> Proposed:
    """Propose an action of clearing with what it would do. Raises Stop."""
    from center.approving.proposals import propose
    from center.clearing.actions import ACTIONS, institution_of
    from city.commands.catalogue_office import at_the_centre, operator

    with at_the_centre() as (connection, at), refusing():
        effect = ACTIONS[action].predict(connection, payload, at=at)
        number = propose(
            connection,
            action,
            payload,
            by=operator(by),
            reason=reason,
            institution_code=institution_of(connection, payload),
            effect=effect,
            at=at,
        )
    return Proposed(number, effect)


def print_proposed(made: Proposed, *, as_json: bool) -> None:
    """Say what waits for the second person."""
    from city.commands.catalogue_office import print_json

    if as_json:
        print_json(made._asdict())
    else:
        print(f"申请 {made.proposal_no} 等待复核：{made.effect}")


def calendar(  # noqa: PLR0917  # options of a command line, handed over by name
    since: Annotated[str, typer.Option(help="Set the calendar for periods that begin on this day or later.")] = "",
    end_day: Annotated[int, typer.Option(help="期末日: the day of the month periods end on; 31 is the last.")] = 31,
    closing: Annotated[int, typer.Option(help="Working days from the end of a period to its closing.")] = 5,
    objection: Annotated[int, typer.Option(help="Working days to object in; 0: periods are confirmed by hand.")] = 0,
    day_off: Annotated[str, typer.Option(help="This day is not worked (YYYY-MM-DD).")] = "",
    workday: Annotated[str, typer.Option(help="This day is worked (YYYY-MM-DD).")] = "",
    reason: Annotated[str, typer.Option(help="理由 Why.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """清算日历 The calendar, and the periods of the year ahead; with options, set it or a day of it."""
    from center.clearing import calendar as calendars
    from city.commands.catalogue_office import at_the_centre, day_of, operator
    from domain.clearing import CalendarRule

    if sum(map(bool, (since, day_off, workday))) > 1:
        raise Stop("--since、--day-off、--workday 一次只能用一个", WRONG_USAGE)
    with at_the_centre() as (connection, at), refusing():
        today = at.date()
        if since:
            rule = CalendarRule(day_of(since, today), end_day, closing, objection or None)
            calendars.set_rule(connection, rule, by=operator(by), reason=reason.strip(), at=at)
        elif day_off or workday:
            calendars.set_day(
                connection,
                day_of(day_off or workday, today),
                is_workday=bool(workday),
                by=operator(by),
                reason=reason.strip(),
                at=at,
            )
        set_now = calendars.load(connection)
    _print_calendar([due for due in set_now.until(today + LOOK_AHEAD) if due.closes_on >= today], as_json=as_json)


def _print_calendar(dues: list[Any], *, as_json: bool) -> None:
    from city.commands.catalogue_office import print_json, print_table
    from domain.workdays import moved_weekends

    rows = [[due.period.name, due.period.first_day, due.period.last_day, due.closes_on] for due in dues]
    if as_json:
        names = ("period", "first_day", "last_day", "closes_on")
        print_json([dict(zip(names, map(str, row), strict=True)) for row in rows])
        return
    if not rows:
        print("还没有清算日历：jiesuan clearing calendar --since YYYY-MM-DD --reason ...")
        return
    print_table("清算日历", ["清算年月", "起", "止", "关账日"], rows)
    for year in sorted({due.closes_on.year for due in dues}):
        if not moved_weekends(year):
            print(f"{year} 年的放假调休安排还不在程序里：到时请用 --day-off、--workday 设定，或升级 holidays")


def withhold(  # noqa: PLR0917  # options of a command line, handed over by name
    percent: Annotated[str, typer.Argument(help="预留比例: of what funds pay, in percent, for example 5 or 3.33.")],
    since: Annotated[str, typer.Option(help="For periods that end on this day or later (YYYY-MM-DD).")],
    reason: Reason,
    institution: Annotated[str, typer.Option(help="One institution's code; every one when left out.")] = "*",
    clearing_type: Annotated[str, typer.Option("--type", help="清算类别 11, 21 or 41; every one when left out.")] = "*",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """提请预留比例 Propose the share that is withheld; the narrowest rule counts."""
    from center.clearing.actions import SHARE
    from city.commands.catalogue_office import day_of
    from domain.clearing import ClearingType

    if clearing_type != "*" and clearing_type not in set(ClearingType):
        raise Stop(f"没有清算类别 {clearing_type}", WRONG_USAGE)
    payload = {
        "institution_code": institution,
        "clearing_type": clearing_type,
        "since": str(_day(since, day_of)),
        "share_1e4": _share(percent),
    }
    print_proposed(proposed(SHARE, payload, by=by, reason=reason), as_json=as_json)


def release(  # noqa: PLR0917  # options of a command line, handed over by name
    institution: Annotated[str, typer.Argument(help="医院编号 YYBH.")],
    scheme: Annotated[str, typer.Argument(help="险种 employee or resident.")],
    clearing_type: Annotated[str, typer.Argument(help="清算类别 11, 21 or 41.")],
    year: Annotated[int, typer.Argument(help="The year it was withheld in.")],
    reason: Reason,
    percent: Annotated[
        str, typer.Option(help="What the review found was earned, in percent; the rest is the funds'.")
    ] = "100",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """提请结清预留金 Propose to settle what was withheld in a year that is over and closed."""
    from center.clearing.actions import RELEASE

    payload = {
        "institution_code": institution,
        "scheme": scheme,
        "clearing_type": clearing_type,
        "year": year,
        "share_1e4": _share(percent),
    }
    print_proposed(proposed(RELEASE, payload, by=by, reason=reason), as_json=as_json)


def deduct(
    parts: Annotated[
        list[str], typer.Argument(help="结算单号:基金=金额, for example 1047112:basic=1234.56; as many as there are.")
    ],
    reason: Reason,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """提请扣款 Propose a deduction after review from named settlements, back to their funds."""
    from center.clearing.actions import DEDUCT

    payload = {"parts": [_part(part) for part in parts]}
    print_proposed(proposed(DEDUCT, payload, by=by, reason=reason), as_json=as_json)


def _part(text: str) -> list[Any]:
    from domain.money import NotAnAmount, fen

    whose, _, amount = text.partition("=")
    number, _, layer = whose.partition(":")
    try:
        return [int(number), layer, fen(amount)]
    except (NotAnAmount, ValueError):
        raise Stop(f"{text} 读不懂，应写作 结算单号:基金=金额，如 1047112:basic=1234.56", WRONG_USAGE) from None


def _share(percent: str) -> int:
    from domain.money import NotAnAmount, scaled

    try:
        return scaled(percent, 100)
    except NotAnAmount:
        raise Stop(f"{percent} 不是百分数，至多两位小数", WRONG_USAGE) from None


def _day(text: str, day_of: Any) -> Any:
    if not text:
        raise Stop("要写明日期：--since", WRONG_USAGE)
    return day_of(text, None)


def add_to(app: typer.Typer) -> None:
    """Put the office's commands into `jiesuan clearing`."""
    for command in (calendar, withhold, release, deduct):
        app.command()(command)
