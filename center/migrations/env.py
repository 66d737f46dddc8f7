"""What Alembic runs: the migrations of the centre's database, on the connection that center.schema hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

import center.approving.tables  # its tables belong to the model
import center.backup.tables  # its tables belong to the model
import center.catalogue.tables  # its tables belong to the model
import center.clearing.tables  # its tables belong to the model
import center.conservation.tables  # its tables belong to the model
import center.correcting.tables
import center.ledger.tables  # its tables belong to the model
import center.offline.tables  # its tables belong to the model
import center.outcomes.tables  # its tables belong to the model
import center.reconciling.tables  # its tables belong to the model
import center.serving.tables  # its tables belong to the model
import center.uploading.tables  # noqa: F401  # its tables belong to the model
from center.tables import metadata

connection = context.config.attributes["connection"]
# Two deployments that start together migrate one after the other.
connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('jiesuan center migrations'))"))
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
