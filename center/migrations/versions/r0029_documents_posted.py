"""A document of the ledger that moves money has its postings when it is committed."""

from __future__ import annotations

from alembic import op

revision = "r0029"
down_revision = "r0028"
branch_labels = None
depends_on = None

POSTED = """
CREATE FUNCTION refuse_document_without_postings() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF (SELECT 1 FROM posting WHERE document_no = NEW.document_no LIMIT 1) IS NULL THEN
        RAISE EXCEPTION 'document % comes without its postings', NEW.document_no USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""
"""As of settlements (r0020). A note says what stands in a book and moves nothing; what comes to zero posts nothing."""


def upgrade() -> None:
    op.execute(POSTED)
    op.execute(
        "CREATE CONSTRAINT TRIGGER ledger_document_has_postings AFTER INSERT ON ledger_document"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.amount_fen <> 0 AND NEW.kind <> 'note')"
        " EXECUTE FUNCTION refuse_document_without_postings()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER ledger_document_has_postings ON ledger_document")
    op.execute("DROP FUNCTION refuse_document_without_postings")
