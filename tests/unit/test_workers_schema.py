"""A front-end's schema on SQLite: up from nothing, one down, the same as the model."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect
from sqlalchemy.exc import IntegrityError

import workers.clearings.tables  # its tables belong to the model
import workers.reconciling.tables  # noqa: F401  # its tables belong to the model
from infra.database import open_database
from tests.support.frontend import HOSPITAL, NOON, hand_in, new_frontend, rows
from workers import schema
from workers.tables import claim, metadata


@pytest.fixture
def engine(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def test_it_comes_up_from_nothing_equals_the_model_and_goes_down_again(engine):
    schema.upgrade(engine)
    schema.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []

    schema.downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]

    schema.upgrade(engine)
    assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_indexes_and_keys_are_those_of_the_model(engine):
    schema.upgrade(engine)
    found = inspect(engine)

    assert {index["name"] for index in found.get_indexes("claim")} == {index.name for index in claim.indexes}
    assert {key["name"]: key["column_names"] for key in found.get_unique_constraints("claim")} == {
        "uq_claim_key": ["visit_no", "charge_batch_no"],
        "uq_claim_idempotency": ["institution_code", "idempotency_key"],
    }


def test_migrating_again_keeps_what_is_there(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/kept.db")
    hand_in(engine, HOSPITAL, 2)

    schema.upgrade(engine)

    assert len(rows(engine, claim)) == 2
    engine.dispose()


@pytest.mark.parametrize(
    "repeat",
    [
        pytest.param({"charge_batch_no": 2}, id="an institution's idempotency key"),
        pytest.param({"idempotency_key": "other"}, id="a visit's charge batch"),
    ],
)
def test_the_database_itself_refuses_a_second_claim_under_one_key(engine, repeat):
    schema.upgrade(engine)
    row = {
        "institution_code": HOSPITAL,
        "visit_no": "V1",
        "charge_batch_no": 1,
        "channel": "api",
        "idempotency_key": "key",
        "content_digest": b"",
        "state": "accepted",
        "line_count": 1,
        "total_fen": 1,
        "accepted_at": NOON,
    }

    with pytest.raises(IntegrityError, match="UNIQUE"), engine.begin() as connection:
        connection.execute(insert(claim), [row, {**row, **repeat}])
