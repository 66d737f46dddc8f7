"""Making the shared tables on a PostgreSQL, and an institution's login to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection, sql

from producers.his.tables import postgres_ddl as ddl
from producers.his.tables.objects import LIMITED_USE, TABLES

DRESSES = {"gwyjb": "gwyjb", "texts": "texts"}
"""What an institution may ask for, and the schema it gets in front."""
_ONE_AT_A_TIME = 7371


class UnknownDress(Exception):
    """A dress that there is no schema for."""

    def __init__(self, dress: str) -> None:
        super().__init__(f"no dress {dress!r}; there are {', '.join(DRESSES)}")


class NotOfThisRelease(Exception):
    """The shared tables were made by another release."""

    def __init__(self, found: int) -> None:
        super().__init__(f"the shared tables are of release {found}, this is {ddl.RELEASE}")


@dataclass(frozen=True, slots=True)
class Tenant:
    """One institution at the shared tables: which rows are its own, and in which dress it sees the tables."""

    institution_code: str
    short_code: str
    dress: tuple[str, ...] = ()

    @property
    def login(self) -> str:
        """The name of its login: letters, digits and underscores only, so that no client needs to quote it."""
        return "his_" + re.sub(r"[^a-z0-9]", "_", self.institution_code.lower())

    @property
    def schemas(self) -> list[str]:
        """Where its unqualified names are looked for, the dress first. Raises UnknownDress."""
        for dress in self.dress:
            if dress not in DRESSES:
                raise UnknownDress(dress)
        return [*(DRESSES[dress] for dress in self.dress), ddl.SCHEMA]


def make_tables(connection: Connection) -> bool:
    """Make roles, tables, views, triggers and grants; False when they are there. Raises NotOfThisRelease.

    All or nothing, and once, however many come at the same time.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
        there = connection.execute("SELECT to_regclass(%s)", [f"{ddl.OWN_SCHEMA}.release"]).fetchone()
        if there is not None and there[0] is not None:
            found = connection.execute(f"SELECT release FROM {ddl.OWN_SCHEMA}.release").fetchone()
            if found is None or found[0] != ddl.RELEASE:
                raise NotOfThisRelease(found[0] if found else 0)
            return False
        for statement in (*ddl.roles(), *ddl.everything()):
            connection.execute(statement)  # made from the field table, nothing comes in
    return True


def admit(connection: Connection, tenant: Tenant, password: str) -> None:
    """Give an institution its login, or a new password and dress to the login it has.

    The server only ever sees the password's SCRAM verifier, so that it is in no log of it.
    """
    login = tenant.login
    verifier = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
        exists = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [login]).fetchone()
        verb = "ALTER" if exists is not None else "CREATE"
        # SET ROLE and pools are of no use to a HIS; a transaction of it may stay open for hours.
        _run(connection, verb + " ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}", login, verifier)
        _run(connection, f"GRANT {ddl.HIS_ROLE} TO {{}}", login)
        for name, value in (
            ("search_path", ", ".join(tenant.schemas)),
            ("datestyle", "ISO, YMD"),
            ("timezone", "Asia/Shanghai"),
            ("idle_in_transaction_session_timeout", "0"),
            ("idle_session_timeout", "0"),
            ("statement_timeout", "0"),
        ):
            _set(connection, login, name, value)
        _drop_policies(connection, login)
        for schema, table, column in _row_rights():
            codes = [tenant.institution_code]
            if column == "yybh" and tenant.short_code != tenant.institution_code:
                codes.append(tenant.short_code)  # products take YYBH from the first six characters of JYDJH
            own = sql.SQL("{} IN ({})").format(sql.Identifier(column), sql.SQL(", ").join(map(sql.Literal, codes)))
            connection.execute(
                sql.SQL("CREATE POLICY {} ON {} TO {} USING ({}) WITH CHECK ({})").format(
                    sql.Identifier(login), sql.Identifier(schema, table), sql.Identifier(login), own, own
                )
            )
        connection.execute(
            f"INSERT INTO {ddl.OWN_SCHEMA}.login (login, institution_code, short_code, dress) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT (login) DO UPDATE "
            "SET institution_code = excluded.institution_code, short_code = excluded.short_code, "
            "dress = excluded.dress",
            [login, tenant.institution_code, tenant.short_code, "+".join(tenant.dress)],
        )


def dismiss(connection: Connection, tenant: Tenant) -> bool:
    """Take an institution's login away; its rows stay. False when it has none."""
    login = tenant.login
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [login]).fetchone() is None:
            return False
        _drop_policies(connection, login)
        connection.execute(f"DELETE FROM {ddl.OWN_SCHEMA}.login WHERE login = %s", [login])
        _run(connection, "REVOKE " + ddl.HIS_ROLE + " FROM {}", login)
        _run(connection, "DROP ROLE {}", login)
    return True


def tenants(connection: Connection) -> list[Tenant]:
    """The institutions that have a login."""
    rows = connection.execute(
        f"SELECT institution_code, short_code, dress FROM {ddl.OWN_SCHEMA}.login ORDER BY institution_code"
    )
    return [Tenant(code, short, tuple(filter(None, dress.split("+")))) for code, short, dress in rows]


def _row_rights() -> Sequence[tuple[str, str, str]]:
    """Each table whose rows belong to institutions, and the column that says to which."""
    return (
        *((ddl.SCHEMA, table.lower(), "yybh") for table in TABLES),
        (ddl.OWN_SCHEMA, "grade", "yybh"),
        ("gwyjb", LIMITED_USE.lower(), "yybh"),
        (ddl.OWN_SCHEMA, "view_match", "hospital_id"),
    )


def _drop_policies(connection: Connection, login: str) -> None:
    for schema, table, _ in _row_rights():
        connection.execute(
            sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(sql.Identifier(login), sql.Identifier(schema, table))
        )


def _set(connection: Connection, login: str, name: str, value: str) -> None:
    database = connection.info.dbname
    what = sql.SQL(value) if name == "search_path" else sql.Literal(value)
    connection.execute(
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
            sql.Identifier(login), sql.Identifier(database), sql.Identifier(name), what
        )
    )


def _run(connection: Connection, statement: str, login: str, *literals: str) -> None:
    parts = [sql.Identifier(login), *map(sql.Literal, literals)]
    connection.execute(sql.SQL(statement).format(*parts))
