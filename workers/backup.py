"""Backup of a front-end's database (备份): SQLite, as of one moment, into one encrypted archive, and back.

It is read through SQLite's own backup, so the desk goes on writing meanwhile. The archive opens with the front-end's
sealing key, which the centre can print again (`jiesuan key FRONTEND`). A front-end on PostgreSQL is backed up with
PostgreSQL's tools.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import make_url

from infra.archive import BadArchive, Writing, records

PART_BYTES = 256 * 1024
KIND = "frontend"
NUMBERS_A_DAY = 36**4
"""Visit numbers of an institution and a day (`workers.numbers`)."""


class CannotBackUp(Exception):
    """The database is not one this can back up or restore; the message is for the operator."""


class Copied(NamedTuple):
    """What an archive holds, as it says itself at its end."""

    frontend: str
    revision: str
    taken_at: datetime
    claims: int
    bytes: int
    digest: str
    """SHA-256 of the archive, in hex."""


def file_of(url: str) -> Path:
    """The file of a SQLite database. Raises CannotBackUp."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise CannotBackUp("前置机数据库不是 SQLite 文件：PostgreSQL 请用 pg_dump 或 pg_basebackup 备份")
    return Path(parsed.database)


def backup(database: Path, file: Path, *, key: bytes, frontend: str, at: datetime) -> Copied:
    """Write an archive of the database; it is there when it is whole and on the disk, or not at all."""
    if not database.is_file():
        raise CannotBackUp(f"没有数据库文件 {database}")
    with _beside(file) as copy:
        with (
            closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target, pages=2000)
        revision, claims = _look(copy)
        hashed, size = sha256(), 0
        with Writing(file, key) as archive:
            with copy.open("rb") as read:
                while part := read.read(PART_BYTES):
                    hashed.update(part)
                    size += len(part)
                    archive.add("part", part)
            manifest = {
                "kind": KIND, "frontend": frontend, "revision": revision, "taken_at": at.isoformat(),
                "claims": claims, "bytes": size, "sha256": hashed.hexdigest(),
            }  # fmt: skip
            digest = archive.finish(manifest)
    return Copied(frontend, revision, at, claims, size, digest)


def verify(file: Path, *, key: bytes, folder: Path | None = None) -> Copied:
    """Read an archive to its end, and see that the database in it is sound. Raises BadArchive."""
    with _beside((folder or file.parent) / file.name) as copy:
        return _unpacked(file, copy, key)


def restore(file: Path, database: Path, *, key: bytes, frontend: str, replace: bool, at: datetime) -> Copied:
    """Put the database of the archive in its place; what is there is kept beside it. Raises BadArchive, CannotBackUp.

    Visit numbers of these days go on in the second half of what is left of them: those that were given since the backup
    are not given again.
    """
    if database.exists() and not replace:
        raise CannotBackUp(f"{database} 已存在：确认前置机已停止后加 --replace（原文件改名保留）")
    with _beside(database) as copy:
        copied = _unpacked(file, copy, key)
        if copied.frontend != frontend:
            raise BadArchive(f"是前置机 {copied.frontend} 的备份，不是本前置机 {frontend} 的")
        _go_on_counting(copy, copied.taken_at, at)
        if database.exists():
            database.replace(database.with_name(f"{database.name}.before-{at:%Y%m%d%H%M%S}"))
        for beside in ("-wal", "-shm"):
            database.with_name(database.name + beside).unlink(missing_ok=True)
        copy.replace(database)
    return copied


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A file beside this one that is gone afterwards, unless it was put in its place."""
    copy = file.with_name(f".{file.name}.{os.getpid()}.copy")
    copy.unlink(missing_ok=True)
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def _unpacked(file: Path, copy: Path, key: bytes) -> Copied:
    hashed, manifest, digest = sha256(), None, ""
    with copy.open("xb") as written:
        os.chmod(copy, 0o600)
        for kind, content in records(file, key):
            if kind == "part":
                hashed.update(content)
                written.write(content)
            elif kind == "manifest":
                manifest = content
            else:
                digest = content
        written.flush()
        os.fsync(written.fileno())
    if manifest is None or manifest.get("kind") != KIND:
        raise BadArchive("不是前置机的备份")
    if hashed.hexdigest() != manifest["sha256"]:
        raise BadArchive("备份文件已损坏")
    _look(copy)
    at = datetime.fromisoformat(manifest["taken_at"])
    return Copied(manifest["frontend"], manifest["revision"], at, manifest["claims"], manifest["bytes"], digest)


def _look(copy: Path) -> tuple[str, int]:
    """The revision of the schema and the number of claims. Raises BadArchive for a database that is not sound."""
    with closing(sqlite3.connect(copy)) as database:
        try:
            (sound,) = database.execute("PRAGMA integrity_check").fetchone()
            (revision,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
            (claims,) = database.execute("SELECT count(*) FROM claim").fetchone()
        except (sqlite3.DatabaseError, TypeError):
            sound, revision, claims = "", "", 0
    if sound != "ok":
        raise BadArchive("不是完好的前置机数据库")
    return str(revision), int(claims)


def _go_on_counting(copy: Path, taken_at: datetime, at: datetime) -> None:
    """Let the counters of all days since the backup jump."""
    with closing(sqlite3.connect(copy)) as database, database:
        first, last = taken_at.date().isoformat(), at.date().isoformat()
        database.execute(
            "INSERT INTO visit_counter (institution_code, day, last)"
            " SELECT institution_code, ?, 0 FROM institution WHERE true ON CONFLICT DO NOTHING",
            [last],
        )
        database.execute(
            "UPDATE visit_counter SET last = last + (? - last) / 2 WHERE day BETWEEN ? AND ?",
            [NUMBERS_A_DAY, first, last],
        )
