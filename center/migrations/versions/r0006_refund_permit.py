"""What the office lets be taken back although the policy leaves it to the office: who, why, until when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refund_permit",
        sa.Column("permit_no", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False),
        sa.Column("permitted_by", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("permitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.Date(), nullable=False, comment="the last day of it"),
        sa.PrimaryKeyConstraint("permit_no"),
        comment="The office lets one settlement be taken back that the policy leaves to it.",
    )
    op.create_index("ix_refund_permit_visit", "refund_permit", ["visit_no", "charge_batch_no"])


def downgrade() -> None:
    op.drop_table("refund_permit")
