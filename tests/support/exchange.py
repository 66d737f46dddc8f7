"""An exchange database with institutions, on PostgreSQL or in a file, and connections as both systems have them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from producers.his.fields import Field, layout
from producers.his.tables import postgres_ddl
from producers.his.tables.objects import TABLES, VIEWS
from producers.his.tables.postgres_site import Tenant, admit, make_tables
from producers.his.tables.sqlite import make_file

HOSPITAL = Tenant("440100000001", "T00001")
CLINIC = Tenant("440100000002", "T00002")
PASSWORD = "of-a-test"
INSURANCE_LOGIN = "insurance_of_a_test"
DAY = date(2026, 3, 2)
VISIT = "T000012603020001"


def make_exchange(url: str, *tenants: Tenant) -> None:
    """The shared tables in an empty PostgreSQL database, a login for each institution and one for the insurance."""
    with psycopg.connect(url, autocommit=True) as connection:
        make_tables(connection)
        for tenant in tenants:
            admit(connection, tenant, PASSWORD)
        there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [INSURANCE_LOGIN]).fetchone()
        if there is None:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                    sql.Identifier(INSURANCE_LOGIN),
                    sql.Literal(PASSWORD),
                    sql.Identifier(postgres_ddl.INSURANCE_ROLE),
                )
            )


def his(url: str, tenant: Tenant = HOSPITAL, *, autocommit: bool = True) -> psycopg.Connection:
    """A connection as the HIS of an institution has it: its login, and nothing set by hand."""
    return psycopg.connect(_as(url, tenant.login), autocommit=autocommit)


def insurance(url: str) -> psycopg.Connection:
    """A connection with the insurance system's login."""
    connection = psycopg.connect(_as(url, INSURANCE_LOGIN), autocommit=True)
    connection.execute("SET search_path = his")
    return connection


def exchange_file(folder: Path, tenant: Tenant = HOSPITAL) -> Path:
    """A new SQLite file with the institution's shared tables."""
    file = folder / f"exchange-{uuid4().hex[:8]}.db"
    make_file(f"sqlite:///{file}", tenant.institution_code, tenant.short_code, tenant.dress)
    return file


def file_of_his(file: Path) -> sqlite3.Connection:
    """The file as a HIS opens it: the plain module, every statement its own transaction."""
    return sqlite3.connect(file, isolation_level=None)


@contextmanager
def file_as_insurance(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """The insurance system acts on this connection, until the block's transaction is rolled back."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE exchange_actor SET who = 'insurance_system'")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


def a_row(table: str, **values: Any) -> dict[str, Any]:
    """A row of a table or view with something in every column; the key and the owner as the tests have them."""
    row = {field.code: _something(field) for field in layout(table)}
    row |= {code: value for code, value in _OWN.items() if code in row}
    return row | values


def insert_sql(table: str, row: Mapping[str, Any], *, mark: str) -> tuple[str, Sequence[Any]]:
    """An INSERT with a column list, in the placeholder style of the driver."""
    places = ", ".join([mark] * len(row))
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values())


def literal_insert(table: str, row: Mapping[str, Any]) -> str:
    """INSERT INTO table VALUES (…): no column list, every value a literal, as deployed products write it."""
    return f"INSERT INTO {table} VALUES ({', '.join(_literal(row[code]) for code in layout(table).codes)})"


def _something(field: Field) -> Any:
    match field.kind:
        case "C":
            return "1"
        case "D":
            return DAY.isoformat()
        case _:
            return 0 if field.code == "DRBZ" else 1


def _literal(value: Any) -> str:
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def _as(url: str, login: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.split('+')[0]}://{login}:{PASSWORD}@{rest.partition('@')[2]}"


_OWN = {
    "JYDJH": VISIT,
    "YYBH": HOSPITAL.institution_code,
    "HOSPITAL_ID": HOSPITAL.institution_code,
    "GMSFHM": "11010519491231002X",
    "BZ1": "2026-03-02 12:00:00",
    "XMBH": "L001",
    "XMMC": "阿莫西林胶囊",
    "JG": "12.5000",
    "MCYL": "2",
    "JE": "25.00",
    "SELF_SCALE": "0.10",
}

EVERYTHING = (*TABLES, *VIEWS)
