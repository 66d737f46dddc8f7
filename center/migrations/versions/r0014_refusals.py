"""Refusals stay the answer: a refused claim is kept with the number of its submission."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0014"
down_revision = "r0013"
branch_labels = None
depends_on = None

_KEY = ("visit_no", "charge_batch_no", "digest", "refusal")
_COMMENT = "Claims the centre refused: a person looks."


def upgrade() -> None:
    """What is parked was answered; all of it to a first submission."""
    op.add_column(
        "parked",
        sa.Column(
            "submission",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="how often it had been sent again after a refusal",
        ),
    )
    op.drop_constraint("uq_parked", "parked", type_="unique")
    op.create_unique_constraint("uq_parked", "parked", [*_KEY, "institution_code", "frontend", "submission"])
    op.create_table_comment(
        "parked",
        "Claims the centre refused: the answer of their copies, and a person looks.",
        existing_comment=_COMMENT,
    )


def downgrade() -> None:
    """The first refusal of each reason is kept, as it was before."""
    op.execute(
        "DELETE FROM parked USING parked AS first WHERE first.parked_id < parked.parked_id"
        " AND (first.visit_no, first.charge_batch_no, first.digest, first.refusal)"
        " = (parked.visit_no, parked.charge_batch_no, parked.digest, parked.refusal)"
    )
    op.drop_constraint("uq_parked", "parked", type_="unique")
    op.create_unique_constraint("uq_parked", "parked", list(_KEY))
    op.drop_column("parked", "submission")
    op.create_table_comment("parked", _COMMENT)
