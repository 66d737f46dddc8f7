"""Numbers that say the pool and the year, and the partitions of the largest tables, on a real PostgreSQL."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from center import partitions, schema
from center.clearing import schedule
from center.ledger.verifying import verify
from center.partitions import Place, first_number, place_of
from center.settling.settle import settle_submitted
from infra.clock import SHANGHAI
from infra.database import open_database
from tests.support.center import AT, FRONTEND, fill_center, rows_of, submitted, totals

NOW = Place(0, AT.year)
POOL = Place(7, AT.year)


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=20)


def settle(engine, shelf, *serials):
    claims = [totals(serial) for serial in serials]
    answers = settle_submitted(engine, shelf, submitted(*claims), frontend=FRONTEND, at=AT).answers
    assert not any(answer.refusal for answer in answers)
    return rows_of(
        engine,
        "SELECT settlement_no FROM settlement WHERE visit_no = ANY(:visits) ORDER BY 1",
        visits=[claim.visit_no for claim in claims],
    )


def parts_of(engine, number):
    """In which part of each table the rows of a document lie."""
    found = [
        rows_of(engine, f"SELECT DISTINCT tableoid::regclass::text FROM {table} WHERE {column} = :no", no=number)
        for table, column in (("posting", "document_no"), ("accumulator_entry", "settlement_no"))
    ]
    return {name for rows in found for (name,) in rows}


def test_a_number_says_its_pool_and_year_and_stays_exact_in_json():
    assert place_of(first_number(POOL)) == POOL
    assert place_of(first_number(Place(7, AT.year + 1)) - 1) == POOL
    assert place_of(9_999) is None
    assert first_number(Place(partitions.POOLS - 1, 9999)) + partitions.YEAR_SHARE < 2**53


def test_numbers_are_small_until_a_year_begins_and_the_books_are_one_over_both(center_engine, shelf):
    ((before,),) = settle(center_engine, shelf, 1)
    with center_engine.begin() as connection:
        begun = partitions.begin_year(connection, NOW)
    ((after,),) = settle(center_engine, shelf, 2)

    assert place_of(before) is None
    assert place_of(after) == NOW
    assert after == begun + 1
    assert parts_of(center_engine, before) == {"posting_before", "accumulator_entry_before"}
    assert parts_of(center_engine, after) == {f"posting_p0_{AT.year}", f"accumulator_entry_p0_{AT.year}"}
    verified = verify(center_engine)
    assert verified.documents == 2
    assert verified.tamperings == ()


def test_a_year_that_has_begun_begins_no_more_and_the_next_is_prepared(center_engine, shelf):
    with center_engine.begin() as connection:
        partitions.begin_year(connection, NOW)
        there = partitions.prepared(connection)
    (first,), (second,) = settle(center_engine, shelf, 3, 4)
    with center_engine.begin() as connection:
        partitions.begin_year(connection, NOW)
        assert partitions.prepared(connection) == there == [NOW, Place(0, AT.year + 1)]
    ((third,),) = settle(center_engine, shelf, 5)
    assert (second, third) == (first + 1, first + 2)


def test_the_rows_of_a_year_are_found_in_its_partition_alone(center_engine):
    with center_engine.begin() as connection:
        partitions.begin_year(connection, NOW)
        plan = connection.execute(
            text("EXPLAIN SELECT * FROM posting WHERE document_no = :number"), {"number": first_number(NOW) + 1}
        ).scalars()
        looked_at = "\n".join(plan)
    assert f"posting_p0_{AT.year}" in looked_at
    assert "posting_before" not in looked_at


def test_a_part_is_written_to_only_as_part_of_the_whole(center_engine):
    with center_engine.begin() as connection:
        partitions.begin_year(connection, NOW)
    for part, number in (("posting_before", 1), (f"posting_p0_{AT.year}", first_number(NOW))):
        with pytest.raises(DBAPIError, match="permission denied"), center_engine.begin() as connection:
            connection.execute(text(f"INSERT INTO {part} VALUES ({number}, 'fund', 1)"))


@pytest.mark.parametrize("place", [Place(-1, 2026), Place(90, 2026), Place(0, 1999), Place(0, 10_000)])
def test_a_pool_or_year_that_no_number_can_say_is_refused(center_engine, place):
    with pytest.raises(DBAPIError, match="no partition for"), center_engine.begin() as connection:
        partitions.begin_year(connection, place)


def test_going_back_puts_the_rows_of_all_parts_into_one_table_again(empty_database):
    engine = open_database(empty_database)
    schema.upgrade(engine)
    shelf = fill_center(engine, persons=3)
    settle(engine, shelf, 1)
    with engine.begin() as connection:
        partitions.begin_year(connection, NOW)
    settle(engine, shelf, 2)
    rows = rows_of(engine, "SELECT * FROM posting ORDER BY 1, 2")

    schema.downgrade(engine, "r0020")
    assert rows_of(engine, "SELECT * FROM posting ORDER BY 1, 2") == rows
    with pytest.raises(DBAPIError, match="written once"), engine.begin() as connection:
        connection.execute(text("DELETE FROM posting"))
    schema.upgrade(engine)
    assert rows_of(engine, "SELECT * FROM posting ORDER BY 1, 2") == rows
    engine.dispose()


def test_a_year_begins_when_its_partitions_are_there_for_everybody(center_engine, monkeypatch):
    """A sequence is set at once, tables are there at commit: between the two a number would have no partition."""
    seen = []

    def begin_year(connection, place):
        with center_engine.connect() as another:
            seen.append(place in partitions.prepared(another))

    monkeypatch.setattr(partitions, "begin_year", begin_year)
    schedule.tick(center_engine, at=datetime(2091, 1, 1, tzinfo=SHANGHAI), now=4e9, holder="a beat")

    assert seen == [True]
