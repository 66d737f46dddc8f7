"""The state machine of claims that are settled in two phases, or were cancelled before they were seen: one row each."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    text,
)

from center.tables import metadata

outcome = Table(
    "outcome",
    metadata,
    Column("visit_no", String(16), primary_key=True),
    Column("charge_batch_no", Integer, primary_key=True, autoincrement=False),
    # Of a number nobody has seen yet it cannot be said whose it is: each institution leaves tombstones of its own.
    Column("institution_code", String(18), primary_key=True),
    Column("frontend", String(32), nullable=False),
    Column("state", String(10), nullable=False, comment="domain.outcomes.OutcomeState; it leaves `prepared` once"),
    Column("person_no", BigInteger, comment="whom it holds while it is prepared; null: never prepared"),
    Column("family_person_no", BigInteger, comment="whose account the person may use, and whom it holds, too"),
    Column("content", LargeBinary, nullable=False, server_default="", comment="center.settling.records.Content"),
    Column("prepared_at", DateTime(timezone=True)),
    Column("expires_at", DateTime(timezone=True), comment="by the centre's clock, exclusive"),
    Column("decided_at", DateTime(timezone=True)),
    Column("decided_by", String(40), nullable=False, server_default="", comment="front-end, center, or who forced it"),
    Column("prepared", LargeBinary, nullable=False, server_default="", comment="center.outcomes.prepared.Prepared"),
    Column("answer", LargeBinary, nullable=False, server_default="", comment="domain.messages.ClaimAnswer as given"),
    Column("settlement_no", BigInteger, comment="of the settlement a confirmation wrote"),
    CheckConstraint("state IN ('prepared', 'confirmed', 'cancelled', 'expired')", name="ck_outcome_state"),
    CheckConstraint("(state = 'confirmed') = (settlement_no IS NOT NULL)", name="ck_outcome_settled"),
    CheckConstraint("(state = 'prepared') = (decided_at IS NULL)", name="ck_outcome_decided"),
    CheckConstraint(
        "state = 'cancelled' OR (person_no IS NOT NULL AND prepared_at IS NOT NULL AND expires_at IS NOT NULL)",
        name="ck_outcome_prepared",
    ),
    comment="Two-phase claims, and tombstones: cancelled, never prepared. Confirmed ones are in settlement, too.",
)
_PREPARED = text("state = 'prepared'")
Index("ix_outcome_unsettled", outcome.c.visit_no, postgresql_where=text("state <> 'confirmed'"))
Index("uq_outcome_person", outcome.c.person_no, unique=True, postgresql_where=_PREPARED)
Index("uq_outcome_family", outcome.c.family_person_no, unique=True, postgresql_where=_PREPARED)
Index("ix_outcome_expires", outcome.c.expires_at, postgresql_where=_PREPARED)
