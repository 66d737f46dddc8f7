"""Sums of each institution-day, what was checked, what is frozen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0008"
down_revision = "r0007"
branch_labels = None
depends_on = None

SUMMED = (
    "line_count",
    "total_fen",
    "own_expense_fen",
    "over_limit_fen",
    "pre_self_pay_fen",
    "in_scope_fen",
    "fund_pay_fen",
    "account_pay_fen",
    "deductible_fen",
    "own_pay_fen",
    "self_pay_fen",
    "over_cap_fen",
    "institution_share_fen",
)
TABLES = {
    "day_sum": "Sums of the settlements of a day, kept in the transaction that settles.",
    "checked_day": "The same sums as the check has added them up from the documents it has seen.",
}

SUMS_THERE_ARE = """
INSERT INTO {table}
SELECT institution_code, scheme, clearing_type, settled_day, kind, count(*), sum(line_count), sum(total_fen),
       sum(own_expense_fen), sum(over_limit_fen), sum(pre_self_pay_fen), sum(in_scope_fen), sum(fund_pay_fen),
       sum(account_pay_fen), sum(deductible_fen),
       sum(coalesce(own_pay_fen, own_expense_fen + over_limit_fen + pre_self_pay_fen)),
       sum(self_pay_fen), sum(over_cap_fen), sum(institution_share_fen)
FROM settlement GROUP BY institution_code, scheme, clearing_type, settled_day, kind
"""

# What was never summed before is summed here once; from now on the checks say whether it stays so.
ACCOUNTS_THERE_ARE = """
INSERT INTO checked_account
SELECT institution_code, scheme, clearing_type, CASE WHEN account LIKE 'account:%' THEN 'account'
    WHEN account LIKE 'fund:%' THEN 'fund:' || split_part(account, ':', 2) ELSE account END AS name, sum(amount_fen)
FROM posting JOIN settlement ON settlement_no = document_no GROUP BY institution_code, scheme, clearing_type, name
"""

OPENINGS_THERE_ARE = """
INSERT INTO account_opening (person_no, amount_fen)
SELECT person_no, account_balance_fen + coalesce(paid.fen, 0) FROM person LEFT JOIN
    (SELECT account, sum(amount_fen) AS fen FROM posting WHERE account LIKE 'account:%' GROUP BY account) AS paid
    ON paid.account = 'account:' || person_no
WHERE account_balance_fen + coalesce(paid.fen, 0) <> 0
"""

OPENINGS = """
CREATE FUNCTION note_account_openings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_opening (person_no, amount_fen)
    SELECT person_no, account_balance_fen FROM entered WHERE account_balance_fen <> 0;
    RETURN NULL;
END $$;

CREATE TRIGGER account_openings AFTER INSERT ON person
REFERENCING NEW TABLE AS entered
FOR EACH STATEMENT EXECUTE FUNCTION note_account_openings();

CREATE TRIGGER account_opening_is_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON account_opening
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

DETAILS_DUE = """
CREATE FUNCTION note_detail_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO detail_due (settlement_no) SELECT settlement_no FROM received ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER detail_is_due AFTER INSERT ON detail
REFERENCING NEW TABLE AS received
FOR EACH STATEMENT EXECUTE FUNCTION note_detail_due();

INSERT INTO detail_due (settlement_no) SELECT settlement_no FROM detail;
"""


