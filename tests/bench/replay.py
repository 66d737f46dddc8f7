"""What `jiesuan policy replay` costs: a history settled on a real PostgreSQL, then settled again under a draft."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from center import schema
from center.policy.replay import replay
from center.settling.settle import settle_submitted
from domain.policy.reading import parse
from infra.database import open_database
from infra.embedded import postgres
from infra.memory import spare_the_collector
from infra.supervisor import Supervisor
from tests.support.center import AT, FRONTEND, fill_center, submitted, synthetic_citizen_id, totals

POLICY = (Path(__file__).parents[2] / "policies" / "nanchang_2025.toml").read_text(encoding="utf-8")
DRAFT = POLICY.replace('ratio = "0.60"', 'ratio = "0.55"')
SETTLEMENTS = 200_000
BATCH = 500
SETTLEMENTS_PER_PERSON = 10
DAYS = 90


def run(settlements: int = SETTLEMENTS) -> dict[str, Any]:
    """Settle so many claims of a quarter, and replay them under a draft: CPU of this process, rate, memory."""
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "run", say=lambda line: None) as supervisor:
        database = postgres.prepare(Path(folder) / "database", port=0, databases=["center"])
        supervisor.start(database.service)
        engine = open_database(database.urls["center"])
        schema.upgrade(engine)
        _live(engine, settlements)
        spare_the_collector()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu = time.perf_counter(), time.process_time()
        replayed = replay(engine, parse(DRAFT), first_day=AT.date(), last_day=AT.date() + timedelta(days=DAYS), most=20)
        cpu, seconds = time.process_time() - cpu, time.perf_counter() - began
        engine.dispose()
        assert replayed.all.settlements == settlements
        assert replayed.changed_persons > 0
        return {
            "settlements": settlements,
            "seconds": round(seconds, 2),
            "settlements_per_second": round(settlements / seconds),
            "cpu_us_per_settlement": round(cpu / settlements * 1e6, 1),
            "memory_grew_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
        }


def run_apart(settlements: int) -> dict[str, Any]:
    """The same in a process of its own, so that the memory is the replay's. Raises CalledProcessError."""
    command = [sys.executable, "-m", "tests.bench.replay", str(settlements)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _live(engine: Engine, settlements: int) -> None:
    """Let a quarter of outpatient visits, purchases and stays pass."""
    chosen = random.Random(1)
    persons = settlements // SETTLEMENTS_PER_PERSON
    shelf = fill_center(engine, persons=persons, balance_fen=100_000, policy=POLICY)
    version = parse(POLICY).version
    for first in range(0, settlements, BATCH):
        at = AT + timedelta(days=first * DAYS // settlements)
        claims = []
        for serial in range(first, first + BATCH):
            own, scope = chosen.randrange(5_000), chosen.randrange(1, 80_000)
            claims.append(
                totals(
                    visit_no=f"T{serial:015d}",
                    citizen_id_no=synthetic_citizen_id(chosen.randrange(persons)),
                    visit_type=chosen.choice("3334"),
                    visit_date=at.date(),
                    total_fen=own + scope,
                    own_expense_fen=own,
                    over_limit_fen=0,
                    pre_self_pay_fen=0,
                    in_scope_fen=scope,
                    digest=chosen.randbytes(16),
                )
            )
        answers = settle_submitted(
            engine, shelf, submitted(*claims, policy_version=version), frontend=FRONTEND, at=at
        ).answers
        assert not any(answer.refusal for answer in answers), answers[0].detail


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=2))
