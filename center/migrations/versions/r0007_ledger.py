"""The ledger holds every document, its accounts, the chain, the audit."""

from __future__ import annotations

revision = "r0007"
down_revision = "r0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To be filled in by this round."""


def downgrade() -> None:
    """To be filled in by this round."""
