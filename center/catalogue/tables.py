"""The tables the catalogue is maintained in at the centre: what was entered, by whom, and who audited it.

Rows are proposals. A proposal is audited by somebody else and stands from then on; what it takes the place of is
closed (`last_day`, `replaced_by`) and stays. The published versions are made from the rows that stand.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from center.tables import metadata

WAITING, STANDING, REJECTED = "waiting", "standing", "rejected"

delivery = Table(
    "catalogue_import",
    metadata,
    Column("import_id", BigInteger, primary_key=True, autoincrement=True),
    Column("kind", String(8), nullable=False, comment="items or matches"),
    Column("source", String(120), nullable=False, comment="name of the file, or how it was entered"),
    Column("digest", LargeBinary(16), nullable=False, comment="of the file's bytes"),
    Column("row_count", Integer, nullable=False),
    Column("entered_by", String(40), nullable=False),
    Column("entered_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("kind", "digest", name="uq_catalogue_import"),
    comment="One file, or one form, of items or matches.",
)


def _audit_columns() -> list[Any]:
    return [
        Column("import_id", BigInteger, ForeignKey("catalogue_import.import_id"), nullable=False),
        Column("row_no", Integer, nullable=False, comment="the row of the file"),
        Column("state", String(8), nullable=False, server_default=WAITING, comment="waiting, standing or rejected"),
        Column("last_day", Date, comment="earlier end than expiry_date, because another record takes its place"),
        Column("replaced_by", BigInteger, comment="the record that takes its place"),
        Column("entered_by", String(40), nullable=False),
        Column("entered_at", DateTime(timezone=True), nullable=False),
        Column("audited_by", String(40)),
        Column("audited_at", DateTime(timezone=True)),
        Column("reason", Text, nullable=False, server_default="", comment="why it was rejected, or what was noted"),
    ]


catalogue_item = Table(
    "catalogue_item",
    metadata,
    Column("item_id", BigInteger, primary_key=True, autoincrement=True),
    Column("item_code", String(20), nullable=False),
    Column("item_name", String(200), nullable=False),
    Column(
        "match_type", String(1), nullable=False, comment="0 service, 1 western, 2 Chinese patent, 3 herbal medicine"
    ),
    Column("coverage_class", String(1), nullable=False, comment="甲乙标志 STAPLE_FLAG: 1, 2 or 9"),
    Column("stat_category", String(3), nullable=False, comment="统计类别 STAT_TYPE"),
    Column("pre_self_pay_ratio_1e4", Integer, comment="自负比例 SELF_SCALE in ten-thousandths"),
    Column("price_limit_1e4", BigInteger, comment="in ten-thousandths of a yuan"),
    Column("effective_date", Date, nullable=False),
    Column("expiry_date", Date, nullable=False, comment="last day; 9999-12-31 is open"),
    Column("benefit_group", String(32), nullable=False),
    Column("level_limits", Text, nullable=False, comment="level=price;... in yuan"),
    Column("group_ratios", Text, nullable=False, comment="person group=ratio;..."),
    Column("catalogue_class_code", String(20), nullable=False),
    Column("drug_name_en", String(200), nullable=False),
    Column("wubi_code", String(20), nullable=False),
    Column("pinyin_code", String(20), nullable=False),
    Column("dosage_form", String(60), nullable=False),
    Column("standard_unit", String(20), nullable=False),
    Column("item_serial_no", BigInteger),
    Column("prescription_flag", String(1), nullable=False),
    Column("medical_catalogue_flag", String(1), nullable=False),
    Column("work_injury_catalogue_flag", String(1), nullable=False),
    Column("maternity_catalogue_flag", String(1), nullable=False),
    Column("valid_flag", String(1), nullable=False),
    Column("child_catalogue_flag", String(1), nullable=False),
    Column("resident_outpatient_flag", String(1), nullable=False),
    Column("employee_outpatient_flag", String(1), nullable=False),
    *_audit_columns(),
    CheckConstraint("audited_by IS NULL OR audited_by <> entered_by", name="ck_catalogue_item_four_eyes"),
    CheckConstraint("effective_date <= expiry_date", name="ck_catalogue_item_days"),
)
Index("ix_catalogue_item_key", catalogue_item.c.match_type, catalogue_item.c.item_code, catalogue_item.c.state)
Index("ix_catalogue_item_waiting", catalogue_item.c.import_id, postgresql_where=text("state = 'waiting'"))

catalogue_match = Table(
    "catalogue_match",
    metadata,
    Column("match_id", BigInteger, primary_key=True, autoincrement=True),
    Column("institution_code", String(20), nullable=False),
    Column("local_item_code", String(20), nullable=False),
    Column("match_type", String(1), nullable=False),
    Column("centre_item_code", String(20), nullable=False),
    Column("centre_item_name", String(200), nullable=False),
    Column("coverage_class", String(1), nullable=False, comment="empty: that of the centre item"),
    Column("effective_date", Date, nullable=False),
    Column("expiry_date", Date, nullable=False, comment="last day; 9999-12-31 is open"),
    Column("local_item_name", String(200), nullable=False),
    Column("local_dosage_form", String(60), nullable=False),
    Column("local_specification", String(60), nullable=False),
    Column("local_unit_price_1e4", BigInteger, comment="usual price, in ten-thousandths of a yuan"),
    *_audit_columns(),
    CheckConstraint("audited_by IS NULL OR audited_by <> entered_by", name="ck_catalogue_match_four_eyes"),
    CheckConstraint("effective_date <= expiry_date", name="ck_catalogue_match_days"),
)
Index(
    "ix_catalogue_match_key",
    catalogue_match.c.institution_code,
    catalogue_match.c.local_item_code,
    catalogue_match.c.state,
)
Index("ix_catalogue_match_centre", catalogue_match.c.match_type, catalogue_match.c.centre_item_code)
Index("ix_catalogue_match_waiting", catalogue_match.c.import_id, postgresql_where=text("state = 'waiting'"))

catalogue_version = Table(
    "catalogue_version",
    metadata,
    Column("version", String(64), primary_key=True),
    Column("digest", LargeBinary(16), nullable=False, comment="of the list of its parts"),
    Column("item_count", Integer, nullable=False),
    Column("match_count", Integer, nullable=False),
    Column("effective_date", Date, nullable=False),
    Column("published_by", String(40), nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    comment="Who published what, and from when it is in force; the content is in reference and reference_part.",
)

reference_part = Table(
    "reference_part",
    metadata,
    Column("digest", LargeBinary(16), primary_key=True, comment="infra.publication.digest_of its content"),
    Column("content", LargeBinary, nullable=False),
    comment="Parts of published catalogues, named by their content.",
)

reference_report = Table(
    "reference_report",
    metadata,
    Column("frontend", String(32), primary_key=True),
    Column("versions", Text, nullable=False, comment="kind:version of what it holds, comma-separated"),
    Column("heard_at", DateTime(timezone=True), nullable=False),
    comment="What each front-end said it holds when it last asked.",
)
