"""The tables of the epoch: which life of the database this is, who has sent what was lost, and what came of it."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Float,
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

epoch = Table(
    "epoch",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False, comment="center.backup.epochs"),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, comment="what was settled from here on may be missing"),
    Column("high_water_no", BigInteger, nullable=False, comment="the last document number the restored database knew"),
    Column("first_no", BigInteger, nullable=False, comment="the first number this life of the database gives"),
    Column("archive", String(64), nullable=False, comment="digest of the archive; empty: restored by other means"),
    Column("begun_by", String(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), comment="when settling went on; null: recovering"),
    comment="Lives of this database after the first, which has no row.",
)

catching_up = Table(
    "catching_up",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("frontend", String(32), primary_key=True),
    Column("after_id", BigInteger, nullable=False, server_default="0", comment="of the front-end: sent up to here"),
    Column("documents", Integer, nullable=False, server_default="0"),
    Column("asked_at", Float, nullable=False, server_default="0", comment="real seconds"),
    Column("complete_at", DateTime(timezone=True), comment="when its last document had come"),
    Column("waived_by", String(40), comment="who let the centre go on without it"),
    Column("waived_reason", Text),
    Column("detail_after_no", BigInteger, nullable=False, server_default="0", comment="detail is asked up to here"),
    Column("done_at", DateTime(timezone=True), comment="when the missing detail was asked for, too"),
    Column(
        "strange",
        ARRAY(String(18)),
        nullable=False,
        server_default="{}",
        comment="institutions it was answered for and does not serve here: that was lost, and is to be done again",
    ),
    Column("moves", LargeBinary, comment="the last move of each of its institutions, as it says; packed"),
    comment="Which front-end has sent what this epoch lacks.",
)
OWES = "(complete_at IS NULL OR strange <> '{}') AND waived_by IS NULL"
"""SQL: the centre waits for this front-end, or for what an operator has to do again first."""

resent = Table(
    "resent",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("document_no", BigInteger, primary_key=True, autoincrement=False, comment="as it was given"),
    Column("frontend", String(32), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False),
    Column("charge_batch_no", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False, comment="msgpack of domain.messages.Resent"),
    Column("came_at", DateTime(timezone=True), nullable=False),
    Column("outcome", String(8), nullable=False, server_default="", comment="center.backup.taking.Outcome"),
    Column("words", Text, nullable=False, server_default=""),
    Column("taken_at", DateTime(timezone=True)),
    UniqueConstraint("epoch", "frontend", "visit_no", "charge_batch_no", name="uq_resent"),
    comment="What front-ends sent again, until it is taken up; then how that went.",
)
WAITS = text("resent.outcome = ''")
Index("ix_resent_waits", resent.c.epoch, resent.c.document_no, postgresql_where=text("outcome = ''"))
