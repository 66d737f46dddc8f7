"""Whatever lies on a queue: it ends in the quarantine with its reason; the worker lives, its neighbours are served,
and no body is in any log."""

from __future__ import annotations

import base64
import json
import pickle
from uuid import uuid4

import msgpack
import pytest
import redis
from sqlalchemy import select

from domain.messages import ClaimAnswer, ClaimsAnswered
from infra import lanes
from infra.broker import unacked_keys
from infra.codec import encode
from infra.envelope import frontend_key, seal, unseal
from infra.quarantine import LANE
from tests.support.frontend import HOSPITAL, NOON, PERSON, rows
from tests.support.site import FRONTEND, SECRET, site
from tests.support.waiting import eventually
from workers.tables import claim, quarantine

BELL = lanes.preprocess(FRONTEND, HOSPITAL)
RESULTS = lanes.results(FRONTEND)
KEY = frontend_key(SECRET, FRONTEND)
SECRET_WORD = "SECRETWORD"
ANSWERED = ClaimsAnswered(answers=(ClaimAnswer("V1", 1, settled_at=NOON),))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory, valkey_url):
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    with site(tmp_path_factory.mktemp("hospital"), valkey_url, HOSPITAL) as made:
        made.start("desk", "link")
        eventually(lambda: made.listens(BELL) and made.listens(RESULTS))
        yield made


def entry(queue, body=None, **change):
    """A list entry as Celery writes it; a change that is None leaves the part out."""
    body = msgpack.packb([[], {"institution": HOSPITAL}, {}]) if body is None else body
    headers = {
        "lang": "py",
        "task": lanes.CLAIMS_PREPROCESS,
        "id": str(uuid4()),
        "root_id": None,
        "parent_id": None,
        "group": None,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "retries": 0,
        "timelimit": [None, None],
        "eta": None,
        "expires": None,
        **change.pop("headers", {}),
    }
    properties = {
        "body_encoding": "base64",
        "correlation_id": headers["id"],
        "delivery_info": {"exchange": "", "routing_key": queue},
        "delivery_mode": 2,
        "delivery_tag": str(uuid4()),
        "priority": 0,
        "reply_to": "",
        **change.pop("properties", {}),
    }
    raw = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "binary",
        "content-type": "application/x-msgpack",
        "headers": headers,
        "properties": properties,
        **{name.replace("_", "-"): value for name, value in change.items()},
    }
    return json.dumps({name: value for name, value in raw.items() if value is not None}).encode()


def enveloped(task, envelope):
    return entry(RESULTS, msgpack.packb([[], {"envelope": envelope}, {}]), headers={"task": task})


def sealed(content, *, lane=RESULTS, key=KEY, frontend=FRONTEND):
    return seal(content, frontend=frontend, lane=lane, key=key)


def calling(*call):
    return entry(BELL, msgpack.packb(list(call)))


SECRET_BODY = f"{SECRET_WORD} {PERSON}".encode()
PLAIN_CALL = [[], {"institution": SECRET_WORD}, {}]

