"""A batch the database refuses a row of is halved until the claim at fault stands alone: its neighbours go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from center.transactions import driver_error, in_transaction, sqlstate_of

log = logging.getLogger("center")

Claim = TypeVar("Claim")
T = TypeVar("T")

BAD_CONTENT = (psycopg.DataError, psycopg.IntegrityError)
"""What the database says when a row, not the database, is wrong."""


def in_halves(
    engine: Engine,
    claims: Sequence[Claim],
    work: Callable[[Connection, Sequence[Claim]], T],
    park: Callable[[Connection, Sequence[Claim]], T],
) -> list[T]:
    """Commit what `work` does with the claims, and return its answers, in order: one, unless the batch was halved.

    A claim whose row the database refuses when it stands alone goes to `park`.
    """
    try:
        return [in_transaction(engine, lambda connection: work(connection, claims))]
    except (DBAPIError, psycopg.Error) as error:
        if not isinstance(driver_error(error), BAD_CONTENT):
            raise
        log.error("batch_refused_by_database", extra={"claims": len(claims), "sqlstate": sqlstate_of(error)})
    if len(claims) == 1:
        return [in_transaction(engine, lambda connection: park(connection, claims))]
    middle = len(claims) // 2
    return [answer for half in (claims[:middle], claims[middle:]) for answer in in_halves(engine, half, work, park)]
