"""How long backup and recovery take: `python -m tests.restore_time [--claims N]`.

So many claims are settled before the backup and as many after it; then the archive is restored to an empty database and
what came after is sent again. Prints one JSON object: seconds on the clock, CPU of this process beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from center import schema
from center.backup import catching_up, epochs
from center.backup.restoring import restore, wrong_with
from center.backup.snapshot import backup, verify
from center.backup.taking import take_up
from center.policy.shelf import PolicyShelf
from center.settling.records import cursor_of
from center.settling.settle import settle_submitted
from center.tables import reference
from domain.identity import synthetic_citizen_id
from domain.messages import DocumentsAsked, DocumentsResent, Resent
from infra.database import open_database
from infra.embedded import postgres
from infra.reference import ReferenceShelf
from infra.supervisor import Supervisor
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    FRONTEND,
    POLICY_VERSION,
    fill_center,
    submitted,
    totals,
)

SECRET = b"\x07" * 32
PERSONS = 5000
BATCH = 100


class Stopwatch:
    """Seconds on the clock and of this process's CPU, by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Measure the block."""
        clock, cpu = time.perf_counter(), time.process_time()
        yield
        self.spent[f"{what}_seconds"] = round(time.perf_counter() - clock, 2)
        self.spent[f"{what}_cpu_seconds"] = round(time.process_time() - cpu, 2)


def settled(engine: Engine, shelf: ReferenceShelf, first: int, count: int) -> list[Resent]:
    """Settle so many claims in batches; what a front-end has of them afterwards."""
    held: list[Resent] = []
    for start in range(first, first + count, BATCH):
        at = AT + timedelta(seconds=start)
        claims = [
            totals(0, visit_no=f"T{number:015d}", citizen_id_no=synthetic_citizen_id(number % PERSONS))
            for number in range(start, min(start + BATCH, first + count))
        ]
        answers = settle_submitted(engine, shelf, submitted(*claims), frontend=FRONTEND, at=at).answers
        held += [
            Resent("normal", claim, answer, POLICY_VERSION, CATALOGUE_VERSION)
            for claim, answer in zip(claims, answers, strict=True)
        ]
    return held


def send_again(engine: Engine, held: list[Resent], at_seconds: float) -> None:
    """Answer every question of the restored centre out of what a front-end has."""
    at = AT + timedelta(days=1)
    with engine.begin() as connection:
        questions = catching_up.tick(connection, now=at_seconds)
    for frontend, first in questions:
        question: object = first
        while isinstance(question, DocumentsAsked):
            mine = held[question.after : question.after + question.most] if frontend == FRONTEND else []
            page = DocumentsResent(
                epoch=question.epoch,
                after=question.after,
                last=question.after + len(mine),
                complete=len(mine) < question.most,
                documents=tuple(mine),
            )
            with engine.begin() as connection:
                question = catching_up.keep(connection, page, frontend=frontend, at=at, now=at_seconds)


def measure(folder: Path, urls: dict[str, str], claims: int) -> dict[str, float]:
    """Settle, back up, settle, restore, recover."""
    watch = Stopwatch()
    engine, again = open_database(urls["center"]), open_database(urls["restored"])
    schema.upgrade(engine)
    shelf = fill_center(engine, persons=PERSONS, balance_fen=100_000)
    file = folder / "center.backup"
    settled(engine, shelf, 0, claims)
    with watch.on("backup"):
        manifest = backup(engine, file, center_secret=SECRET, at=AT + timedelta(seconds=claims))
    with watch.on("verify"):
        verify(file, center_secret=SECRET)
    held = settled(engine, shelf, claims, claims)
    with watch.on("restore"):
        restore(again, file, center_secret=SECRET, by="R", reason="measured", at=AT + timedelta(days=1))
    with watch.on("check"):
        assert wrong_with(again, at=AT) == []
    with watch.on("pages"):
        send_again(again, held, 1e9)
    with watch.on("take_up"):
        while take_up(again, ReferenceShelf(reference), PolicyShelf(), at=AT + timedelta(days=1)):
            pass
    with again.begin() as connection:
        assert epochs.current(cursor_of(connection)).is_open
    figures = {"rows": manifest.rows, "bytes": file.stat().st_size, "taken_up": claims, **watch.spent}
    engine.dispose()
    again.dispose()
    return figures


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How long backup and recovery take.")
    parser.add_argument("--claims", type=int, default=20_000)
    claims = parser.parse_args().claims
    with tempfile.TemporaryDirectory(prefix="jiesuan-restore-") as name:
        folder = Path(name)
        with Supervisor(folder / "data", say=lambda line: None) as supervisor:
            database = postgres.prepare(folder / "database", port=0, databases=["center", "restored"])
            supervisor.start(database.service)
            print(json.dumps({"claims_before_and_after": claims, **measure(folder, database.urls, claims)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
