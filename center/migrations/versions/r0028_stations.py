"""From which login of which machine a proposal was made and decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0028"
down_revision = "r0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, comment in (("proposed_from", "login@machine, infra.database"), ("decided_from", "login@machine")):
        op.add_column(
            "proposal", sa.Column(name, sa.String(length=63), nullable=False, server_default="", comment=comment)
        )


def downgrade() -> None:
    op.drop_column("proposal", "decided_from")
    op.drop_column("proposal", "proposed_from")
