"""The terms of an institution as the centre gives them, and what travels when it moves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_WAY = "who computes the benefit, as the centre says: central, or local and the centre confirms"
_TABLE = "The institutions this front-end serves or served, on the terms the centre gave (workers.terms)."


def _terms() -> list[sa.Column[object]]:
    return [
        sa.Column(
            "size", sa.String(12), server_default="small", nullable=False, comment="domain.institution_class.Size"
        ),
        sa.Column(
            "weight", sa.Integer(), server_default="10", nullable=False, comment="share of this front-end, 1 to 100"
        ),
        sa.Column("rate_per_second", sa.Integer(), server_default="0", nullable=False, comment="claims; 0: no limit"),
        sa.Column(
            "burst", sa.Integer(), server_default="0", nullable=False, comment="claims; 0: ten seconds of the rate"
        ),
        sa.Column(
            "suspended", sa.String(60), server_default="", nullable=False, comment="why it takes nothing, in Chinese"
        ),
        sa.Column("connection", sa.String(12), server_default="own", nullable=False, comment="domain.terms.Connection"),
        sa.Column("standing", sa.String(12), server_default="open", nullable=False, comment="domain.terms.Standing"),
        sa.Column(
            "moved_to", sa.String(32), server_default="", nullable=False, comment="who takes what is new instead"
        ),
        sa.Column(
            "move_no", sa.BigInteger(), server_default="0", nullable=False, comment="the last move it had a part in"
        ),
        sa.Column(
            "offline",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may settle off-line (AMB-47)",
        ),
        sa.Column("offline_claim_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("offline_total_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("offline_hours", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "terms_version",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="0: the centre has not named it yet",
        ),
    ]


def upgrade() -> None:
    """Nothing moves yet: every institution is open here, until the centre says on which terms."""
    for column in _terms():
        op.add_column("institution", column)
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("institution", "way", comment="who computes the benefit, as the centre says: domain.ways.Way")
        op.create_table_comment("institution", _TABLE)
    op.add_column(
        "reference",
        sa.Column(
            "edition",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="rises as matches of further institutions come to it",
        ),
    )
    op.add_column(
        "claim",
        sa.Column(
            "origin",
            sa.String(32),
            server_default="",
            nullable=False,
            comment="the front-end in whose books it stands, where it came with a move; empty: in ours",
        ),
    )
    op.add_column(
        "claim",
        sa.Column(
            "carried",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="the last move its key was told in, and below zero: the one it travelled in itself",
        ),
    )
    op.add_column(
        "visit",
        sa.Column(
            "moved_to",
            sa.String(32),
            server_default="",
            nullable=False,
            comment="the front-end where it is live now; empty: here",
        ),
    )
    _bundles()


def _bundles() -> None:
    op.create_table(
        "bundle_made",
        sa.Column("move_no", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("bundle_no", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary(), comment="the message as it was made; null: the centre has it"),
        sa.Column("whole", sa.Boolean(), nullable=False, comment="with it and those before it the target can open"),
        comment="What this front-end hands over in a move: made once, sent until the centre has it.",
    )
    op.create_table(
        "bundle_taken",
        sa.Column("move_no", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("bundle_no", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("taken_at", _MOMENT, nullable=False),
        comment="What this front-end took over in a move, once each.",
    )
    op.create_table(
        "arriving",
        sa.Column("visit_no", sa.String(16), primary_key=True),
        sa.Column(
            "charge_batch_no", sa.Integer(), primary_key=True, autoincrement=False, comment="0: the visit itself"
        ),
        sa.Column("institution_code", sa.String(18), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("content_digest", sa.LargeBinary(16), nullable=False),
        sa.Column("frontend", sa.String(32), nullable=False, comment="where it still is"),
        sa.Column("move_no", sa.BigInteger(), nullable=False),
        comment="What the front-end an institution came from had accepted, and has not handed over yet.",
    )
    op.create_index("ix_arriving_key", "arriving", ["institution_code", "idempotency_key"])


def downgrade() -> None:
    for table in ("arriving", "bundle_taken", "bundle_made"):
        op.drop_table(table)
    with op.batch_alter_table("visit") as batch:
        batch.drop_column("moved_to")
    with op.batch_alter_table("claim") as batch:
        batch.drop_column("carried")
        batch.drop_column("origin")
    with op.batch_alter_table("reference") as batch:
        batch.drop_column("edition")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_table_comment("institution", existing_comment=_TABLE)
        op.alter_column("institution", "way", comment=_WAY)
    with op.batch_alter_table("institution") as batch:
        for column in reversed(_terms()):
            batch.drop_column(column.name)
