"""How much room a claim of 20 lines takes in the two databases once it is answered, and its processes in memory."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select, text

import center.tables
import workers.tables
from infra.database import reading
from tests.bench.site import CENTER_ROLES, FRONTEND_ROLES, Site

_SQLITE = text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
_POSTGRES = text(
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
    " WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    " AND relname NOT IN ('person', 'reference', 'institution')"
)
_RESIDENT = re.compile(r"VmRSS:\s+(\d+) kB")


def run(site: Site) -> dict[str, Any]:
    """Bytes a claim, without the reference data both sides hold, detail not yet uploaded; MiB of the processes now."""
    return {
        "front-end": _each(site.frontend, _SQLITE, workers.tables.claim)
        | {"memory_mib": _memory(site, FRONTEND_ROLES)},
        "centre": _each(site.center, _POSTGRES, center.tables.settlement) | {"memory_mib": _memory(site, CENTER_ROLES)},
    }


def _memory(site: Site, roles: Collection[str]) -> int:
    pids = site.pids()
    return sum(int(_RESIDENT.findall(Path(f"/proc/{pids[role]}/status").read_text())[0]) for role in roles) >> 10


def _each(engine: Engine, size: Any, rows: Any) -> dict[str, int]:
    with reading(engine) as connection:
        bytes_in_all = int(connection.execute(size).scalar_one())
        count = connection.execute(select(func.count()).select_from(rows)).scalar_one()
    return {"rows": count, "bytes_a_claim": round(bytes_in_all / count)}
