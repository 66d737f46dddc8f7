"""`jiesuan policy`: the commands of an office that keeps its policy as a file. Each is one file beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="待遇政策 Policy sets: check, show, compare, test.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Files = Annotated[
    list[str] | None, typer.Argument(help="TOML files, or ids of sets; every file of the policy folder when left out.")
]
One = Annotated[str, typer.Argument(help="A TOML file, or the id of a set in the policy folder.")]


@app.command()
def check(
    files: Files = None,
    today: Annotated[str, typer.Option(help="Warn of what expires within 30 days of this day; today.")] = "",
    as_json: AsJson = False,
) -> None:
    """检查政策文件 Refuse what cannot be law: gaps, overlaps, facts for nobody; all errors at once."""
    from city.commands import policy_check

    policy_check.check(files or [], today=today, as_json=as_json)


@app.command()
def show(  # noqa: PLR0917  # options of a command line, handed over by name
    policy: One,
    scheme: Annotated[str, typer.Option(help="employee or resident; with it, the rules of one case.")] = "",
    category: Annotated[str, typer.Option(help="人员类别 RYLB of the case.")] = "",
    visit: Annotated[str, typer.Option(help="inpatient, specific_outpatient, outpatient or pharmacy.")] = "",
    level: Annotated[int, typer.Option(min=0, max=3, help="The institution's level.")] = 3,
    day: Annotated[str, typer.Option(help="The day of the case (YYYY-MM-DD); today.")] = "",
    when: Annotated[
        list[str] | None,
        typer.Option(help="What holds: unfiled, disease:x, rank:x, age:70, civil_servant; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """显示政策 A set as a table, or the rules of one case with the facts and sources they come from."""
    from city.commands import policy_show

    policy_show.show(
        policy,
        policy_show.Asked(scheme=scheme, category=category, visit=visit, level=level, day=day, when=tuple(when or ())),
        as_json=as_json,
    )


@app.command()
def diff(old: One, new: One, as_json: AsJson = False) -> None:
    """比较两份政策 Facts added, removed and changed, and the cases whose rules change."""
    from city.commands import policy_diff

    policy_diff.diff(old, new, as_json=as_json)


@app.command()
def at(
    day: Annotated[str, typer.Argument(help="A day, such as 2026-03-02.")], files: Files = None, as_json: AsJson = False
) -> None:
    """某日适用的政策 What is in force on a day, by scheme."""
    from city.commands import policy_at

    policy_at.at(day, files or [], as_json=as_json)


@app.command()
def test(files: Files = None, as_json: AsJson = False) -> None:
    """运行算例 Settle the worked examples the files hold, exact to the fen."""
    from city.commands import policy_test

    policy_test.test(files or [], as_json=as_json)


@app.command()
def publish(  # noqa: PLR0917  # options of a command line, handed over by name
    policy: Annotated[str, typer.Argument(help="A TOML file, or the id of a set; the list when left out.")] = "",
    effective: Annotated[
        str, typer.Option("--from", help="生效日 Claims are settled by it from this day (YYYY-MM-DD); tomorrow.")
    ] = "",
    note: Annotated[str, typer.Option(help="说明 A note for whoever reads the list.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether it could be published.")] = False,
    withdraw: Annotated[str, typer.Option(help="撤回 Take back a version whose day has not come.")] = "",
    by: Annotated[
        str, typer.Option("--by", envvar="JIESUAN_OPERATOR", help="操作人 Who publishes; the user of this machine.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """发布政策 Check the file, run its examples, and put it in force at the centre from its day on."""
    from city.commands import policy_publish

    if withdraw:
        policy_publish.withdraw(withdraw, note=note, by=by, as_json=as_json)
    elif not policy:
        policy_publish.listed(as_json=as_json)
    else:
        policy_publish.publish(policy, effective, note=note, dry_run=dry_run, by=by, as_json=as_json)


@app.command()
def replay(
    draft: Annotated[Path, typer.Option("--draft", help="The draft: a TOML file.")],
    first_day: Annotated[str, typer.Option("--from", help="First day of the settlements (YYYY-MM-DD).")],
    last_day: Annotated[str, typer.Option("--to", help="Last day of the settlements.")],
    most: Annotated[int, typer.Option(min=0, max=1000, help="How many of the people most affected to name.")] = 20,
    as_json: AsJson = False,
) -> None:
    """草案试算 Settle the centre's history again, in order, under a draft."""
    from city.commands import policy_replay

    policy_replay.replay(draft, first_day=first_day, last_day=last_day, most=most, as_json=as_json)
