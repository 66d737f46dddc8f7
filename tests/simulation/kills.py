"""The hospital week at full size: `python -m tests.simulation.kills [--seed N] [--inpatients N] [--kills N]`.

200 inpatients in each of two hospitals, one on files and one on shared tables; the readers are killed 200 times.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from center import schema
from infra.database import open_database
from infra.embedded import postgres, valkey
from infra.supervisor import Supervisor
from producers.his.tables.postgres_site import Tenant
from tests.simulation.audit import audit, audit_log
from tests.simulation.his import FilesHis, His, TablesHis
from tests.simulation.insurance import FILES, TABLES, Insurance
from tests.simulation.life import Life
from tests.simulation.readers import Readers
from tests.simulation.week import plan
from tests.support.databases import quick
from tests.support.exchange import his
from tests.support.frontend import short_code

MONDAY = date(2026, 3, 2)


def week_of(
    folder: Path, *, broker_url: str, center_url: str, exchange_url: str, seed: int, inpatients: int, kills: int
) -> tuple[Life, dict[str, int]]:
    """Live one week on empty databases and check it; the life, and what was checked. Raises AssertionError."""
    week = plan(seed=seed, inpatients=inpatients, monday=MONDAY)
    insurance = Insurance(folder, broker_url=broker_url, center_url=center_url, exchange_url=exchange_url, week=week)
    readers = Readers(folder, _bare() | insurance.environment)
    try:
        with his(exchange_url, Tenant(TABLES, short_code(TABLES))) as connection:
            both: dict[str, His] = {
                FILES: FilesHis(folder / "exchange" / FILES, FILES),
                TABLES: TablesHis(connection, TABLES),
            }
            life = Life(week, insurance, both, readers, seed=seed, kills=kills)
            life.live()
            audit_log(life, readers.log)
            return life, audit(life)
    finally:
        readers.end()
        insurance.close()


@contextmanager
def empty_world(folder: Path) -> Iterator[dict[str, str]]:
    """A broker, the centre's database and one for the shared tables, for the length of a block."""
    with Supervisor(folder / "data", say=lambda line: None) as supervisor:
        databases = postgres.prepare(folder / "database", port=0, databases=["center", "exchange"])
        broker = valkey.prepare(folder / "broker", port=0)
        supervisor.start(quick(databases.service), broker.service)
        engine = open_database(databases.urls["center"])
        schema.upgrade(engine)
        engine.dispose()
        yield {
            "broker_url": broker.url,
            "center_url": databases.urls["center"],
            "exchange_url": databases.urls["exchange"],
        }


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("JIESUAN_")}


def main(arguments: list[str]) -> int:
    """Live the week and say what was proved."""
    asked = argparse.ArgumentParser(prog="python -m tests.simulation.kills")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--inpatients", type=int, default=200)
    asked.add_argument("--kills", type=int, default=200)
    chosen = asked.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, empty_world(Path(folder)) as world:
        (Path(folder) / "site").mkdir()
        life, found = week_of(Path(folder) / "site", **world, **vars(chosen))
    print(
        f"A week of two hospitals, seed {chosen.seed}: {found['stays']} stays, {found['lines']} lines, "
        f"{found['batches']} batches in {time.monotonic() - began:.0f} s. "
        f"Readers killed {life.kills} times at random moments, {life.kills_at_rest} of them at rest, "
        f"and {life.deaths.total()} times at {len(life.deaths)} boundaries: "
        "every line imported once, both ways the same to the fen, books in balance."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
