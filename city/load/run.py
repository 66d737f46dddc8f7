"""`jiesuan load run`: one day, or the same day in three ways, with what is shown meanwhile and what is left."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from city.load.comparison import compared, comparison_of
from city.load.figures import figures_of
from city.load.playing import Playing
from city.load.report import report_of
from city.load.staging import Wanted
from domain.ways import Way
from infra.clock import SHANGHAI
from infra.settings import Settings

FOLDER = "load"
LINE_EVERY_SECONDS = 5.0
"""Without a terminal a line of progress appears so often."""


def run_day(settings: Settings, wanted: Wanted, *, command: str, to: Path, console: Console) -> dict[str, Any]:
    """Play one day, write its report (HTML, and JSON beside it), and return its figures."""
    began = datetime.now(SHANGHAI)
    with _Shown(console, wanted) as shown:
        playing = Playing(
            wanted=wanted,
            settings=settings,
            folder=settings.data_dir / FOLDER,
            say=shown.say,
            show=shown.show,
        )
        with playing:
            playing.start()
            played = playing.play()
            shown.say("核对两边账表 Proving it from the tables")
            found = figures_of(played, command=command, began=began, version=version("jiesuan"))
    write(found, report_of(found), to)
    tell(found, to, console)
    return found


def run_ways(
    settings: Settings, wanted: Wanted, ways: Sequence[Way], *, command: str, to: Path, console: Console
) -> dict[str, Any]:
    """Play the same day in each of these ways, one after the other, and put them side by side.

    Each has a report of its own beside the comparison.
    """
    runs = []
    for way in ways:
        console.print(f"\n[bold]{way}[/bold]", highlight=False)
        beside = to.with_name(f"{to.stem}-{way}{to.suffix}")
        found = run_day(settings, replace(wanted, way=way), command=command, to=beside, console=console)
        runs.append(found)
        if found["run"]["is_cut_short"]:
            break
    together = compared(runs)
    write(together, comparison_of(together), to)
    console.print(f"比较 Comparison: {to}")
    return together


def write(found: Any, page: str, to: Path) -> None:
    """The page, and its figures as JSON beside it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(page, encoding="utf-8")
    to.with_suffix(".json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """The figures of a report, from its JSON or from the page's own name."""
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def tell(found: Any, to: Path, console: Console) -> None:
    """What a person wants to know first."""
    for goal in found["goals"]:
        mark = "✓" if goal["met"] else "✗"
        console.print(f"{mark} {goal['name']}: {goal['found']} ({goal['wanted']})", highlight=False)
    total = found["latency"].get("all", {}).get("total", {})
    console.print(
        f"{found['settled']} settled, p50 {total.get('p50')} s, p99 {total.get('p99')} s, "
        f"centre {found['cpu']['centre_us_per_settlement']} µs a settlement, "
        f"others used {found['cpu']['others_cores']} cores\n报告 Report: {to}",
        highlight=False,
    )


class _Shown:
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, wanted: Wanted) -> None:
        self._console, self._wanted = console, wanted
        self._bar = Progress(
            TextColumn("{task.fields[clock]}"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._next = 0.0

    def __enter__(self) -> _Shown:
        self._bar.start()
        self._task = self._bar.add_task("", total=1.0, clock="", words="")
        return self

    def __exit__(self, *reason: object) -> None:
        self._bar.stop()

    def say(self, words: str) -> None:
        """Say something, above the bar where there is one."""
        self._console.print(words, highlight=False)

    def show(self, playing: Playing, words: str) -> None:
        """Show where the day stands."""
        day = playing.day
        due, answered = playing.due_and_answered()
        look = playing.watch.looks[-1]
        waiting = sum(count for count, _ in look.open_claims.values())
        line = (
            f"应到 {due}/{len(playing.arrivals)}  答复 {answered}  最久 {playing.oldest_seconds():.1f} s  "
            f"待结 {waiting:.0f}  {words}"
        )
        clock = f"{playing.clock.now():%H:%M}"
        if self._console.is_terminal:
            share = (playing.clocks.second(time.time()) - day.opens) / (day.closes - day.opens)
            self._bar.update(self._task, completed=min(max(share, 0.0), 1.0), clock=clock, words=line)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_SECONDS
            self._console.print(f"{clock}  {line}", highlight=False)
