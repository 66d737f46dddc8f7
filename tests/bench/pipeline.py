"""The whole pipeline, from a claim handed in at a door to its answer recorded there: claims a second, CPU per claim."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from producers.his import dbf
from producers.his.fields import layout
from tests.bench.claims import DAY, LINES, as_json, claims, write_lines, write_registrations
from tests.bench.load import Outcome, Plan, claim_request, generate
from tests.bench.machine import Others
from tests.bench.site import API_KEY, BESIDE, PARTIES, Site, Stuck

IDLE_SECONDS = 3.0
CONNECTIONS = 64


def idle(site: Site) -> dict[str, float]:
    """What every process uses while nothing comes in, in milliseconds of CPU per second."""
    before = site.cpu()
    time.sleep(IDLE_SECONDS)
    return {name: round((used - before[name]) / IDLE_SECONDS * 1e3, 1) for name, used in site.cpu().items()}


def through_dbf(site: Site, count: int, *, first: int, name: str) -> dict[str, Any]:
    """Put one pair of files into the exchange folder and wait until every row of it is answered in the files."""
    handed_in = list(claims(count, first=first, seed=first + 1))
    registrations, lines = site.folder / "MZDJ.new", site.folder / "MZXM.new"
    write_registrations(registrations, handed_in, DAY)
    write_lines(lines, handed_in, DAY)
    total, results = site.accepted() + count, _records(site.exchange / f"MZJS{DAY:%m%d}.DBF") + count

    before, began = site.cpu(), time.time()
    others = Others(sum(before.values()))
    registrations.rename(site.exchange / f"MZDJ{name}.DBF")
    lines.rename(site.exchange / f"MZXM{name}.DBF")
    answered = site.wait_until_answered(total)
    _wait_until_written_back(site, results)
    ended, used = time.time(), site.cpu()

    _prove_files(site.exchange / f"MZXM{name}.DBF", count)
    site.prove()
    return {
        "claims": count,
        "claims_per_second": round(count / (ended - began)),
        "until_answer_recorded_per_second": round(count / (answered - began)),
        "others_cores": others.cores(sum(used.values())),
        **cpu_per_claim(before, used, count),
    }


def through_api(site: Site, count: int, *, first: int, connections: int = CONNECTIONS) -> dict[str, Any]:
    """Post so many claims over kept-open connections as fast as they are accepted, and wait for the last answer."""
    requests = [
        claim_request(f"127.0.0.1:{site.api_port}", API_KEY, f"bench-{first + serial}", as_json(claim))
        for serial, claim in enumerate(claims(count, first=first, seed=first + 1))
    ]
    total = site.accepted() + count
    plan = Plan(host="127.0.0.1", port=site.api_port, requests=requests, connections=connections)
    before = site.cpu()
    others = Others(sum(before.values()))
    outcome = generate(plan, site.folder)
    answered = site.wait_until_answered(total)
    used = site.cpu()
    all_good(outcome, count)
    site.prove()
    return {
        "claims": count,
        "claims_per_second": round(count / (answered - outcome.began)),
        "until_accepted_per_second": round(count / (outcome.ended - outcome.began)),
        "others_cores": others.cores(sum(used.values()) + outcome.whole_cpu_seconds),
        "connections": connections,
        "bytes_per_request": round(sum(map(len, requests)) / count),
        "load_generator_us": round(outcome.cpu_seconds / count * 1e6),
        **cpu_per_claim(before, used, count),
    }


def together(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run with the median rate, and the rates of all in their order."""
    middle = sorted(runs, key=lambda run: run["claims_per_second"])[len(runs) // 2]
    return {**middle, "runs": [run["claims_per_second"] for run in runs]}


def cpu_per_claim(before: Mapping[str, float], used: Mapping[str, float], count: int) -> dict[str, Any]:
    """Microseconds of CPU per claim by process, of the four parties together, and of what runs beside them."""
    by_process = {name: round((used[name] - before[name]) / count * 1e6) for name in used}
    charged = [name for names in PARTIES.values() for name in names]
    return {
        "cpu_us": by_process,
        "cpu_us_total": sum(by_process.get(name, 0) for name in charged),
        "cpu_us_by_party": {party: sum(by_process.get(name, 0) for name in names) for party, names in PARTIES.items()},
        "cpu_us_beside": sum(by_process.get(name, 0) for name in BESIDE),
    }


def all_good(outcome: Outcome, count: int) -> None:
    good = sum(answers for status, answers in outcome.statuses.items() if status.startswith("2"))
    if good != count:
        raise Stuck(f"{good} of {count} requests went well: {outcome.statuses}, first {outcome.first_bad}")


def _wait_until_written_back(site: Site, results: int, *, within: float = 120) -> None:
    deadline = time.monotonic() + within
    path = site.exchange / f"MZJS{DAY:%m%d}.DBF"
    while _records(path) < results or not site.is_handed_back():
        if time.monotonic() > deadline:
            raise Stuck(f"{_records(path)} of {results} results written back after {within:g} s")
        time.sleep(0.05)


def _records(path: Path) -> int:
    """How many records a DBF file has by its header; 0 without a file."""
    try:
        with path.open("rb") as file:
            return int(struct.unpack("<4xI", file.read(8))[0])
    except FileNotFoundError:
        return 0


def _prove_files(path: Path, count: int) -> None:
    """Every line is marked as imported with the verdict 00. Raises Stuck."""
    table = dbf.read(path)
    table.expect(layout("MZXM"))
    flags, codes = set(table.numbers("DRBZ")), set(table.texts("BZ3"))
    if len(table.records) != count * LINES or flags != {1} or codes != {"00"}:
        raise Stuck(f"{len(table.records)} lines with flags {flags} and codes {codes}")
