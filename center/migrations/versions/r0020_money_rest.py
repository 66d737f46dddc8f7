"""Clearings are decided about over the link; settlements come after their postings; refunds are considered once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0020"
down_revision = "r0019"
branch_labels = None
depends_on = None

HAS_POSTINGS = """
CREATE FUNCTION refuse_settlement_without_postings() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bare bigint;
BEGIN
    SELECT settlement_no INTO bare FROM inserted
    WHERE total_fen <> 0 AND (SELECT 1 FROM posting WHERE document_no = settlement_no LIMIT 1) IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'settlement % comes without its postings', bare USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""
"""Postings are written first. Whoever adds a settlement, by COPY too, finds them there, or adds nothing: so no
transaction commits a settlement without postings. It is asked once a statement, one look into the index for each of its
rows: as an anti join it would be planned for the whole of posting, at ten times the cost."""

OF_FLOW = ("total_fen", "fund_pay_fen", "account_pay_fen", "institution_share_fen")

MOVES_ONCE = """
CREATE OR REPLACE FUNCTION outcome_moves_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'prepared'{unless} THEN
        RAISE EXCEPTION 'an outcome that is decided does not change';
    END IF;
    RETURN NEW;
END $$
"""
UNLESS_RESTORED = """
        AND NOT (OLD.state IN ('expired', 'cancelled') AND OLD.person_no IS NOT NULL AND NEW.state = 'confirmed'
                 AND NEW.decided_by = 'restore')"""
"""What expired in a restored centre, which had forgotten the confirmation, and is taken up as settled."""


def upgrade() -> None:
    """Make the table and the triggers."""
    op.create_table(
        "clearing_decision",
        sa.Column("period_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "clearing_no",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="whose figures were looked at",
        ),
        sa.Column("decision", sa.String(length=8), nullable=False, comment="domain.clearings.Decision"),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False, comment="by the institution, on its clock"),
        sa.Column("frontend", sa.String(length=32), nullable=False),
        sa.Column("said_by", sa.String(length=40), nullable=False, comment="who at the institution"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "code", sa.String(length=24), nullable=False, comment="domain.clearings.Refused; empty: it was taken"
        ),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("period_no", "clearing_no", "decision", "decided_at"),
        comment="What institutions said of their clearings over the link, and what they were answered.",
    )
    op.execute(
        "CREATE TRIGGER clearing_decision_is_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON clearing_decision"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(HAS_POSTINGS)
    op.execute(
        "CREATE TRIGGER settlement_has_postings AFTER INSERT ON settlement REFERENCING NEW TABLE AS inserted"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_settlement_without_postings()"
    )
    op.execute(MOVES_ONCE.format(unless=UNLESS_RESTORED))
    op.create_table(
        "considered_refund",
        sa.Column("contra_no", sa.BigInteger(), autoincrement=False, nullable=False, comment="the contra settlement"),
        sa.Column("considered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("proposal_no", sa.BigInteger(), nullable=True, comment="what was proposed; null: nothing"),
        sa.Column("words", sa.Text(), nullable=False, comment="why nothing"),
        sa.PrimaryKeyConstraint("contra_no"),
        comment="Refunds that were looked at for what they change of later settlements.",
    )
    op.execute(
        "CREATE TRIGGER considered_refund_is_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON considered_refund"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.create_table(
        "checked_flow",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("scheme", sa.String(length=16), nullable=False),
        sa.Column("clearing_type", sa.String(length=4), nullable=False),
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in OF_FLOW],
        sa.PrimaryKeyConstraint("institution_code", "scheme", "clearing_type"),
        comment="All of checked_day together by flow: what the accounts must be, however many days there are.",
    )
    op.execute(
        f"INSERT INTO checked_flow SELECT institution_code, scheme, clearing_type,"
        f" {', '.join(f'sum({name})' for name in OF_FLOW)} FROM checked_day"
        " GROUP BY institution_code, scheme, clearing_type"
    )
    op.create_index("ix_settlement_person", "settlement", ["person_no"])
    op.create_index(
        "ix_settlement_contra_day",
        "settlement",
        ["settled_day"],
        postgresql_where=sa.text("contra_of IS NOT NULL"),
    )
    op.create_index(
        "ix_person_family",
        "person",
        ["family_citizen_id_no"],
        postgresql_where=sa.text("family_citizen_id_no IS NOT NULL"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_person_family", "person")
    op.drop_index("ix_settlement_contra_day", "settlement")
    op.drop_index("ix_settlement_person", "settlement")
    op.drop_table("checked_flow")
    op.drop_table("considered_refund")
    op.execute(MOVES_ONCE.format(unless=""))
    op.execute("DROP TRIGGER settlement_has_postings ON settlement")
    op.execute("DROP FUNCTION refuse_settlement_without_postings")
    op.drop_table("clearing_decision")
