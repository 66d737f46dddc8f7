"""The chains are verified every night (夜间验链), against the heads that have left the database; what is known of it.

What was written anew past the application shows in no incremental check, so all chains are followed from their first
link once a night, while hardly anybody settles. /metrics and `jiesuan doctor` say how the newest time ended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.dialects.postgresql import insert

from center.ledger.export import Exported, NotAnExport, exported
from center.ledger.tables import chain_check
from center.ledger.verifying import Verified, verify
from center.ticks import is_for_tonight
from center.transactions import in_transaction
from infra.metrics import gauge

log = logging.getLogger("center")

ANCHORED_WITHIN = timedelta(days=2)
"""Heads leave the database every day; where the newest of them is older, nobody looks after them."""


def verify_nightly(engine: Engine, folder: Path, *, at: datetime) -> Verified | None:
    """Verify all chains against the heads in the folder and keep how it ended; None when it is not the time.

    A file of heads that is not as it was written counts as one thing that is wrong, and none is compared with then.
    """
    if not is_for_tonight(last(engine), at):
        return None
    unreadable = 0
    try:
        left = exported(folder)
    except NotAnExport as error:
        log.error("chain_heads_not_as_written", extra={"file": error.file})
        left, unreadable = Exported((), None), 1
    told = verify(engine, exported=left.heads)
    wrong = len(told.tamperings) + unreadable
    in_transaction(engine, lambda connection: _keep(connection, told, wrong, left.newest_at, at))
    shown = {"chains": told.chains, "links": told.links, "heads": told.heads, "wrong": wrong}
    log.log(logging.ERROR if wrong else logging.INFO, "chains_verified", extra=shown)
    return told


def is_unanchored(told: Verified, newest_at: datetime | None, at: datetime) -> bool:
    """Whether chains older than two days were compared with no head, or with none of the last two days."""
    if told.began_at is None or at - told.began_at < ANCHORED_WITHIN:
        return False
    return not told.heads or newest_at is None or at - newest_at > ANCHORED_WITHIN


def last(engine: Engine) -> datetime | None:
    """When the chains were last verified by night, on the business clock."""
    with engine.connect() as connection:
        found = newest(connection)
    return found.verified_at if found else None


def newest(connection: Connection) -> Row[Any] | None:
    """The newest check, as a row of `chain_check`."""
    return connection.execute(select(chain_check).order_by(chain_check.c.verified_at.desc()).limit(1)).first()


def readings(connection: Connection) -> Iterator[Metric]:
    """Every reading of this moment; an alarm rings when the first is not zero, or the others stand still."""
    found = newest(connection)
    if found is None:
        return
    yield gauge("jiesuan_chain_wrong", "What was not as it was written, last time.", float(found.wrong))
    yield gauge(
        "jiesuan_chain_verified_timestamp_seconds", "When the chains were last verified.", found.verified_at.timestamp()
    )
    yield gauge("jiesuan_chain_heads_compared", "Exported heads they were compared with.", float(found.heads))
    if found.newest_head_at is not None:
        yield gauge(
            "jiesuan_chain_head_exported_timestamp_seconds", "When the newest of those heads left the database.",
            found.newest_head_at.timestamp(),
        )  # fmt: skip


def _keep(connection: Connection, told: Verified, wrong: int, newest_at: datetime | None, at: datetime) -> None:
    row = {
        "verified_at": at,
        "chains": told.chains,
        "links": told.links,
        "documents": told.documents,
        "heads": told.heads,
        "newest_head_at": newest_at,
        "wrong": wrong,
    }
    connection.execute(insert(chain_check).values(row).on_conflict_do_nothing())
