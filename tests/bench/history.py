"""Whether cost grows with history: the same load on an empty centre and on one full of settlements; memory meanwhile.

The settlements are made by the centre's own use case, for every insured person and under the policy in force, and its
own check has gone through all of them before anything is measured. Called by itself, without numbers, it takes a
million settlements and half a million claims: a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Engine, text

from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, check_new
from center.policy.shelf import PolicyShelf
from center.settling.settle import settle_submitted
from center.tables import reference
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimTotals, TotalsSubmitted
from domain.policy.reading import parse
from infra.database import open_database
from infra.embedded import postgres, valkey
from infra.memory import spare_the_collector
from infra.reference import ReferenceShelf
from infra.supervisor import Supervisor
from tests.bench import pipeline
from tests.bench.claims import HOSPITAL, PERSONS, POLICY, STARTS_AT, as_json, claims
from tests.bench.load import Plan, claim_request, generate
from tests.bench.machine import pace_ms
from tests.bench.site import API_KEY, FRONTEND, Site, Stuck

BATCH = 500
FILLERS = 2
"""Processes that fill the centre at once, each with persons of its own."""
DAYS = 59
"""The settlements lie in the weeks of the benefit year before the day that is measured."""
TURNS = 3
CLAIMS = 6_000
BODIES = 2_000
"""So many different claims are handed in again and again while memory is watched, each time under a new key."""
PER_TURN = 10_000
OURS = ("desk", "link", "his", "api", "center-settle", "center-detail", "beat", "flower")


class Broken(Exception):
    """The history that was made does not check, so nothing is measured on it."""


def run(settlements: int, watched: int, *, claims_per_turn: int = CLAIMS, turns: int = TURNS) -> dict[str, Any]:
    """Rate and CPU through the DBF door before and after so many settlements; then memory over `watched` claims."""
    folder = Path(__file__).parents[2] / ".data" / "history"
    shutil.rmtree(folder, ignore_errors=True)
    with Supervisor(folder, say=lambda line: None) as supervisor:
        broker, database = valkey.prepare(folder / "broker", port=0), postgres.prepare(folder / "database", port=0)
        supervisor.start(broker.service, database.service)
        site = Site(folder, supervisor, broker_url=broker.url, database_url=database.url)
        site.start()
        load = _Load(site, claims_per_turn)
        load.warm_up()
        empty = [load.turn() for _ in range(turns)]
        with site.stopped():
            began = time.monotonic()
            _fill(database.url, settlements)
            filled = time.monotonic() - began
        site.count_from_here()
        load.turn()  # what the caches of the database lost is back
        full = [load.turn() for _ in range(turns)]
        memory = _memory(site, watched)
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "settlements": settlements,
        "filled_in_seconds": round(filled, 1),
        "empty": _middle(empty),
        "full": _middle(full),
        "rate_percent": round(_middle(full)["claims_per_second"] / _middle(empty)["claims_per_second"] * 100, 1),
        "centre_cpu_percent": round(_middle(full)["centre_cpu_us"] / _middle(empty)["centre_cpu_us"] * 100, 1),
        "memory": memory,
    }


def run_apart(settlements: int, watched: int, claims_per_turn: int, turns: int) -> dict[str, Any]:
    """The same in a process of its own: nothing another part has measured is in it. Raises CalledProcessError."""
    numbers = [str(number) for number in (settlements, watched, claims_per_turn, turns)]
    done = subprocess.run([sys.executable, "-m", "tests.bench.history", *numbers], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class _Load:
    """The same load again and again, each turn with claims of its own."""

    def __init__(self, site: Site, count: int) -> None:
        self._site, self._count = site, count
        self._first = self._file = 0

    def warm_up(self) -> None:
        self._through(300)

    def turn(self) -> dict[str, Any]:
        pace = pace_ms()
        found = self._through(self._count)
        by_party = found["cpu_us_by_party"]
        return {
            "claims_per_second": found["claims_per_second"],
            "cpu_us": found["cpu_us_total"],
            "centre_cpu_us": by_party["centre"] + by_party["database"],
            "frontend_cpu_us": by_party["front-end"],
            "pace_ms": pace,
        }

    def _through(self, count: int) -> dict[str, Any]:
        self._file += 1
        first, self._first = self._first, self._first + count
        return pipeline.through_dbf(self._site, count, first=first, name=f"03{self._file:02d}")


def _middle(turns: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


# ── A history ─────────────────────────────────────────────────────────────────────────────────────────────


def _fill(url: str, settlements: int) -> None:
    """Settle so many claims, and let the centre check every one of them. Raises Broken, CalledProcessError."""
    command = [sys.executable, "-m", "tests.bench.history", "--fill", url]
    fillers = [
        subprocess.Popen([*command, str(number), str(settlements // FILLERS)], stdout=subprocess.DEVNULL)
        for number in range(FILLERS)
    ]
    for filler in fillers:
        if filler.wait():
            raise subprocess.CalledProcessError(filler.returncode, filler.args)
    engine = open_database(url)
    report = check_new(engine, Shelves(CatalogueShelf(), PolicyShelf()), holder="bench", at=STARTS_AT, now=time.time())
    if report is None or report.findings:
        raise Broken("somebody else checks" if report is None else f"{len(report.findings)} findings")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def fill(engine: Engine, number: int, count: int) -> None:
    """One filler's part: visits of every `FILLERS`th person, spread over the days before the one that is measured."""
    chosen = random.Random(number)
    shelf, version = ReferenceShelf(reference), parse(POLICY).version
    persons = [synthetic_citizen_id(serial) for serial in range(number, PERSONS, FILLERS)]
    spare_the_collector()
    for first in range(0, count, BATCH):
        at = STARTS_AT - timedelta(days=DAYS - first * DAYS // count)
        batch = tuple(
            _totals(number, serial, at, persons, chosen) for serial in range(first, min(first + BATCH, count))
        )
        message = TotalsSubmitted(policy_version=version, catalogue_version="bench-1", claims=batch)
        answered = settle_submitted(engine, shelf, message, frontend=FRONTEND, at=at)
        refused = next((answer for answer in answered.answers if answer.refusal), None)
        if refused is not None:
            raise Broken(f"{refused.refusal} {refused.detail}")


def _totals(number: int, serial: int, at: datetime, persons: list[str], chosen: random.Random) -> ClaimTotals:
    own, scope = chosen.randrange(5_000), chosen.randrange(1, 20_000)
    return ClaimTotals(
        institution_code=HOSPITAL,
        visit_no=f"F{number}{serial:014d}",
        charge_batch_no=1,
        citizen_id_no=chosen.choice(persons),
        visit_type="3",
        visit_date=at.date(),
        total_fen=own + scope,
        own_expense_fen=own,
        over_limit_fen=0,
        pre_self_pay_fen=0,
        in_scope_fen=scope,
        line_count=20,
        digest=chosen.randbytes(16),
    )


# ── Memory ────────────────────────────────────────────────────────────────────────────────────────────────


def _memory(site: Site, watched: int) -> dict[str, Any]:
    """What each process holds of its own while claims pass through the API, in MB, and by how much it grew.

    Its own is what no file and no other process has a part in: pages of mapped database files and PostgreSQL's shared
    buffers are not in it. Growth is that of the second half, when every cache with a bound has had time to fill.
    """
    prefix = f"{time.time_ns():x}"
    host = f"127.0.0.1:{site.api_port}"
    bodies = [as_json(claim) for claim in claims(BODIES, first=0, seed=7)]
    seen = [_own_mb(site.pids())]
    passed = [0]
    while passed[-1] < watched:
        count = min(PER_TURN, watched - passed[-1])
        requests = [
            claim_request(host, API_KEY, f"{prefix}-{passed[-1] + serial}", bodies[serial % BODIES])
            for serial in range(count)
        ]
        total = site.accepted() + count
        plan = Plan(host="127.0.0.1", port=site.api_port, requests=requests, connections=pipeline.CONNECTIONS)
        outcome = generate(plan, site.folder)
        pipeline.all_good(outcome, count)
        site.wait_until_answered(total)
        passed.append(passed[-1] + count)
        seen.append(_own_mb(site.pids()))
    if watched:
        site.prove()
    middle = next((place for place, claims_so_far in enumerate(passed) if 2 * claims_so_far >= watched), 0)
    first, half, last = seen[0], seen[middle], seen[-1]
    return {
        "claims": watched,
        "mb": {name: {"first": first[name], "half": half[name], "last": last[name]} for name in OURS},
        "grew_mb": {name: round(last[name] - half[name], 1) for name in OURS},
        "grew_percent": round(max((last[name] / half[name] - 1) * 100 for name in OURS), 1),
    }


def _own_mb(pids: Mapping[str, int]) -> dict[str, float]:
    return {name: round(_anonymous_kb(pids[name]) / 1024, 1) for name in OURS}


def _anonymous_kb(pid: int) -> int:
    """Of a process alone: the roles measured here have no children."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1])
    raise Stuck(f"process {pid} tells nothing of its memory")


def main() -> None:
    """Measure and print JSON; or, called by that, fill a database."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.history", description=__doc__)
    parser.add_argument("--fill", metavar="URL", help="settle claims into this database and end")
    parser.add_argument("numbers", type=int, nargs="*", help="settlements, claims watched, claims a turn, turns")
    asked = parser.parse_args()
    if asked.fill:
        fill(open_database(asked.fill), *asked.numbers)
        return
    settlements, watched, claims_per_turn, turns = asked.numbers or (1_000_000, 500_000, CLAIMS, TURNS)
    print(json.dumps(run(settlements, watched, claims_per_turn=claims_per_turn, turns=turns), indent=1))


if __name__ == "__main__":
    main()
