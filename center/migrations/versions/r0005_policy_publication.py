"""Who published which policy set, and from which day it is in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_publication",
        sa.Column("publication_no", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False, comment="of the set, as in reference"),
        sa.Column("effective_date", sa.Date(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("published_by", sa.String(length=40), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("publication_no"),
        comment="Who published which policy set, and from when it is in force; the content is in reference.",
    )


def downgrade() -> None:
    """Forget who published; what is in force stays in force."""
    op.drop_table("policy_publication")
