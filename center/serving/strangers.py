"""Front-ends that sent claims of institutions they do not serve: refused, counted, and shown until somebody looks.

Most often a front-end was set up from a copy of another one, or an institution's claims still go to its old address.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, func, select

from center.tables import parked
from domain.refusals import Refusal
from infra.metrics import gauge_by

LOOKED_BACK = timedelta(days=1)


class Stranger(NamedTuple):
    """A front-end that speaks for an institution it does not serve."""

    frontend: str
    institution_code: str
    claims: int
    last_at: datetime


def strangers(connection: Connection, *, at: datetime) -> list[Stranger]:
    """Who was refused as not serving the institution in the last day, most claims first."""
    columns = parked.c
    count = func.count()
    rows = connection.execute(
        select(columns.frontend, columns.institution_code, count, func.max(columns.parked_at))
        .where(columns.refusal == Refusal.NOT_SERVED, columns.parked_at > at - LOOKED_BACK)
        .group_by(columns.frontend, columns.institution_code)
        .order_by(count.desc(), columns.frontend, columns.institution_code)
    )
    return [Stranger(*row) for row in rows]


def readings(connection: Connection, *, at: datetime) -> Iterator[Metric]:
    """How many claims each such front-end was refused."""
    found: dict[str, float] = {}
    for each in strangers(connection, at=at):
        found[each.frontend] = found.get(each.frontend, 0.0) + each.claims
    yield gauge_by(
        "jiesuan_not_served",
        "Claims refused in the last day because their front-end does not serve the institution.",
        "frontend",
        found,
    )
