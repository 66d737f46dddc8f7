"""Measures a chain of two empty tasks, whichever library runs it: pipelines a second and CPU time by process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from infra.supervisor import Service, Supervisor
from tests.bench.machine import Others

HOPS = ("edge", "centre")
PAYLOAD = "x" * 250
WINDOW = (0.15, 0.95)  # of the completions: start-up and the last message are left out
LONGEST_SECONDS = 120.0
BROKER_VARIABLE = "JIESUAN_BENCH_BROKER"


@dataclass(frozen=True, slots=True)
class Chain:
    """How one library publishes, consumes each hop, and how many of its messages are not done yet."""

    name: str
    publisher: Sequence[str]
    """Its last argument, the count, is added."""
    consumers: dict[str, Sequence[str]]
    left: Callable[[redis.Redis], int]
    env: dict[str, str]


class ChainStuck(Exception):
    """The chain did not end in time."""

    def __init__(self, name: str, done: int, count: int) -> None:
        super().__init__(f"{name}: {done} of {count} pipelines after {LONGEST_SECONDS:g} s")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the rate within the window, CPU microseconds per pipeline by process, cores that others had."""

    per_second: float
    cpu_us: dict[str, float]
    others_cores: float


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package."""
    return [sys.executable, "-m", module, *arguments]


def broker_url() -> str:
    """The broker, in the processes started here."""
    return os.environ[BROKER_VARIABLE]


def run(chain: Chain, *, url: str, broker_cpu: Callable[[], float], folder: Path, count: int) -> dict[str, Run]:
    """Measure the chain once prefilled, and once with a publisher on the same cores."""
    return {
        way: _once(chain, url, broker_cpu, folder, count, publish_first=way == "prefilled")
        for way in ("prefilled", "with_a_publisher")
    }


def together(turns: Sequence[dict[str, Run]]) -> dict[str, Any]:
    """The median run of each way, and what the better way reached in each turn."""
    found: dict[str, Any] = {}
    for way in turns[0]:
        middle = sorted((turn[way] for turn in turns), key=lambda run: run.per_second)[len(turns) // 2]
        found[way] = {
            "per_second": round(middle.per_second),
            "cpu_us": {name: round(us) for name, us in middle.cpu_us.items()},
            "cpu_us_total": round(sum(middle.cpu_us.values())),
            "others_cores": middle.others_cores,
        }
    return {**found, "runs": [round(max(run.per_second for run in turn.values())) for turn in turns]}


def _once(
    chain: Chain, url: str, broker_cpu: Callable[[], float], folder: Path, count: int, *, publish_first: bool
) -> Run:
    env = {**chain.env, BROKER_VARIABLE: url}
    publisher = Service(
        name="publisher", argv=[*chain.publisher, str(count)], env=env, once=True, ready_within=LONGEST_SECONDS
    )
    consumers = [Service(name=hop, argv=argv, env=env) for hop, argv in chain.consumers.items()]
    with redis.Redis.from_url(url) as client, Supervisor(folder, say=lambda _: None) as supervisor:
        client.flushdb()
        if publish_first:
            supervisor.start(publisher)
            supervisor.start(*consumers)
            watched = [*HOPS]
        else:
            supervisor.start(*consumers)
            time.sleep(2.5)
            watched = [*HOPS, "publisher"]

        def cpu() -> dict[str, float]:
            return {"broker": broker_cpu(), **{name: supervisor.cpu_seconds(name) for name in watched}}

        if not publish_first:
            # Waiting for its end would wait for the last message, so its end is not waited for.
            _start_beside(supervisor, publisher)
        return _watched(chain, client, count, cpu, publish_first=publish_first)


def _start_beside(supervisor: Supervisor, publisher: Service) -> None:
    beside = Service(name=publisher.name, argv=[*publisher.argv, "--stay"], env=publisher.env)
    supervisor.start(beside)


def _watched(
    chain: Chain, client: redis.Redis, count: int, cpu: Callable[[], dict[str, float]], *, publish_first: bool
) -> Run:
    """Watch the completions until the window is over."""
    first: tuple[float, int, dict[str, float], Others] | None = None
    deadline = time.monotonic() + LONGEST_SECONDS
    done = 0
    while time.monotonic() < deadline:
        published = count if publish_first else int(client.get("bench:published") or 0)
        done = published - chain.left(client)
        now = time.monotonic()
        if first is None and done >= WINDOW[0] * count:
            used = cpu()
            first = now, done, used, Others(sum(used.values()))
        elif first is not None and done >= WINDOW[1] * count:
            start, done_then, used, others = first
            pipelines = done - done_then
            now_used = cpu()
            return Run(
                pipelines / (now - start),
                {name: (now_used[name] - used[name]) / pipelines * 1e6 for name in now_used},
                others.cores(sum(now_used.values())),
            )
        time.sleep(0.02)
    raise ChainStuck(chain.name, done, count)
