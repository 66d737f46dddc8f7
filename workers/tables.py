"""The tables of a front-end's database: SQLite by default, PostgreSQL by URL. Money is whole fen."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TextClause,
    UniqueConstraint,
    text,
)

from infra.database import Moment

metadata = MetaData()
BigId = BigInteger().with_variant(Integer, "sqlite")

institution = Table(
    "institution",
    metadata,
    Column("institution_code", String(18), primary_key=True, comment="医院编号 YYBH"),
    Column(
        "short_code",
        String(6),
        nullable=False,
        unique=True,
        comment="first six characters of its visit numbers",
    ),
    Column("name", String(60), nullable=False),
    Column("kind", String(16), nullable=False, comment="hospital, clinic or pharmacy"),
    Column("level", Integer, nullable=False, comment="institution level 0 to 3"),
    Column("api_key_hash", String(64), comment="SHA-256 of its API key, hex; no key, no API"),
    Column("backlog_cap", Integer, nullable=False, comment="most open claims before it is told to wait"),
    Column("active", Boolean, nullable=False, server_default=text("true")),
)

reference = Table(
    "reference",
    metadata,
    Column("kind", String(16), primary_key=True, comment="catalogue or policy"),
    Column("version", String(64), primary_key=True),
    Column("in_force", Boolean, nullable=False, comment="the version used for new claims of this kind"),
    Column("content", LargeBinary, nullable=False, comment="msgpack of the catalogue, or the policy's TOML"),
)

claim = Table(
    "claim",
    metadata,
    Column("claim_id", BigId, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False, comment="就医登记号 JYDJH"),
    Column("charge_batch_no", Integer, nullable=False, comment="费用批次 FYPC"),
    Column("channel", String(8), nullable=False, comment="api or dbf"),
    Column("source", String(80), nullable=False, server_default="", comment="the exchange file it came in"),
    Column("idempotency_key", String(255), comment="the caller's key; kept as long as the claim"),
    Column("content_digest", LargeBinary(16), nullable=False, comment="digest of what was handed in"),
    Column("state", String(10), nullable=False, comment="domain.lifecycle.ClaimState"),
    Column("line_count", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False, comment="sum of the line amounts handed in"),
    Column("accepted_at", Moment, nullable=False),
    Column("totals", LargeBinary, comment="domain.messages.ClaimTotals"),
    Column("catalogue_version", String(64), comment="the versions it was totalled with"),
    Column("policy_version", String(64)),
    Column("rung_at", Float, nullable=False, server_default="0", comment="real seconds: last doorbell or sending"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="how often it was sent to the centre"),
    Column("answer", LargeBinary, comment="domain.messages.ClaimAnswer"),
    Column("refusal", String(32), comment="domain.refusals.Refusal"),
    Column("settled_at", Moment),
    Column("settled_day", Date),
    Column("fund_pay_fen", BigInteger, nullable=False, server_default="0"),
    Column("account_pay_fen", BigInteger, nullable=False, server_default="0"),
    Column(
        "detail_state",
        Integer,
        nullable=False,
        server_default="0",
        comment="0 due, 1 at the centre, 2 mismatch",
    ),
    Column("handed_back", Boolean, nullable=False, server_default=text("false"), comment="given back by its door"),
    UniqueConstraint("visit_no", "charge_batch_no", name="uq_claim_key"),
    UniqueConstraint("institution_code", "idempotency_key", name="uq_claim_idempotency"),
)
# SQLite uses a partial index only for a query that says the index's own condition, in so many words: bound values
# prove nothing. So each condition stands here once, for the index and for its queries.
IS_OPEN = text("claim.state IN ('accepted', 'totalled')")
DETAIL_IS_DUE = text("claim.state = 'settled' AND claim.detail_state = 0")
TO_HAND_BACK = text("claim.channel = 'dbf' AND NOT claim.handed_back")


def _partly(name: str, condition: TextClause, *columns: Column[Any]) -> None:
    where = text(condition.text.replace("claim.", ""))
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partly("ix_claim_open", IS_OPEN, claim.c.state, claim.c.institution_code, claim.c.claim_id)
_partly("ix_claim_detail_due", DETAIL_IS_DUE, claim.c.claim_id)
_partly("ix_claim_to_hand_back", TO_HAND_BACK, claim.c.institution_code, claim.c.claim_id)
Index("ix_claim_settled_day", claim.c.settled_day, claim.c.institution_code)

claim_content = Table(
    "claim_content",
    metadata,
    Column("claim_id", BigId, primary_key=True, autoincrement=False),
    Column(
        "visit",
        LargeBinary,
        nullable=False,
        comment="domain.visit.Visit: the only place of a name and an identity",
    ),
    Column("lines", LargeBinary, nullable=False, comment="domain.visit.pack_lines"),
    comment="What was handed in, written once and never changed.",
)

verdict = Table(
    "verdict",
    metadata,
    Column("claim_id", BigId, primary_key=True, autoincrement=False),
    Column("codes", LargeBinary, nullable=False, comment="per line: the first failed code and all failed codes"),
    comment="Why a claim was returned.",
)

visit_counter = Table(
    "visit_counter",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("last", Integer, nullable=False),
    comment="The last visit number issued per institution and day.",
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("until", Float, nullable=False, comment="real seconds"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", BigId, primary_key=True, autoincrement=True),
    Column("arrived_at", Moment, nullable=False),
    Column("queue", String(64), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False, comment="sealed with the site's key"),
    comment="What could not be read from a queue: set aside, never logged, never lost.",
)
