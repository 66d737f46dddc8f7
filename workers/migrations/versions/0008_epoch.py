"""The epoch of the centre, as this front-end last saw it."""

from __future__ import annotations

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To be filled in by this round."""


def downgrade() -> None:
    """To be filled in by this round."""
