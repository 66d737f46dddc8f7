"""How often a refused claim was deliberately sent again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "claim",
        sa.Column(
            "submission",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="how often it was deliberately sent again after a refusal",
        ),
    )


def downgrade() -> None:
    with op.batch_alter_table("claim") as batch:
        batch.drop_column("submission")
