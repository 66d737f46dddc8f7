"""Restore (恢复): the database as an archive holds it, in a new epoch; all of it or nothing.

One transaction makes the tables, fills them, lets the sequences jump, begins the epoch and notes who did it. Whoever
kills it leaves what was there before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, inspect, text

from center import partitions, schema
from center.backup import epochs
from center.backup.snapshot import Checking, Manifest, filling, verify
from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, examine
from center.ledger import audit
from center.ledger.verifying import WORDS
from center.ledger.verifying import verify as verify_chains
from center.policy.shelf import PolicyShelf
from center.settling.records import cursor_of
from infra.archive import BadArchive, records

log = logging.getLogger("center")


class NotEmpty(Exception):
    """The database holds tables, and nobody said they may go."""

    def __init__(self) -> None:
        super().__init__("数据库不是空的；确认要用备份替换其全部内容时加 --replace")


class NewerArchive(BadArchive):
    """The archive was written by a later release."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"备份来自更新的版本（数据库结构 {revision}），请先升级本系统")


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and the epoch that began."""

    manifest: Manifest
    epoch: int


def restore(
    engine: Engine, file: Path, *, center_secret: bytes, by: str, reason: str, at: datetime, replace: bool = False
) -> Restored:
    """Bring the database to what the archive holds, at this release's schema, and begin an epoch.

    The archive is read to its end first. `engine` must be the owner's. Raises BadArchive, NotEmpty; then nothing has
    changed.
    """
    manifest = verify(file, center_secret=center_secret)
    if not schema.is_known(manifest.revision):
        raise NewerArchive(manifest.revision)
    with engine.begin() as connection:
        for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {limit} = 0"))
        _clear(connection, replace=replace)
        schema.upgrade_within(connection, manifest.revision)
        partitions.prepare(connection, manifest.places)
        _fill(connection, records(file, center_secret))
        _advance(cursor_of(connection), manifest.sequences)
        schema.upgrade_within(connection)
        number = epochs.begin(
            connection, snapshot_at=manifest.taken_at, archive=manifest.digest, by=by, reason=reason, at=at
        )
        audit.note(
            connection,
            by=by,
            action="backup.restore",
            subject=f"epoch {number}",
            reason=reason,
            at=at,
            details={"archive": manifest.digest, "taken_at": manifest.taken_at.isoformat(), "rows": manifest.rows},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("ANALYZE"))
    log.warning("restored", extra={"epoch": number, "rows": manifest.rows})
    return Restored(manifest, number)


def wrong_with(engine: Engine, *, at: datetime) -> list[str]:
    """What is not as it was written, or does not add up, in the whole database, in Chinese."""
    verified = verify_chains(engine)
    found = [f"{one.institution_code} 第 {one.link_no} 环{WORDS[one.what]}" for one in verified.tamperings]
    shelves = Shelves(CatalogueShelf(), PolicyShelf())
    found += [finding.why for finding in examine(engine, shelves).findings]
    return found


def _clear(connection: Connection, *, replace: bool) -> None:
    if not inspect(connection).get_table_names():
        return
    if not replace:
        raise NotEmpty
    cursor = cursor_of(connection)
    cursor.execute("SELECT current_schema()::text")
    (name,) = cursor.fetchone() or ("public",)
    place = sql.Identifier(name)
    cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(place))
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(place))
    cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO PUBLIC").format(place))


def _fill(connection: Connection, stream: Iterator[tuple[Any, ...]]) -> None:
    """Fill every table. What triggers derive is in the archive, too, so they are off meanwhile."""
    cursor = cursor_of(connection)
    tables = [sql.Identifier(name) for name in sorted(inspect(connection).get_table_names())]
    for table in tables:
        cursor.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(table))
    cursor.execute(sql.SQL("SELECT version_num FROM alembic_version"))
    (revision,) = cursor.fetchone() or ("",)
    cursor.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables)))
    cursor.execute("INSERT INTO alembic_version VALUES (%s)", [revision])
    checked = Checking().passed(stream)
    for record in checked:
        if record[0] == "table":
            _fill_one(cursor, record[1], list(record[2]), checked)
    for table in tables:
        cursor.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(table))


def _fill_one(cursor: psycopg.Cursor[Any], name: str, columns: list[str], stream: Iterator[tuple[Any, ...]]) -> None:
    with cursor.copy(filling(name, columns)) as rows:
        for record in stream:
            if record[0] == "end":
                return
            rows.write(record[1])


def _advance(cursor: psycopg.Cursor[Any], sequences: Mapping[str, int]) -> None:
    for name, last in sequences.items():
        cursor.execute("SELECT setval(quote_ident(%s)::regclass, %s)", [name, last])