GARBAGE = [
    pytest.param(BELL, b"\x00\xff" + SECRET_BODY, "not a message", id="random bytes"),
    pytest.param(BELL, json.dumps({"name": SECRET_WORD}).encode(), "not a message", id="JSON that is not ours"),
    pytest.param(BELL, b"[" * 5000 + SECRET_BODY, "not a message", id="a depth bomb"),
    pytest.param(BELL, entry(BELL, properties={"body_encoding": "rot13"}), "not a message", id="unknown encoding"),
    pytest.param(
        BELL,
        entry(BELL, SECRET_BODY, headers={"task": f"claims.{SECRET_WORD}"}),
        "unknown task",
        id="a task nobody knows",
    ),
    pytest.param(
        BELL,
        entry(BELL, msgpack.packb({"hello": SECRET_WORD}), headers={"task": None}),
        "unknown task",
        id="a task that is null",
    ),
    pytest.param(
        BELL, entry(BELL, SECRET_BODY, headers={"task": [1]}), "invalid task: TypeError", id="a task that is a list"
    ),
    pytest.param(
        BELL,
        entry(BELL, json.dumps(PLAIN_CALL).encode(), content_type="application/json", content_encoding="utf-8"),
        "invalid task",
        id="json",
    ),
    pytest.param(
        BELL,
        entry(BELL, pickle.dumps(PLAIN_CALL), content_type="application/x-python-serialize"),
        "invalid task",
        id="pickle",
    ),
    pytest.param(BELL, entry(BELL, b"\xc1" + SECRET_BODY), "content unreadable", id="not msgpack"),
    pytest.param(
        BELL, entry(BELL, content_encoding=7), "invalid task: AttributeError", id="an encoding that is a number"
    ),
    pytest.param(BELL, calling(), "invalid task: ValueError", id="a call without parts"),
    pytest.param(BELL, entry(BELL, msgpack.packb(5)), "invalid task: TypeError", id="a call that is a number"),
    pytest.param(BELL, calling([], {}, {}), "UnreadableMessage", id="arguments are missing"),
    pytest.param(
        BELL, calling([], {"institution": HOSPITAL, SECRET_WORD: PERSON}, {}), "UnreadableMessage", id="too many"
    ),
    pytest.param(BELL, entry(BELL, headers={"eta": SECRET_WORD}), "invalid task", id="a moment that is none"),
    pytest.param(BELL, entry(BELL, headers={"expires": {"a": 1}}), "invalid task", id="an end that is none"),
    pytest.param(
        BELL, entry(BELL, headers={"timelimit": SECRET_WORD}), "invalid task: ValueError", id="a limit that is none"
    ),
    pytest.param(RESULTS, enveloped(lanes.CLAIMS_DELIVER, SECRET_BODY), "UnreadableMessage", id="no envelope"),
    pytest.param(RESULTS, enveloped(lanes.CLAIMS_DELIVER, SECRET_WORD), "UnreadableMessage", id="an envelope of text"),
    pytest.param(
        RESULTS,
        enveloped(lanes.CLAIMS_DELIVER, sealed(encode(ANSWERED), key=frontend_key(SECRET, "hospital-2"))),
        "SealBroken",
        id="sealed with another's key",
    ),
    pytest.param(
        RESULTS,
        enveloped(lanes.CLAIMS_DELIVER, sealed(encode(ANSWERED), lane=lanes.uploads(FRONTEND))),
        "SealBroken",
        id="sealed for another lane",
    ),
    pytest.param(
        RESULTS,
        enveloped(lanes.CLAIMS_DELIVER, sealed(msgpack.packb(["claims.answered", 9, {}]))),
        "UnreadableMessage",
        id="of a version that is still to come",
    ),
    pytest.param(
        RESULTS,
        enveloped(lanes.CLAIMS_DELIVER, sealed(msgpack.packb(["claims.answered", 1, {"answers": SECRET_WORD}]))),
        "UnreadableMessage",
        id="with fields that do not fit",
    ),
    pytest.param(
        RESULTS, enveloped(lanes.DETAILS_CONFIRM, sealed(encode(ANSWERED))), "UnreadableMessage", id="of another kind"
    ),
]


def kept(hospital):
    with hospital.engine.connect().execution_options(reading=True) as connection:
        return connection.execute(select(quarantine).order_by(quarantine.c.quarantine_id)).all()


@pytest.mark.parametrize(("queue", "item", "reason"), GARBAGE)
def test_garbage_ends_in_the_quarantine_with_its_reason_and_its_neighbours_are_served(hospital, queue, item, reason):
    before, served = len(kept(hospital)), hospital.count("totalled")
    with redis.Redis.from_url(hospital.broker_url) as client:
        client.lpush(queue, item)
    hospital.hand_in(HOSPITAL, 1, prefix=uuid4().hex)

    eventually(lambda: len(kept(hospital)) > before)
    eventually(lambda: hospital.count("totalled") > served)

    [row] = kept(hospital)[before:]
    assert row.reason == reason
    assert row.queue in (queue, lanes.CLAIMS_PREPROCESS, lanes.CLAIMS_DELIVER, lanes.DETAILS_CONFIRM)
    assert unseal(row.content, lane=LANE, key=KEY)


@pytest.mark.parametrize("institution", ["990000000000", "", 7, None, {"name": SECRET_WORD}, [PERSON]])
def test_a_bell_for_nobody_wakes_nobody_and_harms_nobody(hospital, institution):
    with redis.Redis.from_url(hospital.broker_url) as client:
        client.lpush(BELL, calling([], {"institution": institution}, {}))
    served = hospital.count("totalled")
    hospital.hand_in(HOSPITAL, 1, prefix=uuid4().hex)

    eventually(lambda: hospital.count("totalled") > served)


def test_after_all_of_it_both_workers_live_and_do_their_work(hospital):
    [claim_id] = hospital.hand_in(HOSPITAL, 1, prefix="last")
    eventually(lambda: hospital.count("accepted") == 0)
    visit_no = next(
        row.visit_no for row in rows(hospital.engine, claim.c.claim_id, claim.c.visit_no) if row[0] == claim_id
    )
    answered = ClaimsAnswered(answers=(ClaimAnswer(visit_no, 1, settlement_no=1, settled_at=NOON),))
    with redis.Redis.from_url(hospital.broker_url) as client:
        client.lpush(RESULTS, enveloped(lanes.CLAIMS_DELIVER, sealed(encode(answered))))

    eventually(lambda: hospital.count("settled") == 1)
    assert hospital.is_running("desk")
    assert hospital.is_running("link")
    with redis.Redis.from_url(hospital.broker_url) as client:
        eventually(lambda: client.hlen(unacked_keys(FRONTEND)[0]) == 0)
        assert [client.llen(queue) for queue in (BELL, RESULTS)] == [0, 0]


def test_no_body_is_in_any_log(hospital):
    assert "message_set_aside" in hospital.logs
    assert PERSON not in hospital.logs
    # The name of a task nobody knows, and of an argument nobody knows, are quoted by nobody either.
    assert SECRET_WORD not in hospital.logs
