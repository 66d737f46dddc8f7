"""The tables of conservation: sums of each day, how far they are checked, what is frozen until somebody has looked."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from center.tables import WRITTEN_ONCE, metadata, posting

DAY_KEY = ("institution_code", "scheme", "clearing_type", "day", "kind")
DAY_AMOUNTS = (
    "documents",
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
"""What is summed of a day. The amounts of contra settlements are negative in it; their documents and lines count up."""


def _day_table(name: str, comment: str) -> Table:
    return Table(
        name,
        metadata,
        Column("institution_code", String(18), primary_key=True),
        Column("scheme", String(16), primary_key=True),
        Column("clearing_type", String(4), primary_key=True),
        Column("day", Date, primary_key=True, comment="settled_day"),
        Column("kind", String(8), primary_key=True, comment="normal or contra"),
        *[Column(amount, BigInteger, nullable=False) for amount in DAY_AMOUNTS],
        comment=comment,
    )


day_sum = _day_table("day_sum", "Sums of the settlements of a day, kept in the transaction that settles.")

checked_day = _day_table("checked_day", "The same sums as the check has added them up from the documents it has seen.")

checked_account = Table(
    "checked_account",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("scheme", String(16), primary_key=True),
    Column("clearing_type", String(4), primary_key=True),
    Column("account", String(64), primary_key=True, comment="domain.ledger; layers and persons together"),
    Column("amount_fen", BigInteger, nullable=False),
    comment="The postings the check has seen, added up by the flow whose documents they belong to.",
)

checked_flow = Table(
    "checked_flow",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("scheme", String(16), primary_key=True),
    Column("clearing_type", String(4), primary_key=True),
    *[
        Column(name, BigInteger, nullable=False)
        for name in ("total_fen", "fund_pay_fen", "account_pay_fen", "institution_share_fen")
    ],
    comment="All of checked_day together by flow: what the accounts must be, however many days there are.",
)

books_watermark = Table(
    "books_watermark",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("link_no", BigInteger, nullable=False, comment="the last link of its chain that is checked"),
    Column("checked_at", DateTime(timezone=True), nullable=False),
)

books_run = Table(
    "books_run",
    metadata,
    Column("way", String(4), primary_key=True, comment="new: what had come since; all: from nothing"),
    Column("checked_at", DateTime(timezone=True), nullable=False),
    Column("documents", BigInteger, nullable=False),
    Column("broken", Integer, nullable=False, comment="findings of this run"),
    comment="The newest run of each kind, for metrics and doctor.",
)

detail_due = Table(
    "detail_due",
    metadata,
    Column("settlement_no", BigInteger, primary_key=True, autoincrement=False),
    comment="Uploaded lines nobody has checked yet; a trigger on detail fills it.",
)

account_opening = Table(
    "account_opening",
    metadata,
    Column("person_no", BigInteger, primary_key=True, autoincrement=False),
    Column("amount_fen", BigInteger, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    info=WRITTEN_ONCE,
    comment="With what a personal account came into the centre's books; a trigger on person fills it.",
)

frozen_flow = Table(
    "frozen_flow",
    metadata,
    Column("freeze_no", BigInteger, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False, comment="* is every one"),
    Column("scheme", String(16), nullable=False, comment="* is every one"),
    Column("clearing_type", String(4), nullable=False, comment="* is every one"),
    Column("person_no", BigInteger, comment="null: whoever comes"),
    Column("level", String(12), nullable=False, comment="center.conservation.findings.Level"),
    Column("code", String(32), nullable=False, comment="which sum is broken"),
    Column("document_no", BigInteger, comment="null: no single document"),
    Column("day", Date),
    Column("subject", String(128), nullable=False, comment="account or accumulator; empty if the document says it"),
    Column("expected_fen", BigInteger, nullable=False),
    Column("found_fen", BigInteger, nullable=False),
    Column("why", Text, nullable=False, comment="Chinese, with both figures"),
    Column("finding", String(32), nullable=False, comment="digest of what is broken, and by how much"),
    Column("frozen_at", DateTime(timezone=True), nullable=False),
    Column("released_at", DateTime(timezone=True)),
    Column("released_by", String(40)),
    Column("approved_by", String(40)),
    Column("release_reason", Text),
    Column("mended_at", DateTime(timezone=True), comment="when a check from nothing no longer found it"),
    CheckConstraint(
        "(released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (approved_by IS NULL)",
        name="ck_frozen_flow_released",
    ),
    CheckConstraint("released_by <> approved_by", name="ck_frozen_flow_two_persons"),
    comment="A broken sum, and the flow in which nothing new is settled until two persons release it.",
)
Index("ix_frozen_flow_frozen", frozen_flow.c.institution_code, postgresql_where=text("released_at IS NULL"))
Index("uq_frozen_flow_finding", frozen_flow.c.finding, unique=True, postgresql_where=text("mended_at IS NULL"))

Index("ix_posting_person_account", posting.c.account, postgresql_where=text("account LIKE 'account:%'"))
