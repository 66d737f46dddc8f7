"""What is handed over is kept until the institution moves again; a restored centre gives moves high numbers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

MADE = "What this front-end hands over in a move: made once, sent {}."
CONTENT = "the message as it was made; null: {}"


def upgrade() -> None:
    op.add_column("bundle_made", sa.Column("institution_code", sa.String(18), server_default="", nullable=False))
    if op.get_bind().dialect.name == "postgresql":  # SQLite counts in 64 bits, and keeps no comments
        op.alter_column("claim", "carried", type_=sa.BigInteger())
        op.alter_column("bundle_made", "content", comment=CONTENT.format("the institution moved again"))
        op.create_table_comment("bundle_made", MADE.format("whenever the centre asks"))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("claim", "carried", type_=sa.Integer())
        op.alter_column("bundle_made", "content", comment=CONTENT.format("the centre has it"))
        op.create_table_comment("bundle_made", MADE.format("until the centre has it"))
    with op.batch_alter_table("bundle_made") as batch:
        batch.drop_column("institution_code")
