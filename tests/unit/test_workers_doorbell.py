"""The doorbell: one bell hangs at a time, and a broker that is away makes no noise but a warning."""

from __future__ import annotations

import logging

import pytest

from infra import lanes
from infra.broker import Post, build_app
from tests.support.frontend import CLINIC, HOSPITAL
from tests.support.memory import empty_memory_broker
from tests.support.post import FRONTEND, RememberingPost
from workers.doorbell import Doorbell


@pytest.fixture
def post():
    """A post on kombu's in-memory broker."""
    with empty_memory_broker():
        yield Post(build_app("bell", "memory://"))


def test_it_rings_once_while_the_bell_hangs(post):
    bell = Doorbell(post, FRONTEND)

    assert all(bell.ring(HOSPITAL) for _ in range(100))
    assert bell.ring(CLINIC)

    assert post.waiting(lanes.preprocess(FRONTEND, HOSPITAL)) == 1
    assert post.waiting(lanes.preprocess(FRONTEND, CLINIC)) == 1


def test_it_rings_again_when_the_bell_was_taken():
    post = RememberingPost()
    bell = Doorbell(post, FRONTEND)

    bell.ring(HOSPITAL)
    bell.ring(HOSPITAL)  # the queue is empty again

    queue, named = lanes.preprocess(FRONTEND, HOSPITAL), {"institution": HOSPITAL}
    assert post.sent == 2 * [(lanes.CLAIMS_PREPROCESS, queue, named, named)]


def test_a_broker_that_is_away_is_quiet(caplog):
    post = RememberingPost()
    post.away = True

    with caplog.at_level(logging.WARNING, "doorbell"):
        assert not Doorbell(post, FRONTEND).ring(HOSPITAL)

    assert [(record.message, record.institution) for record in caplog.records] == [("doorbell_silent", HOSPITAL)]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://:secret@127.0.0.1:1/0"])
def test_a_redis_that_nobody_answers_at_is_away_too(url, caplog):
    assert not Doorbell(Post(build_app("bell", url)), FRONTEND).ring(HOSPITAL)
    assert "secret" not in caplog.text
