"""Two-phase settlement: what is prepared, confirmed, cancelled, expired."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0009"
down_revision = "r0008"
branch_labels = None
depends_on = None

_MOVES_ONCE = """
CREATE FUNCTION outcome_moves_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'prepared' THEN
        RAISE EXCEPTION 'an outcome that is decided does not change';
    END IF;
    RETURN NEW;
END $$
"""

_VERSION_RISES = """
CREATE TRIGGER person_version_rises BEFORE UPDATE ON person FOR EACH ROW
WHEN (NEW.version = OLD.version AND {but}NEW IS DISTINCT FROM OLD)
EXECUTE FUNCTION raise_person_version()
"""
_BUT_FOR_HOLDS = "NEW.held_until IS NOT DISTINCT FROM OLD.held_until AND "
"""A hold changes nothing of what an entitlement says, so what was leased of the person stays true."""


def upgrade() -> None:
    op.add_column(
        "person",
        sa.Column(
            "held_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="a prepared claim holds the person until then; null or past: nothing does",
        ),
    )
    op.execute("DROP TRIGGER person_version_rises ON person")
    op.execute(_VERSION_RISES.format(but=_BUT_FOR_HOLDS))
    op.create_table(
        "outcome",
        sa.Column("visit_no", sa.String(length=16), nullable=False),
        sa.Column("charge_batch_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column(
            "state",
            sa.String(length=10),
            nullable=False,
            comment="domain.outcomes.OutcomeState; it leaves `prepared` once",
        ),
        sa.Column(
            "person_no",
            sa.BigInteger(),
            nullable=True,
            comment="whom it holds while it is prepared; null: never prepared",
        ),
        sa.Column(
            "family_person_no",
            sa.BigInteger(),
            nullable=True,
            comment="whose account the person may use, and whom it holds, too",
        ),
        sa.Column(
            "content", sa.LargeBinary(), server_default="", nullable=False, comment="center.settling.records.Content"
        ),
        sa.Column("prepared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="by the centre's clock, exclusive"),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "decided_by",
            sa.String(length=40),
            server_default="",
            nullable=False,
            comment="front-end, center, or who forced it",
        ),
        sa.Column(
            "prepared", sa.LargeBinary(), server_default="", nullable=False, comment="center.outcomes.prepared.Prepared"
        ),
        sa.Column(
            "answer",
            sa.LargeBinary(),
            server_default="",
            nullable=False,
            comment="domain.messages.ClaimAnswer as given",
        ),
        sa.Column("settlement_no", sa.BigInteger(), nullable=True, comment="of the settlement a confirmation wrote"),
        sa.CheckConstraint("state IN ('prepared', 'confirmed', 'cancelled', 'expired')", name="ck_outcome_state"),
        sa.CheckConstraint("(state = 'confirmed') = (settlement_no IS NOT NULL)", name="ck_outcome_settled"),
        sa.CheckConstraint("(state = 'prepared') = (decided_at IS NULL)", name="ck_outcome_decided"),
        sa.CheckConstraint(
            "state = 'cancelled' OR (person_no IS NOT NULL AND prepared_at IS NOT NULL AND expires_at IS NOT NULL)",
            name="ck_outcome_prepared",
        ),
        sa.PrimaryKeyConstraint("visit_no", "charge_batch_no", "institution_code"),
        comment="Two-phase claims, and tombstones: cancelled, never prepared. Confirmed ones are in settlement, too.",
    )
    prepared = sa.text("state = 'prepared'")
    op.create_index("ix_outcome_unsettled", "outcome", ["visit_no"], postgresql_where=sa.text("state <> 'confirmed'"))
    op.create_index("uq_outcome_person", "outcome", ["person_no"], unique=True, postgresql_where=prepared)
    op.create_index("uq_outcome_family", "outcome", ["family_person_no"], unique=True, postgresql_where=prepared)
    op.create_index("ix_outcome_expires", "outcome", ["expires_at"], postgresql_where=prepared)
    op.execute(_MOVES_ONCE)
    op.execute(
        "CREATE TRIGGER outcome_moves_once BEFORE UPDATE OR DELETE ON outcome"
        " FOR EACH ROW EXECUTE FUNCTION outcome_moves_once()"
    )


def downgrade() -> None:
    """Prepared claims are forgotten: their front-ends are told the centre does not know them."""
    op.drop_table("outcome")
    op.execute("DROP FUNCTION outcome_moves_once")
    op.execute("DROP TRIGGER person_version_rises ON person")
    op.execute(_VERSION_RISES.format(but=""))
    op.drop_column("person", "held_until")
