"""Preparing claims that come with all their lines: the same counter, and the lines wait with what is prepared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from center.outcomes.prepare import joined, park_internal, prepare_all
from center.settling import records
from center.settling.halving import in_halves
from center.settling.lines import Published, gathered
from domain.messages import ClaimLines, LinesSubmitted, OutcomeTold, bare_of


def prepare_lines(
    engine: Engine, published: Published, submitted: LinesSubmitted, *, frontend: str, at: datetime, interval: timedelta
) -> OutcomeTold:
    """Prepare a batch from its lines and commit it; as `center.outcomes.prepare.prepare`. Raises NothingPublished."""

    def prepare_now(connection: Connection, claims: Sequence[ClaimLines]) -> OutcomeTold:
        cursor = records.cursor_of(connection)
        counter = gathered(connection, published, claims, frontend=frontend, at=at)
        return prepare_all(cursor, counter, at=at, interval=interval)

    def park_now(connection: Connection, claims: Sequence[ClaimLines]) -> OutcomeTold:
        return park_internal(connection, [bare_of(claim) for claim in claims], frontend, at)

    return joined(in_halves(engine, submitted.claims, prepare_now, park_now), frontend=frontend)
