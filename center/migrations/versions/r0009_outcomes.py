"""Two-phase settlement: what is prepared, confirmed, cancelled, expired."""

from __future__ import annotations

revision = "r0009"
down_revision = "r0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To be filled in by this round."""


def downgrade() -> None:
    """To be filled in by this round."""
