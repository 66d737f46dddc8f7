"""The tables of who serves whom, of what front-ends said of their terms, and of moves (docs/moving.md)."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from center.tables import metadata

served_by = Table(
    "served_by",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("frontend", String(32), primary_key=True),
    Column("part", Integer, nullable=False, server_default="0", comment="which part of the visit numbers it gives"),
    Column("parts", Integer, nullable=False, server_default="1", comment="of how many; 1: there is one front-end"),
    Column("connection", String(12), nullable=False, server_default="own", comment="domain.terms.Connection"),
    Column("standing", String(12), nullable=False, server_default="open", comment="domain.terms.Standing"),
    Column("moved_to", String(32), nullable=False, server_default="", comment="who takes what is new instead"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("until", DateTime(timezone=True), comment="moved, and all it had accepted is seen through"),
    Column("move_no", BigInteger, nullable=False, server_default="0", comment="the last move it had a part in"),
    comment="Which front-ends speak for an institution: the truth that settling, books and detail go by.",
)
Index("ix_served_by_frontend", served_by.c.frontend)
_GIVES_NUMBERS = text("standing IN ('open', 'moving_out')")
Index("uq_served_by_part", served_by.c.institution_code, served_by.c.part, unique=True, postgresql_where=_GIVES_NUMBERS)

terms_report = Table(
    "terms_report",
    metadata,
    Column("frontend", String(32), primary_key=True),
    Column("digest", LargeBinary(16), nullable=False, comment="of the terms it holds, as it said last"),
    Column("heard_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", Float, nullable=False, server_default="0", comment="real seconds: terms were last sent"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="sendings without an answer"),
    Column("catalogue_version", String(64), nullable=False, server_default="", comment="in force there"),
    Column("policy_versions", Text, nullable=False, server_default="", comment="in force there, with commas"),
    Column("covered", ARRAY(Text), nullable=False, server_default="{}", comment="whose matches its catalogue holds"),
    comment="Which terms each front-end holds: who holds others than the centre's is sent them.",
)

move = Table(
    "move",
    metadata,
    Column("move_no", BigInteger, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False),
    Column("source", String(32), nullable=False),
    Column("target", String(32), nullable=False),
    Column("connection", String(12), nullable=False, comment="how it will be connected: domain.terms.Connection"),
    Column("kind", String(12), nullable=False, comment="domain.moving.Kind"),
    Column("state", String(12), nullable=False, comment="domain.moving.MoveState"),
    Column("asked_by", String(40), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("begun_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, comment="when it came to its state"),
    Column("taken", Integer, nullable=False, server_default="0", comment="bundles that came from the source"),
    Column("kept", Integer, nullable=False, server_default="0", comment="bundles the target has"),
    Column("whole_at", Integer, nullable=False, server_default="0", comment="with this bundle the target can open"),
    Column("drained", Boolean, nullable=False, server_default=text("false"), comment="the source holds nothing open"),
    Column("open_claims", Integer, comment="at the source, as it said last"),
    Column("results_waiting", Integer),
    Column("details_due", Integer),
    Column("visits_behind", Integer),
    Column("sent_at", Float, nullable=False, server_default="0", comment="real seconds: a step was last sent"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="sendings since anything moved"),
    comment="Institutions that move from one front-end to another.",
)
Index(
    "uq_move_under_way",
    move.c.institution_code,
    unique=True,
    postgresql_where=text("state NOT IN ('finished', 'aborted')"),
)

move_bundle = Table(
    "move_bundle",
    metadata,
    Column("move_no", BigInteger, primary_key=True, autoincrement=False),
    Column("bundle_no", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, comment="sealed with the centre's own key; null: the target has it"),
    Column("visits", Integer, nullable=False),
    Column("claims", Integer, nullable=False),
    Column("taken_at", DateTime(timezone=True), nullable=False),
    Column("kept_at", DateTime(timezone=True)),
    comment="What travels in a move, until the target has it.",
)

drained_claim = Table(
    "drained_claim",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("visit_no", String(16), primary_key=True),
    Column("charge_batch_no", Integer, primary_key=True),
    Column("frontend", String(32), nullable=False),
    Column("move_no", BigInteger, nullable=False),
    comment="Claims a front-end had accepted before its institution moved: these it may still send.",
)

moved_visit = Table(
    "moved_visit",
    metadata,
    Column("visit_no", String(16), primary_key=True),
    Column("institution_code", String(18), nullable=False),
    Column("frontend", String(32), nullable=False, comment="where the visit is live"),
    Column("move_no", BigInteger, nullable=False),
    comment="Registered visits that travelled: nobody but their front-end sends new claims of them.",
)
