"""The table of corrections: which settlement was corrected by which two documents, why, and who has heard of it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from center.tables import WRITTEN_ONCE, metadata

correction = Table(
    "correction",
    metadata,
    Column("correction_no", BigInteger, primary_key=True, autoincrement=True),
    Column("proposal_no", BigInteger, nullable=False),
    Column("refunded_no", BigInteger, nullable=False, comment="the settlement whose refund changed this one"),
    Column("settlement_no", BigInteger, nullable=False, unique=True, comment="what was corrected"),
    Column("place_no", BigInteger, nullable=False, comment="where it is in the order: the first settlement it was"),
    Column("contra_no", BigInteger, nullable=False, unique=True, comment="the settlement that takes it back"),
    Column("resettled_no", BigInteger, nullable=False, unique=True, comment="the settlement it comes to now"),
    Column("institution_code", String(18), nullable=False),
    Column("frontend", String(32), nullable=False),
    Column("visit_no", String(16), nullable=False),
    Column("cash_fen", BigInteger, nullable=False, comment="what the patient pays in addition; negative: gets back"),
    Column("corrected_at", DateTime(timezone=True), nullable=False),
    Column("due_at", Float, nullable=False, server_default="0", comment="real seconds: when it is told again"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="how often the front-end was told"),
    Column("heard_at", DateTime(timezone=True), comment="when the front-end had recorded it"),
    CheckConstraint("contra_no < resettled_no", name="ck_correction_order"),
    comment="A settlement corrected because one before it was taken back.",
)
Index("ix_correction_unheard", correction.c.due_at, postgresql_where=text("heard_at IS NULL"))
Index("ix_correction_visit", correction.c.visit_no)

considered_refund = Table(
    "considered_refund",
    metadata,
    Column("contra_no", BigInteger, primary_key=True, autoincrement=False, comment="the contra settlement"),
    Column("considered_at", DateTime(timezone=True), nullable=False),
    Column("proposal_no", BigInteger, comment="what was proposed; null: nothing"),
    Column("words", Text, nullable=False, comment="why nothing"),
    info=WRITTEN_ONCE,
    comment="Refunds that were looked at for what they change of later settlements.",
)
