"""What `jiesuan exchange` does: tables, logins, and what waits in them."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from city.commands import REFUSED, TRY_LATER, WRONG_USAGE, Stop
from city.commands.configuration import masked
from infra.database import open_database, reading
from infra.settings import Settings
from producers.his.tables import postgres_ddl, postgres_site, sqlite
from producers.his.tables.incoming import waiting
from producers.his.tables.place import TABLES, Patron, address_of, open_tables, patrons
from producers.his.tables.postgres_site import DRESSES, Tenant
from producers.his.tables.sqlite import NoExchangeFile
from workers.tables import institution

PASSWORD_BYTES = 18
COUNTS = {"unread": "明细未读", "failed": "明细未通过", "refused_by_his": "HIS 未能读入"}
NOT_KNOWN = dict.fromkeys(COUNTS, "")


def create(institution_code: str, *, dress: list[str], admin_url: str, as_json: bool) -> None:
    """Make what is missing and print what the HIS department needs. Raises Stop."""
    settings, engine = _frontend()
    for one in dress:
        if one not in DRESSES:
            raise Stop(f"没有 {one} 这种版式，可选：{'、'.join(DRESSES)}", WRONG_USAGE)
    with reading(engine) as connection:
        found = _institution(connection, institution_code)
    tenant = Tenant(institution_code, found.short_code, tuple(dress))
    url = address_of(settings, institution_code)
    made = _file(url, tenant) if url.startswith("sqlite") else _login(url, tenant, admin_url)
    with engine.begin() as connection:
        connection.execute(
            update(institution)
            .where(institution.c.institution_code == institution_code)
            .values(exchange=TABLES, dress="gwyjb" if "gwyjb" in dress else "")
        )
    engine.dispose()
    _print(made, as_json=as_json)
    if "password" in made:
        print("密码只显示这一次；忘记时再运行一次本命令，会换成新密码", file=sys.stderr)


def show(*, as_json: bool) -> None:
    """Print each institution with shared tables: where they are and what waits. Raises MissingSetting."""
    settings, engine = _frontend()
    with reading(engine) as connection:
        rows = [_shown(settings, patron) for patron in patrons(connection)]
    engine.dispose()
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("机构", "位置", "状态", *COUNTS.values(), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("institution_code", "address", "state", *COUNTS)))
    Console().print(table)


def drop(institution_code: str, *, admin_url: str) -> None:
    """Take the login away and hand nothing out any more. Raises Stop."""
    settings, engine = _frontend()
    with reading(engine) as connection:
        found = _institution(connection, institution_code)
    url = address_of(settings, institution_code)
    if not url.startswith("sqlite"):
        with _admin(admin_url or url) as connection:
            if not postgres_site.dismiss(connection, Tenant(institution_code, found.short_code)):
                raise Stop(f"{institution_code} 没有登录", REFUSED)
    with engine.begin() as connection:
        connection.execute(
            update(institution).where(institution.c.institution_code == institution_code).values(exchange="api")
        )
    engine.dispose()
    print(f"{institution_code}：HIS 登录已取消，表中的记录保留", file=sys.stderr)


def _frontend() -> tuple[Settings, Engine]:
    settings = Settings()
    settings.need("frontend_database_url")
    return settings, open_database(settings.frontend_database_url)


def _institution(connection: Connection, institution_code: str) -> Any:
    found = connection.execute(
        select(institution).where(institution.c.institution_code == institution_code, institution.c.active)
    ).first()
    if found is None:
        raise Stop(f"本前置机没有机构 {institution_code}", REFUSED)
    return found


def _file(url: str, tenant: Tenant) -> dict[str, object]:
    try:
        made = sqlite.make_file(url, tenant.institution_code, tenant.short_code, tenant.dress)
    except sqlite.OtherDress:
        raise Stop(f"{make_url(url).database} 已按另一种版式建立，请先移走该文件", REFUSED) from None
    return {"institution_code": tenant.institution_code, "file": make_url(url).database, "made": made}


def _login(url: str, tenant: Tenant, admin_url: str) -> dict[str, object]:
    """The login and its connection, in the ways clients are told of it."""
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    with _admin(admin_url or url) as connection:
        made = postgres_site.make_tables(connection)
        services = make_url(url).username
        if services and services != connection.info.user:
            grant = f"GRANT {postgres_ddl.INSURANCE_ROLE} TO {{}}"
            connection.execute(sql.SQL(grant).format(sql.Identifier(services)))
        postgres_site.admit(connection, tenant, password)
    at = make_url(url)
    host, port, database = at.host or "127.0.0.1", at.port or 5432, at.database
    return {
        "institution_code": tenant.institution_code,
        "made": made,
        "login": tenant.login,
        "password": password,
        "host": host,
        "port": port,
        "database": database,
        "search_path": ", ".join(tenant.schemas),
        "jdbc": f"jdbc:postgresql://{host}:{port}/{database}?stringtype=unspecified",
        "odbc": f"Driver={{PostgreSQL Unicode}};Server={host};Port={port};Database={database};Uid={tenant.login};"
        "UseServerSidePrepare=0",
    }


@contextmanager
def _admin(url: str) -> Iterator[psycopg.Connection]:
    plain: URL = make_url(url).set(drivername="postgresql")
    try:
        connection = psycopg.connect(plain.render_as_string(hide_password=False), connect_timeout=5, autocommit=True)
    except psycopg.OperationalError as error:
        raise Stop(f"共享数据库连接不上（{type(error).__name__}）", TRY_LATER) from None
    with connection:
        try:
            yield connection
        except psycopg.errors.InsufficientPrivilege:
            raise Stop("当前数据库用户不能建立角色和数据表：用 --admin-url 给出可以的用户", REFUSED) from None


def _shown(settings: Settings, patron: Patron) -> dict[str, object]:
    url = address_of(settings, patron.institution_code)
    row: dict[str, object] = {"institution_code": patron.institution_code, "address": masked(url)}
    tables = open_tables(url)
    try:
        with tables.acting():
            pass
        unread, failed = waiting(tables, patron.owners)
        with reading(tables.engine) as connection:
            refused = tables.refused_by_his(connection, patron.owners)
        return row | {"state": "正常", "unread": unread, "failed": failed, "refused_by_his": refused}
    except NoExchangeFile:
        return row | {"state": "未建立"} | NOT_KNOWN
    except SQLAlchemyError as error:
        return row | {"state": f"连接不上（{type(error).__name__}）"} | NOT_KNOWN
    finally:
        tables.close()


def _print(made: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(made, ensure_ascii=False))
        return
    for name, value in made.items():
        print(f"{name}\t{value}")
