"""The watch over leases finds each way in which two could hold one."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import insert, update

from infra.lease import take
from tests.faults.leases import GIVEN_BACK, Held, Watch, broken
from tests.support.frontend import new_frontend
from workers.tables import lease

FIRST = Held(7, "host:1", 100.0)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(FIRST, id="nothing happened"),
        pytest.param(Held(7, "host:1", 106.0), id="renewed"),
        pytest.param(Held(8, "host:2", 106.5), id="taken when its time was over"),
        pytest.param(Held(10, "host:2", 130.0), id="taken several times between two looks"),
    ],
)
def test_a_lease_that_is_held_by_one_at_a_time_is_right(after):
    assert not broken("sweep", FIRST, after, at=100.5)


@pytest.mark.parametrize(
    ("after", "at", "says"),
    [
        pytest.param(Held(8, "host:2", 105.0), 99.0, "1.0 s before the time of host:1 was over", id="too early"),
        pytest.param(Held(7, "host:2", 107.0), 101.0, "under the number 7 of host:1", id="no new number"),
        pytest.param(Held(6, "host:1", 107.0), 101.0, "from 7 back to 6", id="an older number"),
    ],
)
def test_a_lease_that_two_could_hold_is_found(after, at, says):
    assert says in broken("sweep", FIRST, after, at=at)


@pytest.mark.parametrize("name", sorted(GIVEN_BACK))
def test_a_lease_that_is_given_back_may_be_taken_at_once_but_under_a_new_number(name):
    assert not broken(name, FIRST, Held(8, "host:2", 105.0), at=99.0)
    assert broken(name, FIRST, Held(7, "host:2", 105.0), at=99.0)


def test_the_watch_counts_who_took_a_lease_and_tells_of_a_holder_who_did_not_wait(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    told = []
    watch = Watch({"hospital-1": engine}, told.append)

    def taken(holder, *, now):
        with engine.begin() as connection:
            take(connection, lease, name="sweep", holder=holder, now=now, seconds=60)
        watch._look("hospital-1", engine)

    began = time.time() - 300
    taken("host:1", now=began)
    taken("host:2", now=began + 61)
    assert (told, watch.changes["sweep"]) == ([], 1)

    with engine.begin() as connection:  # as if nobody asked whether it is over
        connection.execute(update(lease).values(until=time.time() + 60))
    watch._look("hospital-1", engine)
    with engine.begin() as connection:
        connection.execute(update(lease).values(holder="host:3", fence=3))
    watch._look("hospital-1", engine)
    assert len(told) == 1
    assert told[0].startswith("lease sweep of hospital-1: host:3 took it 6")

    with engine.begin() as connection:
        connection.execute(insert(lease).values(name="tenants", holder="host:1", fence=1, until=0.0))
    watch._look("hospital-1", engine)
    assert len(told) == 1
    engine.dispose()
