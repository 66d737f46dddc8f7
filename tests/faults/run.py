"""One run: the town under load, so many faults, then everything heals, and the history is held against the books."""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from infra.supervisor import ServiceFailed
from tests.faults import checks
from tests.faults.clients import Client
from tests.faults.files import Files
from tests.faults.history import Book
from tests.faults.kinds import Kind, Struck, Undo, plan
from tests.faults.leases import Watch
from tests.faults.town import Town, running

HEAL_WITHIN = 150.0
"""Seconds from the last fault until nothing is open any more: the bound that docs/outcomes.md states."""
CLIENTS_EACH = 3
AT_ONCE = 3
"""Most faults that hold on at the same time."""


class Failed(AssertionError):
    """A run that did not end as it should."""


@dataclass(slots=True)
class _Holding:
    undo: Undo
    seconds: float
    has_begun: Callable[[], bool]
    until: float = math.inf

    def is_over(self, now: float) -> bool:
        if self.until == math.inf and self.has_begun():
            self.until = now + self.seconds
        return self.until <= now


@dataclass(slots=True)
class Nemesis:
    """Strikes one fault after the other; some last into the next."""

    town: Town
    dice: random.Random
    pace: float
    say: Callable[[str], None]
    struck: list[str] = field(default_factory=list)
    _holding: list[_Holding] = field(default_factory=list)

    def play(self, kinds: Sequence[Kind]) -> None:
        """All of them, at moments the dice choose, a few seconds apart."""
        for number, kind in enumerate(kinds, start=1):
            self._wait(self.dice.uniform(0.2, 1.8) * self.pace)
            while len(self._holding) >= AT_ONCE:
                self._wait(0.1)
            struck = kind.strike(self.town, self.dice)
            self._note(f"fault {number} {kind.name}: {struck.words}", struck)
        while self._holding:
            self._wait(0.1)

    def heal(self) -> None:
        """Undo whatever still holds on."""
        for holding in self._holding:
            holding.undo()
        self._holding.clear()
        for wire in self.town.wires.values():
            wire.heal()
        self.town.end_doubles()

    def _note(self, words: str, struck: Struck) -> None:
        self.struck.append(words)
        self.say(words)
        if struck.undo is not None:
            self._holding.append(_Holding(struck.undo, struck.seconds, struck.has_begun))

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for holding in [holding for holding in self._holding if holding.is_over(now)]:
                self._holding.remove(holding)
                holding.undo()
            if now >= until:
                return
            time.sleep(min(0.05, until - now))


def run(
    folder: Path, seed: int, *, faults: int, minutes: float, say: Callable[[str], None], kinds: Sequence[Kind] = ()
) -> dict[str, Any]:
    """Play `kinds`, or so many faults of the seed's own choice, in about so many minutes; the figures of the run.

    Raises Failed, with what is wrong, the last faults, and the folder logs and history were copied to.
    """
    began = time.monotonic()
    dice = random.Random(seed)
    chosen = kinds or plan(faults, dice)
    book = Book(folder / "history.jsonl")
    with running(folder, dice) as town:
        clients = [
            Client(town, site, f"client-{site.number}{letter}", book, random.Random(f"{seed} {site.number}{letter}"))
            for site in town.sites
            for letter in "abc"[:CLIENTS_EACH]
        ]
        files = Files(town.sites[0], random.Random(f"{seed} files"))
        watch = Watch({"the centre": town.lookers} | {site.frontend: site.engine for site in town.sites}, book.surprise)
        nemesis = Nemesis(town, dice, 60 * minutes / len(chosen), say)
        try:
            watch.start()
            for client in (*clients, files):
                client.start()
            nemesis.play(chosen)
            nemesis.heal()
            healed_in = _heal(town, clients, files, say)
            wrong = book.surprises + town.office.surprises + checks.wrong(town, clients) + list(files.wrong())
        except (AssertionError, ServiceFailed, DBAPIError) as error:
            wrong = [f"{type(error).__name__}: {error}", *book.surprises, *town.office.surprises]
        finally:
            watch.leave()
            book.close()
        if wrong:
            raise Failed(_report(seed, wrong, nemesis.struck, _kept(town, folder, seed)))
        return {
            "seed": seed,
            "faults": len(chosen),
            "by_kind": dict(sorted(Counter(kind.name for kind in chosen).items())),
            **_figures(town, clients, book, watch),
            "visits_by_files": len(files.charged),
            "at_rest_after_seconds": round(healed_in, 1),
            "seconds": round(time.monotonic() - began, 1),
        }


