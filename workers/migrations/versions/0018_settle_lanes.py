"""Claims are spread over settle lanes by person, where the centre says so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "institution",
        sa.Column(
            "settle_lanes",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="its claims are spread over so many",
        ),
    )


def downgrade() -> None:
    with op.batch_alter_table("institution") as batch:
        batch.drop_column("settle_lanes")
