"""Warnings of imported lines: RYRQ not the registration's (AMB-06), FLDM not the centre's (AMB-39)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "line_warning",
        sa.Column(
            "warning_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("code", sa.String(length=2), nullable=False, comment="domain.codes.WARNINGS; never in BZ3"),
        sa.Column("line", sa.LargeBinary(), nullable=False, comment="the line as it was imported: pack_lines of one"),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("warning_id"),
        comment="The log of lines that were imported with a warning. It holds up nothing.",
    )
    op.create_index("ix_line_warning_found", "line_warning", ["institution_code", "found_at"])
    op.create_index("ix_line_warning_visit", "line_warning", ["visit_no"])


def downgrade() -> None:
    op.drop_table("line_warning")
