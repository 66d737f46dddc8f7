"""How a claim went to the centre, and how often it was totalled anew for what is in force there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every claim that is here went, or goes, as totals."""
    op.add_column(
        "claim",
        sa.Column(
            "sent_lines",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="it went to the centre with all its lines, and goes so again until it is answered",
        ),
    )
    op.add_column(
        "claim",
        sa.Column(
            "retotalled",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="how often it was totalled anew because other reference data was in force at the centre",
        ),
    )


def downgrade() -> None:
    """A claim on its way is settled all the same; sent again it goes as totals, and is refused if they are not its."""
    with op.batch_alter_table("claim") as batch:
        batch.drop_column("retotalled")
        batch.drop_column("sent_lines")
