"""A published catalogue reaches a running front-end through the broker, and its counters settle by it."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import insert, select

from center.catalogue import entries as catalogue_entries
from center.catalogue import versions as catalogue_versions
from center.serving.entering import enter
from center.tables import reference
from domain.catalogue_records import record_of
from infra import lanes
from infra.reference import policy_row
from tests.support.center import FRONTEND, institution_row
from tests.support.frontend import HOSPITAL, ITEMS, NOON, POLICY, published
from tests.support.site import site
from tests.support.waiting import eventually
from workers import tables


@pytest.fixture
def centre(center_engine):
    """A centre whose catalogue stands but is not published."""
    with center_engine.begin() as connection:
        enter(connection, [institution_row(HOSPITAL, FRONTEND)])
        connection.execute(insert(reference), policy_row(POLICY))
        catalogue_entries.enter_standing(
            connection,
            [record_of(item) for item in ITEMS],
            published([HOSPITAL]).matches,
            by="clerk",
            auditor="auditor",
            at=NOON,
        )
    return center_engine


def in_force(engine) -> list[str]:
    with engine.connect() as connection:
        held = select(tables.reference.c.version).where(
            tables.reference.c.kind == "catalogue", tables.reference.c.in_force
        )
        return list(connection.execute(held).scalars())


def test_it_is_fetched_and_comes_into_force_without_a_restart(tmp_path, clean_valkey, centre, center_database_url):
    with site(tmp_path, clean_valkey, HOSPITAL, center_database_url=center_database_url) as hospital:
        hospital.environment["JIESUAN_REFERENCE_EVERY_SECONDS"] = "0.2"
        hospital.start("link", "center-detail")
        assert in_force(hospital.engine) == ["catalogue-1"]

        with centre.begin() as connection:
            made = catalogue_versions.publish(connection, effective_date=NOON.date(), by="auditor", at=NOON)
        eventually(lambda: in_force(hospital.engine) == [made.version], within=30)

        hospital.start("desk")
        hospital.hand_in(HOSPITAL, 1)
        eventually(lambda: hospital.count("totalled") == 1)
        with hospital.engine.connect() as connection:
            assert connection.execute(select(tables.claim.c.catalogue_version)).scalars().all() == [made.version]


def test_questions_do_not_pile_up_while_nobody_answers(tmp_path, clean_valkey):
    with site(tmp_path, clean_valkey, HOSPITAL) as hospital:
        hospital.environment["JIESUAN_REFERENCE_EVERY_SECONDS"] = "0.05"
        hospital.start("link")
        with redis.Redis.from_url(hospital.broker_url) as client:
            eventually(lambda: client.llen(lanes.ADMIN) >= 3, within=30)
            assert client.llen(lanes.ADMIN) < 12
