"""`jiesuan load`: a city's peak day on real processes, and its report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

app = typer.Typer(help="高峰日压力测试 A city's peak day on real processes.", no_args_is_help=True)

ALL = "all"
REPORTS = Path("reports")

To = Annotated[Path | None, typer.Option("--to", "-o", help="The report, an HTML file; its figures lie beside it.")]


@app.command("run")
def run(  # noqa: PLR0917  # options of a command line, handed over by name
    city: Annotated[str, typer.Option(help="Which city's model.")] = "guangzhou-2005",
    compress: Annotated[float, typer.Option(min=1, max=100_000, help="Business seconds per real second.")] = 60,
    mode: Annotated[str, typer.Option(help="central, local, centralized; all: the same day in each.")] = "central",
    seed: Annotated[int, typer.Option(help="Of arrivals and claims; the same seed is the same day.")] = 20260831,
    hours: Annotated[str, typer.Option(help="Which hours of the day, between 7 and 20.")] = "7-19",
    scale: Annotated[
        float, typer.Option(min=0.001, max=10, help="Of the city's business; below 0.2 of its sites, too.")
    ] = 1.0,
    people: Annotated[
        int,
        typer.Option(min=0, max=3_000_000, help="Insured persons that are written; left out: 2.75 million × scale."),
    ] = 0,
    one_server: Annotated[
        bool, typer.Option("--one-server", help="One front-end server with every door for the whole city.")
    ] = False,
    to: To = None,
) -> None:
    """演练一天并出报告 Play the peak day, prove it from the tables, write the report. Ctrl-C ends early and reports."""
    from rich.console import Console

    from city.load.claims import PEOPLE
    from city.load.day import NoSuchHours, hours_in
    from city.load.model import CITIES
    from city.load.run import run_day, run_ways
    from city.load.staging import Wanted
    from domain.ways import Way, way_of
    from infra.settings import Settings

    if city not in CITIES:
        raise Stop(f"没有城市“{city}”；可用：{'、'.join(CITIES)}", WRONG_USAGE)
    try:
        played, way = hours_in(hours), Way.CENTRAL if mode == ALL else way_of(mode)
    except (NoSuchHours, ValueError) as error:
        raise Stop(str(error), WRONG_USAGE) from None
    wanted = Wanted(
        city=city,
        compress=compress,
        way=way,
        seed=seed,
        hours=played,
        scale=scale,
        people=people or max(2_000, round(PEOPLE * min(1.0, scale))),
        one_server=one_server,
    )
    console = Console(stderr=True, soft_wrap=True)
    command = shlex.join(["jiesuan", *sys.argv[1:]])
    to = to or REPORTS / f"load-{mode}.html"
    if mode == ALL:
        together = run_ways(Settings(), wanted, tuple(Way), command=command, to=to, console=console)
        goals = [goal for found in together["ways"].values() for goal in found["goals"]]
    else:
        goals = run_day(Settings(), wanted, command=command, to=to, console=console)["goals"]
    print(to)
    if not all(goal["met"] for goal in goals if goal["must"]):
        raise typer.Exit(REFUSED)


@app.command("compare")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Reports of the same day in different ways (their JSON or HTML).")],
    to: To = None,
) -> None:
    """把几种方式的同一天并排 Put reports of the same day, settled in different ways, side by side."""
    from city.load.comparison import NotTheSameDay, compared, comparison_of
    from city.load.run import read, write

    try:
        together = compared([read(path) for path in runs])
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise Stop(f"读不出报告的数据：{error}", WRONG_USAGE) from None
    except NotTheSameDay as error:
        raise Stop(str(error), REFUSED) from None
    to = to or REPORTS / "load-compared.html"
    write(together, comparison_of(together), to)
    print(to)


@app.command("report")
def report(
    figures: Annotated[Path, typer.Argument(help="The JSON of a run or a comparison.")] = REPORTS / "load-central.json",
    to: To = None,
) -> None:
    """由数据重画报告 Draw the report of a run again from its figures."""
    from city.load.comparison import comparison_of
    from city.load.report import report_of
    from city.load.run import read

    try:
        found = read(figures)
        page = comparison_of(found) if "ways" in found else report_of(found)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise Stop(f"读不出报告的数据：{error}", WRONG_USAGE) from None
    to = to or figures.with_suffix(".html")
    to.write_text(page, encoding="utf-8")
    print(to)
