"""Clearings as the centre told them, what institutions say of them; when a claim was refused; who decided what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from infra.database import Moment

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "told_clearing",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("period_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=7), nullable=False, comment="the month it ends in"),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="domain.clearings.ToldClearing"),
        sa.Column("told_at", Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("institution_code", "period_no"),
        comment="The periods of each institution, as the centre told them last.",
    )
    op.create_index("ix_told_clearing_month", "told_clearing", ["institution_code", "name"])
    op.create_table(
        "said_of_clearing",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("period_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("decided_at", Moment(timezone=True), nullable=False),
        sa.Column("clearing_no", sa.BigInteger(), nullable=False, comment="whose figures were looked at"),
        sa.Column("decision", sa.String(length=8), nullable=False, comment="domain.clearings.Decision"),
        sa.Column("said_by", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column(
            "rung_at", sa.Float(), server_default="0", nullable=False, comment="real seconds: not sent again before"
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("heard_at", Moment(timezone=True), nullable=True, comment="when the centre's answer was here"),
        sa.Column("code", sa.String(length=24), server_default="", nullable=False, comment="domain.clearings.Refused"),
        sa.Column("words", sa.String(length=200), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("institution_code", "period_no", "decided_at"),
        comment="What institutions say of their clearings, the newest of each clearing in force.",
    )
    op.create_table(
        "audit",
        sa.Column(
            "audit_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", Moment(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.PrimaryKeyConstraint("audit_id"),
        comment="Who decided what in an institution's place, and why.",
    )
    op.add_column(
        "claim", sa.Column("refused_at", Moment(timezone=True), nullable=True, comment="by the centre, or cancelled")
    )
    op.create_index(
        "ix_claim_not_settled",
        "claim",
        ["claim_id"],
        sqlite_where=sa.text("claim.state IN ('refused', 'cancelled')"),
        postgresql_where=sa.text("state IN ('refused', 'cancelled')"),
    )


def downgrade() -> None:
    op.drop_index("ix_claim_not_settled", table_name="claim")
    with op.batch_alter_table("claim") as batch:
        batch.drop_column("refused_at")
    for table in ("audit", "said_of_clearing", "told_clearing"):
        op.drop_table(table)
