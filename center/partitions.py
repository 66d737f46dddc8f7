"""Document numbers say the pool and the year, and the largest tables are cut by them.

A number is pool × 10¹⁴ + year × 10¹⁰ + what is counted in the year: fifteen digits at most, exact in every JSON reader.
Postings, accumulator entries and detail lie in a partition for each pool and year, so an old year is dropped from the
cache by itself, backed up apart and moved to slow disks by one statement. The settlements themselves stay one table:
their key is unique for ever, and a key unique over partitions would have to contain the year.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, text

PARTITIONED = ("posting", "accumulator_entry", "detail")
POOL_SHARE, YEAR_SHARE = 10**14, 10**10
POOLS = 90
"""Pools of one database: 0 to 89."""

_NAME = re.compile(rf"(?:{'|'.join(PARTITIONED)})_(?:before|p(?P<pool>\d+)_(?P<year>\d{{4}}))")


class Place(NamedTuple):
    """What a number says: the pool's number, and the year."""

    pool: int
    year: int


def first_number(place: Place) -> int:
    """Where the numbers of a pool's year begin."""
    return place.pool * POOL_SHARE + place.year * YEAR_SHARE


def place_of(number: int) -> Place | None:
    """The pool and year of a document; None for numbers from before they said it."""
    pool, rest = divmod(number, POOL_SHARE)
    year = rest // YEAR_SHARE
    return Place(pool, year) if year >= 2000 else None


def is_partition(table: str) -> bool:
    """Whether a table of the database is a part of another."""
    return _NAME.fullmatch(table) is not None


def begin_year(connection: Connection, place: Place) -> int:
    """Let the numbers of the year begin, with partitions for it and the next; where it has begun, nothing happens.

    The first number. Numbers drawn meanwhile are of the old year and stay there: nothing waits, nothing is refused, if
    the year was prepared in a transaction before: a sequence is set at once, and for everybody, tables only at commit.
    """
    begun = text("SELECT begin_number_year(:pool, :year)")
    return int(connection.execute(begun, place._asdict()).scalar_one())


def prepared(connection: Connection) -> list[Place]:
    """The years there are partitions for."""
    found = connection.execute(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST('posting' AS regclass)")
    ).scalars()
    parts = (_NAME.fullmatch(name) for name in found)
    return sorted(Place(int(part["pool"]), int(part["year"])) for part in parts if part and part["pool"])


def prepare(connection: Connection, places: Iterable[Place]) -> None:
    """Make the partitions of these years, as before a restore; those that are there stay."""
    for place in places:
        connection.execute(text("SELECT prepare_partitions(:pool, :year)"), place._asdict())
