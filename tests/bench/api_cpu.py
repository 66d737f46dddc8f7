"""What one claim costs the API's process: parsed, checked, committed with its group, bell rung, answered.

The API runs as `jiesuan serve api` on a real SQLite database and a real broker. A thread takes the bells off the queue
and the claims off the backlog as a desk would. The load generator is a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from hashlib import sha256
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import redis
from sqlalchemy import func, insert, select, update

from infra import lanes
from infra.database import open_database, reading
from infra.embedded import free_port, valkey
from infra.reference import catalogue_row, policy_row
from infra.supervisor import Service, Supervisor, answers, say_on_stderr
from tests.bench.claims import HOSPITAL, LINES, POLICY, SHORT_CODE, as_json, claims, items, published
from tests.bench.load import Plan, claim_request, generate
from workers import tables
from workers.schema import upgrade

API_KEY = "bench-key"
CONNECTIONS = 32
WARM_UP = 1_000


def run(count: int = 12_000, *, lines: int = LINES) -> dict[str, Any]:
    """Measure `count` claims over 32 kept-open connections; claims a second and CPU microseconds a claim."""
    with tempfile.TemporaryDirectory() as name, Supervisor(Path(name) / "data", say=lambda line: None) as supervisor:
        folder = Path(name)
        broker = valkey.prepare(folder / "broker", port=0)
        port = free_port(0, "API", say_on_stderr)
        url = f"sqlite:///{folder / 'frontend.db'}"
        _prepare(url)
        api = Service(
            name="api",
            argv=[str(Path(sys.executable).with_name("jiesuan")), "serve", "api"],
            env={
                "JIESUAN_FRONTEND": "bench",
                "JIESUAN_FRONTEND_DATABASE_URL": url,
                "JIESUAN_FRONTEND_BROKER_URL": broker.url,
                "JIESUAN_API_PORT": str(port),
            },
            ready=answers(f"http://127.0.0.1:{port}/readyz"),
            after=("broker",),
        )
        supervisor.start(broker.service, api)
        requests = [
            claim_request("127.0.0.1", API_KEY, f"key-{number}", as_json(claim))
            for number, claim in enumerate(claims(count + WARM_UP, lines=lines))
        ]
        with _Desk(broker.url, url):
            warm = Plan(host="127.0.0.1", port=port, requests=requests[:WARM_UP], connections=CONNECTIONS)
            generate(warm, folder)
            before = supervisor.cpu_seconds("api")
            plan = Plan(host="127.0.0.1", port=port, requests=requests[WARM_UP:], connections=CONNECTIONS)
            outcome = generate(plan, folder)
            used = supervisor.cpu_seconds("api") - before
            together = _claims_per_commit(port)
        stored = _stored(url)
    answered = len(outcome.seconds)
    if stored != count + WARM_UP or answered != count:
        raise RuntimeError(f"{answered} of {count} answered, {stored} stored, {outcome.statuses}: {outcome.first_bad}")
    return {
        "claims": count,
        "lines_per_claim": lines,
        "connections": CONNECTIONS,
        "claims_per_second": round(count / (outcome.ended - outcome.began)),
        "api_cpu_us_per_claim": round(used / count * 1e6, 1),
        "claims_per_commit": together,
        "p50_ms": round(median(outcome.seconds) * 1e3, 2),
        "p99_ms": round(quantiles(outcome.seconds, n=100)[-1] * 1e3, 2),
    }


def _claims_per_commit(port: int) -> float:
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    value = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("jiesuan_commit_claims_"))
    return round(float(value["jiesuan_commit_claims_sum"]) / float(value["jiesuan_commit_claims_count"]), 1)


class _Desk:
    """Takes the institution's bells off the queue and its claims off the backlog, as its desk would."""

    def __init__(self, broker_url: str, database_url: str) -> None:
        self._broker = redis.Redis.from_url(broker_url)
        self._engine = open_database(database_url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *reason: object) -> None:
        self._stop.set()
        self._thread.join()
        self._broker.close()
        self._engine.dispose()

    def _take(self) -> None:
        moved_on = update(tables.claim).where(tables.claim.c.state == "accepted").values(state="settled")
        while not self._stop.wait(0.05):
            self._broker.delete(lanes.preprocess("bench", HOSPITAL))
            with self._engine.begin() as connection:
                connection.execute(moved_on)


def _prepare(url: str) -> None:
    engine = open_database(url)
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(tables.institution).values(
                institution_code=HOSPITAL,
                short_code=SHORT_CODE,
                name="测试医院",
                kind="hospital",
                level=2,
                api_key_hash=sha256(API_KEY.encode()).hexdigest(),
                backlog_cap=1_000_000,
                active=True,
            )
        )
        rows = [catalogue_row(published(items())), policy_row(POLICY)]
        connection.execute(insert(tables.reference), rows)
    engine.dispose()


def _stored(url: str) -> int:
    engine = open_database(url)
    with reading(engine) as connection:
        count = connection.execute(select(func.count()).select_from(tables.claim)).scalar_one()
    engine.dispose()
    return count


if __name__ == "__main__":
    print(json.dumps(run(), ensure_ascii=False))
