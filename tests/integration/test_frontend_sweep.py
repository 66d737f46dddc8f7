"""A desk in a process of its own sweeps between its messages: lost bells are rung, lost totals sent until answered."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import update

from domain.lifecycle import ClaimState
from infra import lanes
from infra.broker import Post, build_app
from tests.support.frontend import CLINIC, HOSPITAL, hand_in, rows
from tests.support.site import site
from tests.support.waiting import eventually
from workers.tables import claim, institution


@pytest.fixture
def hospital(tmp_path, clean_valkey):
    with site(tmp_path, clean_valkey, HOSPITAL, CLINIC) as made:
        yield made


def test_what_nobody_answers_is_sent_again_and_what_is_answered_is_not(hospital):
    hand_in(hospital.engine, HOSPITAL, 5)  # and no bell is rung
    hospital.start("desk")
    with redis.Redis.from_url(hospital.broker_url) as client:
        eventually(lambda: hospital.count("totalled") == 5, within=15)
        eventually(lambda: client.llen(lanes.SETTLE) == 1)

        client.delete(lanes.SETTLE)
        eventually(lambda: client.llen(lanes.SETTLE) == 1, within=15)

        with hospital.engine.begin() as connection:
            connection.execute(update(claim).values(state=ClaimState.SETTLED))
        client.delete(lanes.SETTLE)
        attempts = {row.attempts for row in rows(hospital.engine, claim.c.attempts)}
        hand_in(hospital.engine, CLINIC, 1)  # what comes later is sent, and nothing else with it
        eventually(lambda: client.llen(lanes.SETTLE) == 1, within=15)
    assert {row.attempts for row in rows(hospital.engine, claim.c.attempts)[:5]} == attempts


def test_a_desk_without_institutions_listens_to_nobody_elses_queue_and_serves_the_first_that_comes(hospital):
    with hospital.engine.begin() as connection:
        connection.execute(update(institution).values(active=False))
    post = Post(build_app("test", hospital.broker_url))
    post.send(lanes.WINDOWS_TICK, queue=lanes.ADMIN, shown={})
    hospital.start("desk")
    eventually(lambda: hospital.listens("idle.desk-hospital-1"), within=15)

    with hospital.engine.begin() as connection:
        connection.execute(update(institution).values(active=True))
    hospital.hand_in(CLINIC, 1)
    eventually(lambda: hospital.count("totalled") == 1, within=15)

    assert post.waiting(lanes.ADMIN) == 1, "what is the centre's stays the centre's"
