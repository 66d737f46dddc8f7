"""One of 24 tenants of a shared front-end floods: how long everybody else waits for an answer, against a quiet hour.

Real processes, open loop: arrivals are drawn beforehand and latency counts from the intended time. The tenants keep
their pace all the time; the flooding one hands in many times what all others do, once under ordinary terms (most of
it is told to come later) and once without any limit (all of it comes in, and the desk shares itself by weights).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, func, insert, select, update

import workers.tables
from center.serving.entering import enter
from domain.lifecycle import OPEN
from infra.database import reading
from infra.embedded import postgres, valkey
from infra.reference import CataloguePublished, catalogue_row, policy_row
from infra.supervisor import Supervisor
from tests.bench.claims import POLICY, ROOT, as_json, claims, items, published
from tests.bench.load import Outcome, Plan, claim_request, drawn_arrivals, generate
from tests.bench.site import FRONTEND, Site, Stuck

FOLDER = ROOT / ".data" / "bench-tenants"
TENANTS = [f"3601000002{number:02d}" for number in range(24)]
NOISY, *OTHERS = TENANTS
ROLES = ("center-settle", "desk", "link", "api")
ORDINARY = {"rate_per_second": 20, "burst": 0, "backlog_cap": 400}
UNLIMITED = {"rate_per_second": 0, "burst": 0, "backlog_cap": 1_000_000}

PACE = 2.0
"""Claims a second of each quiet tenant: some five times a busy clinic's."""
FLOOD = 600.0
"""Claims a second of the flooding one: thirteen times what all others hand in together."""
FLOOD_CONNECTIONS = 64
CONNECTIONS = 400
GOAL_TIMES, GOAL_MORE_MS = 2.0, 100.0


def run(seconds: float = 15.0) -> dict[str, Any]:
    """p50 and p99 of the quiet tenants in milliseconds: quiet, flooded under ordinary terms, flooded without limits."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    with Supervisor(FOLDER, say=lambda line: None) as supervisor:
        broker = valkey.prepare(FOLDER / "broker", port=0)
        database = postgres.prepare(FOLDER / "database", port=0)
        supervisor.start(broker.service, database.service)
        site = SharedSite(FOLDER, supervisor, broker_url=broker.url, database_url=database.url)
        site.start(*ROLES)
        _phase(site, 4.0, serial=0)  # every process does its first work
        found: dict[str, Any] = {"seconds": seconds, "quiet": _phase(site, seconds, serial=1)}
        found["flooded"] = _phase(site, seconds, serial=2, flood=ORDINARY)
        found["flooded_without_limit"] = _phase(site, seconds, serial=3, flood=UNLIMITED)
        site.prove()
    found["allowed_p99_ms"] = round(GOAL_TIMES * found["quiet"]["p99_ms"] + GOAL_MORE_MS, 1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    return found


class SharedSite(Site):
    """A site whose front-end serves 24 tenants and nobody else."""

    @staticmethod
    def _reference() -> list[dict[str, object]]:
        one = published(items())
        matches = tuple(match._replace(institution_code=code) for code in TENANTS for match in one.matches)
        return [
            catalogue_row(CataloguePublished(version="bench-tenants", items=one.items, matches=matches)),
            policy_row(POLICY),
        ]

    def _new_frontend(self) -> Engine:
        engine = super()._new_frontend()
        with engine.begin() as connection:
            connection.execute(
                insert(workers.tables.institution),
                [
                    {
                        "institution_code": code,
                        "short_code": _short_code(code),
                        "name": f"诊所{code[-2:]}",
                        "kind": "clinic",
                        "level": 1,
                        "api_key_hash": sha256(_api_key(code).encode()).hexdigest(),
                        **ORDINARY,
                    }
                    for code in TENANTS
                ],
            )
        return engine

    def _new_center(self, url: str) -> Engine:
        engine = super()._new_center(url)
        row = {"frontend": FRONTEND, "connection": "shared", "kind": "clinic", "level": 1, "active": True}
        with engine.begin() as connection:
            enter(
                connection,
                [{"institution_code": code, "name": f"诊所{code[-2:]}", **row} for code in TENANTS],
            )
        return engine

    def _settings(self) -> dict[str, str]:
        return {**super()._settings(), "JIESUAN_PREPROCESS_BATCH": "20", "JIESUAN_REFERENCE_EVERY_SECONDS": "3600"}

    def set_terms(self, terms: dict[str, int]) -> None:
        """The flooding tenant's terms, as the centre would give them."""
        institution = workers.tables.institution
        with self.frontend.begin() as connection:
            connection.execute(update(institution).where(institution.c.institution_code == NOISY).values(**terms))

    def wait_until_nothing_is_open(self, *, within: float = 180) -> None:
        """Raises Stuck."""
        claim = workers.tables.claim
        waiting = select(func.count()).where(claim.c.state.in_([str(state) for state in sorted(OPEN)]))
        deadline = time.monotonic() + within
        while True:
            with reading(self.frontend) as connection:
                left = connection.execute(waiting).scalar_one()
            if not left:
                return
            if time.monotonic() > deadline:
                raise Stuck(f"{left} claims open after {within:g} s: {self.states()}")
            time.sleep(0.1)

    def taken_of(self, code: str) -> int:
        """How many claims of an institution were ever accepted."""
        claim = workers.tables.claim
        with reading(self.frontend) as connection:
            return connection.execute(select(func.count()).where(claim.c.institution_code == code)).scalar_one()


