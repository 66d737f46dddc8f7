"""How long an answer takes at half of what was measured: arrivals drawn beforehand, latency from the intended time."""

from __future__ import annotations

from typing import Any

from tests.bench.claims import as_json, claims
from tests.bench.load import Plan, claim_request, drawn_arrivals, generate
from tests.bench.machine import Others
from tests.bench.pipeline import all_good, cpu_per_claim
from tests.bench.site import API_KEY, Site

CONNECTIONS = 1_500  # plenty: a request that waits for a connection of ours would measure us, not the server


def run(site: Site, per_second: float, seconds: float, *, first: int) -> dict[str, Any]:
    """Open loop through the API: claims that arrive when they do, each waiting for its answer (`Prefer: wait`)."""
    count = round(per_second * seconds)
    host = f"127.0.0.1:{site.api_port}"
    requests = [
        claim_request(host, API_KEY, f"bench-{first + serial}", as_json(claim), wait=10)
        for serial, claim in enumerate(claims(count, first=first, seed=first + 1))
    ]
    arrivals = drawn_arrivals(count, per_second)
    plan = Plan(
        host="127.0.0.1",
        port=site.api_port,
        requests=requests,
        connections=CONNECTIONS,
        arrivals=arrivals,
    )
    total = site.accepted() + count
    before = site.cpu()
    others = Others(sum(before.values()))
    outcome = generate(plan, site.folder)
    used = site.cpu()
    site.wait_until_answered(total)
    all_good(outcome, count)
    site.prove()
    in_order = sorted(outcome.seconds)
    return {
        "claims": count,
        "offered_per_second": round(per_second),
        "statuses": outcome.statuses,
        **{f"p{percent}_ms": _percentile(in_order, percent) for percent in (50, 90, 99)},
        "max_ms": round(in_order[-1] * 1e3, 1),
        "others_cores": others.cores(sum(used.values()) + outcome.whole_cpu_seconds),
        "load_generator_us": round(outcome.cpu_seconds / count * 1e6),
        **cpu_per_claim(before, used, count),
    }


def _percentile(in_order: list[float], percent: int) -> float:
    return round(in_order[min(len(in_order) - 1, len(in_order) * percent // 100)] * 1e3, 1)
