"""The centre's first schema: its tables, and the guards that keep what is settled as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

POSTINGS_BALANCE = """
CREATE FUNCTION refuse_unbalanced_postings() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced bigint;
BEGIN
    SELECT settlement_no INTO unbalanced
    FROM inserted GROUP BY settlement_no HAVING sum(amount_fen) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the postings of settlement % do not add up to zero', unbalanced
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER postings_balance AFTER INSERT ON posting
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced_postings();
"""

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are written once: % refused, corrections are contra documents', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
"""

WRITTEN_ONCE = ("settlement", "posting", "accumulator_entry", "detail")


def upgrade() -> None:
    """Make the tables, then the guards."""
    op.execute(sa.schema.CreateSequence(sa.Sequence("settlement_no_seq")))
    op.create_table(
        "accumulator",
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False, comment="fund:visit type:segment:disease:period"),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person_no", "key"),
    )
    op.create_table(
        "accumulator_entry",
        sa.Column("settlement_no", sa.BigInteger(), nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("before_fen", sa.BigInteger(), nullable=False),
        sa.Column("applied_fen", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_accumulator_entry_person", "accumulator_entry", ["person_no", "key"], unique=False)
    op.create_table(
        "detail",
        sa.Column("settlement_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=False, comment="domain.visit.pack_lines, as digested"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("settlement_no"),
    )
    op.create_table(
        "difference_case",
        sa.Column("case_id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False, comment="center.cases.Kind"),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False),
        sa.Column("center_fen", sa.BigInteger(), nullable=False),
        sa.Column("frontend_fen", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=True, comment="of the books that differ; null for detail"),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True, comment="when the two books agreed again"),
        sa.PrimaryKeyConstraint("case_id"),
        sa.UniqueConstraint("kind", "visit_no", "charge_batch_no", name="uq_difference_case"),
    )
    op.create_index(
        "ix_difference_case_open",
        "difference_case",
        ["day"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "institution",
        sa.Column("institution_code", sa.String(length=18), nullable=False, comment="医院编号 YYBH"),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False, comment="the front-end server that speaks for it"),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("institution_code"),
    )
    op.create_table(
        "lane_health",
        sa.Column("lane", sa.String(length=64), nullable=False),
        sa.Column("probed_at", sa.Float(), nullable=False, comment="real seconds: the newest probe sent down the lane"),
        sa.Column(
            "waiting_since",
            sa.Float(),
            nullable=True,
            comment="real seconds: a probe not back yet was sent then; null: all are back",
        ),
        sa.Column(
            "dwell_seconds", sa.Float(), nullable=False, comment="how long the newest probe that is back was on its way"
        ),
        sa.PrimaryKeyConstraint("lane"),
        comment="How late a lane is, measured on the centre's own clock by probes that queue up like everybody else.",
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Float(), nullable=False, comment="real seconds"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "parked",
        sa.Column("parked_id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("refusal", sa.String(length=32), nullable=False, comment="domain.refusals.Refusal"),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column(
            "totals", sa.LargeBinary(), nullable=False, comment="msgpack of domain.messages.ClaimTotals as it came"
        ),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("parked_id"),
        sa.UniqueConstraint("visit_no", "charge_batch_no", "digest", "refusal", name="uq_parked"),
        comment="Claims the centre refused: a person looks.",
    )
    op.create_table(
        "person",
        sa.Column("person_no", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("citizen_id_no", sa.String(length=18), nullable=False, comment="公民身份号码 GMSFHM"),
        sa.Column("scheme", sa.String(length=16), nullable=False),
        sa.Column("category", sa.String(length=3), nullable=False, comment="人员类别 RYLB"),
        sa.Column("civil_servant", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "entitled", sa.Boolean(), server_default=sa.text("true"), nullable=False, comment="false: benefit suspended"
        ),
        sa.Column("account_balance_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("account_balance_fen >= 0", name="ck_person_balance"),
        sa.PrimaryKeyConstraint("person_no"),
        sa.UniqueConstraint("citizen_id_no"),
    )
    op.create_table(
        "posting",
        sa.Column("settlement_no", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False, comment="domain.ledger"),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False, comment="a settlement's postings add up to zero"),
    )
    op.create_index("ix_posting_settlement", "posting", ["settlement_no"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queue", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="sealed with the centre's secret"),
        sa.PrimaryKeyConstraint("quarantine_id"),
        comment="What could not be read from a queue: set aside, never logged, never lost.",
    )
    op.create_table(
        "reconciliation",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("frontend_claims", sa.Integer(), nullable=False),
        sa.Column("center_claims", sa.Integer(), nullable=False),
        sa.Column("difference_fen", sa.BigInteger(), nullable=False, comment="front-end total minus centre total"),
        sa.Column("fund_difference_fen", sa.BigInteger(), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("institution_code", "day"),
        comment="The newest comparison of each institution-day.",
    )
    op.create_index(
        "ix_reconciliation_differs",
        "reconciliation",
        ["day"],
        unique=False,
        postgresql_where=sa.text("difference_fen <> 0"),
    )
    op.create_table(
        "reference",
        sa.Column("kind", sa.String(length=16), nullable=False, comment="catalogue or policy"),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "version"),
    )
    op.create_table(
        "settlement",
        sa.Column("settlement_no", sa.BigInteger(), nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False),
        sa.Column(
            "kind", sa.String(length=8), nullable=False, comment="normal; contra settlements come with their own issue"
        ),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("visit_type", sa.String(length=1), nullable=False),
        sa.Column("visit_date", sa.Date(), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_day", sa.Date(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="of the canonical lines"),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("own_expense_fen", sa.BigInteger(), nullable=False),
        sa.Column("over_limit_fen", sa.BigInteger(), nullable=False),
        sa.Column("pre_self_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("in_scope_fen", sa.BigInteger(), nullable=False),
        sa.Column("fund_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("account_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("deductible_fen", sa.BigInteger(), nullable=False),
        sa.Column("self_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("over_cap_fen", sa.BigInteger(), nullable=False),
        sa.Column("institution_share_fen", sa.BigInteger(), nullable=False),
        sa.Column("policy_version", sa.String(length=64), nullable=False),
        sa.Column("catalogue_version", sa.String(length=64), nullable=False),
        sa.Column("steps", sa.LargeBinary(), nullable=False, comment="msgpack of domain.settlement.Step rows"),
        sa.Column(
            "answer",
            sa.LargeBinary(),
            nullable=False,
            comment="msgpack of domain.messages.ClaimAnswer, sent again as it is",
        ),
        sa.CheckConstraint(
            "total_fen = fund_pay_fen + own_expense_fen + over_limit_fen + pre_self_pay_fen"
            " + self_pay_fen + over_cap_fen + institution_share_fen",
            name="ck_settlement_payers",
        ),
        sa.CheckConstraint(
            "total_fen = own_expense_fen + over_limit_fen + pre_self_pay_fen + in_scope_fen", name="ck_settlement_split"
        ),
        sa.PrimaryKeyConstraint("settlement_no"),
        sa.UniqueConstraint("visit_no", "charge_batch_no", "kind", name="uq_settlement_key"),
    )
    op.create_index("ix_settlement_day", "settlement", ["settled_day", "institution_code"], unique=False)
    op.create_table(
        "tick",
        sa.Column("name", sa.String(length=64), nullable=False, comment="name of the task"),
        sa.Column("at", sa.Float(), nullable=False, comment="real seconds"),
        sa.PrimaryKeyConstraint("name"),
        comment="When the schedule last rang.",
    )
    op.create_table(
        "upload_grant",
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("window", sa.String(length=32), nullable=False),
        sa.Column(
            "fence", sa.BigInteger(), nullable=False, comment="number of the newest slice; each slice has the next one"
        ),
        sa.Column(
            "first_fence", sa.BigInteger(), nullable=False, comment="the first slice of this opening of the window"
        ),
        sa.Column("lines", sa.Integer(), nullable=False, comment="quota of the slice"),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cut_off", sa.DateTime(timezone=True), nullable=False, comment="end of the slice, exclusive"),
        sa.Column("closes_at", sa.DateTime(timezone=True), nullable=False, comment="end of the window, exclusive"),
        sa.Column("lines_granted", sa.BigInteger(), nullable=False, comment="in this opening of the window"),
        sa.Column("lines_received", sa.BigInteger(), nullable=False, comment="in this opening of the window"),
        sa.PrimaryKeyConstraint("frontend"),
        comment="The newest slice of each front-end.",
    )
    op.create_table(
        "upload_window",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("opens", sa.Time(), nullable=False),
        sa.Column("closes", sa.Time(), nullable=False, comment="exclusive; earlier than opens: past midnight"),
        sa.Column(
            "weekdays",
            sa.String(length=7),
            server_default="1234567",
            nullable=False,
            comment="ISO weekdays, Monday is 1",
        ),
        sa.Column("frontend", sa.String(length=32), server_default="*", nullable=False, comment="* is every front-end"),
        sa.Column("lines_per_tick", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("lines_per_tick > 0", name="ck_window_budget"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.execute(POSTINGS_BALANCE)
    op.execute(REFUSE_CHANGE)
    for table in WRITTEN_ONCE:
        op.execute(
            f"CREATE TRIGGER {table}_is_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Drop everything, the settlements too."""
    for table in (
        "accumulator",
        "accumulator_entry",
        "detail",
        "difference_case",
        "institution",
        "lane_health",
        "lease",
        "parked",
        "person",
        "posting",
        "quarantine",
        "reconciliation",
        "reference",
        "settlement",
        "tick",
        "upload_grant",
        "upload_window",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_unbalanced_postings, refuse_change")
    op.execute(sa.schema.DropSequence(sa.Sequence("settlement_no_seq")))