def _phase(site: SharedSite, seconds: float, *, serial: int, flood: dict[str, int] | None = None) -> dict[str, Any]:
    """The quiet tenants for so many seconds, with the flood beside them where there is one."""
    quiet = _plan(site, OTHERS, PACE * len(OTHERS), seconds, serial=serial, wait=10, connections=CONNECTIONS)
    if flood is None:
        outcome = generate(quiet, site.folder)
        site.wait_until_nothing_is_open()
        return _figures(outcome)
    site.set_terms(flood)
    folder = site.folder / "flood"
    folder.mkdir(exist_ok=True)
    noisy = _plan(site, [NOISY], FLOOD, seconds, serial=serial, wait=0, connections=FLOOD_CONNECTIONS)
    taken_before = site.taken_of(NOISY)
    with ThreadPoolExecutor(1) as beside:
        flooding = beside.submit(generate, noisy, folder)
        outcome = generate(quiet, site.folder)
        offered = flooding.result()
    taken = site.taken_of(NOISY) - taken_before
    site.wait_until_nothing_is_open()
    return {**_figures(outcome), "flood_statuses": offered.statuses, "flood_taken": taken}


def _plan(
    site: SharedSite, codes: list[str], per_second: float, seconds: float, *, serial: int, wait: int, connections: int
) -> Plan:
    count = round(per_second * seconds)
    host = f"127.0.0.1:{site.api_port}"
    bodies = claims(count, seed=serial * 1000 + len(codes))
    return Plan(
        host="127.0.0.1",
        port=site.api_port,
        requests=[
            claim_request(host, _api_key(codes[number % len(codes)]), f"{serial}-{number}", as_json(claim), wait=wait)
            for number, claim in enumerate(bodies)
        ],
        connections=connections,
        arrivals=drawn_arrivals(count, per_second, seed=serial + 1),
    )


def _figures(outcome: Outcome) -> dict[str, Any]:
    if set(outcome.statuses) != {"200"}:
        raise Stuck(f"a quiet tenant was not answered in time: {outcome.statuses} {outcome.first_bad}")
    in_order = sorted(outcome.seconds)
    return {
        "claims": len(in_order),
        **{f"p{percent}_ms": _percentile(in_order, percent) for percent in (50, 99)},
        "max_ms": round(in_order[-1] * 1e3, 1),
    }


def _percentile(in_order: list[float], percent: int) -> float:
    return round(in_order[min(len(in_order) - 1, len(in_order) * percent // 100)] * 1e3, 1)


def _api_key(code: str) -> str:
    return f"bench-key-{code}"


def _short_code(code: str) -> str:
    return f"T{code[-5:]}"


if __name__ == "__main__":
    print(json.dumps(run(*map(float, sys.argv[1:])), ensure_ascii=False, indent=1))
