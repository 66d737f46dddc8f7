"""Books of the HIS, and what came of comparing them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from infra.database import Moment

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "institution_book",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("submission_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content_digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False, comment="api or file"),
        sa.Column("line_count", sa.Integer(), nullable=True, comment="null: totals only"),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("handed_in_at", Moment(timezone=True), nullable=False),
        sa.Column(
            "rung_at", sa.Float(), server_default="0", nullable=False, comment="real seconds: sent last, or not before"
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "answered_at", Moment(timezone=True), nullable=True, comment="when all of the centre's answer was here"
        ),
        sa.PrimaryKeyConstraint("institution_code", "day", "submission_no"),
        comment="An institution's own book of a day, as often as it handed in another one.",
    )
    op.create_table(
        "institution_book_part",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("submission_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="domain.messages.BooksSubmitted"),
        sa.PrimaryKeyConstraint("institution_code", "day", "submission_no", "part"),
        comment="Of the newest book of each day.",
    )
    op.create_table(
        "book_answer",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("submission_no", sa.BigInteger(), nullable=False),
        sa.Column("compared_at", Moment(timezone=True), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="domain.messages.BooksCompared"),
        sa.PrimaryKeyConstraint("institution_code", "day", "part"),
        comment="The centre's newest comparison of each institution-day.",
    )
    op.create_table(
        "repair_notice",
        sa.Column("order_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("repair", sa.String(length=24), nullable=False, comment="domain.repairs.Repair"),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), nullable=False),
        sa.Column("words", sa.String(length=600), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(length=200), nullable=False),
        sa.Column("done_at", Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_no"),
        comment="What the centre had this front-end do about differences, each once.",
    )


def downgrade() -> None:
    for table in ("repair_notice", "book_answer", "institution_book_part", "institution_book"):
        op.drop_table(table)
