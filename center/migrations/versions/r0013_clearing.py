"""Clearing: calendar, periods, clearings and what belongs to them, deductions, releases of what was withheld."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0013"
down_revision = "r0012"
branch_labels = None
depends_on = None

WRITTEN_ONCE = (
    "clearing_rule",
    "workday_exception",
    "withheld_rule",
    "clearing",
    "clearing_day",
    "clearing_layer",
    "clearing_member",
    "deduction",
    "withheld_release",
)


def upgrade() -> None:
    """Make the tables; all but the periods are written once."""
    _office()
    _periods()
    _clearings()
    _reviews()
    for table in WRITTEN_ONCE:
        op.execute(
            f"CREATE TRIGGER {table}_is_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Take them away."""
    for table in (*WRITTEN_ONCE, "clearing_period"):
        op.drop_table(table)


def _office() -> None:
    op.create_table(
        "clearing_rule",
        sa.Column("rule_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("since", sa.Date(), nullable=False, comment="for periods that begin on this day or later"),
        sa.Column("end_day", sa.Integer(), nullable=False, comment="day of the month a period ends on; 31: the last"),
        sa.Column("closing_workdays", sa.Integer(), nullable=False, comment="working days from the end to the closing"),
        sa.Column(
            "objection_workdays",
            sa.Integer(),
            nullable=True,
            comment="to object in, from the closing; null: never confirmed by itself",
        ),
        sa.Column("made_by", sa.String(length=40), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("closing_workdays BETWEEN 1 AND 250", name="ck_clearing_rule_closing"),
        sa.CheckConstraint("end_day BETWEEN 1 AND 31", name="ck_clearing_rule_end"),
        sa.CheckConstraint("objection_workdays BETWEEN 1 AND 250", name="ck_clearing_rule_objection"),
        sa.PrimaryKeyConstraint("rule_no"),
        comment="When periods end and close; of two with the same day the newer counts.",
    )
    op.create_table(
        "workday_exception",
        sa.Column("exception_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("is_workday", sa.Boolean(), nullable=False),
        sa.Column("made_by", sa.String(length=40), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("exception_no"),
        comment="Days the office sets against domain.workdays; the newest of a day counts.",
    )
    op.create_table(
        "withheld_rule",
        sa.Column("rule_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False, comment="* is every institution"),
        sa.Column("clearing_type", sa.String(length=4), nullable=False, comment="* is every type"),
        sa.Column("since", sa.Date(), nullable=False, comment="for periods that end on this day or later"),
        sa.Column("share_1e4", sa.Integer(), nullable=False, comment="of what funds pay, in ten-thousandths"),
        sa.Column("approved_by", sa.String(length=40), nullable=False),
        sa.Column("made_by", sa.String(length=40), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("approved_by <> made_by", name="ck_withheld_rule_two_persons"),
        sa.CheckConstraint("share_1e4 BETWEEN 0 AND 10000", name="ck_withheld_rule_share"),
        sa.PrimaryKeyConstraint("rule_no"),
        comment="How much is withheld (预留): the narrowest rule counts, of two alike the later, then the newer.",
    )


def _periods() -> None:
    op.create_table(
        "clearing_period",
        sa.Column("period_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("scheme", sa.String(length=16), nullable=False),
        sa.Column("clearing_type", sa.String(length=4), nullable=False),
        sa.Column("name", sa.String(length=7), nullable=False, comment="the month it ends in, 清算年月"),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("closes_on", sa.Date(), nullable=False, comment="by the calendar, while it is open"),
        sa.Column(
            "state", sa.String(length=12), server_default="open", nullable=False, comment="domain.clearing.PeriodState"
        ),
        sa.Column("clearing_no", sa.BigInteger(), nullable=True, comment="the clearing that stands"),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "objection", sa.Text(), server_default="", nullable=False, comment="what the institution says against it"
        ),
        sa.Column("objected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_by", sa.String(length=40), nullable=True),
        sa.Column(
            "payment_no",
            sa.BigInteger(),
            nullable=True,
            comment="the document that paid it; null: nothing was left to pay",
        ),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'open') = (clearing_no IS NULL)", name="ck_clearing_period_clearing"),
        sa.CheckConstraint("(state = 'paid') = (paid_at IS NOT NULL)", name="ck_clearing_period_paid"),
        sa.CheckConstraint(
            "(state IN ('confirmed', 'paid')) = (confirmed_at IS NOT NULL)", name="ck_clearing_period_agreed"
        ),
        sa.CheckConstraint("state IN ('open', 'closed', 'confirmed', 'paid')", name="ck_clearing_period_state"),
        sa.CheckConstraint("first_day <= last_day", name="ck_clearing_period_days"),
        sa.PrimaryKeyConstraint("period_no"),
        sa.UniqueConstraint("institution_code", "scheme", "clearing_type", "last_day", name="uq_clearing_period"),
        comment="Where each period of an institution, a scheme and a clearing type stands.",
    )
    op.create_index(
        "ix_clearing_period_open",
        "clearing_period",
        ["closes_on"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("uq_clearing_period_clearing", "clearing_period", ["clearing_no"], unique=True)


def _clearings() -> None:
    op.create_table(
        "clearing",
        sa.Column("clearing_no", sa.BigInteger(), autoincrement=False, nullable=False, comment="its document"),
        sa.Column("period_no", sa.BigInteger(), nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("scheme", sa.String(length=16), nullable=False),
        sa.Column("clearing_type", sa.String(length=4), nullable=False),
        sa.Column(
            "since_day",
            sa.Date(),
            nullable=True,
            comment="the end of the period before, exclusive; null: from the beginning",
        ),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column(
            "link_no",
            sa.BigInteger(),
            nullable=False,
            comment="of the institution's chain: what came later is not in it",
        ),
        sa.Column("documents", sa.Integer(), nullable=False, comment="settlements and contra settlements"),
        sa.Column("contra_documents", sa.Integer(), nullable=False),
        sa.Column("persons", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("fund_fen", sa.BigInteger(), nullable=False),
        sa.Column("account_fen", sa.BigInteger(), nullable=False),
        sa.Column("withheld_fen", sa.BigInteger(), nullable=False),
        sa.Column("deducted_fen", sa.BigInteger(), nullable=False, comment="less what was given back of it"),
        sa.Column("released_fen", sa.BigInteger(), nullable=False, comment="what was withheld before and is paid now"),
        sa.Column("carried_in_fen", sa.BigInteger(), nullable=False, comment="what the period before left negative"),
        sa.Column(
            "due_fen", sa.BigInteger(), nullable=False, comment="paid when positive, else carried into the next period"
        ),
        sa.CheckConstraint("carried_in_fen <= 0", name="ck_clearing_carried"),
        sa.CheckConstraint("contra_documents BETWEEN 0 AND documents", name="ck_clearing_documents"),
        sa.CheckConstraint(
            "due_fen = fund_fen + account_fen - withheld_fen - deducted_fen + released_fen + carried_in_fen",
            name="ck_clearing_due",
        ),
        sa.CheckConstraint("since_day < last_day", name="ck_clearing_days"),
        sa.PrimaryKeyConstraint("clearing_no"),
        comment="What a period came to; it stands while clearing_period names it, else a contra took it back.",
    )
    op.create_index(
        "ix_clearing_flow", "clearing", ["institution_code", "scheme", "clearing_type", "last_day"], unique=False
    )
    op.create_table(
        "clearing_day",
        sa.Column("clearing_no", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="of an earlier period, when its documents came late"),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("contra_documents", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("fund_fen", sa.BigInteger(), nullable=False),
        sa.Column("account_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("clearing_no", "day"),
        comment="What each day brought into a clearing.",
    )
    op.create_table(
        "clearing_layer",
        sa.Column("clearing_no", sa.BigInteger(), nullable=False),
        sa.Column("layer", sa.String(length=32), nullable=False, comment="of the scheme's funds"),
        sa.Column("fund_fen", sa.BigInteger(), nullable=False),
        sa.Column("withheld_fen", sa.BigInteger(), nullable=False),
        sa.Column("deducted_fen", sa.BigInteger(), nullable=False),
        sa.Column("released_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("clearing_no", "layer"),
        comment="What each fund pays of a clearing.",
    )
    op.create_table(
        "clearing_member",
        sa.Column("clearing_no", sa.BigInteger(), nullable=False),
        sa.Column("document_no", sa.BigInteger(), nullable=False),
        sa.Column(
            "why",
            sa.String(length=16),
            nullable=False,
            comment="late: its day was closed; item: no day says where it belongs",
        ),
        sa.PrimaryKeyConstraint("clearing_no", "document_no"),
        comment="Documents of a clearing that their day does not place there.",
    )
    op.create_index("ix_clearing_member_document", "clearing_member", ["document_no"], unique=False)


def _reviews() -> None:
    op.create_table(
        "deduction",
        sa.Column("document_no", sa.BigInteger(), nullable=False),
        sa.Column("settlement_no", sa.BigInteger(), nullable=False),
        sa.Column("layer", sa.String(length=32), nullable=False),
        sa.Column(
            "amount_fen", sa.BigInteger(), nullable=False, comment="negative: given back, because the settlement was"
        ),
        sa.CheckConstraint("amount_fen <> 0", name="ck_deduction_amount"),
        sa.PrimaryKeyConstraint("document_no", "settlement_no", "layer"),
        comment="What is deducted after review (扣款) from which settlement and fund.",
    )
    op.create_index("ix_deduction_settlement", "deduction", ["settlement_no"], unique=False)
    op.create_table(
        "withheld_release",
        sa.Column("document_no", sa.BigInteger(), nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("scheme", sa.String(length=16), nullable=False),
        sa.Column("clearing_type", sa.String(length=4), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("layer", sa.String(length=32), nullable=False),
        sa.Column("held_fen", sa.BigInteger(), nullable=False, comment="withheld in the year"),
        sa.Column(
            "released_fen",
            sa.BigInteger(),
            nullable=False,
            comment="goes to the institution; the rest back to the fund",
        ),
        sa.PrimaryKeyConstraint("document_no", "year", "layer"),
        sa.UniqueConstraint("institution_code", "scheme", "clearing_type", "year", "layer", name="uq_withheld_release"),
        comment="What was withheld in a year and is settled at its end.",
    )
