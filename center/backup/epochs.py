"""The epoch (纪元): which life of the centre's database this is, and whether it has back what it lost.

A database that was never restored is in its first epoch. One that was restored does not know what it answered after
its backup: front-ends tell a later epoch from what they knew, send what they were answered since, and until that is
taken up nothing new is settled, because the accumulators of whoever settled in between stand too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, insert, select, text

from center import partitions
from center.backup.tables import catching_up, epoch
from center.partitions import Place
from center.served import frontends
from center.serving.tables import terms_report
from center.serving.terms import renew_all
from center.settling.well_formed import Refused, refuse
from domain.refusals import Refusal

FIRST = 1
RECOVERING = "中心刚从备份恢复，正在收回各前置机已结算的记录，请稍候，无需重新提交"

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS_A_SECOND, AHEAD = 300, timedelta(days=1)
"""The line of numbers: an epoch counts on from so many for each second of the year so far, and a day more. Counting
never gets there first, so no number is given twice, even where the year began after the backup, or where one archive
is restored a second time; and a whole year of it fits into the numbers of the year."""
LEAST_JUMP = 100_000

RECENTLY = timedelta(days=1)
"""Who was heard from within this before the backup is asked, too, what it was answered since."""

IN_FLIGHT = timedelta(hours=1)
"""A transaction open while the snapshot was taken settled no earlier than this before it; it ends within a minute."""


class Epoch(NamedTuple):
    """The epoch the database is in, and whether it settles."""

    number: int
    is_open: bool


NEVER_RESTORED = Epoch(FIRST, is_open=True)


def lacking(epoch: Epoch, refusal: Refusal) -> Refused:
    """The refusal for want of something an operator entered; while the centre recovers that may be among what was lost,
    and nothing is refused for it: later, then."""
    return refuse(refusal) if epoch.is_open else Refused(Refusal.BUSY, RECOVERING)


def current(cursor: psycopg.Cursor[Any]) -> Epoch:
    """The newest epoch. Asked in the transaction that decides, as the database may be another one since the last."""
    cursor.execute("SELECT epoch, opened_at IS NOT NULL FROM epoch ORDER BY epoch DESC LIMIT 1")
    row = cursor.fetchone()
    return NEVER_RESTORED if row is None else Epoch(*row)


def begin(connection: Connection, *, snapshot_at: datetime, archive: str, by: str, reason: str, at: datetime) -> int:
    """Begin a new epoch in a database that was just restored to how it was at `snapshot_at`; its number.

    Every sequence jumps to where no earlier life of the database can have been. Settling stays closed until every
    front-end that speaks for an institution has sent what it was answered.
    """
    held = connection.execute(select(epoch.c.epoch).order_by(epoch.c.epoch.desc()).limit(1)).scalar()
    number = max((held or FIRST) + 1, int((at - BEGINNING).total_seconds()))
    high_water = int(connection.execute(text("SELECT last_value FROM settlement_no_seq")).scalar_one())
    first_no = max(_on_the_line(connection, at), high_water + LEAST_JUMP)
    _jump(connection, first_no)
    connection.execute(
        insert(epoch).values(
            epoch=number,
            began_at=at,
            since=snapshot_at - IN_FLIGHT,
            high_water_no=high_water,
            first_no=first_no,
            archive=archive,
            begun_by=by,
            reason=reason,
        )
    )
    renew_all(connection)
    asked = {*frontends(connection, also_former=True), *_heard(connection, snapshot_at - RECENTLY)}
    if asked:
        connection.execute(insert(catching_up), [{"epoch": number, "frontend": each} for each in sorted(asked)])
    return number


def _heard(connection: Connection, since: datetime) -> Sequence[str]:
    """Front-ends that were heard from: one that served nobody then may have been moved to since."""
    heard = select(terms_report.c.frontend).where(terms_report.c.heard_at >= since)
    return connection.execute(heard).scalars().all()


def _on_the_line(connection: Connection, at: datetime) -> int:
    """Where no earlier life of the database can have counted to by now; the numbers of the year begin with it."""
    pool = max((place.pool for place in partitions.prepared(connection)), default=0)
    year = at.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    so_far = int((at - year + AHEAD).total_seconds())
    return partitions.begin_year(connection, Place(pool, at.year)) + so_far * NUMBERS_A_SECOND


def _jump(connection: Connection, first_no: int) -> None:
    """Let every sequence that counts in BIGINT give numbers from here on; none goes back."""
    names = connection.execute(
        text(
            "SELECT quote_ident(sequencename) FROM pg_sequences WHERE schemaname = current_schema() AND max_value > :m"
        ),
        {"m": 2**31},
    ).scalars()
    for name in names.all():
        connection.execute(
            text(f"SELECT setval('{name}', greatest(:first, last_value + 1), false) FROM {name}"), {"first": first_no}
        )
