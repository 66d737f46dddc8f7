"""A lease: one holder at a time, and whoever slept past it is told so before it writes."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import delete

from infra.database import open_database
from infra.lease import LeaseLost, guard, take
from tests.support.frontend import new_frontend
from workers.tables import lease


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def taken(engine, holder, now, seconds=10.0, name="sweep"):
    with engine.begin() as connection:
        return take(connection, lease, name=name, holder=holder, now=now, seconds=seconds)


def still_held(engine, fence, name="sweep"):
    try:
        with engine.begin() as connection:
            guard(connection, lease, name=name, fence=fence)
    except LeaseLost:
        return False
    return True


def test_the_first_comer_has_it_and_the_second_does_not(engine):
    assert taken(engine, "first", 0) == 1
    assert taken(engine, "second", 9.9) is None


def test_renewing_keeps_the_number(engine):
    assert [taken(engine, "first", now) for now in (0, 5, 14, 100)] == [1, 1, 1, 1]
    assert taken(engine, "second", 105) is None


def test_a_lease_that_ran_out_goes_to_the_next_with_the_next_number(engine):
    first = taken(engine, "first", 0)

    second = taken(engine, "second", 10)

    assert (first, second) == (1, 2)
    assert not still_held(engine, first)
    assert still_held(engine, second)


def test_one_that_comes_back_gets_a_new_number_and_not_its_old_one(engine):
    taken(engine, "first", 0)
    taken(engine, "second", 10)

    assert taken(engine, "first", 20) == 3
    assert not still_held(engine, 1)
    assert not still_held(engine, 2)


def test_a_lease_nobody_ever_took_is_held_by_nobody(engine):
    assert not still_held(engine, 1)


def test_a_lease_that_was_taken_away_is_lost(engine):
    fence = taken(engine, "first", 0)
    with engine.begin() as connection:
        connection.execute(delete(lease))

    assert not still_held(engine, fence)


def test_leases_of_different_names_are_different(engine):
    assert taken(engine, "first", 0, name="sweep") == 1
    assert taken(engine, "second", 0, name="tick") == 1


def test_of_many_at_once_exactly_one_gets_it(engine):
    url = engine.url.render_as_string(hide_password=False)
    start = threading.Barrier(8)
    found = []

    def try_it(holder):
        own = open_database(url)
        start.wait()
        found.append(taken(own, holder, 0))
        own.dispose()

    threads = [threading.Thread(target=try_it, args=[f"holder-{n}"]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found, key=str) == [1] + 7 * [None]
