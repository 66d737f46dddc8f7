"""What may lie on a Redis list: a message of kombu's own, or something to set aside; never an end of the worker."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport import redis

from infra.transport import readable


def raw(**change):
    """A list entry as kombu writes it."""
    message = {
        "body": base64.b64encode(b"\x93\x90\x80\x80").decode(),
        "content-encoding": "binary",
        "content-type": "application/x-msgpack",
        "headers": {"task": "claims.preprocess", "id": "1"},
        "properties": {
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "preprocess.1"},
            "delivery_mode": 2,
            "delivery_tag": "tag",
            "priority": 0,
        },
    }
    for path, value in change.items():
        *way, last = path.split("__")
        place = message
        for step in way:
            place = place[step]
        if value is MISSING:
            del place[last]
        else:
            place[last] = value
    return json.dumps(message).encode()


MISSING = object()


def test_a_message_of_kombus_own_is_read():
    assert readable(raw()) == json.loads(raw())


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\xff\xfe", id="random bytes"),
        pytest.param("结算".encode("gb18030"), id="text in another code"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="an object without anything"),
        pytest.param(b'{"hello": "world"}', id="JSON that is not ours"),
        pytest.param(b"[" * 100_000, id="a depth bomb"),
        pytest.param(b'{"a":' * 100_000, id="another"),
        pytest.param(b"9" * 5000, id="a number too long to read"),
        pytest.param(raw()[:-1], id="cut short"),
        pytest.param(raw(body=MISSING), id="no body"),
        pytest.param(raw(body=None), id="body is null"),
        pytest.param(raw(body=["list"]), id="body is a list"),
        pytest.param(raw(body="%%%"), id="body is not base64"),
        pytest.param(raw(properties__body_encoding="rot13"), id="an encoding kombu does not know"),
        pytest.param(raw(properties__body_encoding=64), id="an encoding that is no text"),
        pytest.param(raw(headers=MISSING), id="no headers"),
        pytest.param(raw(headers=None), id="headers are null"),
        pytest.param(raw(headers=[]), id="headers are a list"),
        pytest.param(raw(properties=MISSING), id="no properties"),
        pytest.param(raw(properties__delivery_tag=MISSING), id="no tag"),
        pytest.param(raw(properties__delivery_tag={"a": 1}), id="the tag is an object"),
        pytest.param(raw(properties__delivery_info=MISSING), id="no delivery"),
        pytest.param(raw(properties__delivery_info__routing_key=MISSING), id="no routing key"),
        pytest.param(raw(properties__delivery_info__exchange=7), id="the exchange is a number"),
    ],
)
def test_anything_else_is_set_aside(item):
    assert readable(item) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = ["body", "headers", "properties", "content-type", "content-encoding", "properties__body_encoding",
          "properties__delivery_tag", "properties__delivery_info", "properties__delivery_info__routing_key",
          "properties__priority", "properties__delivery_mode"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(PLACES), JSON, max_size=2))
def test_what_is_read_can_be_made_a_message_of(change):
    ordered = dict(sorted(change.items(), key=lambda item: -item[0].count("__")))
    message = readable(raw(**ordered))

    if message is not None:
        channel = redis.Channel.__new__(redis.Channel)
        assert redis.Transport.Channel.Message(message, channel=channel).delivery_tag
