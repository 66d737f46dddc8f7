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

    schema.downgrade(database, "base")
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


def test_one_settlement_per_visit_batch_and_kind(center_engine):
    """The last guard: whoever settles without the lock on the visit number meets the key."""
    row = (
        "INSERT INTO settlement (settlement_no, institution_code, visit_no, charge_batch_no, kind, frontend, person_no,"
        " visit_type, visit_date, settled_at, settled_day, digest, line_count, total_fen, own_expense_fen,"
        " over_limit_fen, pre_self_pay_fen, in_scope_fen, fund_pay_fen, account_pay_fen, deductible_fen, self_pay_fen,"
        " over_cap_fen, institution_share_fen, policy_version, catalogue_version, steps, answer) VALUES (:number, 'H',"
        " 'V1', 1, 'normal', 'f', 1, '3', '2026-03-02', now(), '2026-03-02', '', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
        " 'p', 'c', '', '')"
    )
    with center_engine.begin() as connection:
        connection.execute(text(row), {"number": 9_001})

    with pytest.raises(DBAPIError, match="uq_settlement_key"), center_engine.begin() as connection:
        connection.execute(text(row), {"number": 9_002})


def test_whoever_changes_a_person_raises_the_version_and_looking_does_not(center_engine):
    def version():
        with center_engine.connect() as connection:
            return connection.execute(text("SELECT version FROM person WHERE citizen_id_no = 'X'")).scalar()

    with center_engine.begin() as connection:
        connection.execute(text("INSERT INTO person (citizen_id_no, scheme, category) VALUES ('X', 'employee', '1')"))
    assert version() == 0

    for change, after in (
        ("entitled = false", 1),
        ("entitled = false", 1),
        ("category = '2'", 2),
        ("account_balance_fen = 5, version = 7", 7),
        ("groups = '{assistance}'", 8),
    ):
        with center_engine.begin() as connection:
            connection.execute(text(f"UPDATE person SET {change} WHERE citizen_id_no = 'X'"))
        assert version() == after
