"""Contra settlements: each names the settlement it takes back, and no settlement is taken back twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the link, unique, and the rule that a contra has one and nothing else has."""
    op.add_column(
        "settlement",
        sa.Column("contra_of", sa.BigInteger(), nullable=True, comment="settlement_no of the one it takes back"),
    )
    op.alter_column("settlement", "kind", comment="normal; contra: takes another one back")
    op.add_column(
        "settlement",
        sa.Column("reason", sa.String(length=120), server_default="", nullable=False, comment="why it was refunded"),
    )
    op.create_index(
        "uq_settlement_contra_of",
        "settlement",
        ["contra_of"],
        unique=True,
        postgresql_where=sa.text("contra_of IS NOT NULL"),
    )
    op.create_check_constraint("ck_settlement_contra", "settlement", "(kind = 'contra') = (contra_of IS NOT NULL)")


def downgrade() -> None:
    """Take the link away again."""
    op.alter_column("settlement", "kind", comment="normal; contra settlements come with their own issue")
    op.drop_constraint("ck_settlement_contra", "settlement", type_="check")
    op.drop_index("uq_settlement_contra_of", "settlement")
    op.drop_column("settlement", "reason")
    op.drop_column("settlement", "contra_of")
