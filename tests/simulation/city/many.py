"""Many seeds: on one stage after the other, on every core, counted up."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from tests.simulation.city.guards import GUARDS
from tests.simulation.city.run import Run, Stage, Verdict, stage

MEMORY = Path("/dev/shm")
SEEDS_AT_A_TIME = 10
SHOWN = 5
SILENCE_SECONDS = 300.0
"""A process of the run that says nothing for so long is stuck: the seed it is at is a failure."""


@contextmanager
def stage_in_memory() -> Iterator[Stage]:
    """A stage whose files are in memory, where the system has a place for that."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder, stage(Path(folder)) as made:
        yield made


def play(stage_: Stage, seed: int, *, without: str = "", say: Callable[[str], None] | None = None) -> Verdict:
    """Play one seed; `without` names a guard that is taken away."""
    run = Run(stage_, seed, say=say)
    if not without:
        return run.play()
    with GUARDS[without].taken_away(stage_):
        return run.play()


def told(verdict: Verdict, without: str = "") -> str:
    """A seed that failed: what is wrong, and how to see it again."""
    command = f"python -m tests.simulation.city --seed {verdict.seed} --trace"
    lines = [f"seed {verdict.seed} FAILED after {verdict.events} events, {verdict.simulated_seconds:.0f} s simulated"]
    lines += [f"    {line}" for line in verdict.wrong[:SHOWN]]
    return "\n".join([*lines, f"    {command}" + (f" --without {without!r}" if without else "")])


# ── On every core ─────────────────────────────────────────────────────────────────────────────────────────


class Broken(Exception):
    """A process that played seeds ended by an error of its own; the message is its traceback."""


def _work(todo: Any, done: Any, without: str) -> None:
    try:
        with stage_in_memory() as stage_:
            while (seeds := todo.get()) is not None:
                for seed in seeds:
                    done.put(("at", os.getpid(), seed))
                    done.put(("played", os.getpid(), play(stage_, seed, without=without)))
        done.put(("end", os.getpid(), None))
    except Exception:
        done.put(("broken", os.getpid(), traceback.format_exc()))


def played(seeds: Sequence[int], *, jobs: int, without: str = "") -> Iterator[Verdict]:
    """Play seeds on so many processes, and give their verdicts as they come. Raises TimeoutError for a stuck
    one, Broken for one that ended."""
    context = multiprocessing.get_context("spawn")
    todo, done = context.Queue(), context.Queue()
    for start in range(0, len(seeds), SEEDS_AT_A_TIME):
        todo.put(seeds[start : start + SEEDS_AT_A_TIME])
    workers = [context.Process(target=_work, args=(todo, done, without)) for _ in range(jobs)]
    for worker in workers:
        todo.put(None)
        worker.start()
    at: dict[int, int] = {}
    try:
        left = jobs
        while left:
            try:
                what, pid, value = done.get(timeout=SILENCE_SECONDS)
            except Empty:
                raise TimeoutError(
                    f"nothing heard for {SILENCE_SECONDS:.0f} s, at seeds {sorted(at.values())}"
                ) from None
            if what == "at":
                at[pid] = value
            elif what == "played":
                yield value
            elif what == "broken":
                raise Broken(f"at seed {at.get(pid)}\n{value}")
            else:
                left -= 1
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


class Tally:
    """What many seeds came to."""

    def __init__(self) -> None:
        self.seeds = self.events = self.steps = 0
        self.failed: list[int] = []
        self.faults: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        self.healed: list[float] = []

    def add(self, verdict: Verdict) -> None:
        """Count one in."""
        self.seeds += 1
        self.events += verdict.events
        self.steps += verdict.steps
        self.faults += verdict.faults
        self.operations += verdict.operations
        if verdict.is_good:
            self.healed.append(verdict.healed_after)
        else:
            self.failed.append(verdict.seed)

    def said(self, seconds: float) -> str:
        """In a few lines."""
        healed = sorted(self.healed) or [0.0]
        acts = ", ".join(f"{count:,} {what}" for what, count in sorted(self.operations.items()))
        faults = ", ".join(f"{count:,} {what}" for what, count in self.faults.most_common())
        return (
            f"{self.seeds:,} seeds in {seconds:,.0f} s, {len(self.failed)} failed; {self.steps:,} steps, "
            f"{self.events:,} events\n"
            f"  clients: {acts}\n"
            f"  faults ({self.faults.total():,}): {faults}\n"
            f"  healed after {healed[len(healed) // 2]:.0f} s simulated (half), {healed[-1]:.0f} s (longest)"
        )
