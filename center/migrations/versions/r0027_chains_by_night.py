"""How each night's verification of the chains ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0027"
down_revision = "r0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_check",
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("chains", sa.Integer(), nullable=False),
        sa.Column("links", sa.BigInteger(), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("heads", sa.Integer(), nullable=False, comment="exported heads they were compared with"),
        sa.Column("newest_head_at", sa.DateTime(timezone=True), comment="when the newest of those was exported"),
        sa.Column("wrong", sa.Integer(), nullable=False, comment="what was not as it was written"),
        sa.PrimaryKeyConstraint("verified_at", name="chain_check_pkey"),
        comment="How each night's verification of the chains ended.",
    )


def downgrade() -> None:
    op.drop_table("chain_check")
