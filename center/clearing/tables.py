"""The tables of clearing. A period's state moves; everything else is written once, as documents are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from center.tables import WRITTEN_ONCE, metadata


def _flow() -> list[Any]:
    return [
        Column("institution_code", String(18), nullable=False),
        Column("scheme", String(16), nullable=False),
        Column("clearing_type", String(4), nullable=False),
    ]


def _made() -> list[Any]:
    return [
        Column("made_by", String(40), nullable=False),
        Column("made_at", DateTime(timezone=True), nullable=False),
        Column("reason", Text, nullable=False),
    ]


clearing_rule = Table(
    "clearing_rule",
    metadata,
    Column("rule_no", BigInteger, Identity(always=True), primary_key=True),
    Column("since", Date, nullable=False, comment="for periods that begin on this day or later"),
    Column("end_day", Integer, nullable=False, comment="day of the month a period ends on; 31: the last"),
    Column("closing_workdays", Integer, nullable=False, comment="working days from the end to the closing"),
    Column("objection_workdays", Integer, comment="to object in, from the closing; null: never confirmed by itself"),
    *_made(),
    CheckConstraint("end_day BETWEEN 1 AND 31", name="ck_clearing_rule_end"),
    CheckConstraint("closing_workdays BETWEEN 1 AND 250", name="ck_clearing_rule_closing"),
    CheckConstraint("objection_workdays BETWEEN 1 AND 250", name="ck_clearing_rule_objection"),
    info=WRITTEN_ONCE,
    comment="When periods end and close; of two with the same day the newer counts.",
)

workday_exception = Table(
    "workday_exception",
    metadata,
    Column("exception_no", BigInteger, Identity(always=True), primary_key=True),
    Column("day", Date, nullable=False),
    Column("is_workday", Boolean, nullable=False),
    *_made(),
    info=WRITTEN_ONCE,
    comment="Days the office sets against domain.workdays; the newest of a day counts.",
)

withheld_rule = Table(
    "withheld_rule",
    metadata,
    Column("rule_no", BigInteger, Identity(always=True), primary_key=True),
    Column("institution_code", String(18), nullable=False, comment="* is every institution"),
    Column("clearing_type", String(4), nullable=False, comment="* is every type"),
    Column("since", Date, nullable=False, comment="for periods that end on this day or later"),
    Column("share_1e4", Integer, nullable=False, comment="of what funds pay, in ten-thousandths"),
    Column("approved_by", String(40), nullable=False),
    *_made(),
    CheckConstraint("share_1e4 BETWEEN 0 AND 10000", name="ck_withheld_rule_share"),
    CheckConstraint("approved_by <> made_by", name="ck_withheld_rule_two_persons"),
    info=WRITTEN_ONCE,
    comment="How much is withheld (预留): the narrowest rule counts, of two alike the later, then the newer.",
)

clearing_period = Table(
    "clearing_period",
    metadata,
    Column("period_no", BigInteger, Identity(always=True), primary_key=True),
    *_flow(),
    Column("name", String(7), nullable=False, comment="the month it ends in, 清算年月"),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("closes_on", Date, nullable=False, comment="by the calendar, while it is open"),
    Column("state", String(12), nullable=False, server_default="open", comment="domain.clearing.PeriodState"),
    Column("clearing_no", BigInteger, comment="the clearing that stands"),
    Column("closed_at", DateTime(timezone=True)),
    Column("objection", Text, nullable=False, server_default="", comment="what the institution says against it"),
    Column("objected_at", DateTime(timezone=True)),
    Column("confirmed_at", DateTime(timezone=True)),
    Column("confirmed_by", String(40)),
    Column("payment_no", BigInteger, comment="the document that paid it; null: nothing was left to pay"),
    Column("paid_at", DateTime(timezone=True)),
    UniqueConstraint("institution_code", "scheme", "clearing_type", "last_day", name="uq_clearing_period"),
    CheckConstraint("first_day <= last_day", name="ck_clearing_period_days"),
    CheckConstraint("state IN ('open', 'closed', 'confirmed', 'paid')", name="ck_clearing_period_state"),
    CheckConstraint("(state = 'open') = (clearing_no IS NULL)", name="ck_clearing_period_clearing"),
    CheckConstraint("(state IN ('confirmed', 'paid')) = (confirmed_at IS NOT NULL)", name="ck_clearing_period_agreed"),
    CheckConstraint("(state = 'paid') = (paid_at IS NOT NULL)", name="ck_clearing_period_paid"),
    comment="Where each period of an institution, a scheme and a clearing type stands.",
)
Index("ix_clearing_period_open", clearing_period.c.closes_on, postgresql_where=text("state = 'open'"))
Index("uq_clearing_period_clearing", clearing_period.c.clearing_no, unique=True)

clearing_decision = Table(
    "clearing_decision",
    metadata,
    Column("period_no", BigInteger, primary_key=True, autoincrement=False),
    Column("clearing_no", BigInteger, primary_key=True, autoincrement=False, comment="whose figures were looked at"),
    Column("decision", String(8), primary_key=True, comment="domain.clearings.Decision"),
    Column("decided_at", DateTime(timezone=True), primary_key=True, comment="by the institution, on its clock"),
    Column("frontend", String(32), nullable=False),
    Column("said_by", String(40), nullable=False, comment="who at the institution"),
    Column("reason", Text, nullable=False),
    Column("code", String(24), nullable=False, comment="domain.clearings.Refused; empty: it was taken"),
    Column("heard_at", DateTime(timezone=True), nullable=False),
    info=WRITTEN_ONCE,
    comment="What institutions said of their clearings over the link, and what they were answered.",
)

clearing = Table(
    "clearing",
    metadata,
    Column("clearing_no", BigInteger, primary_key=True, autoincrement=False, comment="its document"),
    Column("period_no", BigInteger, nullable=False),
    *_flow(),
    Column("since_day", Date, comment="the end of the period before, exclusive; null: from the beginning"),
    Column("last_day", Date, nullable=False),
    Column("link_no", BigInteger, nullable=False, comment="of the institution's chain: what came later is not in it"),
    Column("documents", Integer, nullable=False, comment="settlements and contra settlements"),
    Column("contra_documents", Integer, nullable=False),
    Column("persons", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("fund_fen", BigInteger, nullable=False),
    Column("account_fen", BigInteger, nullable=False),
    Column("withheld_fen", BigInteger, nullable=False),
    Column("deducted_fen", BigInteger, nullable=False, comment="less what was given back of it"),
    Column("released_fen", BigInteger, nullable=False, comment="what was withheld before and is paid now"),
    Column("carried_in_fen", BigInteger, nullable=False, comment="what the period before left negative"),
    Column("due_fen", BigInteger, nullable=False, comment="paid when positive, else carried into the next period"),
    CheckConstraint(
        "due_fen = fund_fen + account_fen - withheld_fen - deducted_fen + released_fen + carried_in_fen",
        name="ck_clearing_due",
    ),
    CheckConstraint("carried_in_fen <= 0", name="ck_clearing_carried"),
    CheckConstraint("contra_documents BETWEEN 0 AND documents", name="ck_clearing_documents"),
    CheckConstraint("since_day < last_day", name="ck_clearing_days"),
    info=WRITTEN_ONCE,
    comment="What a period came to; it stands while clearing_period names it, else a contra took it back.",
)
Index("ix_clearing_flow", clearing.c.institution_code, clearing.c.scheme, clearing.c.clearing_type, clearing.c.last_day)

clearing_day = Table(
    "clearing_day",
    metadata,
    Column("clearing_no", BigInteger, primary_key=True),
    Column("day", Date, primary_key=True, comment="of an earlier period, when its documents came late"),
    Column("documents", Integer, nullable=False),
    Column("contra_documents", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("fund_fen", BigInteger, nullable=False),
    Column("account_fen", BigInteger, nullable=False),
    info=WRITTEN_ONCE,
    comment="What each day brought into a clearing.",
)

clearing_layer = Table(
    "clearing_layer",
    metadata,
    Column("clearing_no", BigInteger, primary_key=True),
    Column("layer", String(32), primary_key=True, comment="of the scheme's funds"),
    Column("fund_fen", BigInteger, nullable=False),
    Column("withheld_fen", BigInteger, nullable=False),
    Column("deducted_fen", BigInteger, nullable=False),
    Column("released_fen", BigInteger, nullable=False),
    info=WRITTEN_ONCE,
    comment="What each fund pays of a clearing.",
)

clearing_member = Table(
    "clearing_member",
    metadata,
    Column("clearing_no", BigInteger, primary_key=True),
    Column("document_no", BigInteger, primary_key=True),
    Column("why", String(16), nullable=False, comment="late: its day was closed; item: no day says where it belongs"),
    info=WRITTEN_ONCE,
    comment="Documents of a clearing that their day does not place there.",
)
Index("ix_clearing_member_document", clearing_member.c.document_no)

deduction = Table(
    "deduction",
    metadata,
    Column("document_no", BigInteger, primary_key=True),
    Column("settlement_no", BigInteger, primary_key=True),
    Column("layer", String(32), primary_key=True),
    Column("amount_fen", BigInteger, nullable=False, comment="negative: given back, because the settlement was"),
    CheckConstraint("amount_fen <> 0", name="ck_deduction_amount"),
    info=WRITTEN_ONCE,
    comment="What is deducted after review (扣款) from which settlement and fund.",
)
Index("ix_deduction_settlement", deduction.c.settlement_no)

withheld_release = Table(
    "withheld_release",
    metadata,
    Column("document_no", BigInteger, primary_key=True),
    *_flow(),
    Column("year", Integer, primary_key=True),
    Column("layer", String(32), primary_key=True),
    Column("held_fen", BigInteger, nullable=False, comment="withheld in the year"),
    Column("released_fen", BigInteger, nullable=False, comment="goes to the institution; the rest back to the fund"),
    UniqueConstraint("institution_code", "scheme", "clearing_type", "year", "layer", name="uq_withheld_release"),
    info=WRITTEN_ONCE,
    comment="What was withheld in a year and is settled at its end.",
)
