"""What cannot be read is set aside, sealed, with its reason; nobody logs it, and nobody lets go of it too early."""

from __future__ import annotations

import logging
from hashlib import sha256

import pytest
from sqlalchemy import select

from infra import quarantine
from infra.clock import Clock
from infra.envelope import unseal
from infra.quarantine import Quarantine, keep_with, set_aside
from tests.support.frontend import NOON, PERSON, new_frontend
from tests.support.post import KEY
from workers import tables


@pytest.fixture(autouse=True)
def _nobody_keeps_anything_yet(monkeypatch):
    monkeypatch.setattr(quarantine, "_keepers", [])


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def keep(engine, table=tables.quarantine):
    keep_with(Quarantine(engine, table, site="FE01", key=KEY, clock=Clock(NOON, 0.0, 0.0)))


def test_it_is_kept_sealed_with_its_queue_its_reason_and_its_digest(engine):
    keep(engine)
    content = f"patient {PERSON}".encode()

    assert set_aside("preprocess.1", "unknown task", content)

    with engine.connect() as connection:
        [row] = connection.execute(select(tables.quarantine)).all()
    assert (row.queue, row.reason, row.arrived_at) == ("preprocess.1", "unknown task", NOON)
    assert row.digest == sha256(content).hexdigest()
    assert PERSON.encode() not in row.content
    assert unseal(row.content, lane=quarantine.LANE, key=KEY) == content


def test_the_log_says_that_it_came_and_nothing_of_what_it_was(engine, caplog):
    keep(engine)

    with caplog.at_level(logging.DEBUG):
        set_aside("preprocess.1", "unknown task", f"patient {PERSON}".encode())

    [record] = [record for record in caplog.records if record.name == "quarantine"]
    assert (record.message, record.reason) == ("message_set_aside", "unknown task")
    assert PERSON not in str(vars(record))


def test_names_that_are_too_long_are_cut_and_the_message_is_kept(engine):
    keep(engine)

    assert set_aside("q" * 500, "r" * 500, b"")

    with engine.connect() as connection:
        [row] = connection.execute(select(tables.quarantine)).all()
    assert (len(row.queue), len(row.reason)) == (64, 64)


def test_while_the_database_is_away_the_message_must_be_kept_by_whoever_holds_it(engine, caplog):
    keep(engine)
    with engine.begin() as connection:
        tables.quarantine.drop(connection)

    assert not set_aside("preprocess.1", "unknown task", PERSON.encode())

    assert PERSON not in caplog.text


def test_a_process_without_a_quarantine_says_so_loudly(caplog):
    assert set_aside("q", "unknown task", PERSON.encode())

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert PERSON not in caplog.text
