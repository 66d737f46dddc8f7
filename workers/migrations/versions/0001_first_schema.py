"""The first schema of a front-end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "claim",
        sa.Column(
            "claim_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False, comment="就医登记号 JYDJH"),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False, comment="费用批次 FYPC"),
        sa.Column("channel", sa.String(length=8), nullable=False, comment="api or dbf"),
        sa.Column(
            "source",
            sa.String(length=80),
            server_default="",
            nullable=False,
            comment="the exchange file it came in",
        ),
        sa.Column(
            "idempotency_key",
            sa.String(length=255),
            nullable=True,
            comment="the caller's key; kept as long as the claim",
        ),
        sa.Column(
            "content_digest",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="digest of what was handed in",
        ),
        sa.Column("state", sa.String(length=10), nullable=False, comment="domain.lifecycle.ClaimState"),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False, comment="sum of the line amounts handed in"),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("totals", sa.LargeBinary(), nullable=True, comment="domain.messages.ClaimTotals"),
        sa.Column(
            "catalogue_version",
            sa.String(length=64),
            nullable=True,
            comment="the versions it was totalled with",
        ),
        sa.Column("policy_version", sa.String(length=64), nullable=True),
        sa.Column(
            "rung_at",
            sa.Float(),
            server_default="0",
            nullable=False,
            comment="real seconds: last doorbell or sending",
        ),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="how often it was sent to the centre",
        ),
        sa.Column("answer", sa.LargeBinary(), nullable=True, comment="domain.messages.ClaimAnswer"),
        sa.Column("refusal", sa.String(length=32), nullable=True, comment="domain.refusals.Refusal"),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_day", sa.Date(), nullable=True),
        sa.Column("fund_pay_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("account_pay_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "detail_state",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="0 due, 1 at the centre, 2 mismatch",
        ),
        sa.Column(
            "handed_back",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="given back by its door",
        ),
        sa.PrimaryKeyConstraint("claim_id"),
        sa.UniqueConstraint("institution_code", "idempotency_key", name="uq_claim_idempotency"),
        sa.UniqueConstraint("visit_no", "charge_batch_no", name="uq_claim_key"),
    )
    with op.batch_alter_table("claim", schema=None) as batch_op:
        batch_op.create_index(
            "ix_claim_detail_due",
            ["claim_id"],
            unique=False,
            sqlite_where=sa.text("state = 'settled' AND detail_state = 0"),
            postgresql_where=sa.text("state = 'settled' AND detail_state = 0"),
        )
        batch_op.create_index(
            "ix_claim_open",
            ["state", "institution_code", "claim_id"],
            unique=False,
            sqlite_where=sa.text("state IN ('accepted', 'totalled')"),
            postgresql_where=sa.text("state IN ('accepted', 'totalled')"),
        )
        batch_op.create_index("ix_claim_settled_day", ["settled_day", "institution_code"], unique=False)
        batch_op.create_index(
            "ix_claim_to_hand_back",
            ["institution_code", "claim_id"],
            unique=False,
            sqlite_where=sa.text("channel = 'dbf' AND NOT handed_back"),
            postgresql_where=sa.text("channel = 'dbf' AND NOT handed_back"),
        )

    op.create_table(
        "claim_content",
        sa.Column(
            "claim_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "visit",
            sa.LargeBinary(),
            nullable=False,
            comment="domain.visit.Visit: the only place of a name and an identity",
        ),
        sa.Column("lines", sa.LargeBinary(), nullable=False, comment="domain.visit.pack_lines"),
        sa.PrimaryKeyConstraint("claim_id"),
        comment="What was handed in, written once and never changed.",
    )
    op.create_table(
        "institution",
        sa.Column("institution_code", sa.String(length=18), nullable=False, comment="医院编号 YYBH"),
        sa.Column(
            "short_code",
            sa.String(length=6),
            nullable=False,
            comment="first six characters of its visit numbers",
        ),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="hospital, clinic or pharmacy"),
        sa.Column("level", sa.Integer(), nullable=False, comment="institution level 0 to 3"),
        sa.Column(
            "api_key_hash",
            sa.String(length=64),
            nullable=True,
            comment="SHA-256 of its API key, hex; no key, no API",
        ),
        sa.Column("backlog_cap", sa.Integer(), nullable=False, comment="most open claims before it is told to wait"),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("institution_code"),
        sa.UniqueConstraint("short_code"),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Float(), nullable=False, comment="real seconds"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "quarantine",
        sa.Column(
            "quarantine_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queue", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="sealed with the site's key"),
        sa.PrimaryKeyConstraint("quarantine_id"),
        comment="What could not be read from a queue: set aside, never logged, never lost.",
    )
    op.create_table(
        "reference",
        sa.Column("kind", sa.String(length=16), nullable=False, comment="catalogue or policy"),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False, comment="the version used for new claims of this kind"),
        sa.Column(
            "content",
            sa.LargeBinary(),
            nullable=False,
            comment="msgpack of the catalogue, or the policy's TOML",
        ),
        sa.PrimaryKeyConstraint("kind", "version"),
    )
    op.create_table(
        "verdict",
        sa.Column(
            "claim_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "codes",
            sa.LargeBinary(),
            nullable=False,
            comment="per line: the first failed code and all failed codes",
        ),
        sa.PrimaryKeyConstraint("claim_id"),
        comment="Why a claim was returned.",
    )
    op.create_table(
        "visit_counter",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("institution_code", "day"),
        comment="The last visit number issued per institution and day.",
    )


def downgrade() -> None:
    op.drop_table("visit_counter")
    op.drop_table("verdict")
    op.drop_table("reference")
    op.drop_table("quarantine")
    op.drop_table("lease")
    op.drop_table("institution")
    op.drop_table("claim_content")
    with op.batch_alter_table("claim", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_claim_to_hand_back",
            sqlite_where=sa.text("channel = 'dbf' AND NOT handed_back"),
            postgresql_where=sa.text("channel = 'dbf' AND NOT handed_back"),
        )
        batch_op.drop_index("ix_claim_settled_day")
        batch_op.drop_index(
            "ix_claim_open",
            sqlite_where=sa.text("state IN ('accepted', 'totalled')"),
            postgresql_where=sa.text("state IN ('accepted', 'totalled')"),
        )
        batch_op.drop_index(
            "ix_claim_detail_due",
            sqlite_where=sa.text("state = 'settled' AND detail_state = 0"),
            postgresql_where=sa.text("state = 'settled' AND detail_state = 0"),
        )

    op.drop_table("claim")
