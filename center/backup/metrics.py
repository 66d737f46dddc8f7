"""How a restored centre is getting on, as numbers."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection

from center.backup.progress import progress
from infra.metrics import gauge


def readings(connection: Connection) -> Iterator[Metric]:
    """The epoch, whether it settles, and what is still to come."""
    found = progress(connection)
    owing = [each for each in found.frontends if each.is_owing]
    yield gauge("jiesuan_epoch", "The life of the database: 1, or higher after a restore.", float(found.epoch))
    yield gauge(
        "jiesuan_epoch_open",
        "1 while the centre settles; 0 while it takes up what a restore lost.",
        float(found.is_open),
    )
    yield gauge(
        "jiesuan_epoch_frontends_owing", "Front-ends that have not sent what a restore lost.", float(len(owing))
    )
    waiting = sum(each.waiting for each in found.frontends)
    yield gauge("jiesuan_epoch_documents_waiting", "Documents sent again and not taken up yet.", float(waiting))
    undone = sum(not each.is_done for each in found.frontends)
    yield gauge("jiesuan_epoch_details_owing", "Front-ends whose missing detail is not all asked for.", float(undone))
