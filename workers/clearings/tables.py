"""Clearings at their front-end, as they were told, and what institutions say of them, sent until it is heard."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, String, Table

from infra.database import Moment
from workers.tables import metadata

told_clearing = Table(
    "told_clearing",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("period_no", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(7), nullable=False, comment="the month it ends in"),
    Column("content", LargeBinary, nullable=False, comment="domain.clearings.ToldClearing"),
    Column("told_at", Moment, nullable=False),
    comment="The periods of each institution, as the centre told them last.",
)
Index("ix_told_clearing_month", told_clearing.c.institution_code, told_clearing.c.name)

said_of_clearing = Table(
    "said_of_clearing",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("period_no", BigInteger, primary_key=True, autoincrement=False),
    Column("decided_at", Moment, primary_key=True),
    Column("clearing_no", BigInteger, nullable=False, comment="whose figures were looked at"),
    Column("decision", String(8), nullable=False, comment="domain.clearings.Decision"),
    Column("said_by", String(20), nullable=False),
    Column("reason", String(400), nullable=False),
    Column("rung_at", Float, nullable=False, server_default="0", comment="real seconds: not sent again before"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("heard_at", Moment, comment="when the centre's answer was here"),
    Column("code", String(24), nullable=False, server_default="", comment="domain.clearings.Refused"),
    Column("words", String(200), nullable=False, server_default=""),
    comment="What institutions say of their clearings, the newest of each clearing in force.",
)
