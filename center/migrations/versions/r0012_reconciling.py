"""Reconciliation: books that came in, differences by class, repairs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0012"
down_revision = "r0011"
branch_labels = None
depends_on = None

_KIND_IS = ("center.cases.Kind", "center.reconciling.cases.Kind")


def upgrade() -> None:
    op.create_table(
        "submitted_book",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("submission_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=True, comment="null: totals only"),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("parts_here", postgresql.ARRAY(sa.Integer()), server_default="{}", nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("institution_code", "day", "submission_no"),
        comment="An institution's own book of a day, as often as it handed in another one.",
    )
    op.create_table(
        "submitted_total",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("submission_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scheme", sa.String(length=16), nullable=False, comment="empty: all of them"),
        sa.Column("clearing_type", sa.String(length=4), nullable=False, comment="empty: all of them"),
        sa.Column("with_refunds", sa.Boolean(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("fund_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("account_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("cash_fen", sa.BigInteger(), nullable=True, comment="null: not said"),
        sa.PrimaryKeyConstraint("institution_code", "day", "submission_no", "scheme", "clearing_type", "with_refunds"),
    )
    op.create_table(
        "submitted_line",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("submission_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("settlement_no", sa.BigInteger(), nullable=False, comment="0: none"),
        sa.Column("contra", sa.Boolean(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("fund_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("account_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False, comment="0: not said"),
        sa.Column("scheme", sa.String(length=16), nullable=False, comment="empty: not said"),
        sa.Column("clearing_type", sa.String(length=4), nullable=False, comment="empty: not said"),
        sa.Column("cash_fen", sa.BigInteger(), nullable=True, comment="null: not said"),
        sa.Column("settled_on", sa.Date(), nullable=False),
        sa.Column("contra_of", sa.BigInteger(), nullable=False, comment="0: not said, or no contra"),
        sa.PrimaryKeyConstraint("institution_code", "day", "submission_no", "line_no"),
        comment="The lines of the newest book of each institution-day.",
    )
    op.create_index("ix_submitted_line_visit", "submitted_line", ["institution_code", "day", "visit_no"], unique=False)
    op.create_table(
        "compared_day",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("submission_no", sa.BigInteger(), nullable=True, comment="null: nothing had been handed in"),
        sa.Column("by_lines", sa.Boolean(), nullable=False, comment="false: totals only"),
        sa.Column("result", sa.String(length=1), nullable=False, comment="domain.day_books.Result"),
        sa.Column("institution_total_fen", sa.BigInteger(), nullable=False),
        sa.Column("center_total_fen", sa.BigInteger(), nullable=False),
        sa.Column("institution_documents", sa.Integer(), nullable=False),
        sa.Column("center_documents", sa.Integer(), nullable=False),
        sa.Column("differences", sa.Integer(), nullable=False, comment="found in the lines, open or not"),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("institution_code", "day"),
        comment="The newest comparison of each institution-day with the institution's own book.",
    )
    op.create_table(
        "difference",
        sa.Column("difference_no", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False, comment="domain.reconciliation.Class"),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False),
        sa.Column("settlement_no", sa.BigInteger(), nullable=False, comment="the centre's, or else the institution's"),
        sa.Column("contra", sa.Boolean(), nullable=False),
        sa.Column("side", sa.String(length=12), nullable=False, comment="who has it: both, center, institution"),
        sa.Column("place", sa.Integer(), nullable=False, comment="0, 1, ... where the same is found more than once"),
        sa.Column(
            "institution_figures",
            postgresql.ARRAY(sa.BigInteger()),
            nullable=False,
            comment="documents, total, fund, account, cash",
        ),
        sa.Column("center_figures", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("difference_fen", sa.BigInteger(), nullable=False, comment="institution total minus centre total"),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("repair", sa.String(length=24), nullable=False, comment="domain.repairs.Repair"),
        sa.Column("effect", sa.Text(), nullable=False, comment="predicted, on both books"),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("proposal_no", sa.BigInteger(), nullable=True),
        sa.Column(
            "document_no",
            sa.BigInteger(),
            nullable=True,
            comment="of the contra settlement or the note that was written",
        ),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (state IN ('open', 'proposed', 'ordered'))", name="ck_difference_closed"
        ),
        sa.PrimaryKeyConstraint("difference_no"),
        sa.UniqueConstraint(
            "institution_code",
            "day",
            "kind",
            "visit_no",
            "charge_batch_no",
            "settlement_no",
            "contra",
            "side",
            "place",
            name="uq_difference",
        ),
    )
    op.create_index(
        "ix_difference_open",
        "difference",
        ["institution_code", "day"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "repair_order",
        sa.Column("order_no", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("difference_no", sa.BigInteger(), nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="msgpack of domain.messages.RepairOrdered"),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.Float(), server_default="0", nullable=False, comment="real seconds"),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done", sa.Boolean(), nullable=True, comment="false: the front-end could not; outcome says why"),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("order_no"),
        comment="What front-ends are told to do, until they say it is done.",
    )
    op.create_index(
        "ix_repair_order_open", "repair_order", ["order_no"], unique=False, postgresql_where=sa.text("done_at IS NULL")
    )

    _comment_kind(*_KIND_IS)


def downgrade() -> None:
    _comment_kind(*reversed(_KIND_IS))
    for table in ("repair_order", "difference", "compared_day", "submitted_line", "submitted_total", "submitted_book"):
        op.drop_table(table)


def _comment_kind(was: str, comment: str) -> None:
    op.alter_column("difference_case", "kind", comment=comment, existing_comment=was)
