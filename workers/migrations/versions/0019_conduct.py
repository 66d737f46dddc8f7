"""How an institution behaves is kept where it changes; what was measured stands in `tenant_event`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from infra.database import Moment

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tenant_conduct") as batch:
        for name in ("share", "in_flight", "looked_at"):
            batch.drop_column(name)


def downgrade() -> None:
    op.execute("DELETE FROM tenant_conduct")  # nobody is held back any more: the next looks judge anew
    with op.batch_alter_table("tenant_conduct") as batch:
        batch.add_column(sa.Column("share", sa.Integer(), nullable=False))
        batch.add_column(sa.Column("in_flight", sa.Integer(), nullable=False))
        batch.add_column(sa.Column("looked_at", Moment(timezone=True), nullable=False))
