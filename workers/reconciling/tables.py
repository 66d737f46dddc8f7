"""Books of institutions at their front-end: handed in, sent until answered, and what the centre had done about them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, Float, Integer, LargeBinary, String, Table

from infra.database import Moment
from workers.tables import metadata

institution_book = Table(
    "institution_book",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("submission_no", BigInteger, primary_key=True, autoincrement=False),
    Column("content_digest", LargeBinary(16), nullable=False),
    Column("channel", String(8), nullable=False, comment="api or file"),
    Column("line_count", Integer, comment="null: totals only"),
    Column("parts", Integer, nullable=False),
    Column("handed_in_at", Moment, nullable=False),
    Column("rung_at", Float, nullable=False, server_default="0", comment="real seconds: sent last, or not before"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("answered_at", Moment, comment="when all of the centre's answer was here"),
    comment="An institution's own book of a day, as often as it handed in another one.",
)

institution_book_part = Table(
    "institution_book_part",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("submission_no", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False, comment="domain.messages.BooksSubmitted"),
    comment="Of the newest book of each day.",
)

book_answer = Table(
    "book_answer",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("submission_no", BigInteger, nullable=False),
    Column("compared_at", Moment, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False, comment="domain.messages.BooksCompared"),
    comment="The centre's newest comparison of each institution-day.",
)

repair_notice = Table(
    "repair_notice",
    metadata,
    Column("order_no", BigInteger, primary_key=True, autoincrement=False),
    Column("institution_code", String(18), nullable=False),
    Column("repair", String(24), nullable=False, comment="domain.repairs.Repair"),
    Column("visit_no", String(16), nullable=False),
    Column("charge_batch_no", Integer, nullable=False),
    Column("words", String(600), nullable=False),
    Column("done", Boolean, nullable=False),
    Column("outcome", String(200), nullable=False),
    Column("done_at", Moment, nullable=False),
    comment="What the centre had this front-end do about differences, each once.",
)
