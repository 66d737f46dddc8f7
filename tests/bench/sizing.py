"""The figures of a whole run that `jiesuan doctor --as` reckons with, written beside the code that reads them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.clock import SHANGHAI


def write(found: dict[str, Any], path: Path) -> None:
    """Write them; a run that left a part out changes nothing."""
    needed = ("dbf_door", "api_door", "link_bytes", "stored", "machine")
    if any(part not in found for part in needed):
        return
    link = found["link_bytes"]
    figures = {
        "measured_on": datetime.now(SHANGHAI).date().isoformat(),
        "machine": f"{found['machine']['cpu']}, {found['machine']['cores']} cores",
        "lines_a_claim": 20,
        "cpu_us_a_claim": {
            "front-end, DBF": found["dbf_door"]["cpu_us_by_party"]["front-end"],
            "front-end, API": found["api_door"]["cpu_us_by_party"]["front-end"],
            "centre": found["api_door"]["cpu_us_by_party"]["centre"] + found["api_door"]["cpu_us_by_party"]["database"],
        },
        "link_bytes_a_claim": {
            "totals and answer, batched": round(link["bytes_per_claim"]),
            "totals and answer, alone": round(sum(link["alone"].values())),
            "detail": round(link["lines"]["20"]["detail chunks, compressed"]),
        },
        "stored_bytes_a_claim": {place: figure["bytes_a_claim"] for place, figure in found["stored"].items()},
        "memory_mib": {place: figure["memory_mib"] for place, figure in found["stored"].items()},
    }
    path.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
