"""`make bench`: every figure of docs/benchmarks.md from one run on one broker, as tables and as reports/bench.json."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.embedded import postgres, valkey
from infra.supervisor import Supervisor
from tests.bench import (
    api_cpu,
    benefit,
    center_settle,
    chain,
    chain_celery,
    chain_dramatiq,
    dbf_codec,
    exchange,
    history,
    latency,
    link_bytes,
    machine,
    pipeline,
    replay,
    report,
    sizing,
    steps,
    stored,
    tenants,
    uploading,
    ways,
)
from tests.bench.claims import ROOT
from tests.bench.site import Site

FOLDER = ROOT / ".data" / "bench"
REPORT = ROOT / "reports" / "bench.json"
PAGE = ROOT / "docs" / "benchmarks.md"
MEASURED = ROOT / "city" / "sizing" / "measured.json"
SCALING = ROOT / "docs" / "scaling.md"
WARM_UP = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything is measured."""

    pipelines: int
    dramatiq_pipelines: int
    claims: int
    runs: int
    latency_seconds: float
    weighed: int
    replayed: int
    history: tuple[int, int, int, int]
    """Settlements, claims while memory is watched, claims a turn, turns."""


FULL = Size(
    pipelines=3_000,
    dramatiq_pipelines=10_000,
    claims=6_000,
    runs=3,
    latency_seconds=10,
    weighed=1_000,
    replayed=200_000,
    history=(100_000, 60_000, 3_000, 3),
)
QUICK = Size(
    pipelines=1_500,
    dramatiq_pipelines=4_000,
    claims=2_000,
    runs=1,
    latency_seconds=4,
    weighed=500,
    replayed=10_000,
    history=(10_000, 20_000, 1_000, 1),
)
PARTS = (
    "chains",
    "dbf",
    "api",
    "latency",
    "uploading",
    "bytes",
    "ways",
    "steps",
    "exchange",
    "benefit",
    "tenants",
    "replay",
    "history",
)
NEED_A_SITE = {"dbf", "api", "latency", "uploading", "bytes", "ways"}
NEED_A_BROKER = NEED_A_SITE | {"chains"}


