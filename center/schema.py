"""Brings the centre's database to the schema of this release, and says whether it is there."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from center import privileges


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database up to the revision, and the application's role to its privileges in it."""
    with engine.begin() as connection:
        upgrade_within(connection, revision)


def upgrade_within(connection: Connection, revision: str = "head") -> None:
    """As `upgrade`, in the caller's transaction."""
    command.upgrade(_config(connection), revision)
    privileges.grant(connection)


def is_known(revision: str) -> bool:
    """Whether this release has, or had, a schema of this revision."""
    script = ScriptDirectory.from_config(_config(None))
    return revision in {each.revision for each in script.walk_revisions()}


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to an earlier revision, for example "-1"; tables it did not have are dropped."""
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def is_current(connection: Connection) -> bool:
    """Whether the database has the schema of this release."""
    held = MigrationContext.configure(connection).get_current_revision()
    return held == ScriptDirectory.from_config(_config(connection)).get_current_head()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", "center:migrations")
    config.attributes["connection"] = connection
    return config
