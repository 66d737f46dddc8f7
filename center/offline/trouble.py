"""Front-ends the centre cannot hear, or that do not have its time: noted for operators, told to themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, literal, select
from sqlalchemy.dialects.postgresql import insert

from center.offline.tables import frontend_trouble
from center.serving.tables import served_by
from domain.link import CLOCK_BOUND, Skew

KEY, CLOCK = "key", "clock"
NOBODY = "?"
"""Stands for every name that no front-end has: whoever can write to the broker could invent them."""
TOLD_EVERY = timedelta(minutes=1)
LONGEST_SKEW = 3600 * 24 * 366 * 100
"""Seconds: a clock that is said to be wrong by more than a century is said to be wrong by one."""
RECENT = timedelta(minutes=10)
"""A front-end in trouble shows itself every minute; longer silence means that it is mended, or switched off."""

WORDS = {
    KEY: "中心不能打开其申请：不是用中心登记的密钥封装的，请核对该前置机的密钥",
    CLOCK: "其时钟与中心不一致：{why}，请校时",
}


class Trouble(NamedTuple):
    """One front-end's trouble."""

    frontend: str
    kind: str
    first_at: datetime
    last_at: datetime
    times: int
    words: str


def note(connection: Connection, frontend: str, kind: str, *, at: datetime, why: str = "") -> bool:
    """Note one sign of trouble; whether the front-end is to be told now, which a name nobody has never is.

    One that has been silent for a while is in trouble anew.
    """
    name = frontend if _serves(connection, frontend) else NOBODY
    columns = frontend_trouble.c
    last = connection.execute(
        select(columns.last_at, columns.times).where(columns.frontend == name, columns.kind == kind).with_for_update()
    ).first()
    is_new = last is None or at - last.last_at >= RECENT
    adding = insert(frontend_trouble).values(
        frontend=name, kind=kind, first_at=at, last_at=at, times=1, words=WORDS[kind].format(why=why)
    )
    again = {"last_at": adding.excluded.last_at, "words": adding.excluded.words, "times": columns.times + 1}
    if is_new:
        again |= {"first_at": adding.excluded.first_at, "times": literal(1)}
    connection.execute(adding.on_conflict_do_update(index_elements=["frontend", "kind"], set_=again))
    return name != NOBODY and (is_new or last is None or at - last.last_at >= TOLD_EVERY)


def see_clock(connection: Connection, frontend: str, skew_seconds: int, *, at: datetime) -> None:
    """Note a front-end that has found its clock to be wrong: how far ours is ahead of it, for certain."""
    if abs(skew_seconds) > CLOCK_BOUND.total_seconds():
        bounded = max(-LONGEST_SKEW, min(skew_seconds, LONGEST_SKEW))
        skew = Skew(timedelta(seconds=bounded), timedelta())
        note(connection, frontend, CLOCK, at=at, why=skew.words().replace("本机时钟", ""))


def recent(connection: Connection, *, at: datetime) -> list[Trouble]:
    """Who is in trouble now."""
    columns = frontend_trouble.c
    rows = connection.execute(
        select(frontend_trouble).where(columns.last_at > at - RECENT).order_by(columns.frontend, columns.kind)
    )
    return [Trouble(*row) for row in rows]


def _serves(connection: Connection, frontend: str) -> bool:
    known = select(served_by.c.frontend).where(served_by.c.frontend == frontend).limit(1)
    return connection.execute(known).first() is not None
