"""Upload windows by the hour and by the calendar; shares, pace and marks of the upload."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0015"
down_revision = "r0014"
branch_labels = None
depends_on = None

TICKS_AN_HOUR = 1800
"""A tick was two seconds."""

BYTES_A_LINE = 32


def upgrade() -> None:
    """A budget of lines a tick and front-end becomes one of lines and bytes an hour, of all front-ends."""
    op.alter_column(
        "upload_window",
        "weekdays",
        new_column_name="days",
        type_=sa.String(9),
        existing_server_default="1234567",
        existing_nullable=False,
        comment="on which it opens: ISO weekdays, Monday is 1; W: working days, H: days off",
        existing_comment="ISO weekdays, Monday is 1",
    )
    op.alter_column(
        "upload_window",
        "closes",
        existing_type=sa.Time(),
        existing_nullable=False,
        comment="exclusive; not later than opens: on the next day",
        existing_comment="exclusive; earlier than opens: past midnight",
    )
    for name, words in (
        ("lines_per_hour", "of all its front-ends, by the business clock"),
        ("bytes_per_hour", "on the link, of all its front-ends"),
    ):
        op.add_column("upload_window", sa.Column(name, sa.BigInteger(), nullable=True, comment=words))
    op.execute(
        f"UPDATE upload_window SET lines_per_hour = lines_per_tick::bigint * {TICKS_AN_HOUR},"
        f" bytes_per_hour = lines_per_tick::bigint * {TICKS_AN_HOUR * BYTES_A_LINE}"
    )
    for name in ("lines_per_hour", "bytes_per_hour"):
        op.alter_column("upload_window", name, nullable=False)
    op.add_column(
        "upload_window",
        sa.Column(
            "slice_seconds",
            sa.Integer(),
            server_default="60",
            nullable=False,
            comment="of one grant, by the business clock",
        ),
    )
    op.drop_constraint("ck_window_budget", "upload_window")
    op.drop_column("upload_window", "lines_per_tick")
    op.execute("UPDATE upload_window SET days = '1234567' WHERE days = ''")
    op.create_check_constraint("ck_window_budget", "upload_window", "lines_per_hour > 0 AND bytes_per_hour > 0")
    op.create_check_constraint("ck_window_days", "upload_window", "days <> '' AND slice_seconds > 0")

    _grants()
    _new_tables()


def _grants() -> None:
    op.alter_column(
        "upload_grant",
        "lines",
        existing_type=sa.Integer(),
        existing_nullable=False,
        comment="budget of the slice",
        existing_comment="quota of the slice",
    )
    op.add_column(
        "upload_grant",
        sa.Column(
            "bytes", sa.BigInteger(), server_default="0", nullable=False, comment="budget of the slice, on the link"
        ),
    )
    op.add_column(
        "upload_grant",
        sa.Column(
            "is_floor",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="the small slice of this hour, given however late settling is",
        ),
    )
    for name in ("bytes_granted", "bytes_received"):
        op.add_column(
            "upload_grant",
            sa.Column(
                name, sa.BigInteger(), server_default="0", nullable=False, comment="in this opening of the window"
            ),
        )


def _new_tables() -> None:
    op.create_table(
        "upload_share",
        sa.Column("kind", sa.String(12), primary_key=True, comment="size, institution or frontend"),
        sa.Column(
            "name", sa.String(32), primary_key=True, comment="the class, the institution's code or the front-end"
        ),
        sa.Column(
            "share", sa.Integer(), nullable=False, comment="size: percent of the budget; else weight, 100 is usual"
        ),
        sa.CheckConstraint("share BETWEEN 1 AND 1000", name="ck_upload_share"),
        comment="Where the office shares out otherwise than domain.upload_shares does.",
    )
    op.create_table(
        "upload_pace",
        sa.Column("one", sa.Integer(), primary_key=True, autoincrement=False, comment="the only row is 1"),
        sa.Column(
            "pace", sa.Integer(), nullable=False, comment="thousandths of the budget that are granted at present"
        ),
        sa.Column("waiting_seconds", sa.Float(), nullable=False, comment="how long a settlement waited, real seconds"),
        sa.Column("ticked_at", sa.Float(), nullable=False, comment="real seconds"),
        sa.Column("counted_at", sa.Float(), comment="real seconds: upload_mark was counted; null: never"),
        sa.Column(
            "counting_seconds", sa.Float(), server_default="0", nullable=False, comment="how long the counting took"
        ),
        sa.Column("due_since", sa.Date(), comment="the day to look back to when it is counted again; null: the first"),
        sa.CheckConstraint("one = 1 AND pace BETWEEN 0 AND 1000", name="ck_upload_pace"),
        comment="How fast detail may travel now (domain.pace).",
    )
    op.create_table(
        "upload_hour",
        sa.Column("window", sa.String(32), primary_key=True),
        sa.Column("began", sa.DateTime(timezone=True), nullable=False, comment="of the hour of its opening"),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        comment="What has been granted of each window's budget in the hour it is in, small slices not counted.",
    )
    op.create_table(
        "upload_mark",
        sa.Column("institution_code", sa.String(18), primary_key=True),
        sa.Column("frontend", sa.String(32), primary_key=True, comment="that settled and holds the lines"),
        sa.Column("due_claims", sa.BigInteger(), nullable=False, comment="settled, and no detail has come"),
        sa.Column("due_lines", sa.BigInteger(), nullable=False),
        sa.Column(
            "overdue_claims",
            sa.BigInteger(),
            nullable=False,
            comment="settled before the deadline, and no detail has come",
        ),
        sa.Column(
            "oldest_due_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="all that was settled before it is here",
        ),
        sa.Column("alarmed_at", sa.DateTime(timezone=True), comment="when it was last said that something is overdue"),
        comment="High-water mark: up to when the detail of each institution is here; no row: all of it is.",
    )


def downgrade() -> None:
    """Budgets become lines a tick again; those of the smallest windows, one. What the office had shared is gone."""
    for name in ("upload_mark", "upload_hour", "upload_pace", "upload_share"):
        op.drop_table(name)
    for name in ("bytes_received", "bytes_granted", "is_floor", "bytes"):
        op.drop_column("upload_grant", name)
    op.alter_column(
        "upload_grant",
        "lines",
        existing_type=sa.Integer(),
        existing_nullable=False,
        comment="quota of the slice",
        existing_comment="budget of the slice",
    )
    op.drop_constraint("ck_window_days", "upload_window")
    op.drop_constraint("ck_window_budget", "upload_window")
    op.add_column("upload_window", sa.Column("lines_per_tick", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE upload_window SET lines_per_tick ="
        f" least(greatest(lines_per_hour / {TICKS_AN_HOUR}, 1), {2**31 - 1})::integer"
    )
    op.alter_column("upload_window", "lines_per_tick", nullable=False)
    for name in ("slice_seconds", "bytes_per_hour", "lines_per_hour"):
        op.drop_column("upload_window", name)
    # W and H are weekdays no earlier release knows: such a window opens on the days they usually are.
    op.execute(
        "UPDATE upload_window SET days = CASE WHEN days LIKE '%W%' AND days LIKE '%H%' THEN '1234567'"
        " WHEN days LIKE '%W%' THEN '12345' WHEN days LIKE '%H%' THEN '67' ELSE days END"
    )
    op.alter_column(
        "upload_window",
        "closes",
        existing_type=sa.Time(),
        existing_nullable=False,
        comment="exclusive; earlier than opens: past midnight",
        existing_comment="exclusive; not later than opens: on the next day",
    )
    op.alter_column(
        "upload_window",
        "days",
        new_column_name="weekdays",
        type_=sa.String(7),
        existing_server_default="1234567",
        existing_nullable=False,
        comment="ISO weekdays, Monday is 1",
        existing_comment="on which it opens: ISO weekdays, Monday is 1; W: working days, H: days off",
    )
    op.create_check_constraint("ck_window_budget", "upload_window", "lines_per_tick > 0")
