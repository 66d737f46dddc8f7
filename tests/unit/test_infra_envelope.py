"""The sealed envelope opens for its front-end's key, on its lane, unchanged, and for nothing else."""

from __future__ import annotations

import zlib

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given
from hypothesis import strategies as st

from infra import envelope
from infra.codec import UnreadableMessage
from infra.dictionary import MESSAGES, deflate
from infra.envelope import (
    NONCE_BYTES,
    PLAIN,
    SHORT,
    VERSION,
    SealBroken,
    frontend_key,
    seal,
    sender,
    unseal,
    version_of,
)

SECRET = bytes(range(32))
KEY = frontend_key(SECRET, "FE01")
CONTENT = "结算".encode() * 50
SEALED = seal(CONTENT, frontend="FE01", lane="settle", key=KEY)


@given(st.binary(max_size=2000))
def test_what_was_sealed_opens_as_it_was(content):
    assert unseal(seal(content, frontend="FE01", lane="settle", key=KEY), lane="settle", key=KEY) == content


def test_it_names_its_front_end_and_shows_nothing_else():
    assert sender(SEALED) == "FE01"
    assert CONTENT not in SEALED
    assert CONTENT[:6] not in SEALED


def test_the_same_content_never_looks_the_same():
    assert seal(CONTENT, frontend="FE01", lane="settle", key=KEY) != SEALED


@pytest.mark.parametrize(
    ("lane", "key"),
    [
        pytest.param("settle", frontend_key(SECRET, "FE02"), id="another front-end's key"),
        pytest.param("settle", frontend_key(bytes(32), "FE01"), id="another centre's key"),
        pytest.param("details", KEY, id="another lane"),
        pytest.param("settle ", KEY, id="nearly the lane"),
    ],
)
def test_it_opens_nowhere_else(lane, key):
    with pytest.raises(SealBroken):
        unseal(SEALED, lane=lane, key=key)


def test_a_front_end_cannot_speak_for_another():
    version, _, nonce, sealed = msgpack.unpackb(SEALED)
    renamed = msgpack.packb([version, "FE02", nonce, sealed])

    for key in (KEY, frontend_key(SECRET, "FE02")):
        with pytest.raises(SealBroken):
            unseal(renamed, lane="settle", key=key)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
@example(1, 0xC2)  # the version 1 becomes true
def test_no_byte_can_be_changed(place, change):
    changed = bytearray(SEALED)
    changed[place] ^= change

    with pytest.raises(UnreadableMessage):
        unseal(bytes(changed), lane="settle", key=KEY)


@given(st.integers(0, len(SEALED) - 1))
def test_no_end_can_be_cut_off(length):
    with pytest.raises(UnreadableMessage):
        unseal(SEALED[:length], lane="settle", key=KEY)


@given(st.binary(max_size=200) | st.from_type(object).map(lambda value: msgpack.packb(str(value))))
def test_garbage_is_unreadable_and_nothing_worse(garbage):
    with pytest.raises(UnreadableMessage):
        sender(garbage)
    with pytest.raises(UnreadableMessage):
        unseal(garbage, lane="settle", key=KEY)


@pytest.mark.parametrize("value", [None, 7, "text", ["list"], {"a": 1}, 1.5])
def test_what_is_no_bytes_is_unreadable_too(value):
    with pytest.raises(UnreadableMessage):
        sender(value)


@pytest.mark.parametrize(
    "parts",
    [
        [VERSION + 1, "FE01", b"n" * 12, b"x"],
        [0, "FE01", b"n" * 12, b"x"],
        [VERSION, 7, b"n" * 12, b"x"],
        [VERSION, "FE01", b"short", b"x"],
        [VERSION, "FE01", "n" * 12, b"x"],
        [VERSION, "FE01", b"n" * 12, None],
        [VERSION, "FE01", b"n" * 12],
        [VERSION, "FE01", b"n" * 12, b"x", b"more"],
        {"a": 1, "b": 2, "c": 3, "d": 4},
        None,
    ],
)
def test_an_envelope_of_another_shape_is_unreadable(parts):
    with pytest.raises(UnreadableMessage):
        unseal(msgpack.packb(parts), lane="settle", key=KEY)


def sealed_raw(compressed, version):
    """An envelope that the holder of the key made of bytes that are not ours."""
    nonce = b"n" * NONCE_BYTES
    sealed = AESGCM(KEY).encrypt(nonce, compressed, f"jiesuan/{version}/FE01/settle".encode())
    return msgpack.packb([version, "FE01", nonce, sealed])


COMPRESSED = {PLAIN: zlib.compress, SHORT: lambda content: deflate(content, MESSAGES)}


@pytest.mark.parametrize("version", COMPRESSED)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda compressed: b"not compressed", id="not compressed"),
        pytest.param(lambda compressed: compressed[:-5], id="compressed bytes cut short"),
        pytest.param(lambda compressed: b"", id="empty"),
    ],
)
def test_content_that_does_not_inflate_is_unreadable(version, spoil):
    with pytest.raises(UnreadableMessage):
        unseal(sealed_raw(spoil(COMPRESSED[version](CONTENT)), version), lane="settle", key=KEY)


@pytest.mark.parametrize("version", COMPRESSED)
def test_a_bomb_is_not_inflated(monkeypatch, version):
    monkeypatch.setattr(envelope, "MAX_OPENED_BYTES", 100_000)
    fits, bomb = (COMPRESSED[version](bytes(size)) for size in (100_000, 100_001))

    assert unseal(sealed_raw(fits, version), lane="settle", key=KEY) == bytes(100_000)
    with pytest.raises(UnreadableMessage, match="too large"):
        unseal(sealed_raw(bomb, version), lane="settle", key=KEY)


@pytest.mark.parametrize("version", COMPRESSED)
def test_every_version_is_read_and_says_which_it_is(version):
    sealed = seal(CONTENT, frontend="FE01", lane="settle", key=KEY, version=version)
    assert version_of(sealed) == version
    assert unseal(sealed, lane="settle", key=KEY) == CONTENT


def test_a_version_cannot_be_exchanged_for_another():
    _, *rest = msgpack.unpackb(seal(CONTENT, frontend="FE01", lane="settle", key=KEY, version=SHORT))
    with pytest.raises(SealBroken):
        unseal(msgpack.packb([PLAIN, *rest]), lane="settle", key=KEY)


def test_errors_quote_nothing_of_the_content():
    for broken in (SEALED[:-1], b"\xc1" + CONTENT, msgpack.packb(CONTENT.decode())):
        with pytest.raises(UnreadableMessage) as caught:
            unseal(broken, lane="settle", key=KEY)
        assert "结算" not in f"{caught.value!r} {caught.value.__cause__!r}"
