"""What the application may do in the centre's database: add to the ledger and read it, never change or delete of it.

Migrations run as the owner of the tables. The workers log in as somebody else, a member of one role that has just
these privileges, so that no fault and no injected statement of theirs can touch what is settled: not even with the
triggers off, for switching a trigger off is the owner's. An installation with a single login works, and `jiesuan
doctor` says so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from psycopg import sql
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import ProgrammingError

from center.partitions import is_partition
from center.tables import metadata

log = logging.getLogger("center")

ROLE = "jiesuan_application"
READ_AND_ADD = "SELECT, INSERT"
ALSO_CHANGE = f"{READ_AND_ADD}, UPDATE"
ALSO_DELETE = f"{ALSO_CHANGE}, DELETE"


NEVER_DELETED = frozenset({"parked", "frozen_flow", "refund_permit", "correction"})
"""What moves on, but is never forgotten: what was refused and told, frozen, permitted, corrected."""


def grant(connection: Connection) -> bool:
    """Give the role what it may do, of the tables there are now; False where this login cannot make the role."""
    if not _exists(connection, ROLE) and not _create(
        connection, sql.SQL("CREATE ROLE {}").format(sql.Identifier(ROLE))
    ):
        log.warning("application_role_missing", extra={"role": ROLE})
        return False
    there = set(inspect(connection).get_table_names())
    names = [name for name in metadata.tables if name in there]
    # On a server where nobody is let into a database by default, as where shared tables are, this is what lets in.
    database = sql.Identifier(str(connection.execute(text("SELECT current_database()")).scalar()))
    _run(connection, "GRANT CONNECT ON DATABASE {database} TO {role}", database=database)
    _run(connection, "GRANT USAGE ON SCHEMA public TO {role}")
    # What is written once is guarded at the whole table: nobody writes to a part of it past that.
    parts = sorted(name for name in there if is_partition(name))
    _run(connection, "REVOKE ALL ON {tables} FROM {role}", [*names, *parts])
    for may, tables in (
        (READ_AND_ADD, [name for name in names if is_append_only(name)]),
        (ALSO_CHANGE, [name for name in names if name in NEVER_DELETED]),
        (ALSO_DELETE, [name for name in names if not is_append_only(name) and name not in NEVER_DELETED]),
        ("SELECT", ["alembic_version"] if "alembic_version" in there else []),
    ):
        if tables:
            _run(connection, f"GRANT {may} ON {{tables}} TO {{role}}", tables)
    _run(connection, "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}")
    return True


def is_append_only(table: str) -> bool:
    """Whether the rows of a table are written once (`info` of the table says so)."""
    return bool(metadata.tables[table].info.get("append_only"))


def admit(connection: Connection, application_url: str) -> bool:
    """Let the application's login in: made with its password when there is none, and a member of the role.

    Nothing is done where it is this very login. False where this login cannot make logins or give out the role.
    """
    url = make_url(application_url)
    if not url.username or url.username == connection.execute(text("SELECT session_user")).scalar():
        return True
    login = sql.Identifier(url.username)
    if not _exists(connection, url.username):
        if not url.password:
            return False
        made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(login, sql.Literal(url.password))
        if not _create(connection, made):
            return False
    try:
        with connection.begin_nested():
            _run(connection, "GRANT {role} TO {login}", login=login)
    except ProgrammingError:
        log.warning("application_login_not_admitted")
        return False
    return True


def may_change_the_ledger(connection: Connection) -> bool:
    """Whether this login could change or delete what is settled: then it is not the application's own."""
    return bool(
        connection.execute(
            text("SELECT has_table_privilege('settlement', 'UPDATE') OR has_table_privilege('settlement', 'DELETE')")
        ).scalar()
    )


def _exists(connection: Connection, role: str) -> bool:
    return connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).first() is not None


def _create(connection: Connection, statement: sql.Composed) -> bool:
    """Make a role, which belongs to the whole server: another database's migration may be faster."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement.as_string(None))
    except ProgrammingError as error:
        return getattr(error.orig, "sqlstate", "") == "42710"  # it is there by now
    return True


def _run(connection: Connection, statement: str, tables: Sequence[str] = (), **named: sql.Identifier) -> None:
    composed = sql.SQL(statement).format(
        role=sql.Identifier(ROLE), tables=sql.SQL(", ").join(map(sql.Identifier, tables)), **named
    )
    connection.exec_driver_sql(composed.as_string(None))
