"""Published reference data with the days it holds, and the parts of catalogues."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "reference",
        sa.Column("effective_date", sa.Date(), nullable=True, comment="first day it is in force; null: since ever"),
    )
    op.add_column(
        "reference",
        sa.Column("retired_on", sa.Date(), nullable=True, comment="the day another one took its place"),
    )
    op.add_column(
        "reference",
        sa.Column(
            "withdrawn",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="before its day had come",
        ),
    )
    op.create_table(
        "reference_part",
        sa.Column(
            "digest",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="infra.publication.digest_of its content",
        ),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        comment="Parts of published catalogues, named by their content: what is here need not be fetched again.",
    )


def downgrade() -> None:
    """Drop the parts and the days; the version in force stays in force."""
    op.drop_table("reference_part")
    with op.batch_alter_table("reference") as reference:
        for column in ("withdrawn", "retired_on", "effective_date"):
            reference.drop_column(column)
