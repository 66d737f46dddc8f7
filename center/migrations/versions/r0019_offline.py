"""Off-line settlement: what is leased of accounts, and front-ends that are not heard or have another time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0019"
down_revision = "r0018"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "offline_lease",
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("frontend", sa.String(32), nullable=False),
        sa.Column(
            "limit_fen", sa.BigInteger(), nullable=False, comment="the most it may spend of the account, unheard"
        ),
        sa.Column("leased_at", _MOMENT, nullable=False),
        sa.Column("until", _MOMENT, nullable=False, comment="the last moment any of it may be posted"),
        sa.PrimaryKeyConstraint("person_no", "frontend"),
        comment="What was leased of personal accounts for off-line use: the worst case is the sum (domain.offline).",
    )
    op.create_index("ix_offline_lease_until", "offline_lease", ["until"])
    op.create_table(
        "frontend_trouble",
        sa.Column("frontend", sa.String(32), nullable=False, comment="as the envelope says; `?` for names nobody has"),
        sa.Column(
            "kind",
            sa.String(8),
            nullable=False,
            comment="key: not sealed with its key; clock: another time than ours",
        ),
        sa.Column("first_at", _MOMENT, nullable=False),
        sa.Column("last_at", _MOMENT, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("frontend", "kind"),
        comment="Front-ends whose messages the centre cannot open, or whose clock is wrong, as last seen.",
    )


def downgrade() -> None:
    op.drop_table("frontend_trouble")
    op.drop_index("ix_offline_lease_until", "offline_lease")
    op.drop_table("offline_lease")
