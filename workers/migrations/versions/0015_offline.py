"""The link down: claims that wait to be sent, estimates, off-line settlement, and what is known of the link."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from infra.database import Moment

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("queued_at", Moment(), comment="the link was down: since when it waits to be sent"),
        sa.Column("released_at", Moment(), comment="queued: when the drain let it go, in the order of its person"),
        sa.Column(
            "person_key",
            sa.LargeBinary(16),
            comment="queued: digest of the identity number, workers.entitlement.key_of",
        ),
        sa.Column(
            "estimate",
            sa.LargeBinary(),
            comment="queued: ClaimAnswer it would come to by the leased standing; no result",
        ),
        sa.Column(
            "offline_at",
            Moment(),
            comment="when it was settled off-line; `local` holds the result, true to the patient",
        ),
        sa.Column(
            "offline",
            sa.LargeBinary(),
            comment="domain.messages.LocalResult of the off-line settlement, to be posted",
        ),
        sa.Column(
            "offline_fen",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="what the account paid off-line",
        ),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column("claim", column)
    for name, columns, where in (
        ("ix_claim_queued", ["person_key", "claim_id"], "state IN ('accepted', 'totalled') AND queued_at IS NOT NULL"),
        ("ix_claim_offline", ["person_key", "offline_at"], "offline_at IS NOT NULL"),
    ):
        condition = sa.text(where)
        op.create_index(name, "claim", columns, sqlite_where=condition, postgresql_where=condition)
    op.create_table(
        "link",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False, comment="1: there is one row"),
        sa.Column("state", sa.String(8), nullable=False, comment="domain.link.LinkState"),
        sa.Column("since", Moment(), nullable=False, comment="when it came to this state"),
        sa.Column("fresh_until", Moment(), nullable=False, comment="noted anew before then, or nobody looks any more"),
        sa.Column("heard_at", Moment(), comment="the last answer of the centre"),
        sa.Column("skew_seconds", sa.Float(), comment="how far the centre's clock is ahead of ours"),
        sa.Column("uncertain_seconds", sa.Float(), comment="half the round trip it was measured by"),
        sa.Column(
            "unheard_at",
            Moment(),
            comment="when something sealed with another key came on our lane; null: nothing did",
        ),
        sa.PrimaryKeyConstraint("only"),
        comment="What is known of the link to the centre: one row, written by the process that hears the centre.",
    )


def downgrade() -> None:
    op.drop_table("link")
    op.drop_index("ix_claim_offline", "claim")
    op.drop_index("ix_claim_queued", "claim")
    with op.batch_alter_table("claim") as batch:
        for column in reversed(_columns()):
            batch.drop_column(column.name)
