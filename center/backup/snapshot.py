"""Backup (备份): the whole database as of one moment, into one archive, while the centre goes on settling.

One REPEATABLE READ transaction reads every table by COPY, so the archive is one moment of the books; nothing waits for
it. It needs no program of PostgreSQL beside us and runs wherever the centre runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine, text

from center import partitions
from center.backup import epochs
from center.partitions import Place
from center.settling.records import cursor_of
from infra.archive import BadArchive, Writing, records

PART_BYTES = 256 * 1024
REVISIONS = "alembic_version"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds, as it says itself at its end."""

    revision: str
    """Of the schema."""
    taken_at: datetime
    epoch: int
    tables: Mapping[str, tuple[int, str]]
    """Rows, and the SHA-256 of the rows as COPY writes them, in hex."""
    sequences: Mapping[str, int]
    places: tuple[Place, ...]
    """The pools and years there were partitions for."""
    heads: Mapping[str, tuple[int, str]]
    """The newest link of every chain: number and head in hex."""
    digest: str
    """SHA-256 of the file, in hex: the archive's name in the epoch."""

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(count for count, _ in self.tables.values())


def backup(engine: Engine, file: Path, *, center_secret: bytes, at: datetime) -> Manifest:
    """Write an archive of the database. The file is there when it is whole and on the disk, or not at all.

    Whoever backs up may read every table; no other right is needed.
    """
    one_moment = engine.execution_options(isolation_level="REPEATABLE READ")
    with Writing(file, center_secret) as archive:
        with one_moment.begin() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            cursor = cursor_of(connection)
            manifest: dict[str, Any] = {
                "revision": connection.execute(text(f"SELECT version_num FROM {REVISIONS}")).scalar_one(),
                "taken_at": at.isoformat(),
                "epoch": epochs.current(cursor).number,
                "tables": {name: _copied(cursor, name, archive) for name in _tables(cursor)},
                "places": partitions.prepared(connection),
                "heads": _heads(cursor),
                # Sequences are of no transaction: read last, they stand at or above every number in the tables.
                "sequences": _sequences(cursor),
            }
        digest = archive.finish(manifest)
    return _manifest(manifest, digest)


def verify(file: Path, *, center_secret: bytes) -> Manifest:
    """Read an archive from end to end; what it holds. Raises BadArchive when it is not whole and ours."""
    checking = Checking()
    for _ in checking.passed(records(file, center_secret)):
        pass
    return checking.manifest


class Checking:
    """Follows the records of an archive and compares every table with what the manifest says of it."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}
        self._said: Mapping[str, Any] = {}
        self._digest = ""

    def passed(self, stream: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The records as they come, counted and hashed. Raises BadArchive behind the last when they do not fit."""
        hashed, count = sha256(), 0
        for record in stream:
            match record:
                case ("table", str(), _):
                    hashed, count = sha256(), 0
                case ("rows", bytes(part)):
                    hashed.update(part)
                    count += part.count(b"\n")
                case ("end", str(name)):
                    self._found[name] = (count, hashed.hexdigest())
                case ("manifest", dict(said)):
                    self._said = said
                case ("digest", str(digest)):
                    self._digest = digest
                case _:
                    raise BadArchive("备份文件含有本版本不认识的内容")
            yield record
        if self._found != {name: tuple(held) for name, held in self._said.get("tables", {}).items()}:
            raise BadArchive("备份文件各表的内容与其清单不符")

    @property
    def manifest(self) -> Manifest:
        """What the archive says it holds, once it has been read to its end."""
        return _manifest(self._said, self._digest)


def _manifest(said: Mapping[str, Any], digest: str) -> Manifest:
    return Manifest(
        revision=said["revision"],
        taken_at=datetime.fromisoformat(said["taken_at"]),
        epoch=said["epoch"],
        tables={name: (count, hashed) for name, (count, hashed) in said["tables"].items()},
        sequences=dict(said["sequences"]),
        places=tuple(Place(pool, year) for pool, year in said.get("places", ())),
        heads={code: (link_no, head) for code, (link_no, head) in said["heads"].items()},
        digest=digest,
    )


def _tables(cursor: psycopg.Cursor[Any]) -> list[str]:
    """Those that refer to others come behind those that do not."""
    cursor.execute(
        "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> %s"
        " ORDER BY EXISTS (SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'f'), 1",
        [REVISIONS],
    )
    return [name for (name,) in cursor.fetchall()]


def _copied(cursor: psycopg.Cursor[Any], name: str, archive: Writing) -> tuple[int, str]:
    """Copy one table into the archive: how many rows, and their digest."""
    cursor.execute(
        "SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema()"
        " AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
        [name],
    )
    columns = [column for (column,) in cursor.fetchall()]
    archive.add("table", name, columns)
    hashed, count, part = sha256(), 0, bytearray()

    def put() -> None:
        hashed.update(part)
        archive.add("rows", bytes(part))
        part.clear()

    with cursor.copy(_reading(name, columns)) as rows:
        for row in rows:
            part += row
            count += bytes(row).count(b"\n")
            if len(part) > PART_BYTES:
                put()
    if part:
        put()
    archive.add("end", name)
    return count, hashed.hexdigest()


def _reading(name: str, columns: list[str]) -> sql.Composed:
    """The COPY that reads these columns of a table, its partitions too: a row ends where its line ends."""
    return sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(_listed(columns), sql.Identifier(name))


def filling(name: str, columns: list[str]) -> sql.Composed:
    """The COPY that takes such rows up again."""
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), _listed(columns))


def _listed(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _sequences(cursor: psycopg.Cursor[Any]) -> dict[str, int]:
    cursor.execute(
        "SELECT sequencename::text, last_value FROM pg_sequences"
        " WHERE schemaname = current_schema() AND last_value IS NOT NULL"
    )
    return dict(cursor.fetchall())


def _heads(cursor: psycopg.Cursor[Any]) -> dict[str, tuple[int, str]]:
    cursor.execute("SELECT institution_code, link_no, encode(head, 'hex') FROM chain_head ORDER BY 1")
    return {code: (link_no, head) for code, link_no, head in cursor.fetchall()}
