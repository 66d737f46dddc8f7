"""What settling costs: CPU per claim in the centre's worker and in PostgreSQL, for batches of 1, 20 and 100."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from center import schema
from center.settling.settle import settle_submitted
from domain.messages import TotalsSubmitted
from domain.policy.reading import parse
from infra.codec import decode, encode
from infra.database import open_database
from infra.embedded import postgres
from infra.envelope import frontend_key, seal, unseal
from infra.memory import spare_the_collector
from infra.supervisor import Supervisor
from tests.support.center import AT, FRONTEND, fill_center, submitted, synthetic_citizen_id, totals

POLICY = Path(__file__).parents[2] / "policies" / "nanchang_2025.toml"
PERSONS = 20_000
CLAIMS = {1: 1_000, 20: 8_000, 100: 20_000}
TICKS = os.sysconf("SC_CLK_TCK")


def run(claims: dict[int, int] | None = None) -> dict[str, Any]:
    """Settle so many claims per size of batch on a new database, and say what a claim cost."""
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "run", say=lambda line: None) as supervisor:
        database = postgres.prepare(Path(folder) / "database", port=0, databases=["center"])
        supervisor.start(database.service)
        engine = open_database(database.url)
        schema.upgrade(engine)
        policy = POLICY.read_text(encoding="utf-8")
        shelf = fill_center(engine, persons=PERSONS, balance_fen=100_000, policy=policy)
        key = frontend_key(bytes(32), FRONTEND)
        results: dict[str, Any] = {}
        chosen = random.Random(1)
        serial = 0

        def envelopes(count: int, size: int) -> list[bytes]:
            nonlocal serial
            made = []
            for _ in range(count // size):
                batch = []
                for _ in range(size):
                    serial += 1
                    batch.append(
                        totals(
                            visit_no=f"T{serial:015d}",
                            citizen_id_no=synthetic_citizen_id(chosen.randrange(PERSONS)),
                            digest=chosen.randbytes(16),
                        )
                    )
                message = submitted(*batch, policy_version=parse(policy).version)
                made.append(seal(encode(message), frontend=FRONTEND, lane="settle", key=key))
            return made

        def settle(envelope: bytes) -> bytes:
            message = decode(unseal(envelope, lane="settle", key=key), TotalsSubmitted)
            answered = settle_submitted(engine, shelf, message, frontend=FRONTEND, at=AT)
            assert not any(answer.refusal for answer in answered.answers)
            return seal(encode(answered), frontend=FRONTEND, lane="results", key=key)

        for envelope in envelopes(2_000, 100):
            settle(envelope)
        spare_the_collector()
        for size, count in (claims or CLAIMS).items():
            messages = envelopes(count, size)
            worker, server, began = time.process_time(), postgres_cpu(folder), time.perf_counter()
            for envelope in messages:
                settle(envelope)
            settled = len(messages) * size
            results[f"batch_{size}"] = {
                "claims": settled,
                "claims_per_second": round(settled / (time.perf_counter() - began)),
                "worker_us": round((time.process_time() - worker) / settled * 1e6, 1),
                "postgres_us": round((postgres_cpu(folder) - server) / settled * 1e6, 1),
            }
        engine.dispose()
        return results


def postgres_cpu(folder: str) -> float:
    """CPU seconds so far of the server in this folder: all its processes, also those that have ended."""
    ticks = 0
    ours: set[int] = set()
    for stat in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda path: int(path.parent.name)):
        try:
            command = (stat.parent / "cmdline").read_bytes().decode(errors="replace")
            fields = stat.read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid, parent = int(stat.parent.name), int(fields[1])
        if (folder in command and "postgres" in command) or parent in ours:
            ours.add(pid)
            ticks += sum(int(value) for value in fields[11:13])
    return ticks / TICKS


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
