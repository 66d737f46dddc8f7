"""What the centre told of clearings: kept as it was told, and asked for with a digest of each month."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from domain.clearings import ClearingHead, MonthHeld, ToldClearing, digest
from domain.messages import ClearingsAsked, ClearingsTold
from infra.codec import pack, unpack
from workers.clearings.tables import told_clearing
from workers.numbers import wait_for_turn

LOOKED_BACK = timedelta(days=800)
"""Older months are not asked for any more: what was withheld in a year is settled in the one after it."""

_COLUMNS = told_clearing.c


class Held(NamedTuple):
    """A period as it was told, and when."""

    clearing: ToldClearing
    told_at: datetime


def asking(connection: Connection, *, at: datetime) -> ClearingsAsked:
    """The question for whatever is not as it is held here."""
    since = f"{at - LOOKED_BACK:%Y-%m}"
    months: dict[tuple[str, str], list[ClearingHead]] = defaultdict(list)
    rows = connection.execute(select(told_clearing).where(_COLUMNS.name >= since))
    for row in rows:
        months[row.institution_code, row.name].append(unpack(row.content, ToldClearing).head)
    return ClearingsAsked(since=since, held=tuple(MonthHeld(*key, digest(months[key])) for key in sorted(months)))


def record(connection: Connection, told: ClearingsTold, *, at: datetime) -> None:
    """Let the months stand as they were told, whole."""
    wait_for_turn(connection)
    code = told.institution_code
    connection.execute(delete(told_clearing).where(_COLUMNS.institution_code == code, _COLUMNS.name.in_(told.months)))
    rows = [
        {
            "institution_code": code,
            "period_no": clearing.head.period_no,
            "name": clearing.head.name,
            "content": pack(clearing),
            "told_at": at,
        }
        for clearing in told.clearings
        if clearing.head.name in told.months
    ]
    if rows:
        numbers = [row["period_no"] for row in rows]
        connection.execute(
            delete(told_clearing).where(_COLUMNS.institution_code == code, _COLUMNS.period_no.in_(numbers))
        )
        connection.execute(insert(told_clearing), rows)


def find(connection: Connection, institution_code: str, period_no: int) -> Held | None:
    """A period of the institution; None where it has none under this number."""
    row = connection.execute(
        select(told_clearing).where(_COLUMNS.institution_code == institution_code, _COLUMNS.period_no == period_no)
    ).first()
    return None if row is None else Held(unpack(row.content, ToldClearing), row.told_at)


def listed(connection: Connection, institution_code: str, *, name: str = "", most: int = 500) -> list[Held]:
    """The institution's periods, newest first; of one month where it is named."""
    wanted = select(told_clearing).where(_COLUMNS.institution_code == institution_code)
    if name:
        wanted = wanted.where(_COLUMNS.name == name)
    ordered = wanted.order_by(_COLUMNS.name.desc(), _COLUMNS.period_no.desc()).limit(most)
    return [Held(unpack(row.content, ToldClearing), row.told_at) for row in connection.execute(ordered)]
