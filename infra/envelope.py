"""The sealed envelope between sites: compressed, encrypted and authenticated per front-end.

The broker is not a security boundary: whoever can read it sees neither a person nor an amount, and whoever can write
to it cannot make the centre settle anything. AES-256-GCM; each front-end has its own key, derived from the centre's
secret, so that the centre keeps one secret and a front-end can only speak for itself.
"""

from __future__ import annotations

import os
import zlib

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from infra.codec import UnreadableMessage
from infra.dictionary import MESSAGES, deflate, inflate

PLAIN, SHORT = 1, 2
"""Version 1 is zlib-compressed, as it was released; version 2 is deflated against `infra.dictionary`."""
VERSION = SHORT
NONCE_BYTES = 12
MAX_OPENED_BYTES = 64 * 1024 * 1024
COMPRESSION_LEVEL = 6


class SealBroken(UnreadableMessage):
    """The envelope was not sealed with the key of the front-end it names."""


def frontend_key(center_secret: bytes, frontend: str) -> bytes:
    """The sealing key of one front-end (32 bytes), derived from the centre's secret."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"jiesuan frontend " + frontend.encode()).derive(
        center_secret
    )


def seal(content: bytes, *, frontend: str, lane: str, key: bytes, version: int = VERSION) -> bytes:
    """Seal content for the lane it travels on; it opens nowhere else. An older reader wants an older version."""
    nonce = os.urandom(NONCE_BYTES)
    shorter = deflate(content, MESSAGES) if version == SHORT else zlib.compress(content, COMPRESSION_LEVEL)
    sealed = AESGCM(key).encrypt(nonce, shorter, _bound_to(version, frontend, lane))
    packed: bytes = msgpack.packb([version, frontend, nonce, sealed])
    return packed


def sender(envelope: bytes) -> str:
    """The front-end the envelope names: not yet proven. Raises UnreadableMessage."""
    return _parts(envelope)[1]


def version_of(envelope: bytes) -> int:
    """The version of an envelope: what its sender can read, too. Raises UnreadableMessage."""
    return _parts(envelope)[0]


def unseal(envelope: bytes, *, lane: str, key: bytes) -> bytes:
    """Open an envelope that came on the lane. Raises SealBroken or UnreadableMessage."""
    version, frontend, nonce, sealed = _parts(envelope)
    try:
        compressed = AESGCM(key).decrypt(nonce, sealed, _bound_to(version, frontend, lane))
    except InvalidTag as error:
        raise SealBroken(f"an envelope on lane {lane!r} was not sealed with its front-end's key") from error
    try:
        content = _inflated(compressed, version)
    except zlib.error as error:
        raise UnreadableMessage("an envelope whose content is not compressed as ours is") from error
    if content is None:
        raise UnreadableMessage("an envelope whose content is too large or cut short")
    return content


def _inflated(compressed: bytes, version: int) -> bytes | None:
    if version == SHORT:
        return inflate(compressed, MESSAGES, MAX_OPENED_BYTES)
    inflater = zlib.decompressobj()
    content = inflater.decompress(compressed, MAX_OPENED_BYTES)
    return content if inflater.eof and not inflater.unconsumed_tail else None


def _parts(envelope: bytes) -> tuple[int, str, bytes, bytes]:
    try:
        version, frontend, nonce, sealed = msgpack.unpackb(envelope)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise UnreadableMessage("not an envelope") from error
    if type(version) is not int or version not in (PLAIN, SHORT) or not isinstance(frontend, str):  # True is no version
        raise UnreadableMessage("an envelope of another version")
    if not (isinstance(nonce, bytes) and len(nonce) == NONCE_BYTES and isinstance(sealed, bytes)):
        raise UnreadableMessage("an envelope whose parts do not fit")
    return version, frontend, nonce, sealed


def _bound_to(version: int, frontend: str, lane: str) -> bytes:
    return f"jiesuan/{version}/{frontend}/{lane}".encode()
