"""Messages on a broker's list, said short: what is read is what Celery wrote, and what is not ours is left alone."""

from __future__ import annotations

import base64
import json

import msgpack
import pytest
from kombu.transport import memory

from infra import wire
from infra.broker import Post, build_app
from infra.envelope import PLAIN, SHORT, seal
from infra.transport import readable

SHOWN = {"frontend": "hospital", "claims": 1, "institution": "440100000001", "visit": "H000012603020001"}


@pytest.fixture
def written(monkeypatch):
    """What kombu puts on a list, by the version of the envelope in it."""
    found = []
    monkeypatch.setattr(memory.Channel, "_put", lambda self, queue, message, **options: found.append(message))
    post = Post(build_app("wire", "memory://"))

    def write(content=b"totals", *, version=SHORT, **kwargs):
        envelope = seal(content, frontend="hospital", lane="settle", key=bytes(32), version=version)
        post.send("claims.settle", queue="settle", shown=SHOWN, envelope=envelope, **kwargs)
        return found.pop()

    return write


def test_a_message_is_read_as_it_was_written_but_for_what_is_its_senders_own(written):
    raw = written()
    read = wire.loads(wire.text(wire.dumps(raw)))

    assert read["body"] == raw["body"]
    assert read["headers"] == raw["headers"] | {"origin": "", "parent_id": None, "root_id": raw["headers"]["id"]}
    tag = {"delivery_tag": raw["headers"]["id"], "reply_to": ""}
    assert read["properties"] == raw["properties"] | tag
    assert read.keys() == raw.keys()


def test_a_message_that_is_sent_in_the_work_of_a_task_is_short_too(written):
    raw = written()
    raw["headers"] |= {"parent_id": "9b2c5a0e-5f0e-4b7e-9a76-0a4f0f6d8c11", "root_id": "of another one"}
    assert wire.loads(wire.dumps(raw))["headers"]["root_id"] == raw["headers"]["id"]


def test_a_message_of_one_claim_costs_a_hundred_bytes_beside_its_envelope(written):
    raw = written(bytes(100))
    envelope = msgpack.unpackb(base64.b64decode(raw["body"]))[1]["envelope"]
    assert len(wire.dumps(raw)) - len(envelope) < 100
    assert len(json.dumps(raw)) - len(envelope) > 1000


def test_a_message_that_was_taken_keeps_where_it_belongs(written):
    raw = written()
    taken = wire.dumps([raw, "settle", "settle"])
    assert len(taken) < 400
    assert wire.loads(wire.text(taken)) == [wire.loads(wire.dumps(raw)), "settle", "settle"]


def test_an_older_release_is_sent_what_it_can_read(written):
    raw = written(version=PLAIN)
    assert json.loads(wire.dumps(raw)) == raw


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda raw: raw["headers"].update(redelivered=True), id="it was given back"),
        pytest.param(lambda raw: raw["headers"].update(eta="2026-03-02T00:00:00+08:00"), id="it waits for its time"),
        pytest.param(lambda raw: raw["properties"].update(priority=3), id="it has a priority"),
        pytest.param(lambda raw: raw["properties"]["delivery_info"].update(exchange="other"), id="another exchange"),
        pytest.param(lambda raw: raw.update({"content-type": "application/json"}), id="another content type"),
        pytest.param(lambda raw: raw["headers"].update(id="not a number"), id="a name of its own"),
        pytest.param(lambda raw: raw.pop("headers"), id="an event, say"),
    ],
)
def test_what_could_not_be_put_back_is_written_whole(written, change):
    raw = written()
    change(raw)
    assert json.loads(wire.dumps(raw)) == raw


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="no msgpack"),
        pytest.param(msgpack.packb([bytes(16), b"", b"\x94\x02"]), id="no head"),
        pytest.param(msgpack.packb([bytes(15), b"\x03\x00", b"\x94\x02"]), id="a number cut short"),
        pytest.param(msgpack.packb([bytes(16), b"\x03\x00", "text"]), id="no envelope"),
        pytest.param(msgpack.packb([bytes(16), b"\x03\x00", b"\x94\x02"]), id="an empty head"),
        pytest.param(msgpack.packb(3), id="a number"),
    ],
)
def test_garbage_that_begins_as_a_short_message_is_no_message(item):
    assert readable(wire.MARK + item) is None
    with pytest.raises(ValueError, match="not a message"):
        wire.loads(wire.MARK + item)


def test_other_json_of_kombu_is_as_it_was():
    assert wire.loads(wire.text(wire.dumps({"a": [1, 2]}).encode())) == {"a": [1, 2]}
    assert wire.loads(wire.dumps([1, 2, 3])) == [1, 2, 3]
