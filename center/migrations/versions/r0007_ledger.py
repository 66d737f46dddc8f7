"""The ledger holds every document: settlements by clearing type, other documents, the chain over them, the audit.

What was posted before owed everything to `charges`. Each of those settlements gets a balanced pair of postings that
takes what funds and accounts pay from there to `payable`; then everything there is is linked into the chains.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0007"
down_revision = "r0006"
branch_labels = None
depends_on = None

CLEARING_TYPE_OF = "CASE visit_type WHEN '1' THEN '21' WHEN '4' THEN '41' ELSE '11' END"

POSTINGS_BALANCE = """
CREATE OR REPLACE FUNCTION refuse_unbalanced_postings() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced bigint;
BEGIN
    SELECT document_no INTO unbalanced
    FROM inserted GROUP BY document_no HAVING sum(amount_fen) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the postings of document % do not add up to zero', unbalanced
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""
"""Every statement that adds postings, COPY too, adds to each document what comes to zero. So every document is balanced
after each statement, and at commit."""

TO_PAYABLE = """
WITH paid AS (
    SELECT document_no, sum(amount_fen) AS fen, coalesce(max(split_part(account, ':', 2))
        FILTER (WHERE account LIKE 'fund:%'), '') AS scheme
    FROM posting WHERE account LIKE 'fund:%' OR account LIKE 'account:%' OR account LIKE 'payable:%'
    GROUP BY document_no HAVING sum(amount_fen) <> 0
), owed AS (
    SELECT document_no, fen, institution_code, settlement.clearing_type, coalesce(nullif(settlement.scheme, ''),
        nullif(paid.scheme, ''), person.scheme, '') AS scheme
    FROM paid JOIN settlement ON settlement_no = document_no LEFT JOIN person USING (person_no)
)
INSERT INTO posting (document_no, account, amount_fen)
SELECT document_no, side.account, side.fen FROM owed CROSS JOIN LATERAL (VALUES
    ('payable:' || institution_code || ':' || scheme || ':' || clearing_type, -fen),
    ('charges:' || institution_code, fen)) AS side (account, fen)
ORDER BY document_no
"""
"""What funds and accounts pay, and no `payable` has yet, becomes owed to the institution."""

BACK_TO_CHARGES = """
INSERT INTO posting (document_no, account, amount_fen)
SELECT document_no, side.account, side.fen
FROM (SELECT document_no, account, sum(amount_fen)::bigint AS fen FROM posting WHERE account LIKE 'payable:%'
    GROUP BY document_no, account HAVING sum(amount_fen) <> 0) AS owed
CROSS JOIN LATERAL (VALUES (account, -fen), ('charges:' || split_part(account, ':', 2), fen)) AS side (account, fen)
WHERE document_no IN (SELECT settlement_no FROM settlement)
"""

_SIGN = "(CASE kind WHEN 'contra' THEN -1 ELSE 1 END)"
_PERSON = "(coalesce(own_pay_fen, own_expense_fen + over_limit_fen + pre_self_pay_fen) + self_pay_fen + over_cap_fen)"
IDENTITIES = {
    "kind": "kind IN ('normal', 'contra')",
    "total_sign": f"{_SIGN} * total_fen >= 0",
    "fund_sign": f"{_SIGN} * fund_pay_fen >= least(0, {_SIGN} * in_scope_fen)",
    "share_sign": f"{_SIGN} * institution_share_fen >= least(0, {_SIGN} * in_scope_fen)",
    "deductible": "deductible_fen BETWEEN least(0, self_pay_fen) AND greatest(0, self_pay_fen)",
    "account": f"account_pay_fen BETWEEN least(0, {_PERSON}) AND greatest(0, {_PERSON})",
    "lines": "line_count >= 0",
}

WRITTEN_ONCE = ("ledger_document", "audit", "chain_link")
LINK_OF = 500
"""Documents to a link of what was there before."""


