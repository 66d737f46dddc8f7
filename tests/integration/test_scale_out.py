"""Several settling workers and several front-ends over Valkey or RabbitMQ: each lane by itself, all of it once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy import text, update

from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState
from infra import lanes
from infra.database import open_database
from tests.support import rabbitmq
from tests.support.center import FRONTEND, OTHER_FRONTEND, fill_center
from tests.support.databases import FreshDatabase, as_application
from tests.support.frontend import CLINIC, HOSPITAL, rows
from tests.support.installed import is_skipped
from tests.support.site import site
from tests.support.waiting import eventually
from workers.tables import claim, institution

LANES = 3
PERSONS = range(30)
CLAIMS = 60
NO_RABBITMQ = pytest.mark.skipif(
    is_skipped(rabbitmq.is_installed()),
    reason="RABBITMQ IS NOT INSTALLED HERE: scaling out was NOT proved on it (.ci/run installs rabbitmq-server)",
)
WORKERS = [f"lane-{number} center-settle" for number in range(LANES)]


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=NO_RABBITMQ)])
def broker_url(request, tmp_path):
    if request.param == "valkey":
        yield request.getfixturevalue("clean_valkey")
        return
    (tmp_path / "rabbitmq").mkdir()
    with rabbitmq.running_rabbitmq(tmp_path / "rabbitmq") as url:
        yield url


@pytest.fixture
def center(postgres_url):
    """A centre of the test's own: front-ends that begin anew give the same visit numbers again."""
    with FreshDatabase(postgres_url, "center_template") as owner_url:
        engine = open_database(as_application(owner_url))
        fill_center(engine, persons=len(PERSONS))
        yield engine
        engine.dispose()


@pytest.fixture
def sites(tmp_path, broker_url, center):
    """Two front-ends, and the centre with a worker for each of its lanes."""
    center_database_url = center.url.render_as_string(hide_password=False)
    with ExitStack() as stack:
        made = []
        for frontend, code in ((FRONTEND, HOSPITAL), (OTHER_FRONTEND, CLINIC)):
            (tmp_path / frontend).mkdir()
            at = site(tmp_path / frontend, broker_url, code, center_database_url=center_database_url, frontend=frontend)
            made.append(stack.enter_context(at))
            with made[-1].engine.begin() as connection:
                connection.execute(update(institution).values(settle_lanes=LANES))
        for number in range(LANES):
            made[0].environment["JIESUAN_SETTLE_LANE"] = str(number)
            made[0].start("center-settle", name=f"lane-{number}")
        for worker in WORKERS:
            eventually(lambda worker=worker: "ready" in made[0].log_file(worker).read_text(), within=40)
        yield made


def settled(site_):
    return {row.claim_id for row in rows(site_.engine, claim.c.claim_id, claim.c.state) if row.state == "settled"}


def test_a_lane_without_its_worker_holds_up_its_own_persons_only(sites, center):
    hospital, clinic = sites
    dead = WORKERS[1]
    waiting = {
        synthetic_citizen_id(n) for n in PERSONS if lanes.settle_of(synthetic_citizen_id(n), LANES) == "settle.1"
    }
    others = len([n for n in range(CLAIMS) if synthetic_citizen_id(PERSONS[n % len(PERSONS)]) not in waiting])
    assert 0 < others < CLAIMS
    hospital.kill(dead)
    for each in sites:
        each.start("desk", "link")
    for each, code in zip(sites, (HOSPITAL, CLINIC), strict=True):
        each.hand_in(code, CLAIMS, serials=PERSONS)

    eventually(lambda: len(settled(hospital)) == len(settled(clinic)) == others, within=40)
    held = {row.state for row in rows(hospital.engine, claim.c.state)} - {"settled"}
    assert held == {ClaimState.TOTALLED}

    hospital.environment["JIESUAN_SETTLE_LANE"] = "1"
    hospital.start("center-settle", name="lane-1 again")
    eventually(lambda: len(settled(hospital)) == len(settled(clinic)) == CLAIMS, within=40)
    with center.connect() as connection:
        numbers = connection.execute(
            text("SELECT count(*), count(DISTINCT (visit_no, charge_batch_no)) FROM settlement"),
        ).one()
    assert numbers == (2 * CLAIMS, 2 * CLAIMS)
