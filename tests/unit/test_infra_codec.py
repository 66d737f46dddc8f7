"""The one codec: our messages there and back, everything else unreadable, and nothing of it quoted."""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import date, datetime
from typing import get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import messages
from domain.messages import ClaimTotals, TotalsSubmitted, UploadGranted
from infra.clock import SHANGHAI
from infra.codec import UnreadableMessage, decode, encode, pack, unpack
from tests.support.frontend import HOSPITAL, PERSON, totals_of

GRANTED = UploadGranted(window="noon", fence=7, lines=500, cut_off=datetime(2026, 3, 2, 13, 0, tzinfo=SHANGHAI))
SUBMITTED = TotalsSubmitted(policy_version="p", catalogue_version="c", claims=(totals_of(HOSPITAL, "V1"),))
BODY = msgpack.unpackb(encode(GRANTED))[2]
KINDS = messages.Message.__args__


VALUES = {
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(max_size=20),
    bytes: st.binary(max_size=20),
    date: st.dates(),
    datetime: st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(SHANGHAI)),
    type(None): st.none(),
}


def values(type_):
    """Any value of a type that stands in a message."""
    if type_ in VALUES:
        return VALUES[type_]
    if get_origin(type_) is tuple and get_args(type_)[-1] is not ...:
        return st.tuples(*(values(each) for each in get_args(type_)))
    if get_origin(type_) is tuple:
        return st.lists(values(get_args(type_)[0]), max_size=3).map(tuple)
    if get_args(type_):
        return st.one_of([values(each) for each in get_args(type_)])
    hints = {name: hint for name, hint in get_type_hints(type_).items() if name not in ("KIND", "VERSION")}
    return st.builds(type_, **{name: values(hint) for name, hint in hints.items()})


# Kinds share their types: some thousand messages of all kinds say what a hundred of each would.
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_every_message_travels(kind, data):
    message = data.draw(values(kind))

    assert decode(encode(message), kind) == message


def test_days_moments_and_bytes_keep_their_types():
    [row] = decode(encode(SUBMITTED), TotalsSubmitted).claims

    assert isinstance(row, ClaimTotals)
    assert isinstance(row.visit_date, date)
    assert isinstance(row.digest, bytes)
    assert decode(encode(GRANTED), UploadGranted).cut_off.utcoffset() is not None


def packed(kind="upload.granted", version=1, **change):
    return msgpack.packb([kind, version, {**BODY, **change}])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(packed(kind="upload.wished"), id="unknown kind"),
        pytest.param(packed(kind="totals.submitted"), id="another kind than the task is for"),
        pytest.param(packed(version=2), id="a version this release does not know"),
        pytest.param(packed(version="1"), id="a version that is no number"),
        pytest.param(packed(kind=["upload.granted"]), id="a kind that cannot even be looked up"),
        pytest.param(packed(lines=1.5), id="a float where a whole number is due"),
        pytest.param(packed(lines=math.nan), id="NaN"),
        pytest.param(packed(lines=math.inf), id="infinity"),
        pytest.param(packed(lines="500"), id="a number written as text"),
        pytest.param(packed(lines=None), id="nothing where a number is due"),
        pytest.param(packed(lines=True), id="true where a number is due"),
        pytest.param(packed(window=b"noon"), id="bytes where a text is due"),
        pytest.param(packed(cut_off="tomorrow"), id="no moment"),
        pytest.param(msgpack.packb(["upload.granted", 1, {"window": "noon"}]), id="fields are missing"),
        pytest.param(msgpack.packb(["upload.granted", 1, []]), id="no fields at all"),
        pytest.param(msgpack.packb(["upload.granted", 1]), id="cut short"),
        pytest.param(encode(GRANTED)[:-3], id="bytes cut off"),
        pytest.param(encode(GRANTED) + b"\x00", id="bytes too many"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xc1", id="not msgpack"),
        pytest.param(b'{"json": true}', id="json"),
        pytest.param(msgpack.packb({"a": 1, "b": 2, "c": 3}), id="a map"),
        pytest.param(b"\x91" * 2000 + b"\x00", id="lists in lists in lists"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="a list said to be enormous"),
    ],
)
def test_anything_else_is_unreadable(content):
    with pytest.raises(UnreadableMessage):
        decode(content, UploadGranted)


@given(st.binary(max_size=300))
def test_random_bytes_are_unreadable(content):
    with pytest.raises(UnreadableMessage):
        decode(content, TotalsSubmitted)


@pytest.mark.parametrize("field", ["total_fen", "line_count", "charge_batch_no"])
@pytest.mark.parametrize("value", [1.0, 12.5, math.nan, "1", None, [1]])
def test_an_amount_is_a_whole_number_or_the_message_is_unreadable(field, value):
    kind, version, body = msgpack.unpackb(encode(SUBMITTED))
    body["claims"][0][ClaimTotals._fields.index(field)] = value

    with pytest.raises(UnreadableMessage):
        decode(msgpack.packb([kind, version, body]), TotalsSubmitted)


def test_what_is_unreadable_is_not_quoted():
    kind, version, body = msgpack.unpackb(encode(SUBMITTED))
    body["claims"][0][0] = [PERSON]

    with pytest.raises(UnreadableMessage) as caught:
        decode(msgpack.packb([kind, version, body]), TotalsSubmitted)
    assert PERSON not in f"{caught.value} {caught.value.__cause__}"


def test_a_newer_field_of_a_newer_sender_is_passed_over():
    assert decode(packed(new_in_1_4="x"), UploadGranted) == GRANTED


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_known_to_the_codec(kind):
    with pytest.raises(UnreadableMessage, match="fields do not fit"):
        decode(msgpack.packb([kind.KIND, kind.VERSION, {}]), kind)
    assert fields(kind)


@given(st.lists(st.tuples(st.text(max_size=4), st.lists(st.text(max_size=2), max_size=3).map(tuple)), max_size=5))
def test_columns_of_our_own_read_back(value):
    assert unpack(pack(value), list[tuple[str, tuple[str, ...]]]) == value
