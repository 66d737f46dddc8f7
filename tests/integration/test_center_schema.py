"""The centre's schema: up from nothing, one down, the same as the model, and the guards in the database."""

from __future__ import annotations

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from center import schema
from center.tables import metadata
from infra.database import open_database


@pytest.fixture
def database(empty_database):
    engine = open_database(empty_database)
    yield engine
    engine.dispose()


def test_it_comes_up_from_nothing_goes_down_again_and_equals_the_model(database):
    schema.upgrade(database)
    schema.upgrade(database)
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert schema.is_current(connection)

    schema.downgrade(database, "-1")
    with database.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert not schema.is_current(connection)

    schema.upgrade(database)
    with database.connect() as connection:
        assert schema.is_current(connection)


def test_postings_that_do_not_add_up_to_zero_are_refused(center_engine):
    with center_engine.begin() as connection:
        connection.execute(text("INSERT INTO posting VALUES (1, 'fund', -100), (1, 'payable', 100)"))

    with pytest.raises(DBAPIError, match="settlement 3 do not add up"), center_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO posting VALUES (2, 'fund', -1), (2, 'payable', 1), (3, 'fund', -1), (3, 'payable', 2)")
        )

    with center_engine.begin() as connection:
        cursor = connection.connection.cursor()
        with pytest.raises(psycopg.errors.CheckViolation), cursor.copy("COPY posting FROM STDIN") as copy:
            copy.write_row((4, "fund", -100))
            copy.write_row((4, "payable", 99))
        connection.rollback()

    with center_engine.connect() as connection:
        assert connection.execute(text("SELECT DISTINCT settlement_no FROM posting")).scalars().all() == [1]


@pytest.mark.parametrize("table", ["settlement", "posting", "accumulator_entry", "detail"])
@pytest.mark.parametrize("change", ["UPDATE {} SET settlement_no = 0", "DELETE FROM {}", "TRUNCATE {}"])
def test_what_is_settled_is_neither_changed_nor_deleted(center_engine, table, change):
    with pytest.raises(DBAPIError, match=f"rows of {table} are written once"), center_engine.begin() as connection:
        connection.execute(text(change.format(table)))
