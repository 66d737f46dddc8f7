"""The slice that is being used, chunks on their way, and detail due by institution and age."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from infra.database import Moment

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INDEX = "ix_claim_detail_due"
_DUE = sa.text("state = 'settled' AND detail_state = 0")


def upgrade() -> None:
    op.drop_index(_INDEX, "claim")
    op.create_index(
        _INDEX, "claim", ["institution_code", "settled_at", "claim_id"], sqlite_where=_DUE, postgresql_where=_DUE
    )
    op.create_table(
        "upload_slice",
        sa.Column(
            "fence", sa.BigInteger(), autoincrement=False, nullable=False, comment="its fencing number at the centre"
        ),
        sa.Column("window", sa.String(length=32), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False, comment="budget"),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="budget on the link; 0: without end"),
        sa.Column("shares", sa.LargeBinary(), nullable=False, comment="domain.messages.UploadShare rows"),
        sa.Column("cut_off", Moment(timezone=True), nullable=False, comment="exclusive"),
        sa.Column("claims_sent", sa.BigInteger(), nullable=False),
        sa.Column("lines_sent", sa.BigInteger(), nullable=False),
        sa.Column("bytes_sent", sa.BigInteger(), nullable=False),
        sa.Column("sent_of", sa.LargeBinary(), nullable=False, comment="lines sent, by institution"),
        sa.Column(
            "chunk_no", sa.BigInteger(), nullable=False, comment="the last chunk that was sent, in this slice or before"
        ),
        sa.PrimaryKeyConstraint("fence"),
        comment="The slice the centre granted last, and how far it has been used: one row.",
    )
    op.create_table(
        "upload_chunk",
        sa.Column(
            "chunk_no",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False, comment="domain.chunks"),
        sa.Column("sent_at", sa.Float(), nullable=False, comment="real seconds"),
        sa.PrimaryKeyConstraint("chunk_no"),
        comment="Chunks of detail on their way, until the centre answers with the same count, sum and digest.",
    )


def downgrade() -> None:
    op.drop_table("upload_chunk")
    op.drop_table("upload_slice")
    op.drop_index(_INDEX, "claim")
    op.create_index(_INDEX, "claim", ["claim_id"], sqlite_where=_DUE, postgresql_where=_DUE)
