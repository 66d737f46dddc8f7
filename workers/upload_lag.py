"""How far the upload of detail lags at a front-end (明细水位), by institution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, case, func, select

from infra.metrics import gauge_by
from workers.tables import DETAIL_IS_DUE, claim


class Lag(NamedTuple):
    """What of one institution is settled and not confirmed by the centre."""

    institution_code: str
    due_claims: int
    due_lines: int
    overdue_claims: int
    oldest_due_at: datetime
    """Everything settled before is confirmed."""

    def lag(self, at: datetime) -> timedelta:
        """How long the oldest has been due."""
        return max(timedelta(), at - self.oldest_due_at)


def lags(connection: Connection, *, at: datetime, deadline: timedelta) -> list[Lag]:
    """Who has detail to send, and since when; overdue is what was settled longer ago than the deadline."""
    overdue = func.sum(case((claim.c.settled_at < at - deadline, 1), else_=0))
    rows = connection.execute(
        select(
            claim.c.institution_code,
            func.count(),
            func.sum(claim.c.line_count),
            overdue,
            func.min(claim.c.settled_at, type_=claim.c.settled_at.type),
        )
        .where(DETAIL_IS_DUE)
        .group_by(claim.c.institution_code)
        .order_by(claim.c.institution_code)
    )
    return [Lag(code, int(claims), int(lines), int(late), oldest) for code, claims, lines, late, oldest in rows]


def readings(due: Sequence[Lag], at: datetime) -> Iterator[Metric]:
    """What a front-end's /metrics say of it, by institution."""
    for name, words, values in (
        ("jiesuan_upload_backlog", "Detail lines not at the centre yet.", [each.due_lines for each in due]),
        (
            "jiesuan_upload_lag_seconds",
            "For how long the oldest detail has been due, by the business clock.",
            [each.lag(at) // timedelta(seconds=1) for each in due],
        ),
        (
            "jiesuan_upload_overdue",
            "Settled claims whose detail is not at the centre within the deadline.",
            [each.overdue_claims for each in due],
        ),
    ):
        codes = [each.institution_code for each in due]
        yield gauge_by(name, words, "tenant", dict(zip(codes, values, strict=True)))
