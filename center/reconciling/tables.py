"""The books institutions handed in, what differed from the centre's, and the orders that go out to mend it.

None of it is money: lines of a book that a newer one replaced are deleted. What was done about a difference is in the
settlements, documents and audit rows it names.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from center.tables import metadata

OPEN, PROPOSED, ORDERED, REPAIRED, EXPLAINED, GONE = "open", "proposed", "ordered", "repaired", "explained", "gone"
"""States of a difference. Open and proposed ones count as open: nothing has been done yet."""

STILL_OPEN = (OPEN, PROPOSED, ORDERED)

submitted_book = Table(
    "submitted_book",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("submission_no", BigInteger, primary_key=True, autoincrement=False),
    Column("frontend", String(32), nullable=False),
    Column("line_count", Integer, comment="null: totals only"),
    Column("parts", Integer, nullable=False),
    Column("parts_here", ARRAY(Integer), nullable=False, server_default="{}"),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("compared_at", DateTime(timezone=True)),
    comment="An institution's own book of a day, as often as it handed in another one.",
)

submitted_total = Table(
    "submitted_total",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("submission_no", BigInteger, primary_key=True, autoincrement=False),
    Column("scheme", String(16), primary_key=True, comment="empty: all of them"),
    Column("clearing_type", String(4), primary_key=True, comment="empty: all of them"),
    Column("with_refunds", Boolean, primary_key=True),
    Column("documents", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("fund_pay_fen", BigInteger, nullable=False),
    Column("account_pay_fen", BigInteger, nullable=False),
    Column("cash_fen", BigInteger, comment="null: not said"),
)

submitted_line = Table(
    "submitted_line",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("submission_no", BigInteger, primary_key=True, autoincrement=False),
    Column("line_no", Integer, primary_key=True, autoincrement=False),
    Column("visit_no", String(16), nullable=False),
    Column("settlement_no", BigInteger, nullable=False, comment="0: none"),
    Column("contra", Boolean, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("fund_pay_fen", BigInteger, nullable=False),
    Column("account_pay_fen", BigInteger, nullable=False),
    Column("charge_batch_no", Integer, nullable=False, comment="0: not said"),
    Column("scheme", String(16), nullable=False, comment="empty: not said"),
    Column("clearing_type", String(4), nullable=False, comment="empty: not said"),
    Column("cash_fen", BigInteger, comment="null: not said"),
    Column("settled_on", Date, nullable=False),
    Column("contra_of", BigInteger, nullable=False, comment="0: not said, or no contra"),
    comment="The lines of the newest book of each institution-day.",
)
Index(
    "ix_submitted_line_visit",
    submitted_line.c.institution_code,
    submitted_line.c.day,
    submitted_line.c.visit_no,
)

compared_day = Table(
    "compared_day",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("submission_no", BigInteger, comment="null: nothing had been handed in"),
    Column("by_lines", Boolean, nullable=False, comment="false: totals only"),
    Column("result", String(1), nullable=False, comment="domain.day_books.Result"),
    Column("institution_total_fen", BigInteger, nullable=False),
    Column("center_total_fen", BigInteger, nullable=False),
    Column("institution_documents", Integer, nullable=False),
    Column("center_documents", Integer, nullable=False),
    Column("differences", Integer, nullable=False, comment="found in the lines, open or not"),
    Column("compared_at", DateTime(timezone=True), nullable=False),
    comment="The newest comparison of each institution-day with the institution's own book.",
)

difference = Table(
    "difference",
    metadata,
    Column("difference_no", BigInteger, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False),
    Column("day", Date, nullable=False),
    Column("kind", String(24), nullable=False, comment="domain.reconciliation.Class"),
    Column("visit_no", String(16), nullable=False),
    Column("charge_batch_no", Integer, nullable=False),
    Column("settlement_no", BigInteger, nullable=False, comment="the centre's, or else the institution's"),
    Column("contra", Boolean, nullable=False),
    Column("side", String(12), nullable=False, comment="who has it: both, center, institution"),
    Column("place", Integer, nullable=False, comment="0, 1, ... where the same is found more than once"),
    Column("institution_figures", ARRAY(BigInteger), nullable=False, comment="documents, total, fund, account, cash"),
    Column("center_figures", ARRAY(BigInteger), nullable=False),
    Column("difference_fen", BigInteger, nullable=False, comment="institution total minus centre total"),
    Column("words", Text, nullable=False),
    Column("repair", String(24), nullable=False, comment="domain.repairs.Repair"),
    Column("effect", Text, nullable=False, comment="predicted, on both books"),
    Column("state", String(12), nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("proposal_no", BigInteger),
    Column("document_no", BigInteger, comment="of the contra settlement or the note that was written"),
    Column("outcome", Text, nullable=False, server_default=""),
    UniqueConstraint(
        "institution_code",
        "day",
        "kind",
        "visit_no",
        "charge_batch_no",
        "settlement_no",
        "contra",
        "side",
        "place",
        name="uq_difference",
    ),
    CheckConstraint("(closed_at IS NULL) = (state IN ('open', 'proposed', 'ordered'))", name="ck_difference_closed"),
)
Index(
    "ix_difference_open",
    difference.c.institution_code,
    difference.c.day,
    postgresql_where=text("closed_at IS NULL"),
)

repair_order = Table(
    "repair_order",
    metadata,
    Column("order_no", BigInteger, primary_key=True, autoincrement=True),
    Column("difference_no", BigInteger, nullable=False),
    Column("frontend", String(32), nullable=False),
    Column("content", LargeBinary, nullable=False, comment="msgpack of domain.messages.RepairOrdered"),
    Column("ordered_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", Float, nullable=False, server_default="0", comment="real seconds"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("done_at", DateTime(timezone=True)),
    Column("done", Boolean, comment="false: the front-end could not; outcome says why"),
    Column("outcome", Text, nullable=False, server_default=""),
    comment="What front-ends are told to do, until they say it is done.",
)
Index("ix_repair_order_open", repair_order.c.order_no, postgresql_where=text("done_at IS NULL"))