def upgrade() -> None:
    """Make the tables, set the accounts right, link what there is."""
    _settlement()
    _postings()
    _tables()
    for table in WRITTEN_ONCE:
        op.execute(
            f"CREATE TRIGGER {table}_is_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    _link_what_there_is()


def _settlement() -> None:
    op.add_column(
        "settlement",
        sa.Column("clearing_type", sa.String(length=4), comment="清算类别: domain.clearing, of the visit type"),
    )
    op.execute("ALTER TABLE settlement DISABLE TRIGGER settlement_is_written_once")
    op.execute(f"UPDATE settlement SET clearing_type = {CLEARING_TYPE_OF}")
    op.execute("ALTER TABLE settlement ENABLE TRIGGER settlement_is_written_once")
    op.alter_column("settlement", "clearing_type", nullable=False)
    for name, rule in IDENTITIES.items():
        op.create_check_constraint(f"ck_settlement_{name}", "settlement", rule)


def _postings() -> None:
    op.alter_column(
        "posting", "settlement_no", new_column_name="document_no", comment="a settlement, or a row of ledger_document"
    )
    op.alter_column("posting", "amount_fen", comment="a document's postings add up to zero")
    op.execute("ALTER INDEX ix_posting_settlement RENAME TO ix_posting_document")
    op.execute(POSTINGS_BALANCE)
    op.execute(TO_PAYABLE)
    op.create_index(
        "ix_accumulator_entry_settlement",
        "accumulator_entry",
        ["settlement_no"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 8, "autosummarize": True},
    )


def _tables() -> None:
    op.create_table(
        "ledger_document",
        sa.Column("document_no", sa.BigInteger(), autoincrement=False, comment="from settlement_no_seq"),
        sa.Column("kind", sa.String(24), nullable=False, comment="clearing, payment, deduction, ...; not a settlement"),
        sa.Column("institution_code", sa.String(18), nullable=False),
        sa.Column("scheme", sa.String(16), nullable=False, server_default=""),
        sa.Column("clearing_type", sa.String(4), nullable=False, server_default=""),
        sa.Column("day", sa.Date(), nullable=False, comment="the day it counts for"),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.String(40), nullable=False),
        sa.Column(
            "approved_by",
            sa.String(40),
            nullable=False,
            server_default="",
            comment="the second person, if any",
        ),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("refers_to", sa.BigInteger(), comment="the document it is about"),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")),
        sa.CheckConstraint("approved_by = '' OR approved_by <> made_by", name="ck_ledger_document_two_persons"),
        sa.PrimaryKeyConstraint("document_no"),
        comment="Documents of the ledger that are not settlements; their postings are in posting.",
    )
    op.create_index("ix_ledger_document_flow", "ledger_document", ["institution_code", "scheme", "day"])
    op.create_index("ix_ledger_document_refers_to", "ledger_document", ["refers_to"])
    op.create_table(
        "audit",
        sa.Column("audit_no", sa.BigInteger(), sa.Identity(always=True)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(40), nullable=False),
        sa.Column("action", sa.String(64), nullable=False, comment="policy.publish, refund.unlock, ..."),
        sa.Column("subject", sa.String(128), nullable=False, comment="what it was done to"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("institution_code", sa.String(18), nullable=False, server_default="*", comment="* is the whole city"),
        sa.Column("details", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("audit_no"),
        comment="Who did what, to what, when and why.",
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "chain_link",
        sa.Column("institution_code", sa.String(18)),
        sa.Column("link_no", sa.BigInteger(), autoincrement=False, comment="1, 2, 3, ... in order of commit"),
        sa.Column("kind", sa.String(8), nullable=False, comment="ledger: documents; audit: rows of audit"),
        sa.Column(
            "layout",
            sa.SmallInteger(),
            nullable=False,
            comment="center.ledger.layouts: the columns it was taken over",
        ),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("documents", sa.ARRAY(sa.BigInteger()), nullable=False, comment="their numbers, ascending"),
        sa.Column("digests", sa.LargeBinary(), nullable=False, comment="32 bytes for each document, in the same order"),
        sa.Column("head", sa.LargeBinary(), nullable=False, comment="SHA-256 over the head before and all of this row"),
        sa.PrimaryKeyConstraint("institution_code", "link_no"),
        comment="One link for each institution and transaction that wrote documents or audit.",
    )
    # Digests do not compress; trying to costs more than the link.
    op.execute("ALTER TABLE chain_link ALTER digests SET STORAGE EXTERNAL, ALTER documents SET STORAGE EXTERNAL")
    op.create_table(
        "chain_head",
        sa.Column("institution_code", sa.String(18)),
        sa.Column("link_no", sa.BigInteger(), nullable=False, comment="of the newest link; 0: none yet"),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("institution_code"),
        comment="The newest link of each institution; whoever adds one holds this row's lock.",
    )


def _link_what_there_is() -> None:
    """Settlements from before the chain: they are what they are from now on."""
    connection = op.get_bind()
    by_institution: dict[str, list[int]] = {}
    for code, number in connection.execute(
        sa.text("SELECT institution_code, settlement_no FROM settlement ORDER BY institution_code, settlement_no")
    ):
        by_institution.setdefault(code, []).append(number)
    if not by_institution:
        return
    # The writer of links knows every layout that ever was; this one is never edited.
    from center.ledger import chain
    from center.settling.records import cursor_of

    cursor, at = cursor_of(connection), datetime.now(UTC)
    for code, numbers in by_institution.items():
        for first in range(0, len(numbers), LINK_OF):
            chain.seal(cursor, {code: numbers[first : first + LINK_OF]}, at=at, layout=1)


def downgrade() -> None:
    """Take the chain and the audit away; what was owed goes back to `charges`."""
    for table in ("chain_head", "chain_link", "audit", "ledger_document"):
        op.drop_table(table)
    op.drop_index("ix_accumulator_entry_settlement", "accumulator_entry")
    op.execute(BACK_TO_CHARGES)
    op.execute("ALTER INDEX ix_posting_document RENAME TO ix_posting_settlement")
    op.alter_column("posting", "document_no", new_column_name="settlement_no", comment="")
    op.alter_column("posting", "amount_fen", comment="a settlement's postings add up to zero")
    op.execute(POSTINGS_BALANCE.replace("document_no", "settlement_no").replace("of document", "of settlement"))
    for name in IDENTITIES:
        op.drop_constraint(f"ck_settlement_{name}", "settlement", type_="check")
    op.drop_column("settlement", "clearing_type")
