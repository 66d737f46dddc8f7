"""The tables of the ledger besides `settlement` and `posting`: other documents, the chain, the audit."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from center.tables import WRITTEN_ONCE, metadata

ledger_document = Table(
    "ledger_document",
    metadata,
    Column("document_no", BigInteger, primary_key=True, autoincrement=False, comment="from settlement_no_seq"),
    Column("kind", String(24), nullable=False, comment="clearing, payment, deduction, ...; not a settlement"),
    Column("institution_code", String(18), nullable=False),
    Column("scheme", String(16), nullable=False, server_default=""),
    Column("clearing_type", String(4), nullable=False, server_default=""),
    Column("day", Date, nullable=False, comment="the day it counts for"),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("made_by", String(40), nullable=False),
    Column("approved_by", String(40), nullable=False, server_default="", comment="the second person, if any"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("refers_to", BigInteger, comment="the document it is about"),
    Column("amount_fen", BigInteger, nullable=False),
    Column("content", JSONB, nullable=False, server_default=text("'{}'")),
    CheckConstraint("approved_by = '' OR approved_by <> made_by", name="ck_ledger_document_two_persons"),
    info=WRITTEN_ONCE,
    comment="Documents of the ledger that are not settlements; their postings are in posting.",
)
Index("ix_ledger_document_flow", ledger_document.c.institution_code, ledger_document.c.scheme, ledger_document.c.day)
Index("ix_ledger_document_refers_to", ledger_document.c.refers_to)

audit = Table(
    "audit",
    metadata,
    Column("audit_no", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("by", String(40), nullable=False),
    Column("action", String(64), nullable=False, comment="policy.publish, refund.unlock, ..."),
    Column("subject", String(128), nullable=False, comment="what it was done to"),
    Column("reason", Text, nullable=False),
    Column("institution_code", String(18), nullable=False, server_default="*", comment="* is the whole city"),
    Column("details", JSONB, nullable=False, server_default=text("'{}'")),
    info=WRITTEN_ONCE,
    comment="Who did what, to what, when and why.",
)
Index("ix_audit_at", audit.c.at)

chain_link = Table(
    "chain_link",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("link_no", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, 3, ... in order of commit"),
    Column("kind", String(8), nullable=False, comment="ledger: documents; audit: rows of audit"),
    Column("layout", SmallInteger, nullable=False, comment="center.ledger.layouts: the columns it was taken over"),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("documents", ARRAY(BigInteger), nullable=False, comment="their numbers, ascending"),
    Column("digests", LargeBinary, nullable=False, comment="32 bytes for each document, in the same order"),
    Column("head", LargeBinary, nullable=False, comment="SHA-256 over the head before and all of this row"),
    info=WRITTEN_ONCE,
    comment="One link for each institution and transaction that wrote documents or audit.",
)

chain_head = Table(
    "chain_head",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("link_no", BigInteger, nullable=False, comment="of the newest link; 0: none yet"),
    Column("head", LargeBinary, nullable=False),
    comment="The newest link of each institution; whoever adds one holds this row's lock.",
)

chain_check = Table(
    "chain_check",
    metadata,
    Column("verified_at", DateTime(timezone=True), primary_key=True),
    Column("chains", Integer, nullable=False),
    Column("links", BigInteger, nullable=False),
    Column("documents", BigInteger, nullable=False),
    Column("heads", Integer, nullable=False, comment="exported heads they were compared with"),
    Column("newest_head_at", DateTime(timezone=True), comment="when the newest of those was exported"),
    Column("wrong", Integer, nullable=False, comment="what was not as it was written"),
    comment="How each night's verification of the chains ended.",
)
