"""Engines and moments: every commit on the disk, no moment without its zone, no value in an error."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.exc import IntegrityError, StatementError

from infra.clock import SHANGHAI
from infra.database import Moment, open_database, reading
from tests.support.frontend import PERSON

metadata = MetaData()
event = Table(
    "event", metadata, Column("id", Integer, primary_key=True), Column("at", Moment), Column("who", String(18))
)

NOON = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=SHANGHAI)


@pytest.fixture
def engine(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/deep/down/moments.db")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(NOON, id="Shanghai"),
        pytest.param(NOON.astimezone(UTC), id="the same moment, written in UTC"),
        pytest.param(None, id="none"),
    ],
)
def test_a_moment_comes_back_the_same_and_aware(engine, moment):
    with engine.begin() as connection:
        connection.execute(insert(event).values(id=1, at=moment))
        found = connection.execute(select(event.c.at)).scalar()

    assert found == moment
    assert found is None or found.utcoffset() == timedelta(hours=8)


def test_a_moment_without_its_zone_is_refused(engine):
    with pytest.raises(StatementError, match="without its zone"), engine.begin() as connection:
        connection.execute(insert(event).values(id=1, at=datetime(2026, 3, 2)))


def test_moments_compare_as_moments(engine):
    with engine.begin() as connection:
        connection.execute(insert(event).values(id=1, at=NOON))
        later = (NOON + timedelta(microseconds=1)).astimezone(UTC)
        assert connection.execute(select(event.c.id).where(event.c.at < later)).scalar() == 1
        assert connection.execute(select(event.c.id).where(event.c.at < NOON.astimezone(UTC))).scalar() is None


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 15000)],
)
def test_every_connection_is_durable_and_patient(engine, pragma, value):
    with reading(engine) as first, reading(engine) as second:
        for connection in (first, second):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_a_reader_does_not_wait_for_the_writer_and_sees_what_is_committed(engine):
    with engine.begin() as writer:
        writer.execute(insert(event).values(id=1, at=NOON))
        with reading(engine) as reader:
            assert reader.execute(select(event.c.id)).all() == []
    with reading(engine) as reader:
        assert reader.execute(select(event.c.id)).all() == [(1,)]


def test_two_writers_take_turns(engine):
    inside = threading.Event()
    order = []

    def second():
        inside.wait()
        with engine.begin() as connection:
            order.append("second")
            connection.execute(insert(event).values(id=2))

    thread = threading.Thread(target=second)
    thread.start()
    with engine.begin() as connection:
        inside.set()
        thread.join(0.2)
        order.append("first")
        connection.execute(insert(event).values(id=1))
    thread.join()

    assert order == ["first", "second"]


def test_a_failed_transaction_leaves_nothing(engine):
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(event).values(id=1))
        connection.execute(insert(event).values(id=1))

    with engine.connect() as connection:
        assert connection.execute(select(event.c.id)).all() == []


def test_an_error_does_not_quote_the_values(engine):
    with pytest.raises(IntegrityError) as caught, engine.begin() as connection:
        connection.execute(insert(event), [{"id": 1, "who": PERSON}, {"id": 1, "who": PERSON}])

    assert PERSON not in str(caught.value)
