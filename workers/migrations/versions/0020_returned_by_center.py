"""A restored centre is told too what was given back for its lines, and which refused batches were given up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

BEFORE = "state IN ('refused', 'cancelled')"
NOW = f"({BEFORE} OR (state = 'returned' AND refused_at IS NOT NULL))"


def _index(name: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "claim", ["claim_id"], sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    op.drop_index("ix_claim_not_settled", table_name="claim")
    _index("ix_claim_refused", NOW)


def downgrade() -> None:
    op.drop_index("ix_claim_refused", table_name="claim")
    _index("ix_claim_not_settled", BEFORE)
