"""How fast each institution hands in, what it has of its front-end, how it behaves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from infra.database import Moment

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "admission",
        sa.Column("institution_code", sa.String(18), nullable=False),
        sa.Column("full_at", sa.Float(), nullable=False, comment="business seconds: when its bucket is full again"),
        sa.PrimaryKeyConstraint("institution_code"),
        comment="The token bucket before each institution's doors (domain.admission).",
    )
    op.create_table(
        "tenant_use",
        sa.Column("institution_code", sa.String(18), nullable=False),
        sa.Column("slot", sa.BigInteger(), autoincrement=False, nullable=False, comment="real seconds, in tens"),
        sa.Column(
            "busy_us",
            sa.BigInteger(),
            nullable=False,
            comment="processing time of the desks, in millionths of a second",
        ),
        sa.Column("claims", sa.BigInteger(), nullable=False),
        sa.Column("work", sa.BigInteger(), nullable=False, comment="domain.fairness.work_of their lines"),
        sa.PrimaryKeyConstraint("institution_code", "slot"),
        comment="What each institution has had of its front-end lately; kept for an hour.",
    )
    op.create_table(
        "tenant_conduct",
        sa.Column("institution_code", sa.String(18), nullable=False),
        sa.Column("lowered", sa.Integer(), nullable=False, comment="how often its weight is halved at the moment"),
        sa.Column("calm", sa.Integer(), nullable=False, comment="how many looks in a row found nothing"),
        sa.Column(
            "share", sa.Integer(), nullable=False, comment="of the processing time, in thousandths, at the last look"
        ),
        sa.Column("in_flight", sa.Integer(), nullable=False, comment="handed in and not answered, at the last look"),
        sa.Column("looked_at", Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("institution_code"),
        comment="How each institution behaves, by domain.fairness.judged.",
    )
    op.create_table(
        "tenant_event",
        sa.Column("event_id", _ID, autoincrement=True, nullable=False),
        sa.Column("institution_code", sa.String(18), nullable=False),
        sa.Column("at", Moment(timezone=True), nullable=False),
        sa.Column("lowered_from", sa.Integer(), nullable=False),
        sa.Column("lowered_to", sa.Integer(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False, comment="of the processing time, in thousandths"),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
        comment="Each time an institution's weight was lowered or restored.",
    )
    op.create_index("ix_tenant_event_institution", "tenant_event", ["institution_code", "event_id"])


def downgrade() -> None:
    op.drop_index("ix_tenant_event_institution", "tenant_event")
    for table in ("tenant_event", "tenant_conduct", "tenant_use", "admission"):
        op.drop_table(table)
