"""When a transaction begins again, when a task waits, and what may be said of a database's error."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError, OperationalError, TimeoutError

from center.transactions import ATTEMPTS, in_transaction, is_away, sqlstate_of


@pytest.fixture
def engine():
    engine = create_engine("sqlite://")
    yield engine
    engine.dispose()


def failing(*failures):
    """Work that fails in these ways before it succeeds; it notes each try."""
    waiting = list(failures)
    tries = []

    def work(connection):
        tries.append(connection)
        if waiting:
            raise waiting.pop(0)
        return "done"

    work.tries = tries
    return work


@pytest.mark.parametrize(
    "in_the_way",
    [
        errors.DeadlockDetected(),
        errors.SerializationFailure(),
        errors.UniqueViolation(),
        DBAPIError("statement", {}, errors.DeadlockDetected()),
    ],
)
def test_what_another_transaction_did_is_looked_at_again_from_the_top(engine, in_the_way):
    work = failing(in_the_way, in_the_way)

    assert in_transaction(engine, work) == "done"

    assert len(work.tries) == 3
    assert len(set(map(id, work.tries))) == 3


def test_it_is_tried_a_bounded_number_of_times(engine):
    work = failing(*[errors.DeadlockDetected()] * ATTEMPTS)

    with pytest.raises(errors.DeadlockDetected):
        in_transaction(engine, work)

    assert len(work.tries) == ATTEMPTS


@pytest.mark.parametrize("fault", [errors.CheckViolation(), errors.AdminShutdown(), ValueError()])
def test_nothing_else_is_tried_again(engine, fault):
    work = failing(fault)

    with pytest.raises(type(fault)):
        in_transaction(engine, work)

    assert len(work.tries) == 1


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (psycopg.OperationalError("connection refused"), True),
        (OperationalError("statement", {}, psycopg.OperationalError("closed")), True),
        (errors.AdminShutdown(), True),
        (errors.LockNotAvailable(), True),
        (errors.DiskFull(), True),
        (TimeoutError("the pool is empty"), True),
        (errors.DeadlockDetected(), True),
        (errors.CheckViolation(), False),
        (errors.UndefinedTable(), False),
    ],
)
def test_a_database_that_is_away_or_busy_is_waited_for(error, away):
    assert is_away(error) is away


def test_of_an_error_only_the_code_is_said():
    quoting = errors.CheckViolation("Failing row contains (110105194912310021)")

    assert sqlstate_of(quoting) == "23514"
    assert sqlstate_of(psycopg.OperationalError("server of 110105194912310021 gone")) == "OperationalError"
