"""Two-phase settlement at the front-end: prepared, confirmed, cancelled, unknown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from infra.database import Moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UNDECIDED = "phase <> 'settle' AND state IN ('totalled', 'prepared')"


def upgrade() -> None:
    for column in _of_claim():
        op.add_column("claim", column)
    op.create_index(
        "ix_claim_undecided",
        "claim",
        ["institution_code", "claim_id"],
        sqlite_where=sa.text(_UNDECIDED),
        postgresql_where=sa.text(_UNDECIDED),
    )
    op.create_table(
        "tombstone",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("cancelled_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("institution_code", "idempotency_key"),
        comment="Keys that were cancelled before a claim came under them: one that still comes is not accepted.",
    )


def downgrade() -> None:
    """Decide what is prepared first: an older release does not know that state, nor that of what is cancelled."""
    op.drop_table("tombstone")
    op.drop_index("ix_claim_undecided", "claim")
    for column in reversed(_of_claim()):
        op.drop_column("claim", column.name)


def _of_claim() -> list[sa.Column[object]]:
    return [
        sa.Column(
            "phase",
            sa.String(length=8),
            server_default="settle",
            nullable=False,
            comment="domain.outcomes.Phase: what is asked of the centre about it",
        ),
        sa.Column(
            "expires_at",
            Moment(),
            nullable=True,
            comment="prepared: about when the centre lets it expire, by our clock; it decides",
        ),
        sa.Column(
            "waits_for",
            sa.String(length=32),
            nullable=True,
            comment="totalled, prepared: the refusal that holds it up at the centre",
        ),
        sa.Column("decided_at", Moment(), nullable=True, comment="when it was said that it be confirmed or cancelled"),
        sa.Column("decided_by", sa.String(length=40), nullable=True, comment="who said so; null: its institution"),
    ]
