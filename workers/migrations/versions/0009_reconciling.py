"""Books of the HIS, and what came of comparing them."""

from __future__ import annotations

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To be filled in by this round."""


def downgrade() -> None:
    """To be filled in by this round."""
