"""The table of proposals: what was proposed, what it would do, who decided it and what was done."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, String, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from center.tables import metadata

OPEN, APPROVED, REJECTED, STALE = "open", "approved", "rejected", "stale"

proposal = Table(
    "proposal",
    metadata,
    Column("proposal_no", BigInteger, primary_key=True, autoincrement=True),
    Column("action", String(32), nullable=False, comment="center.approving.registry"),
    Column("institution_code", String(18), nullable=False, comment="whom it concerns; * is the whole city"),
    Column("payload", JSONB, nullable=False),
    Column("effect", Text, nullable=False, comment="what it would do to the books, predicted when it was proposed"),
    Column("reason", Text, nullable=False),
    Column("proposed_by", String(40), nullable=False),
    Column("proposed_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False, comment="exclusive"),
    Column("state", String(8), nullable=False, server_default=OPEN, comment="open, approved, rejected or stale"),
    Column("decided_by", String(40)),
    Column("decided_at", DateTime(timezone=True)),
    Column("outcome", Text, nullable=False, server_default="", comment="what was done, or why not"),
    Column("failed_at", DateTime(timezone=True), comment="the last approval whose execution failed; outcome says why"),
    Column("proposed_from", String(63), nullable=False, server_default="", comment="login@machine, infra.database"),
    Column("decided_from", String(63), nullable=False, server_default="", comment="login@machine"),
    CheckConstraint("state IN ('open', 'approved', 'rejected', 'stale')", name="ck_proposal_state"),
    CheckConstraint("decided_by IS NULL OR decided_by <> proposed_by", name="ck_proposal_four_eyes"),
    CheckConstraint(
        "(state = 'open') = (decided_by IS NULL) AND (state = 'open') = (decided_at IS NULL)",
        name="ck_proposal_decided",
    ),
    comment="Four eyes: nothing of it is done before somebody else approves it.",
)
Index("ix_proposal_open", proposal.c.action, postgresql_where=text("state = 'open'"))
