"""One transaction per message: done again from the top when another one was in the way."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg import errors
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, TimeoutError

log = logging.getLogger("center")

T = TypeVar("T")

ATTEMPTS = 6
LONGEST_PAUSE_SECONDS = 0.2


class LookAgain(Exception):
    """What was looked at changed before it was locked: whom to lock, or how lines are split, has to be found anew."""


IN_THE_WAY = (LookAgain, errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation)
"""What two transactions do to each other. A unique key met means somebody was faster: look again, it is there now."""


def in_transaction(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Commit what `work` does, and return what it returns; begin again, a bounded number of times, when a
    concurrent transaction was in the way. `work` must read everything it decides by inside the transaction."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except (LookAgain, DBAPIError, psycopg.Error) as error:
            if not isinstance(driver_error(error), IN_THE_WAY) or attempt == ATTEMPTS:
                raise
            log.info("transaction_repeated", extra={"attempt": attempt, "why": sqlstate_of(error)})
            time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS * attempt / ATTEMPTS))
    raise AssertionError("unreachable")


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error, whichever way the statement went."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def is_away(error: BaseException) -> bool:
    """Whether the database is away, stopping, or too busy to answer: worth trying again later."""
    if isinstance(error, TimeoutError):
        return True
    return isinstance(driver_error(error), psycopg.OperationalError)


def sqlstate_of(error: BaseException) -> str:
    """What may be logged of a database's error: its code, never its text, which can quote a row."""
    return getattr(driver_error(error), "sqlstate", None) or type(error).__name__
