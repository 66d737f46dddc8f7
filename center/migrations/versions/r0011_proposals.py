"""What one operator proposed and another one approved; corrections of later settlements after a refund."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0011"
down_revision = "r0010"
branch_labels = None
depends_on = None

# What was proposed stays as it was read by whoever approves it, and is decided once.
_DECIDED_ONCE = """
CREATE FUNCTION proposal_is_decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'open' THEN
        RAISE EXCEPTION 'proposal % is decided', OLD.proposal_no USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.proposal_no, NEW.action, NEW.institution_code, NEW.payload, NEW.effect, NEW.reason, NEW.proposed_by,
        NEW.proposed_at, NEW.expires_at)
       IS DISTINCT FROM
       (OLD.proposal_no, OLD.action, OLD.institution_code, OLD.payload, OLD.effect, OLD.reason, OLD.proposed_by,
        OLD.proposed_at, OLD.expires_at) THEN
        RAISE EXCEPTION 'proposal % is changed', OLD.proposal_no USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER proposal_is_decided_once BEFORE UPDATE ON proposal
    FOR EACH ROW EXECUTE FUNCTION proposal_is_decided_once();
CREATE FUNCTION proposal_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a proposal is not deleted' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER proposal_stays BEFORE DELETE ON proposal
    FOR EACH STATEMENT EXECUTE FUNCTION proposal_stays();
"""


def upgrade() -> None:
    op.create_table(
        "proposal",
        sa.Column("proposal_no", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False, comment="center.approving.registry"),
        sa.Column(
            "institution_code", sa.String(length=18), nullable=False, comment="whom it concerns; * is the whole city"
        ),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column(
            "effect", sa.Text(), nullable=False, comment="what it would do to the books, predicted when it was proposed"
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.String(length=40), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="exclusive"),
        sa.Column(
            "state",
            sa.String(length=8),
            server_default="open",
            nullable=False,
            comment="open, approved, rejected or stale",
        ),
        sa.Column("decided_by", sa.String(length=40)),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False, comment="what was done, or why not"),
        sa.Column(
            "failed_at",
            sa.DateTime(timezone=True),
            comment="the last approval whose execution failed; outcome says why",
        ),
        sa.PrimaryKeyConstraint("proposal_no"),
        sa.CheckConstraint("state IN ('open', 'approved', 'rejected', 'stale')", name="ck_proposal_state"),
        sa.CheckConstraint("decided_by IS NULL OR decided_by <> proposed_by", name="ck_proposal_four_eyes"),
        sa.CheckConstraint(
            "(state = 'open') = (decided_by IS NULL) AND (state = 'open') = (decided_at IS NULL)",
            name="ck_proposal_decided",
        ),
        comment="Four eyes: nothing of it is done before somebody else approves it.",
    )
    op.create_index("ix_proposal_open", "proposal", ["action"], postgresql_where=sa.text("state = 'open'"))
    op.execute(_DECIDED_ONCE)
    _create_correction()


def _create_correction() -> None:
    op.create_table(
        "correction",
        sa.Column("correction_no", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("proposal_no", sa.BigInteger(), nullable=False),
        sa.Column(
            "refunded_no", sa.BigInteger(), nullable=False, comment="the settlement whose refund changed this one"
        ),
        sa.Column("settlement_no", sa.BigInteger(), nullable=False, comment="what was corrected"),
        sa.Column(
            "place_no",
            sa.BigInteger(),
            nullable=False,
            comment="where it is in the order: the first settlement it was",
        ),
        sa.Column("contra_no", sa.BigInteger(), nullable=False, comment="the settlement that takes it back"),
        sa.Column("resettled_no", sa.BigInteger(), nullable=False, comment="the settlement it comes to now"),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column(
            "cash_fen",
            sa.BigInteger(),
            nullable=False,
            comment="what the patient pays in addition; negative: gets back",
        ),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "due_at", sa.Float(), server_default="0", nullable=False, comment="real seconds: when it is told again"
        ),
        sa.Column(
            "attempts", sa.Integer(), server_default="0", nullable=False, comment="how often the front-end was told"
        ),
        sa.Column("heard_at", sa.DateTime(timezone=True), comment="when the front-end had recorded it"),
        sa.PrimaryKeyConstraint("correction_no"),
        sa.UniqueConstraint("settlement_no"),
        sa.UniqueConstraint("contra_no"),
        sa.UniqueConstraint("resettled_no"),
        sa.CheckConstraint("contra_no < resettled_no", name="ck_correction_order"),
        comment="A settlement corrected because one before it was taken back.",
    )
    op.create_index("ix_correction_unheard", "correction", ["due_at"], postgresql_where=sa.text("heard_at IS NULL"))
    op.create_index("ix_correction_visit", "correction", ["visit_no"])


def downgrade() -> None:
    op.drop_table("correction")
    op.drop_table("proposal")
    op.execute("DROP FUNCTION proposal_is_decided_once(); DROP FUNCTION proposal_stays()")