class Bench:
    """One run: what it measured so far, and the serial numbers that keep its claims apart."""

    def __init__(self, size: Size, parts: Collection[str], supervisor: Supervisor) -> None:
        self._size, self._parts, self._supervisor = size, parts, supervisor
        self._next = 0
        self._turns: dict[str, list[Any]] = defaultdict(list)
        self.found: dict[str, Any] = {"machine": machine.describe(), "load_before": os.getloadavg()[0], "pace_ms": []}

    def run(self) -> dict[str, Any]:
        """Measure, part by part."""
        if NEED_A_BROKER & set(self._parts):
            self._pipeline()
        self.found["pace_ms"].append(machine.pace_ms())
        if "steps" in self._parts:
            self._steps()
        if "exchange" in self._parts:
            self._part("exchange", exchange.run)
        if "benefit" in self._parts:
            self._part("benefit", benefit.run)
        if "tenants" in self._parts:
            self._part("tenants", lambda: tenants.run(self._size.latency_seconds))
        if "replay" in self._parts:
            self._part("replay", lambda: replay.run_apart(self._size.replayed))
        if "history" in self._parts:
            self._part("history", lambda: history.run_apart(*self._size.history))
        return self.found

    def _pipeline(self) -> None:
        """The chains and the doors, on one broker."""
        broker = valkey.prepare(FOLDER / "broker", port=0)
        self._supervisor.start(broker.service)
        site = self._site(broker.url) if NEED_A_SITE & set(self._parts) else None
        # What is divided by each other is measured in turns: a machine that slows down slows both.
        for turn in range(self._size.runs):
            self.found["pace_ms"].append(machine.pace_ms())
            if "chains" in self._parts:
                with site.stopped() if site else nullcontext():
                    self._chains(broker.url)
            if site:
                self._doors(site, turn)
        for name, turns in self._turns.items():
            self.found[name] = (chain if name.endswith("_chain") else pipeline).together(turns)
        if site and "latency" in self._parts:
            half = self.found["api_door"]["claims_per_second"] / 2
            first = self._serials(round(half * self._size.latency_seconds))
            self._part("latency", lambda: latency.run(site, half, self._size.latency_seconds, first=first))
        if site and "uploading" in self._parts:
            half = self.found["api_door"]["claims_per_second"] / 2
            first = self._serials(2 * uploading.TURNS * round(half * self._size.latency_seconds))
            self._part("uploading", lambda: uploading.run(site, half, self._size.latency_seconds, first=first))
        if site and "bytes" in self._parts:
            first = self._serials(self._size.weighed)
            self._part("link_bytes", lambda: link_bytes.run(site, broker.url, self._size.weighed, first=first))
        if site and "ways" in self._parts:
            self._part("ways", lambda: ways.run(site, broker.url, self._size.weighed))
        if site:
            self._part("stored", lambda: stored.run(site))

    def _site(self, broker_url: str) -> Site:
        """A site that has warmed up: every process has done its first work."""
        database = postgres.prepare(FOLDER / "database", port=0)
        self._supervisor.start(database.service)
        site = Site(FOLDER, self._supervisor, broker_url=broker_url, database_url=database.url)
        site.start()
        pipeline.through_dbf(site, WARM_UP, first=self._serials(WARM_UP), name="0301")
        pipeline.through_api(site, WARM_UP, first=self._serials(WARM_UP))
        self.found["idle_ms_per_second"] = pipeline.idle(site)
        return site

    def _chains(self, url: str) -> None:
        where = {
            "url": f"{url.rpartition('/')[0]}/1",  # another database of the same server: it is emptied each time
            "broker_cpu": lambda: self._supervisor.cpu_seconds("broker"),
            "folder": FOLDER / "chain",
        }
        self._turn("celery_chain", lambda: chain_celery.run(count=self._size.pipelines, **where))
        self._turn("dramatiq_chain", lambda: chain_dramatiq.run(count=self._size.dramatiq_pipelines, **where))

    def _doors(self, site: Site, turn: int) -> None:
        count = self._size.claims
        if "dbf" in self._parts:
            first, name = self._serials(count), f"03{turn + 2:02d}"
            self._turn("dbf_door", lambda: pipeline.through_dbf(site, count, first=first, name=name))
        if {"api", "latency", "uploading"} & set(self._parts):
            first = self._serials(count)
            self._turn("api_door", lambda: pipeline.through_api(site, count, first=first))

    def _steps(self) -> None:
        self._part("steps", steps.run)
        self._part("center_settle", center_settle.run)
        self._part("api_alone", api_cpu.run)
        self._part("dbf_codec", dbf_codec.run)

    def _serials(self, count: int) -> int:
        first, self._next = self._next, self._next + count
        return first

    def _part(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        report.say(name)
        self.found[name] = measure()

    def _turn(self, name: str, measure: Callable[[], Any]) -> None:
        report.say(f"{name} {len(self._turns[name]) + 1} of {self._size.runs}")
        self._turns[name].append(measure())


def main() -> None:
    """Measure what was asked for, print it, keep it."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer claims and one run of each: two minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="only these parts")
    parser.add_argument("--json", type=Path, default=REPORT, help="where the figures are written")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/benchmarks.md as well")
    asked = parser.parse_args()

    with Supervisor(FOLDER) as supervisor:
        for left in ("broker", "database", "exchange", "frontend.db", "frontend.db-wal", "frontend.db-shm"):
            _remove(FOLDER / left)
        bench = Bench(QUICK if asked.quick else FULL, asked.only, supervisor)
        found = bench.run()
    found["goals"] = report.goals(found)
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    report.show(found)
    if asked.page:
        report.write_page(found, PAGE)
        sizing.write(found, MEASURED)
        sizing.write_scale(SCALING)
    report.say(f"figures: {asked.json}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
