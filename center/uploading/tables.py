"""The tables of the timetable besides its windows and slices: shares, pace, this hour's budget, who is how far."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    String,
    Table,
)

from center.tables import metadata

upload_share = Table(
    "upload_share",
    metadata,
    Column("kind", String(12), primary_key=True, comment="size, institution or frontend"),
    Column("name", String(32), primary_key=True, comment="the class, the institution's code or the front-end"),
    Column("share", Integer, nullable=False, comment="size: percent of the budget; else weight, 100 is usual"),
    CheckConstraint("share BETWEEN 1 AND 1000", name="ck_upload_share"),
    comment="Where the office shares out otherwise than domain.upload_shares does.",
)

upload_pace = Table(
    "upload_pace",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False, comment="the only row is 1"),
    Column("pace", Integer, nullable=False, comment="thousandths of the budget that are granted at present"),
    Column("waiting_seconds", Float, nullable=False, comment="how long a settlement waited, real seconds"),
    Column("ticked_at", Float, nullable=False, comment="real seconds"),
    Column("counted_at", Float, comment="real seconds: upload_mark was counted; null: never"),
    Column("counting_seconds", Float, nullable=False, server_default="0", comment="how long the counting took"),
    Column("due_since", Date, comment="the day to look back to when it is counted again; null: the first"),
    CheckConstraint("one = 1 AND pace BETWEEN 0 AND 1000", name="ck_upload_pace"),
    comment="How fast detail may travel now (domain.pace).",
)

upload_hour = Table(
    "upload_hour",
    metadata,
    Column("window", String(32), primary_key=True),
    Column("began", DateTime(timezone=True), nullable=False, comment="of the hour of its opening"),
    Column("lines", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    comment="What has been granted of each window's budget in the hour it is in, small slices not counted.",
)

upload_mark = Table(
    "upload_mark",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("frontend", String(32), primary_key=True, comment="that settled and holds the lines"),
    Column("due_claims", BigInteger, nullable=False, comment="settled, and no detail has come"),
    Column("due_lines", BigInteger, nullable=False),
    Column("overdue_claims", BigInteger, nullable=False, comment="settled before the deadline, and no detail has come"),
    Column("oldest_due_at", DateTime(timezone=True), nullable=False, comment="all that was settled before it is here"),
    Column("alarmed_at", DateTime(timezone=True), comment="when it was last said that something is overdue"),
    comment="High-water mark: up to when the detail of each institution is here; no row: all of it is.",
)
