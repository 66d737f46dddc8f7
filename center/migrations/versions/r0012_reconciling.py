"""Reconciliation: books that came in, differences by class, repairs."""

from __future__ import annotations

revision = "r0012"
down_revision = "r0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To be filled in by this round."""


def downgrade() -> None:
    """To be filled in by this round."""
