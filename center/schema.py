"""Brings the centre's database to the schema of this release, and says whether it is there."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database up to the revision; nothing happens when it is there already."""
    with engine.begin() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to an earlier revision, for example "-1"; tables it did not have are dropped."""
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def is_current(connection: Connection) -> bool:
    """Whether the database has the schema of this release."""
    held = MigrationContext.configure(connection).get_current_revision()
    return held == ScriptDirectory.from_config(_config(connection)).get_current_head()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "center:migrations")
    config.attributes["connection"] = connection
    return config
