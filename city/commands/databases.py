"""`jiesuan migrate`: a database to this release's schema."""

from __future__ import annotations

import sys

from city.commands import Stop
from infra.database import open_database
from infra.settings import Settings


def migrate(place: str) -> None:
    """Run the migrations that are missing. Raises MissingSetting."""
    settings = Settings()
    if place == "center":
        from center import schema

        settings.need("center_database_url")
        url, upgrade = settings.center_database_url, schema.upgrade
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
