"""Real servers for whoever asks: one PostgreSQL and one Valkey a session, a fresh database a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine

from center import privileges, schema
from infra.database import open_database
from infra.embedded import postgres, valkey
from infra.supervisor import Supervisor
from tests.support.databases import FreshDatabase, as_application, log_in_quickly, quick

LONGEST_FIRST = (
    "simulation/city/test_city.py",
    "simulation/test_week.py",
    "database/test_restore.py",
    "contract/test_broker.py",
    "database/test_his_tables.py",
    "contract/test_openapi.py",
    "guards/test_guards.py",
    "database/test_moving.py",
    "database/test_restore_answers.py",
    "contract/test_deployed_his_tables.py",
    "database/test_policy_publish.py",
    "database/test_offline.py",
    "integration/test_morning.py",
    "integration/test_random_faults.py",
    "integration/test_load.py",
    "integration/test_faults.py",
    "integration/test_up.py",
    "integration/test_his_tables_service.py",
    "integration/test_crash_points.py",
    "integration/test_scale_out.py",
    "integration/test_moving_processes.py",
    "integration/test_midnight_processes.py",
    "integration/test_dbf_killed.py",
)
"""Files of many seconds. A file stays on one worker: whichever begins last is what all others wait for."""

# No test asserts a time: how long an example takes says more of the machine than of the code.
hypothesis_settings.register_profile("no-deadline", deadline=None)
hypothesis_settings.load_profile("no-deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the long files to the front, in the order above; the rest stays as it is."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def servers(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """The addresses of a running PostgreSQL (its maintenance database) and a running Valkey."""
    folder = tmp_path_factory.mktemp("servers")
    with Supervisor(folder / "data", say=lambda line: None) as supervisor:
        database = postgres.prepare(folder / "database", port=0, databases=["postgres", "center_template"])
        broker = valkey.prepare(folder / "broker", port=0)
        supervisor.start(quick(database.service), broker.service)
        log_in_quickly(database.url)
        template = open_database(database.urls["center_template"])
        schema.upgrade(template)
        with template.begin() as connection:
            assert privileges.admit(connection, as_application(database.url))
        template.dispose()
        yield database.url, broker.url


@pytest.fixture(scope="session")
def postgres_url(servers) -> str:
    """The maintenance database of the running PostgreSQL, for tests that make databases of their own."""
    return servers[0]


@pytest.fixture(scope="session")
def valkey_url(servers) -> str:
    """A running Valkey. Tests share it: use queues of your own, or `clean_valkey`."""
    return servers[1]


@pytest.fixture
def clean_valkey(valkey_url) -> str:
    """A running Valkey with nothing in it."""
    import redis

    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url


@pytest.fixture(scope="module")
def empty_database(postgres_url) -> Iterator[str]:
    """The address of a database with nothing in it."""
    with FreshDatabase(postgres_url, "template1") as url:
        yield url


@pytest.fixture(scope="module")
def center_owner_url(postgres_url) -> Iterator[str]:
    """The address of a centre's database of this module's own, migrated, empty; as the owner of its tables."""
    with FreshDatabase(postgres_url, "center_template") as url:
        yield url


@pytest.fixture(scope="module")
def center_database_url(center_owner_url) -> str:
    """The address of the same database as the workers have it: as the application, which changes nothing settled."""
    return as_application(center_owner_url)


@pytest.fixture(scope="module")
def center_engine(center_database_url) -> Iterator[Engine]:
    """An engine on a centre's database of this module's own, migrated, empty; as the application."""
    engine = open_database(center_database_url, pool_size=8)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def owner_engine(center_owner_url) -> Iterator[Engine]:
    """The same database as `center_engine`, as the owner of its tables: for what nobody should be able to do."""
    engine = open_database(center_owner_url)
    yield engine
    engine.dispose()
