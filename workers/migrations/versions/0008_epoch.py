"""The epoch of the centre, as this front-end last saw it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from infra.database import Moment

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "center_epoch",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False, comment="1: there is one row"),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("met_at", Moment(), nullable=True, comment="null: the first one"),
        sa.PrimaryKeyConstraint("only"),
        comment="The latest epoch of the centre this front-end has met: one row, which whoever records locks.",
    )
    op.execute('INSERT INTO center_epoch ("only", epoch) VALUES (1, 1)')


def downgrade() -> None:
    op.drop_table("center_epoch")