def _heal(town: Town, clients: list[Client], files: Files, say: Callable[[str], None]) -> float:
    """Let everything come to rest; the seconds it took. Raises Failed when the bound is over."""
    began = time.monotonic()
    say(f"the last fault is over; everything has {HEAL_WITHIN:.0f} s to come to rest")
    until = began + HEAL_WITHIN
    town.supervisor.wait_until_ready(*town.everybody, within=HEAL_WITHIN)
    say("everybody is ready")
    town.center.dispose()  # its connections are of a server that may have died since
    town.office.wait(within=30)
    for client in (*clients, files):
        client.leave(within=30)
    left = [words for client in (*clients, files) for words in client.learn(until=until)]
    say("every client knows what became of what it asked")
    while not left and (open_still := checks.unfinished(town)):
        if time.monotonic() > until:
            left = open_still
        time.sleep(0.5)
    if left:
        raise Failed(f"not at rest after {HEAL_WITHIN:.0f} s: {left[:8]}; {checks.unfinished(town)[:8]}")
    return time.monotonic() - began


def _report(seed: int, wrong: list[str], struck: list[str], kept: Path) -> str:
    return "\n".join(
        [f"seed {seed} fails:", *(f"  {one}" for one in wrong[:15]), "the last faults:"]
        + [f"  {one}" for one in struck[-12:]]
        + [f"logs and history: {kept}", f"again: .venv/bin/python -m tests.faults --faults {len(struck)} --seed {seed}"]
    )


def _kept(town: Town, folder: Path, seed: int) -> Path:
    """Logs, history and the front-ends' databases, copied to where they stay."""
    kept = folder.parent / f"jiesuan-faults-seed-{seed}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    shutil.copytree(town.logs, kept / "logs", ignore=shutil.ignore_patterns("ballast"))
    shutil.copy(folder / "history.jsonl", kept)
    for site in town.sites:
        for file in site.folder.glob("frontend.db*"):
            shutil.copy(file, kept / f"{site.frontend}-{file.name}")
    return kept


def _figures(town: Town, clients: list[Client], book: Book, watch: Watch) -> dict[str, Any]:
    settled = checks.Rows(town.center).rows("SELECT kind, count(*) FROM settlement GROUP BY 1")
    by_end = Counter(claim.state for client in clients for claim in client.claims)
    return {
        "disks": "full for real (tmpfs)" if not town.rooms.refused else f"not full: {town.rooms.refused}",
        "operations": dict(sorted(book.counts.items())),
        "claims": dict(sorted(by_end.items())),
        "settlements": dict(sorted(settled)),
        "ended_on_purpose": _by_kind({name: town.ended[name] for name in town.workers}),
        "ended_by_themselves": {
            name: ended for name in town.workers if (ended := town.supervisor.starts(name) - 1 - town.ended[name]) > 0
        },
        "doubled": {
            "ran": sum(double.was_ready for double in town.doubles),
            "never_ready": sum(not double.was_ready for double in town.doubles),
        },
        "flaps": sum(wire.cuts for wire in town.wires.values()),
        "leases_changed_hands": dict(sorted((+watch.changes).items())),
        "detail_that_waited_for_a_window": town.office.waited,
        "lost": 0,
        "twice": 0,
    }


def _by_kind(ended: Mapping[str, int]) -> dict[str, int]:
    """How often, by kind of process."""
    found: Counter[str] = Counter()
    for name, times in ended.items():
        found[name.partition("-")[0]] += times
    return dict(sorted(found.items()))


def as_json(figures: dict[str, Any]) -> str:
    """One line."""
    return json.dumps(figures, ensure_ascii=False)
