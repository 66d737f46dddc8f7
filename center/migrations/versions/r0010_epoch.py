"""The epoch of this database, and what was restored."""

from __future__ import annotations

revision = "r0010"
down_revision = "r0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To be filled in by this round."""


def downgrade() -> None:
    """To be filled in by this round."""
