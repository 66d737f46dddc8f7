"""Registered visits: their lines, what failed, what the institution's exchange is to be given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for column in _of_institution():
        op.add_column("institution", column)
    for column in _of_claim():
        op.add_column("claim", column)
    op.create_index(
        "ix_claim_refund_open",
        "claim",
        ["state", "institution_code", "claim_id"],
        unique=False,
        sqlite_where=sa.text("kind = 'contra' AND state = 'totalled'"),
        postgresql_where=sa.text("kind = 'contra' AND state = 'totalled'"),
    )
    op.create_table(
        "visit",
        sa.Column("visit_no", sa.String(length=16), nullable=False, comment="就医登记号 JYDJH"),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("visit_type", sa.String(length=1), nullable=False, comment="就诊类别 JZLB"),
        sa.Column("visit_date", sa.Date(), nullable=False, comment="入院（就诊）日期 RYRQ"),
        sa.Column("state", sa.String(length=10), nullable=False, comment="domain.lifecycle.VisitState"),
        sa.Column("channel", sa.String(length=8), nullable=False, comment="which door registered it"),
        sa.Column(
            "idempotency_key",
            sa.String(length=255),
            nullable=True,
            comment="the caller's key; kept as long as the visit",
        ),
        sa.Column("content_digest", sa.LargeBinary(length=16), nullable=False, comment="digest of what was registered"),
        sa.Column(
            "content", sa.LargeBinary(), nullable=False, comment="domain.visit.Registration, name and identity in it"
        ),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "last_batch_no",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="the last FYPC given, never again",
        ),
        sa.Column("final_batch_no", sa.Integer(), nullable=True, comment="the batch of its final settlement"),
        sa.Column("discharge_date", sa.Date(), nullable=True, comment="出院日期 CYRQ"),
        sa.Column("discharge", sa.LargeBinary(), nullable=True, comment="domain.visit.Discharge"),
        sa.PrimaryKeyConstraint("visit_no"),
        sa.UniqueConstraint("institution_code", "idempotency_key", name="uq_visit_idempotency"),
        comment="Registered visits. A claim that carries its own visit has none.",
    )
    op.create_index("ix_visit_institution", "visit", ["institution_code", "state", "visit_no"], unique=False)
    op.create_table(
        "visit_lines",
        sa.Column("import_id", number, autoincrement=True, nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column(
            "charge_batch_no",
            sa.Integer(),
            nullable=True,
            comment="FYPC of the newest settlement these lines were handed to",
        ),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("first_no", sa.Integer(), nullable=False, comment="smallest line number XMXH"),
        sa.Column("last_no", sa.Integer(), nullable=False, comment="largest line number XMXH"),
        sa.Column("positive_fen", sa.BigInteger(), nullable=False, comment="sum of the amounts above zero"),
        sa.Column("negative_fen", sa.BigInteger(), nullable=False, comment="sum of the amounts below zero"),
        sa.Column("lines", sa.LargeBinary(), nullable=False, comment="domain.visit.pack_lines"),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("import_id"),
        comment="Imported charge lines of registered visits, one row for what one delivery brought; never changed.",
    )
    op.create_index("ix_visit_lines_visit", "visit_lines", ["visit_no", "import_id"], unique=False)
    op.create_table(
        "line_failure",
        sa.Column("failure_id", number, autoincrement=True, nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column(
            "visit_no",
            sa.String(length=16),
            nullable=False,
            comment="as the row says, cut to 16; may belong to no visit",
        ),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=True),
        sa.Column("code", sa.String(length=2), nullable=False, comment="the first check it failed: BZ3"),
        sa.Column("all_codes", sa.String(length=64), nullable=False, comment="every check it failed, with commas"),
        sa.Column("line", sa.LargeBinary(), nullable=False, comment="the line as it came: pack_lines of one"),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "gone_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when its source did not hold it any more as it was",
        ),
        sa.PrimaryKeyConstraint("failure_id"),
        comment="The log of lines that failed their checks; those not gone hold up the settlement of their visit.",
    )
    op.create_index("ix_line_failure_found", "line_failure", ["institution_code", "found_at"], unique=False)
    op.create_index(
        "ix_line_failure_open",
        "line_failure",
        ["visit_no"],
        unique=False,
        sqlite_where=sa.text("gone_at IS NULL"),
        postgresql_where=sa.text("gone_at IS NULL"),
    )
    op.create_table(
        "hand_out",
        sa.Column("hand_out_id", number, autoincrement=True, nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False, comment="workers.visits.handout.Kind"),
        sa.Column(
            "number", sa.BigInteger(), nullable=False, comment="lines: import_id; result: charge_batch_no; else 0"
        ),
        sa.Column(
            "handed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was written to the institution's exchange",
        ),
        sa.PrimaryKeyConstraint("hand_out_id"),
        sa.UniqueConstraint("visit_no", "kind", "number", name="uq_hand_out"),
        comment="What an institution's exchange is to be given of its registered visits, in order.",
    )
    op.create_index(
        "ix_hand_out_waiting",
        "hand_out",
        ["institution_code", "hand_out_id"],
        unique=False,
        sqlite_where=sa.text("handed_at IS NULL"),
        postgresql_where=sa.text("handed_at IS NULL"),
    )


def downgrade() -> None:
    for table in ("hand_out", "line_failure", "visit_lines", "visit"):
        op.drop_table(table)
    op.drop_index("ix_claim_refund_open", "claim")
    for table, columns in (("claim", _of_claim()), ("institution", _of_institution())):
        for column in reversed(columns):
            op.drop_column(table, column.name)


def _of_institution() -> list[sa.Column[object]]:
    return [
        sa.Column(
            "exchange",
            sa.String(length=8),
            server_default="dbf",
            nullable=False,
            comment="how its HIS is reached: dbf, tables, api",
        ),
        sa.Column(
            "dress",
            sa.String(length=8),
            server_default="",
            nullable=False,
            comment="of the shared tables: plain or gwyjb",
        ),
        sa.Column(
            "outpatient_flow",
            sa.Integer(),
            server_default="2",
            nullable=False,
            comment="1: outpatient lines are entered at the insurance client, 2: they come from the HIS (WF-05, WF-06)",
        ),
        sa.Column(
            "settles_at_once",
            sa.Boolean(),
            server_default=sa.text("true"),
            nullable=False,
            comment="outpatient lines from the HIS are settled as they come in, nobody asks for it",
        ),
        sa.Column(
            "frontends",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="how many front-ends issue its visit numbers",
        ),
        sa.Column(
            "frontend_part",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="which part of the numbers is this front-end's: 0 to frontends - 1",
        ),
    ]


def _of_claim() -> list[sa.Column[object]]:
    return [
        sa.Column(
            "kind",
            sa.String(length=10),
            server_default="normal",
            nullable=False,
            comment="normal; contra: takes a settlement back; resettled: what is kept of it, settled with the contra",
        ),
        sa.Column(
            "final", sa.Boolean(), server_default=sa.text("true"), nullable=False, comment="false: the stay goes on"
        ),
        sa.Column("covers_to", sa.Date(), nullable=True, comment="of a stay: the last day these charges cover"),
        sa.Column("contra_of", sa.Integer(), nullable=True, comment="contra, resettled: the batch that is taken back"),
        sa.Column(
            "refunded_by", sa.Integer(), nullable=True, comment="the contra batch that takes, or took, this one back"
        ),
        sa.Column("reason", sa.String(length=120), nullable=True, comment="why it was refunded"),
    ]