def upgrade() -> None:
    """Make the tables, sum up what is there, and let triggers note openings and uploaded lines."""
    for table, comment in TABLES.items():
        op.create_table(
            table,
            sa.Column("institution_code", sa.String(length=18), nullable=False),
            sa.Column("scheme", sa.String(length=16), nullable=False),
            sa.Column("clearing_type", sa.String(length=4), nullable=False),
            sa.Column("day", sa.Date(), nullable=False, comment="settled_day"),
            sa.Column("kind", sa.String(length=8), nullable=False, comment="normal or contra"),
            sa.Column("documents", sa.BigInteger(), nullable=False),
            *[sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMMED],
            sa.PrimaryKeyConstraint("institution_code", "scheme", "clearing_type", "day", "kind"),
            comment=comment,
        )
        op.execute(SUMS_THERE_ARE.format(table=table))
    op.create_table(
        "checked_account",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("scheme", sa.String(length=16), nullable=False),
        sa.Column("clearing_type", sa.String(length=4), nullable=False),
        sa.Column(
            "account", sa.String(length=64), nullable=False, comment="domain.ledger; layers and persons together"
        ),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("institution_code", "scheme", "clearing_type", "account"),
        comment="The postings the check has seen, added up by the flow whose documents they belong to.",
    )
    op.execute(ACCOUNTS_THERE_ARE)
    op.create_table(
        "books_watermark",
        sa.Column("institution_code", sa.String(length=18), nullable=False),
        sa.Column("link_no", sa.BigInteger(), nullable=False, comment="the last link of its chain that is checked"),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("institution_code"),
    )
    op.execute("INSERT INTO books_watermark SELECT institution_code, link_no, now() FROM chain_head")
    op.create_table(
        "books_run",
        sa.Column("way", sa.String(length=4), nullable=False, comment="new: what had come since; all: from nothing"),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("broken", sa.Integer(), nullable=False, comment="findings of this run"),
        sa.PrimaryKeyConstraint("way"),
        comment="The newest run of each kind, for metrics and doctor.",
    )
    op.create_table(
        "detail_due",
        sa.Column("settlement_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("settlement_no"),
        comment="Uploaded lines nobody has checked yet; a trigger on detail fills it.",
    )
    op.execute(DETAILS_DUE)
    op.create_table(
        "account_opening",
        sa.Column("person_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("person_no"),
        comment="With what a personal account came into the centre's books; a trigger on person fills it.",
    )
    op.execute(OPENINGS_THERE_ARE)
    op.execute(OPENINGS)
    op.create_index(
        "ix_posting_person_account", "posting", ["account"], postgresql_where=sa.text("account LIKE 'account:%'")
    )
    _frozen_flows()


def _frozen_flows() -> None:
    op.create_table(
        "frozen_flow",
        sa.Column("freeze_no", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("institution_code", sa.String(length=18), nullable=False, comment="* is every one"),
        sa.Column("scheme", sa.String(length=16), nullable=False, comment="* is every one"),
        sa.Column("clearing_type", sa.String(length=4), nullable=False, comment="* is every one"),
        sa.Column("person_no", sa.BigInteger(), nullable=True, comment="null: whoever comes"),
        sa.Column("level", sa.String(length=12), nullable=False, comment="center.conservation.findings.Level"),
        sa.Column("code", sa.String(length=32), nullable=False, comment="which sum is broken"),
        sa.Column("document_no", sa.BigInteger(), nullable=True, comment="null: no single document"),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column(
            "subject",
            sa.String(length=128),
            nullable=False,
            comment="account or accumulator; empty if the document says it",
        ),
        sa.Column("expected_fen", sa.BigInteger(), nullable=False),
        sa.Column("found_fen", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False, comment="Chinese, with both figures"),
        sa.Column("finding", sa.String(length=32), nullable=False, comment="digest of what is broken, and by how much"),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.String(length=40), nullable=True),
        sa.Column("approved_by", sa.String(length=40), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.Column(
            "mended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a check from nothing no longer found it",
        ),
        sa.CheckConstraint(
            "(released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (approved_by IS NULL)",
            name="ck_frozen_flow_released",
        ),
        sa.CheckConstraint("released_by <> approved_by", name="ck_frozen_flow_two_persons"),
        sa.PrimaryKeyConstraint("freeze_no"),
        comment="A broken sum, and the flow in which nothing new is settled until two persons release it.",
    )
    op.create_index(
        "ix_frozen_flow_frozen",
        "frozen_flow",
        ["institution_code"],
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index(
        "uq_frozen_flow_finding",
        "frozen_flow",
        ["finding"],
        unique=True,
        postgresql_where=sa.text("mended_at IS NULL"),
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER account_openings ON person")
    op.execute("DROP TRIGGER detail_is_due ON detail")
    op.execute("DROP FUNCTION note_account_openings")
    op.execute("DROP FUNCTION note_detail_due")
    op.drop_index("ix_posting_person_account", "posting")
    for table in (
        "frozen_flow",
        "account_opening",
        "detail_due",
        "books_run",
        "books_watermark",
        "checked_account",
        "checked_day",
        "day_sum",
    ):
        op.drop_table(table)
