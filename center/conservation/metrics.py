"""What /metrics and `jiesuan doctor` say of the check of the books."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, func, select, tuple_

from center.conservation.findings import Level
from center.conservation.tables import books_run, books_watermark, frozen_flow
from center.ledger.tables import chain_head
from infra.metrics import gauge, gauge_by

_COLUMNS = frozen_flow.c


class Standing(NamedTuple):
    """How the books stand."""

    broken: dict[str, int]
    """Findings nobody has released, by level."""
    frozen: int
    """Flows in which nothing new is settled."""
    checked_at: dict[str, datetime]
    """When the newest check of each kind was, on the business clock."""
    unchecked_links: int
    """Transactions the check has not looked at yet."""


def standing(connection: Connection) -> Standing:
    """How the books stand at this moment."""
    still = _COLUMNS.released_at.is_(None)
    broken = connection.execute(select(_COLUMNS.level, func.count()).where(still).group_by(_COLUMNS.level)).all()
    flow = tuple_(_COLUMNS.institution_code, _COLUMNS.scheme, _COLUMNS.clearing_type, _COLUMNS.person_no)
    frozen = connection.execute(select(func.count(flow.distinct())).where(still)).scalar_one()
    runs = connection.execute(select(books_run.c.way, books_run.c.checked_at)).all()
    waiting = connection.execute(
        select(func.coalesce(func.sum(chain_head.c.link_no - func.coalesce(books_watermark.c.link_no, 0)), 0))
        .select_from(chain_head)
        .outerjoin(books_watermark, books_watermark.c.institution_code == chain_head.c.institution_code)
    ).scalar_one()
    return Standing(dict(map(tuple, broken)), frozen, dict(map(tuple, runs)), int(waiting))


def readings(connection: Connection) -> Iterator[Metric]:
    """Every reading of this moment; an alarm rings when the first two are not zero."""
    found = standing(connection)
    yield gauge_by(
        "jiesuan_books_broken", "Sums that do not hold and nobody has released, by level.", "level",
        {str(level): float(found.broken.get(level, 0)) for level in Level},
    )  # fmt: skip
    yield gauge("jiesuan_flows_frozen", "Flows in which nothing new is settled.", float(found.frozen))
    yield gauge_by(
        "jiesuan_books_checked_timestamp_seconds", "When the books were last checked, by way.", "way",
        {way: at.timestamp() for way, at in found.checked_at.items()},
    )  # fmt: skip
    yield gauge("jiesuan_books_unchecked_links", "Transactions nobody has checked yet.", float(found.unchecked_links))
