"""What one operator proposed and another one approved."""

from __future__ import annotations

revision = "r0011"
down_revision = "r0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To be filled in by this round."""


def downgrade() -> None:
    """To be filled in by this round."""
