"""`python -m tests.malformed`: 100,000 malformed documents, messages and files; part of `make prove`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from center import schema
from infra.database import open_database
from infra.embedded import postgres
from infra.supervisor import Supervisor
from tests.malformed import answers, documents, files, folders, messages
from tests.malformed.tally import Tally


def main() -> int:
    """Say how many were refused by which code; 0 when nothing went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.malformed", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="refused in all")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.disable()
    tallies = []
    for part, share in PARTS.items():
        with TemporaryDirectory() as folder:
            tallies.append(part(Path(folder), seed=asked.seed, count=-(-asked.count * share // 100)))
        print(tallies[-1].told(), flush=True)
        print(*(f"    {words}" for words in tallies[-1].wrong[:10]), sep="\n", end="")
    wrong = sum(len(tally.wrong) for tally in tallies)
    print(f"{sum(tally.refused.total() for tally in tallies):,} malformed, each refused with a code; {wrong} wrong")
    return 1 if wrong else 0


def _messages(folder: Path, *, seed: int, count: int) -> Tally:
    with Supervisor(folder) as supervisor:
        server = postgres.prepare(folder / "database", port=0)
        supervisor.start(server.service)
        engine = open_database(server.url)
        schema.upgrade(engine)
        try:
            return messages.run(engine, folder, seed=seed, count=count)
        finally:
            engine.dispose()


PARTS = {documents.run: 30, _messages: 25, answers.run: 20, files.run: 20, folders.run: 5}
"""What percent of the count each part refuses."""


if __name__ == "__main__":
    sys.exit(main())
