"""The tables of off-line settlement: what is leased to whom, and front-ends that are in trouble."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, String, Table, Text

from center.tables import metadata

offline_lease = Table(
    "offline_lease",
    metadata,
    Column("person_no", BigInteger, primary_key=True),
    Column("frontend", String(32), primary_key=True),
    Column("limit_fen", BigInteger, nullable=False, comment="the most it may spend of the account, unheard"),
    Column("leased_at", DateTime(timezone=True), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False, comment="the last moment any of it may be posted"),
    comment="What was leased of personal accounts for off-line use: the worst case is the sum (domain.offline).",
)
Index("ix_offline_lease_until", offline_lease.c.until)

frontend_trouble = Table(
    "frontend_trouble",
    metadata,
    Column("frontend", String(32), primary_key=True, comment="as the envelope says; `?` for names nobody has"),
    Column("kind", String(8), primary_key=True, comment="key: not sealed with its key; clock: another time than ours"),
    Column("first_at", DateTime(timezone=True), nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
    Column("times", Integer, nullable=False),
    Column("words", Text, nullable=False),
    comment="Front-ends whose messages the centre cannot open, or whose clock is wrong, as last seen.",
)
