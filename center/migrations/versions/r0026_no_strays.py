"""Nothing is posted to a settlement that stands, and no detail comes for a settlement there is not."""

from __future__ import annotations

from alembic import op

revision = "r0026"
down_revision = "r0025"
branch_labels = None
depends_on = None

POSTED_ONCE = """
CREATE FUNCTION refuse_posting_to_what_stands() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    standing bigint;
BEGIN
    SELECT document_no INTO standing FROM (SELECT DISTINCT document_no FROM inserted) AS posted
    WHERE (SELECT 1 FROM settlement WHERE settlement_no = document_no) IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'settlement % has its postings', standing USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""
"""The postings of a settlement are written before it (r0020), in one statement: whatever comes later is no part of it,
balanced or not. One look into the index a document, as in r0020 and r0024."""

DETAIL_OF_SOMETHING = """
CREATE FUNCTION refuse_detail_of_nothing() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    stray bigint;
BEGIN
    SELECT received.settlement_no INTO stray FROM received
    WHERE (SELECT 1 FROM settlement WHERE settlement.settlement_no = received.settlement_no) IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'detail of settlement %, which there is not', stray USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Make the triggers."""
    op.execute(POSTED_ONCE)
    op.execute(
        "CREATE TRIGGER posting_is_of_its_document AFTER INSERT ON posting REFERENCING NEW TABLE AS inserted"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_posting_to_what_stands()"
    )
    op.execute(DETAIL_OF_SOMETHING)
    op.execute(
        "CREATE TRIGGER detail_is_of_a_settlement AFTER INSERT ON detail REFERENCING NEW TABLE AS received"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_detail_of_nothing()"
    )


def downgrade() -> None:
    """Take them away."""
    op.execute("DROP TRIGGER detail_is_of_a_settlement ON detail")
    op.execute("DROP FUNCTION refuse_detail_of_nothing")
    op.execute("DROP TRIGGER posting_is_of_its_document ON posting")
    op.execute("DROP FUNCTION refuse_posting_to_what_stands")
