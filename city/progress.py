"""How far a morning is, while it is played."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from sqlalchemy import Engine

from domain.lifecycle import ClaimState
from infra.database import reading
from workers.claims import counts_by_state

REPORT_EVERY_SECONDS = 5.0

WORDS = {
    ClaimState.ACCEPTED: "已受理",
    ClaimState.TOTALLED: "待中心",
    ClaimState.PREPARED: "待确认",
    ClaimState.SETTLED: "已结算",
    ClaimState.RETURNED: "已退回",
    ClaimState.REFUSED: "中心拒绝",
    ClaimState.CANCELLED: "已取消",
}


@dataclass(slots=True)
class Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    bar: Bar
    console: Console
    frontends: Mapping[str, Engine]
    total: int
    _task: int = -1
    _next: float = 0.0

    def show(self, handed_in: int, now: datetime) -> None:
        """Show how far the morning is."""
        real = time.monotonic()
        if real < self._next:
            return
        self._next = real + (1.0 if self.console.is_terminal else REPORT_EVERY_SECONDS)
        states = "  ".join(f"{WORDS[state]} {count}" for state, count in self._states().items() if count)
        if self.console.is_terminal:
            if self._task < 0:
                self._task = int(self.bar.add_task("", total=self.total, clock="", states=""))
            self.bar.update(self.bar.task_ids[0], completed=handed_in, clock=f"{now:%H:%M}", states=states)
        else:
            self.console.print(f"{now:%H:%M}  提交 {handed_in}/{self.total}  {states}")

    def say(self, words: str) -> None:
        """Say something above the bar."""
        self.console.print(words)

    def _states(self) -> dict[ClaimState, int]:
        counts: Counter[ClaimState] = Counter()
        for engine in self.frontends.values():
            with reading(engine) as connection:
                counts.update(counts_by_state(connection))
        return {state: counts[state] for state in WORDS}


@contextmanager
def progress(console: Console, frontends: Mapping[str, Engine], total: int) -> Iterator[Progress]:
    """Show how far `total` handings-in are."""
    bar = Bar(
        TextColumn("{task.fields[clock]}"),
        BarColumn(),
        TextColumn("提交 {task.completed}/{task.total}  {task.fields[states]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        yield Progress(bar, console, frontends, total)
