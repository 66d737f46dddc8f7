"""Claims that come with their lines: a refusal keeps which lines failed, so that every copy is answered alike."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0018"
down_revision = "r0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Whatever is parked already came as totals."""
    op.add_column(
        "parked",
        sa.Column(
            "failed",
            sa.LargeBinary(),
            server_default="",
            nullable=False,
            comment="msgpack of domain.messages.FailedLine rows, of a claim that came with its lines",
        ),
    )


def downgrade() -> None:
    """What failed is still in the words of the refusal."""
    op.drop_column("parked", "failed")
