"""What a front-end asks all day long must not cost more the more it holds: every such query goes by a partial index."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from domain.messages import UploadGranted
from tests.support.frontend import HOSPITAL, NOON, new_frontend, shelf, submission
from tests.support.post import FRONTEND, KEY, RememberingPost
from tests.support.uploading import link_to
from workers import claims, desk, intake, upload
from workers.doorbell import Doorbell
from workers.outbox import Outbox, Sweep


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path / 'frontend.db'}")
    yield engine
    engine.dispose()


def plans(engine, ask):
    """The query plans of every SELECT on claims that `ask` runs."""
    found = []

    @event.listens_for(engine, "before_cursor_execute", named=True)
    def explain(**asked):
        statement = asked["statement"]
        if statement.lstrip().upper().startswith("SELECT") and "FROM claim" in statement:
            raw = asked["conn"].connection.driver_connection
            rows = raw.execute(f"EXPLAIN QUERY PLAN {statement}", asked["parameters"]).fetchall()
            found.append(" | ".join(row[3] for row in rows))

    ask()
    event.remove(engine, "before_cursor_execute", explain)
    return found


def read(engine, query):
    with engine.connect() as connection:
        return query(connection)


def sweep(engine):
    post = RememberingPost()
    sweep = Sweep(engine, Outbox(post, FRONTEND, KEY), Doorbell(post, FRONTEND), holder="me", after_seconds=1)
    return sweep.run(now=1e9)


def grant(engine):
    granted = UploadGranted(window="noon", fence=1, lines=10, cut_off=NOON.replace(hour=13))
    return upload.upload(engine, granted, link_to(list, at=NOON))


@pytest.mark.parametrize(
    ("index", "ask"),
    [
        pytest.param(
            "ix_claim_open", lambda e: desk.preprocess(e, shelf(), HOSPITAL, limit=5, at=NOON, now=1.0), id="desk"
        ),
        pytest.param("ix_claim_open", sweep, id="sweep"),
        pytest.param("ix_claim_open", lambda e: intake.accept(e, [submission(HOSPITAL)], at=NOON), id="backlog"),
        pytest.param("ix_claim_detail_due", grant, id="detail due"),
        pytest.param(
            "ix_claim_to_hand_back",
            lambda e: read(e, lambda connection: claims.ready_to_hand_back(connection, HOSPITAL, 5)),
            id="hand back",
        ),
    ],
)
def test_a_query_of_every_turn_goes_by_its_partial_index(engine, index, ask):
    found = plans(engine, lambda: ask(engine))

    assert any(index in plan for plan in found), found
    assert not any("SCAN claim" in plan and "INDEX" not in plan for plan in found), found
