"""Who serves an institution, its terms, and moves from one front-end to another."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0017"
down_revision = "r0015"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_FALSE = sa.text("false")
_INSTITUTION = "The institutions with their terms; who serves them is in served_by."


def _terms() -> list[sa.Column[object]]:
    return [
        sa.Column(
            "short_code",
            sa.String(6),
            server_default="",
            nullable=False,
            comment="first six characters of its visit numbers; empty: not known at the centre",
        ),
        sa.Column(
            "size", sa.String(12), server_default="small", nullable=False, comment="domain.institution_class.Size"
        ),
        sa.Column(
            "weight", sa.Integer(), server_default="10", nullable=False, comment="share of a shared front-end, 1 to 100"
        ),
        sa.Column("rate_per_second", sa.Integer(), server_default="0", nullable=False, comment="claims; 0: no limit"),
        sa.Column(
            "burst", sa.Integer(), server_default="0", nullable=False, comment="claims; 0: ten seconds of the rate"
        ),
        sa.Column(
            "backlog_cap",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="most open claims; 0: its front-end's own",
        ),
        sa.Column(
            "suspended", sa.String(60), server_default="", nullable=False, comment="why it takes nothing, in Chinese"
        ),
        sa.Column(
            "civil_servants",
            sa.Boolean(),
            server_default=_FALSE,
            nullable=False,
            comment="公务员医疗补助业务: opened, so it has a server of its own (AMB-43)",
        ),
        sa.Column(
            "offline", sa.Boolean(), server_default=_FALSE, nullable=False, comment="may settle off-line (AMB-47)"
        ),
        sa.Column("offline_claim_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("offline_total_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("offline_hours", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "terms_version",
            sa.BigInteger(),
            server_default=sa.text("nextval('terms_version_seq')"),
            nullable=False,
            comment="rises with every change of anybody's terms",
        ),
    ]


def upgrade() -> None:
    """Every institution is served by the one front-end it had; who had it with others shares it."""
    op.execute(sa.schema.CreateSequence(sa.Sequence("terms_version_seq")))
    for column in _terms():
        op.add_column("institution", column)
    op.create_table_comment("institution", _INSTITUTION)
    _served_by()
    op.execute(
        "INSERT INTO served_by (institution_code, frontend, connection) SELECT institution_code, frontend,"
        " CASE WHEN count(*) OVER (PARTITION BY frontend) > 1 THEN 'shared' ELSE 'own' END FROM institution"
    )
    _books()
    op.drop_column("institution", "frontend")
    _moves()


def _books() -> None:
    """An institution may have several front-ends, each with books of its own."""
    op.drop_constraint("reconciliation_pkey", "reconciliation", type_="primary")
    op.create_primary_key("reconciliation_pkey", "reconciliation", ["institution_code", "day", "frontend"])
    op.alter_column("reconciliation", "frontend", comment="whose books: an institution may have several")
    op.create_table_comment(
        "reconciliation",
        "The newest comparison of each institution-day, by front-end.",
        existing_comment="The newest comparison of each institution-day.",
    )
    op.add_column(
        "difference_case",
        sa.Column(
            "frontend",
            sa.String(32),
            server_default="",
            nullable=False,
            comment="whose books differ; empty: nobody's",
        ),
    )


def _served_by() -> None:
    op.create_table(
        "served_by",
        sa.Column("institution_code", sa.String(18), primary_key=True),
        sa.Column("frontend", sa.String(32), primary_key=True),
        sa.Column(
            "part", sa.Integer(), server_default="0", nullable=False, comment="which part of the visit numbers it gives"
        ),
        sa.Column(
            "parts", sa.Integer(), server_default="1", nullable=False, comment="of how many; 1: there is one front-end"
        ),
        sa.Column("connection", sa.String(12), server_default="own", nullable=False, comment="domain.terms.Connection"),
        sa.Column("standing", sa.String(12), server_default="open", nullable=False, comment="domain.terms.Standing"),
        sa.Column(
            "moved_to", sa.String(32), server_default="", nullable=False, comment="who takes what is new instead"
        ),
        sa.Column("since", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("until", _MOMENT, comment="moved, and all it had accepted is seen through"),
        sa.Column(
            "move_no", sa.BigInteger(), server_default="0", nullable=False, comment="the last move it had a part in"
        ),
        comment="Which front-ends speak for an institution: the truth that settling, books and detail go by.",
    )
    op.create_index("ix_served_by_frontend", "served_by", ["frontend"])
    op.create_index(
        "uq_served_by_part",
        "served_by",
        ["institution_code", "part"],
        unique=True,
        postgresql_where=sa.text("standing IN ('open', 'moving_out')"),
    )
    op.create_table(
        "terms_report",
        sa.Column("frontend", sa.String(32), primary_key=True),
        sa.Column("digest", sa.LargeBinary(16), nullable=False, comment="of the terms it holds, as it said last"),
        sa.Column("heard_at", _MOMENT, nullable=False),
        sa.Column(
            "sent_at", sa.Float(), server_default="0", nullable=False, comment="real seconds: terms were last sent"
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False, comment="sendings without an answer"),
        sa.Column("catalogue_version", sa.String(64), server_default="", nullable=False, comment="in force there"),
        sa.Column(
            "policy_versions", sa.Text(), server_default="", nullable=False, comment="in force there, with commas"
        ),
        sa.Column(
            "covered",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="whose matches its catalogue holds",
        ),
        comment="Which terms each front-end holds: who holds others than the centre's is sent them.",
    )


def _moves() -> None:
    op.create_table(
        "move",
        sa.Column("move_no", sa.BigInteger(), primary_key=True, autoincrement=True),
        sa.Column("institution_code", sa.String(18), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("target", sa.String(32), nullable=False),
        sa.Column(
            "connection", sa.String(12), nullable=False, comment="how it will be connected: domain.terms.Connection"
        ),
        sa.Column("kind", sa.String(12), nullable=False, comment="domain.moving.Kind"),
        sa.Column("state", sa.String(12), nullable=False, comment="domain.moving.MoveState"),
        sa.Column("asked_by", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("begun_at", _MOMENT, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False, comment="when it came to its state"),
        sa.Column(
            "taken", sa.Integer(), server_default="0", nullable=False, comment="bundles that came from the source"
        ),
        sa.Column("kept", sa.Integer(), server_default="0", nullable=False, comment="bundles the target has"),
        sa.Column(
            "whole_at", sa.Integer(), server_default="0", nullable=False, comment="with this bundle the target can open"
        ),
        sa.Column(
            "drained", sa.Boolean(), server_default=_FALSE, nullable=False, comment="the source holds nothing open"
        ),
        sa.Column("open_claims", sa.Integer(), comment="at the source, as it said last"),
        sa.Column("results_waiting", sa.Integer()),
        sa.Column("details_due", sa.Integer()),
        sa.Column("visits_behind", sa.Integer()),
        sa.Column(
            "sent_at", sa.Float(), server_default="0", nullable=False, comment="real seconds: a step was last sent"
        ),
        comment="Institutions that move from one front-end to another.",
    )
    op.create_index(
        "uq_move_under_way",
        "move",
        ["institution_code"],
        unique=True,
        postgresql_where=sa.text("state NOT IN ('finished', 'aborted')"),
    )
    op.create_table(
        "move_bundle",
        sa.Column("move_no", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("bundle_no", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary(), comment="sealed with the centre's own key; null: the target has it"),
        sa.Column("visits", sa.Integer(), nullable=False),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.Column("taken_at", _MOMENT, nullable=False),
        sa.Column("kept_at", _MOMENT),
        comment="What travels in a move, until the target has it.",
    )
    op.create_table(
        "drained_claim",
        sa.Column("institution_code", sa.String(18), primary_key=True),
        sa.Column("visit_no", sa.String(16), primary_key=True),
        sa.Column("charge_batch_no", sa.Integer(), primary_key=True),
        sa.Column("frontend", sa.String(32), nullable=False),
        sa.Column("move_no", sa.BigInteger(), nullable=False),
        comment="Claims a front-end had accepted before its institution moved: these it may still send.",
    )
    op.create_table(
        "moved_visit",
        sa.Column("visit_no", sa.String(16), primary_key=True),
        sa.Column("institution_code", sa.String(18), nullable=False),
        sa.Column("frontend", sa.String(32), nullable=False, comment="where the visit is live"),
        sa.Column("move_no", sa.BigInteger(), nullable=False),
        comment="Registered visits that travelled: nobody but their front-end sends new claims of them.",
    )


def downgrade() -> None:
    """Every institution has the one front-end that takes what is new; of several, the one with the first part."""
    for table in ("moved_visit", "drained_claim", "move_bundle", "move", "terms_report"):
        op.drop_table(table)
    op.add_column(
        "institution",
        sa.Column(
            "frontend",
            sa.String(32),
            server_default="",
            nullable=False,
            comment="the front-end server that speaks for it",
        ),
    )
    op.execute(
        "UPDATE institution SET frontend = coalesce((SELECT frontend FROM served_by s"
        " WHERE s.institution_code = institution.institution_code"
        " ORDER BY standing <> 'open', until IS NOT NULL, part LIMIT 1), '')"
    )
    op.alter_column("institution", "frontend", server_default=None)
    op.drop_table("served_by")
    op.drop_column("difference_case", "frontend")
    op.create_table_comment("reconciliation", "The newest comparison of each institution-day.")
    op.alter_column("reconciliation", "frontend", comment=None)
    op.drop_constraint("reconciliation_pkey", "reconciliation", type_="primary")
    op.execute(
        "DELETE FROM reconciliation USING reconciliation AS newer WHERE newer.compared_at > reconciliation.compared_at"
        " AND (newer.institution_code, newer.day) = (reconciliation.institution_code, reconciliation.day)"
    )
    op.create_primary_key("reconciliation_pkey", "reconciliation", ["institution_code", "day"])
    op.drop_table_comment("institution", existing_comment=_INSTITUTION)
    for column in reversed(_terms()):
        op.drop_column("institution", column.name)
    op.execute(sa.schema.DropSequence(sa.Sequence("terms_version_seq")))
