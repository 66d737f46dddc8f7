"""What it costs to compare an institution's day: lines kept, compared with the centre's, differences written down."""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from center import schema
from center.reconciling import daily, submissions
from center.settling.settle import settle_submitted
from domain.messages import BooksSubmitted, InstitutionLine
from infra.database import open_database
from infra.embedded import postgres
from infra.supervisor import Supervisor
from tests.bench.center_settle import postgres_cpu
from tests.support.center import AT, FRONTEND, HOSPITAL, fill_center, submitted, synthetic_citizen_id, totals
from workers.reconciling.books import LINES_PER_PART

PERSONS = 5_000
BATCH = 200


def run(lines: int = 100_000) -> dict[str, Any]:
    """Settle so many claims on one day, then compare books that agree, that differ in a hundredth, and in all."""
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "run", say=lambda line: None) as supervisor:
        database = postgres.prepare(Path(folder) / "database", port=0, databases=["center"])
        supervisor.start(database.service)
        engine = open_database(database.url)
        schema.upgrade(engine)
        book = _settled(engine, lines)
        chosen = random.Random(1)
        books = {
            "equal": book,
            "hundredth": [_changed(line, chosen) if number % 100 == 0 else line for number, line in enumerate(book)],
            "all": [line._replace(total_fen=line.total_fen + 1) for line in book],
        }
        results = {name: _measured(engine, folder, number, of) for number, (name, of) in enumerate(books.items(), 1)}
        engine.dispose()
        return {"lines": lines} | results


def _settled(engine: Engine, lines: int) -> list[InstitutionLine]:
    shelf = fill_center(engine, persons=PERSONS, balance_fen=0)
    book: list[InstitutionLine] = []
    for start in range(0, lines, BATCH):
        claims = [
            totals(visit_no=f"T{serial:015d}", citizen_id_no=synthetic_citizen_id(serial % PERSONS))
            for serial in range(start, min(start + BATCH, lines))
        ]
        answered = settle_submitted(engine, shelf, submitted(*claims), frontend=FRONTEND, at=AT)
        book += [
            InstitutionLine(
                start + place, answer.visit_no, answer.settlement_no, False, 11_000, answer.fund_pay_fen,
                answer.account_pay_fen, 1, "employee", "11", 11_000 - answer.fund_pay_fen - answer.account_pay_fen,
            )
            for place, answer in enumerate(answered.answers)
        ]  # fmt: skip
    return book


def _changed(line: InstitutionLine, chosen: random.Random) -> InstitutionLine:
    return chosen.choice(
        [
            line._replace(total_fen=line.total_fen + 1),
            line._replace(clearing_type="21"),
            line._replace(settlement_no=0),
            line._replace(visit_no=f"X{line.visit_no[1:]}", settlement_no=0),
        ]
    )


def _measured(engine: Engine, folder: str, number: int, book: Sequence[InstitutionLine]) -> dict[str, Any]:
    groups = [book[start : start + LINES_PER_PART] for start in range(0, len(book), LINES_PER_PART)]
    began, worker, server = time.perf_counter(), time.process_time(), postgres_cpu(folder)
    complete = None
    for part, group in enumerate(groups):
        message = BooksSubmitted(
            institution_code=HOSPITAL, day=AT.date(), submission_no=number, line_count=len(book), part=part,
            parts=len(groups), lines=tuple(group),
        )  # fmt: skip
        with engine.begin() as connection:
            complete = submissions.receive(message, frontend=FRONTEND, connection=connection, at=AT)
    kept, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert complete is not None
    with engine.begin() as connection:
        (compared, *_) = daily.compare_all(connection, complete, at=AT)
    return {
        "differences": compared.found,
        "seconds_to_keep": round(kept - began, 2),
        "seconds_to_compare": round(time.perf_counter() - kept, 2),
        "worker_cpu_seconds": round(time.process_time() - worker, 2),
        "postgres_cpu_seconds": round(postgres_cpu(folder) - server, 2),
        "memory_added_mib": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=100_000)
    print(json.dumps(run(parser.parse_args().lines), indent=2))
