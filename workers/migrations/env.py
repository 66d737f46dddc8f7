"""Alembic's environment for a front-end's database: the connection comes from workers.schema."""

from __future__ import annotations

from alembic import context

import workers.clearings.tables  # its tables belong to the model
import workers.reconciling.tables  # noqa: F401  # its tables belong to the model
from workers.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
