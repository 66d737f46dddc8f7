"""The archive: one encrypted file that holds a whole database, readable only with the secret it was written under.

A file is MAGIC, a salt, then frames: a length and so many bytes sealed with AES-256-GCM under a key of this file's own.
The nonce of a frame is its place and whether it is the last, so a frame that is missing, moved, changed or cut off does
not open. What is in the frames, put together and inflated, is a stream of msgpack records; the manifest is the last.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"jiesuan backup 1\n"
SALT_BYTES = 16
FRAME_BYTES = 1 << 20
LONGEST_FRAME = 2 * FRAME_BYTES
COMPRESSION_LEVEL = 3
_LENGTH = struct.Struct(">I")


class BadArchive(Exception):
    """The file cannot be restored from; the message says why, in Chinese, for the operator."""


def archive_key(secret: bytes, salt: bytes) -> bytes:
    """The key of one archive (32 bytes)."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"jiesuan backup").derive(secret)


class Writing:
    """Writes an archive beside its place, and puts it there when it is whole and on the disk; else nothing is left."""

    def __init__(self, file: Path, secret: bytes) -> None:
        self._file, self._new = file, file.with_name(f".{file.name}.{os.getpid()}.new")
        self._secret = secret

    def __enter__(self) -> Writing:
        self._out: IO[bytes] = self._new.open("xb")
        os.chmod(self._new, 0o600)
        salt = os.urandom(SALT_BYTES)
        self._cipher = AESGCM(archive_key(self._secret, salt))
        self._hash, self._frames, self._pending = sha256(), 0, bytearray()
        self._deflate = zlib.compressobj(COMPRESSION_LEVEL)
        self._put(MAGIC + salt)
        return self

    def __exit__(self, failed: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._out.close()
        self._new.unlink(missing_ok=True)

    def add(self, *record: Any) -> None:
        """Append one record."""
        self._pending += self._deflate.compress(msgpack.packb(record))
        while len(self._pending) > FRAME_BYTES:
            self._seal(bytes(self._pending[:FRAME_BYTES]), last=False)
            del self._pending[:FRAME_BYTES]

    def finish(self, manifest: Mapping[str, Any]) -> str:
        """Append the manifest, sync, and put the file in its place; the digest of the file, in hex."""
        self.add("manifest", dict(manifest))
        self._pending += self._deflate.flush()
        while len(self._pending) > FRAME_BYTES:
            self._seal(bytes(self._pending[:FRAME_BYTES]), last=False)
            del self._pending[:FRAME_BYTES]
        self._seal(bytes(self._pending), last=True)
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()
        self._new.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return self._hash.hexdigest()

    def _seal(self, content: bytes, *, last: bool) -> None:
        sealed = self._cipher.encrypt(_nonce(self._frames, last=last), content, None)
        self._frames += 1
        self._put(_LENGTH.pack(len(sealed)) + sealed)

    def _put(self, written: bytes) -> None:
        self._hash.update(written)
        self._out.write(written)


def records(file: Path, secret: bytes) -> Iterator[tuple[Any, ...]]:
    """Every record of an archive in order; behind the manifest, ("digest", the digest of the file in hex).

    Raises BadArchive where it stops being one: what came before must not be kept then.
    """
    hashed = sha256()
    with file.open("rb") as source:

        def take(count: int) -> bytes:
            part = source.read(count)
            hashed.update(part)
            return part

        if take(len(MAGIC)) != MAGIC:
            raise BadArchive("不是本系统的备份文件，或属于其他版本")
        cipher = AESGCM(archive_key(secret, take(SALT_BYTES)))
        inflate, unpacker = zlib.decompressobj(), msgpack.Unpacker(max_buffer_size=1 << 30, use_list=False)
        for content in _frames(take, cipher):
            unpacker.feed(inflate.decompress(content))
            yield from unpacker
        if source.read(1) or not inflate.eof:
            raise BadArchive("备份文件末尾有多余内容")
    yield ("digest", hashed.hexdigest())


def _frames(take: Any, cipher: AESGCM) -> Iterator[bytes]:
    """The frames, opened, up to the last."""
    number, last = 0, False
    while not last:
        head = take(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise BadArchive("备份文件不完整：末尾缺失")
        (length,) = _LENGTH.unpack(head)
        sealed = take(min(length, LONGEST_FRAME + 1))
        if len(sealed) != length:
            raise BadArchive("备份文件不完整：末尾缺失" if length <= LONGEST_FRAME else "备份文件已损坏")
        content, last = _opened(cipher, number, sealed)
        number += 1
        yield content


def _opened(cipher: AESGCM, number: int, sealed: bytes) -> tuple[bytes, bool]:
    for last in (False, True):
        try:
            return cipher.decrypt(_nonce(number, last=last), sealed, None), last
        except InvalidTag:
            continue
    raise BadArchive("备份文件打不开：密钥不同" if number == 0 else "备份文件已损坏")


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
