"""Every operation meets every crash point: `python -m tests.crash_points [--rounds N] [--broker NAME]`.

Real processes of a hospital's front-end and of the centre die as by `kill -9` at each point of the way of settling,
refunding, preparing, confirming and cancelling, on Valkey and on RabbitMQ where it is installed. Each time it is
checked what is true while the process is dead, what is true when all has come to rest, and that the books hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from center import privileges, schema
from infra.database import open_database
from infra.embedded import postgres, valkey
from infra.supervisor import Supervisor
from tests.support.center import fill_center
from tests.support.crash_city import CrashCity
from tests.support.crash_points import crash, product
from tests.support.databases import as_application
from tests.support.rabbitmq import is_installed, running_rabbitmq

PERSONS = 2000


@contextmanager
def crash_city(folder: Path, broker: str) -> Iterator[CrashCity]:
    """A city on servers of its own, for the length of a block."""
    with Supervisor(folder / "data", say=lambda line: None) as supervisor:
        database = postgres.prepare(folder / "database", port=0)
        services = [database.service]
        if broker == "valkey":
            prepared = valkey.prepare(folder / "broker", port=0)
            services.append(prepared.service)
        supervisor.start(*services)
        owner = open_database(database.url)
        schema.upgrade(owner)
        application_url = as_application(database.url)
        with owner.begin() as connection:
            privileges.admit(connection, application_url)
        fill_center(owner, persons=PERSONS, balance_fen=3000)
        (folder / "city").mkdir()
        try:
            if broker == "valkey":
                yield from _city(folder / "city", prepared.url, owner, application_url)
            else:
                (folder / "rabbitmq").mkdir()
                with running_rabbitmq(folder / "rabbitmq") as url:
                    yield from _city(folder / "city", url, owner, application_url)
        finally:
            owner.dispose()


def _city(folder: Path, broker_url: str, center: object, application_url: str) -> Iterator[CrashCity]:
    city = CrashCity(folder, broker_url, center, application_url)  # type: ignore[arg-type]
    try:
        yield city
    finally:
        city.close()


def crashes(broker: str, rounds: int) -> dict[str, object]:
    """Let every operation meet every point so many times; how many died and how long it took. Raises AssertionError."""
    started = time.monotonic()
    died: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="jiesuan-crashes-") as folder, crash_city(Path(folder), broker) as city:
        for _ in range(rounds):
            for point, operation in product():
                crash(city, point, operation)
                name = point.name_of(operation.name)
                died[name] = died.get(name, 0) + 1
            city.prove()
    return {
        "broker": broker,
        "deaths": sum(died.values()),
        "by_point": dict(sorted(died.items())),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> int:
    """Run it and print what was done; 1 where something was not as it should be."""
    parser = argparse.ArgumentParser(description="Every operation meets every crash point.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--broker", choices=("valkey", "rabbitmq"), action="append")
    options = parser.parse_args()
    brokers = options.broker or ["valkey", *(["rabbitmq"] if is_installed() else [])]
    for broker in brokers:
        try:
            told = crashes(broker, options.rounds)
        except AssertionError as wrong:
            print(f"{broker}: {wrong}", file=sys.stderr)
            return 1
        print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
