"""The epoch of this database, and what was restored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0010"
down_revision = "r0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "epoch",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False, comment="center.backup.epochs"),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "since",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="what was settled from here on may be missing",
        ),
        sa.Column(
            "high_water_no",
            sa.BigInteger(),
            nullable=False,
            comment="the last document number the restored database knew",
        ),
        sa.Column(
            "first_no", sa.BigInteger(), nullable=False, comment="the first number this life of the database gives"
        ),
        sa.Column(
            "archive",
            sa.String(length=64),
            nullable=False,
            comment="digest of the archive; empty: restored by other means",
        ),
        sa.Column("begun_by", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), comment="when settling went on; null: recovering"),
        sa.PrimaryKeyConstraint("epoch"),
        comment="Lives of this database after the first, which has no row.",
    )
    op.create_table(
        "catching_up",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column(
            "after_id",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="of the front-end: sent up to here",
        ),
        sa.Column("documents", sa.Integer(), server_default="0", nullable=False),
        sa.Column("asked_at", sa.Float(), server_default="0", nullable=False, comment="real seconds"),
        sa.Column("complete_at", sa.DateTime(timezone=True), comment="when its last document had come"),
        sa.Column("waived_by", sa.String(length=40), comment="who let the centre go on without it"),
        sa.Column("waived_reason", sa.Text()),
        sa.Column(
            "detail_after_no",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="detail is asked up to here",
        ),
        sa.Column("done_at", sa.DateTime(timezone=True), comment="when the missing detail was asked for, too"),
        sa.PrimaryKeyConstraint("epoch", "frontend"),
        comment="Which front-end has sent what this epoch lacks.",
    )
    op.create_table(
        "resent",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document_no", sa.BigInteger(), autoincrement=False, nullable=False, comment="as it was given"),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="msgpack of domain.messages.Resent"),
        sa.Column("came_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "outcome", sa.String(length=8), server_default="", nullable=False, comment="center.backup.taking.Outcome"
        ),
        sa.Column("words", sa.Text(), server_default="", nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("epoch", "document_no", "frontend"),
        sa.UniqueConstraint("epoch", "frontend", "visit_no", "charge_batch_no", name="uq_resent"),
        comment="What front-ends sent again, until it is taken up; then how that went.",
    )
    op.create_index("ix_resent_waits", "resent", ["epoch", "document_no"], postgresql_where=sa.text("outcome = ''"))


def downgrade() -> None:
    op.drop_table("resent")
    op.drop_table("catching_up")
    op.drop_table("epoch")
