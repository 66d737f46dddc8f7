"""Leased entitlements, and local settlement."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("institution", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "way",
                sa.String(length=12),
                server_default="central",
                nullable=False,
                comment="who computes the benefit, as the centre says: central, or local and the centre confirms",
            )
        )
    with op.batch_alter_table("claim", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "local",
                sa.LargeBinary(),
                nullable=True,
                comment="domain.messages.ClaimAnswer as this front-end settled it itself, until the centre's answer",
            )
        )
    op.create_table(
        "entitlement",
        sa.Column("person_key", sa.LargeBinary(length=16), nullable=False, comment="digest of the identity number"),
        sa.Column(
            "version",
            sa.BigInteger(),
            nullable=False,
            comment="the person's at the centre, our own settlements counted in",
        ),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "content",
            sa.LargeBinary(),
            nullable=False,
            comment="domain.entitlement.Entitlement without identity number",
        ),
        sa.PrimaryKeyConstraint("person_key"),
        comment="What the centre said of persons who registered here, for a while. No name and no identity number.",
    )
    op.create_index("ix_entitlement_leased", "entitlement", ["leased_until"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_entitlement_leased", table_name="entitlement")
    op.drop_table("entitlement")
    with op.batch_alter_table("claim", schema=None) as batch_op:
        batch_op.drop_column("local")
    with op.batch_alter_table("institution", schema=None) as batch_op:
        batch_op.drop_column("way")
