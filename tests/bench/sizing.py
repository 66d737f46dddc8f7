"""The figures of a whole run that `jiesuan doctor --as` and docs/scaling.md reckon with, put where they are read."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from city.sizing import needs, scale
from infra.clock import SHANGHAI

FROM, TO = "<!-- scale: written by `python -m tests.bench --page` -->", "<!-- end of scale -->"


def write(found: dict[str, Any], path: Path) -> None:
    """Write them; a run that left a part out changes nothing."""
    needed = ("dbf_door", "api_door", "link_bytes", "center_settle", "stored", "machine")
    if any(part not in found for part in needed):
        return
    link, alone = found["link_bytes"], found["center_settle"]["batch_1"]
    figures = {
        "measured_on": datetime.now(SHANGHAI).date().isoformat(),
        "machine": f"{found['machine']['cpu']}, {found['machine']['cores']} cores",
        "lines_a_claim": 20,
        "cpu_us_a_claim": {
            "front-end, DBF": found["dbf_door"]["cpu_us_by_party"]["front-end"],
            "front-end, API": found["api_door"]["cpu_us_by_party"]["front-end"],
            "centre": found["api_door"]["cpu_us_by_party"]["centre"] + found["api_door"]["cpu_us_by_party"]["database"],
            "centre, one claim a message": round(alone["worker_us"] + alone["postgres_us"]),
        },
        "link_bytes_a_claim": {
            "totals and answer, batched": round(link["bytes_per_claim"]),
            "totals and answer, alone": round(sum(link["alone"].values())),
            "detail": round(link["lines"]["20"]["detail chunks, compressed"]),
        },
        "link_idle_bytes_a_second": link["idle_bytes_per_second"],
        "stored_bytes_a_claim": {place: figure["bytes_a_claim"] for place, figure in found["stored"].items()},
        "memory_mib": {place: figure["memory_mib"] for place, figure in found["stored"].items()},
    }
    path.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    needs.measured.cache_clear()


def write_scale(page: Path) -> None:
    """Put the table of places into the page, reckoned from the figures there are now."""
    before, rest = page.read_text(encoding="utf-8").split(FROM)
    page.write_text(f"{before}{FROM}\n\n{scale.table()}\n\n{TO}{rest.split(TO)[1]}", encoding="utf-8")
