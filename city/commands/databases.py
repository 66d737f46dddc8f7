"""`jiesuan migrate`: a database to this release's schema."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from sqlalchemy import Engine

from city.commands import Stop
from infra.database import open_database
from infra.settings import Settings


def migrate(place: str) -> None:
    """Run the migrations that are missing. Raises MissingSetting."""
    settings = Settings()
    if place == "center":
        settings.need("center_database_url")
        url: str = settings.center_migration_url
        upgrade: Callable[[Engine], None] = partial(_center, application_url=settings.center_database_url)
    else:
        from workers import schema as frontend_schema

        settings.need("frontend_database_url")
        url, upgrade = settings.frontend_database_url, frontend_schema.upgrade
    if place == "center" and url.startswith("sqlite"):
        raise Stop("中心数据库必须是 PostgreSQL", 2)
    engine = open_database(url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()
    print("数据库已是本版本的结构" if sys.stderr.isatty() else f"{place}: migrated", file=sys.stderr)


def _center(engine: Engine, *, application_url: str) -> None:
    from center import privileges, schema

    schema.upgrade(engine)
    with engine.begin() as connection:
        if not privileges.admit(connection, application_url):
            print(
                f"应用登录还没有权限：请由数据库管理员建立该登录，并执行 GRANT {privileges.ROLE} TO 该登录",
                file=sys.stderr,
            )
