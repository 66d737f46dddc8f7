"""Refusals of refunds stay the answer: they are kept by the number of the request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0023"
down_revision = "r0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refused_refund",
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("contra_batch_no", sa.Integer(), nullable=False, comment="the number of the request"),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False, comment="what it would have taken back"),
        sa.Column("refusal", sa.String(length=32), nullable=False, comment="domain.refusals.Refusal"),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "visit_no", "contra_batch_no", "institution_code", "frontend", "charge_batch_no", name="refused_refund_pkey"
        ),
        comment="Refunds the centre refused: the answer of their copies.",
    )
    op.execute(
        "CREATE TRIGGER refused_refund_is_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON refused_refund"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.drop_table("refused_refund")
