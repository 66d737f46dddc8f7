"""A restored centre notes for which institutions a front-end was answered that it does not serve here any more, and in
which move each was last. What a move asks for is asked for ever more seldom, until something moves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0025"
down_revision = "r0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "catching_up",
        sa.Column(
            "strange",
            sa.ARRAY(sa.String(18)),
            server_default="{}",
            nullable=False,
            comment="institutions it was answered for and does not serve here: that was lost, and is to be done again",
        ),
    )
    op.add_column(
        "catching_up",
        sa.Column("moves", sa.LargeBinary(), comment="the last move of each of its institutions, as it says; packed"),
    )
    op.add_column(
        "move",
        sa.Column(
            "attempts", sa.Integer(), server_default="0", nullable=False, comment="sendings since anything moved"
        ),
    )


def downgrade() -> None:
    op.drop_column("move", "attempts")
    op.drop_column("catching_up", "moves")
    op.drop_column("catching_up", "strange")
