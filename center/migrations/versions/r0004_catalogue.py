"""The catalogue as it is maintained, audited and published, and the parts of published versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "reference",
        sa.Column("effective_date", sa.Date(), nullable=True, comment="first day it is in force; null: since ever"),
    )
    op.add_column(
        "reference", sa.Column("retired_on", sa.Date(), nullable=True, comment="the day another one took its place")
    )
    op.add_column(
        "reference",
        sa.Column(
            "withdrawn",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="before its day had come",
        ),
    )
    op.create_table(
        "catalogue_import",
        sa.Column("import_id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False, comment="items or matches"),
        sa.Column("source", sa.String(length=120), nullable=False, comment="name of the file, or how it was entered"),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False, comment="of the file's bytes"),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("entered_by", sa.String(length=40), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("import_id"),
        sa.UniqueConstraint("kind", "digest", name="uq_catalogue_import"),
        comment="One file, or one form, of items or matches.",
    )
    op.create_table(
        "catalogue_item",
        sa.Column("item_id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("item_code", sa.String(length=20), nullable=False),
        sa.Column("item_name", sa.String(length=200), nullable=False),
        sa.Column(
            "match_type",
            sa.String(length=1),
            nullable=False,
            comment="0 service, 1 western, 2 Chinese patent, 3 herbal medicine",
        ),
        sa.Column("coverage_class", sa.String(length=1), nullable=False, comment="甲乙标志 STAPLE_FLAG: 1, 2 or 9"),
        sa.Column("stat_category", sa.String(length=3), nullable=False, comment="统计类别 STAT_TYPE"),
        sa.Column(
            "pre_self_pay_ratio_1e4", sa.Integer(), nullable=True, comment="自负比例 SELF_SCALE in ten-thousandths"
        ),
        sa.Column("price_limit_1e4", sa.BigInteger(), nullable=True, comment="in ten-thousandths of a yuan"),
        sa.Column("effective_date", sa.Date(), nullable=False),
        sa.Column("expiry_date", sa.Date(), nullable=False, comment="last day; 9999-12-31 is open"),
        sa.Column("benefit_group", sa.String(length=32), nullable=False),
        sa.Column("level_limits", sa.Text(), nullable=False, comment="level=price;... in yuan"),
        sa.Column("group_ratios", sa.Text(), nullable=False, comment="person group=ratio;..."),
        sa.Column("catalogue_class_code", sa.String(length=20), nullable=False),
        sa.Column("drug_name_en", sa.String(length=200), nullable=False),
        sa.Column("wubi_code", sa.String(length=20), nullable=False),
        sa.Column("pinyin_code", sa.String(length=20), nullable=False),
        sa.Column("dosage_form", sa.String(length=60), nullable=False),
        sa.Column("standard_unit", sa.String(length=20), nullable=False),
        sa.Column("item_serial_no", sa.BigInteger(), nullable=True),
        sa.Column("prescription_flag", sa.String(length=1), nullable=False),
        sa.Column("medical_catalogue_flag", sa.String(length=1), nullable=False),
        sa.Column("work_injury_catalogue_flag", sa.String(length=1), nullable=False),
        sa.Column("maternity_catalogue_flag", sa.String(length=1), nullable=False),
        sa.Column("valid_flag", sa.String(length=1), nullable=False),
        sa.Column("child_catalogue_flag", sa.String(length=1), nullable=False),
        sa.Column("resident_outpatient_flag", sa.String(length=1), nullable=False),
        sa.Column("employee_outpatient_flag", sa.String(length=1), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("row_no", sa.Integer(), nullable=False, comment="the row of the file"),
        sa.Column(
            "state",
            sa.String(length=8),
            server_default="waiting",
            nullable=False,
            comment="waiting, standing or rejected",
        ),
        sa.Column(
            "last_day",
            sa.Date(),
            nullable=True,
            comment="earlier end than expiry_date, because another record takes its place",
        ),
        sa.Column("replaced_by", sa.BigInteger(), nullable=True, comment="the record that takes its place"),
        sa.Column("entered_by", sa.String(length=40), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("audited_by", sa.String(length=40), nullable=True),
        sa.Column("audited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "reason", sa.Text(), server_default="", nullable=False, comment="why it was rejected, or what was noted"
        ),
        sa.CheckConstraint("audited_by IS NULL OR audited_by <> entered_by", name="ck_catalogue_item_four_eyes"),
        sa.CheckConstraint("effective_date <= expiry_date", name="ck_catalogue_item_days"),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["catalogue_import.import_id"],
        ),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.create_index("ix_catalogue_item_key", "catalogue_item", ["match_type", "item_code", "state"], unique=False)
    op.create_index(
        "ix_catalogue_item_waiting",
        "catalogue_item",
        ["import_id"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "catalogue_match",
        sa.Column("match_id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("institution_code", sa.String(length=20), nullable=False),
        sa.Column("local_item_code", sa.String(length=20), nullable=False),
        sa.Column("match_type", sa.String(length=1), nullable=False),
        sa.Column("centre_item_code", sa.String(length=20), nullable=False),
        sa.Column("centre_item_name", sa.String(length=200), nullable=False),
        sa.Column("coverage_class", sa.String(length=1), nullable=False, comment="empty: that of the centre item"),
        sa.Column("effective_date", sa.Date(), nullable=False),
        sa.Column("expiry_date", sa.Date(), nullable=False, comment="last day; 9999-12-31 is open"),
        sa.Column("local_item_name", sa.String(length=200), nullable=False),
        sa.Column("local_dosage_form", sa.String(length=60), nullable=False),
        sa.Column("local_specification", sa.String(length=60), nullable=False),
        sa.Column(
            "local_unit_price_1e4", sa.BigInteger(), nullable=True, comment="usual price, in ten-thousandths of a yuan"
        ),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("row_no", sa.Integer(), nullable=False, comment="the row of the file"),
        sa.Column(
            "state",
            sa.String(length=8),
            server_default="waiting",
            nullable=False,
            comment="waiting, standing or rejected",
        ),
        sa.Column(
            "last_day",
            sa.Date(),
            nullable=True,
            comment="earlier end than expiry_date, because another record takes its place",
        ),
        sa.Column("replaced_by", sa.BigInteger(), nullable=True, comment="the record that takes its place"),
        sa.Column("entered_by", sa.String(length=40), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("audited_by", sa.String(length=40), nullable=True),
        sa.Column("audited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "reason", sa.Text(), server_default="", nullable=False, comment="why it was rejected, or what was noted"
        ),
        sa.CheckConstraint("audited_by IS NULL OR audited_by <> entered_by", name="ck_catalogue_match_four_eyes"),
        sa.CheckConstraint("effective_date <= expiry_date", name="ck_catalogue_match_days"),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["catalogue_import.import_id"],
        ),
        sa.PrimaryKeyConstraint("match_id"),
    )
    op.create_index("ix_catalogue_match_centre", "catalogue_match", ["match_type", "centre_item_code"], unique=False)
    op.create_index(
        "ix_catalogue_match_key", "catalogue_match", ["institution_code", "local_item_code", "state"], unique=False
    )
    op.create_index(
        "ix_catalogue_match_waiting",
        "catalogue_match",
        ["import_id"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "catalogue_version",
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False, comment="of the list of its parts"),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column("match_count", sa.Integer(), nullable=False),
        sa.Column("effective_date", sa.Date(), nullable=False),
        sa.Column("published_by", sa.String(length=40), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("version"),
        comment="Who published what, and from when it is in force; the content is in reference and reference_part.",
    )
    op.create_table(
        "reference_part",
        sa.Column(
            "digest", sa.LargeBinary(length=16), nullable=False, comment="infra.publication.digest_of its content"
        ),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        comment="Parts of published catalogues, named by their content.",
    )
    op.create_table(
        "reference_report",
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False, comment="kind:version of what it holds, comma-separated"),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("frontend"),
        comment="What each front-end said it holds when it last asked.",
    )


def downgrade() -> None:
    """Drop what was entered and published; the version in force stays in force."""
    op.drop_table("reference_report")
    op.drop_table("reference_part")
    op.drop_table("catalogue_version")
    op.drop_table("catalogue_match")
    op.drop_table("catalogue_item")
    op.drop_table("catalogue_import")
    for column in ("withdrawn", "retired_on", "effective_date"):
        op.drop_column("reference", column)
