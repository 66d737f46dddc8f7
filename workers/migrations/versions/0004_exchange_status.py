"""How each institution's shared tables were found at the last look."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exchange_status",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "error",
            sa.String(length=64),
            nullable=False,
            server_default="",
            comment="why they could not be reached",
        ),
        sa.Column("unread", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("institution_code"),
        comment="How the poller found an institution's shared tables at its last look.",
    )


def downgrade() -> None:
    op.drop_table("exchange_status")
