"""Whether a settlement has its postings is asked of the index, however small the table was a moment ago."""

from __future__ import annotations

from alembic import op

revision = "r0024"
down_revision = "r0023"
branch_labels = None
depends_on = None

# A session keeps the plan it made while a part of posting was empty, and reads all of that part for every settlement
# until autovacuum has next seen it: in the first minutes of a centre, or of a year, a settlement was ten times as dear.
FUNCTION = "refuse_settlement_without_postings()"


def upgrade() -> None:
    op.execute(f"ALTER FUNCTION {FUNCTION} SET enable_seqscan = off")


def downgrade() -> None:
    op.execute(f"ALTER FUNCTION {FUNCTION} RESET enable_seqscan")
