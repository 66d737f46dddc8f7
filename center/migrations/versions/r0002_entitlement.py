"""What the full engine needs of a person, and what a settlement keeps so that it can be repeated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Settling sets the version itself, for a whole batch; whoever else changes a person need not think of it.
VERSION_RISES = """
CREATE FUNCTION raise_person_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER person_version_rises BEFORE UPDATE ON person FOR EACH ROW
WHEN (NEW.version = OLD.version AND NEW IS DISTINCT FROM OLD)
EXECUTE FUNCTION raise_person_version();
"""


def upgrade() -> None:
    """Add the columns, and the trigger that keeps the version honest."""
    op.add_column(
        "institution",
        sa.Column(
            "way",
            sa.String(length=12),
            server_default="central",
            nullable=False,
            comment="who computes the benefit: central, or local and the centre confirms",
        ),
    )
    for column in (
        sa.Column(
            "rank",
            sa.String(length=16),
            server_default="",
            nullable=False,
            comment="of civil servants, as policy facts name it",
        ),
        sa.Column(
            "groups",
            postgresql.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="groups of persons the policy names: assistance, full cover, ...",
        ),
        sa.Column("birth", sa.Date(), nullable=True, comment="date of birth; the rules see completed years"),
        sa.Column(
            "family_citizen_id_no",
            sa.String(length=18),
            nullable=True,
            comment="whose personal account this person may use besides the own",
        ),
        sa.Column(
            "version",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="rises with every settlement, and with whatever else an entitlement says",
        ),
    ):
        op.add_column("person", column)
    for kept in (
        sa.Column(
            "own_pay_fen",
            sa.BigInteger(),
            nullable=True,
            comment="GRZFJE1; null on rows from before funds paid of it: the three parts",
        ),
        sa.Column(
            "scheme", sa.String(length=16), server_default="", nullable=False, comment="of the person, as it was"
        ),
        sa.Column(
            "category", sa.String(length=3), server_default="", nullable=False, comment="of the person, as it was"
        ),
        sa.Column(
            "institution_level",
            sa.Integer(),
            nullable=True,
            comment="as it was; null on rows from before it was kept",
        ),
        sa.Column(
            "circumstances",
            sa.LargeBinary(),
            server_default="",
            nullable=False,
            comment="msgpack of what else makes a claim the same claim: visit_started ... groups; empty if none",
        ),
        sa.Column(
            "inputs",
            sa.LargeBinary(),
            server_default="",
            nullable=False,
            comment="center.settling.inputs: person, accumulators and occasion it was computed from",
        ),
    ):
        op.add_column("settlement", kept)
    op.alter_column(
        "accumulator",
        "key",
        type_=sa.String(length=128),
        comment="domain.accumulators: fund:visit type:segment:tag:period",
    )
    op.alter_column("accumulator_entry", "key", type_=sa.String(length=128))
    op.drop_constraint("ck_settlement_payers", "settlement")
    op.create_check_constraint(
        "ck_settlement_payers",
        "settlement",
        "total_fen = fund_pay_fen + coalesce(own_pay_fen, own_expense_fen + over_limit_fen + pre_self_pay_fen)"
        " + self_pay_fen + over_cap_fen + institution_share_fen",
    )
    op.execute(VERSION_RISES)


def downgrade() -> None:
    """Take the columns away again."""
    op.execute("DROP TRIGGER person_version_rises ON person")
    op.execute("DROP FUNCTION raise_person_version")
    op.alter_column("accumulator", "key", type_=sa.String(length=64), comment="fund:visit type:segment:disease:period")
    op.alter_column("accumulator_entry", "key", type_=sa.String(length=64))
    op.drop_constraint("ck_settlement_payers", "settlement")
    op.create_check_constraint(
        "ck_settlement_payers",
        "settlement",
        "total_fen = fund_pay_fen + own_expense_fen + over_limit_fen + pre_self_pay_fen"
        " + self_pay_fen + over_cap_fen + institution_share_fen",
    )
    for name in ("inputs", "circumstances", "institution_level", "category", "scheme", "own_pay_fen"):
        op.drop_column("settlement", name)
    for name in ("version", "family_citizen_id_no", "birth", "groups", "rank"):
        op.drop_column("person", name)
    op.drop_column("institution", "way")
