"""The drain: when the link is back, what was held back is let go again, in order and without a storm.

Oldest first, and of each person one claim at a time, so that what was settled off-line reaches the centre before
anything later of the same person. It begins after a pause of this front-end's own, with a few, and doubles as long as
all are answered. Sending, and sending again, stays with the sweep.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import Connection, Engine, exists, func, select, update

from domain.lifecycle import OPEN, ClaimState
from domain.link import LinkState
from infra.database import reading
from infra.lease import take
from workers.link import standing
from workers.tables import IS_HELD_BACK, IS_QUEUED, claim, lease

log = logging.getLogger("desk")

FIRST = 10
MOST = 300
LEASE_SECONDS = 10.0

_EARLIER = claim.alias("earlier")
_IS_FIRST = ~exists(
    select(1)
    .select_from(_EARLIER)
    .where(
        _EARLIER.c.state.in_(sorted(OPEN)),
        _EARLIER.c.queued_at.is_not(None),
        _EARLIER.c.person_key == claim.c.person_key,
        _EARLIER.c.claim_id < claim.c.claim_id,
    )
)
_NEXT = (
    select(claim.c.claim_id)
    .where(IS_QUEUED, IS_HELD_BACK, claim.c.state == ClaimState.TOTALLED)
    .where(claim.c.person_key.is_not(None), _IS_FIRST)
    .order_by(claim.c.claim_id)
)
_UNANSWERED = select(func.count()).where(IS_QUEUED, claim.c.released_at.is_not(None))


@dataclass(slots=True)
class Drain:
    """The drain of one front-end, as one process sees it."""

    engine: Engine
    frontend: str
    holder: str
    pause_seconds: float
    """Front-ends that were cut off together begin within so long of each other."""
    _back_since: float | None = field(default=None, init=False)
    _allowed: int = field(default=FIRST // 2, init=False)

    def run(self, *, now: float, at: datetime) -> int:
        """Let go of what may go now; how many claims. `now` is real seconds."""
        with reading(self.engine) as connection:
            link = standing(connection, at=at)
        if link.state is not LinkState.UP or not link.same_day(at):
            self._back_since = None
            return 0
        if self._back_since is None:
            self._back_since, self._allowed = now, FIRST // 2
        if not link.has_queue or now < self._back_since + self.pause_seconds * share_of(self.frontend, link.since):
            return 0
        with self.engine.begin() as connection:
            if take(connection, lease, name="drain", holder=self.holder, now=now, seconds=LEASE_SECONDS) is None:
                return 0
            return self._release(connection, at)

    def _release(self, connection: Connection, at: datetime) -> int:
        unanswered = connection.execute(_UNANSWERED).scalar_one()
        if unanswered == 0:
            self._allowed = min(2 * self._allowed, MOST)
        ids = connection.execute(_NEXT.limit(max(0, self._allowed - unanswered))).scalars().all()
        if not ids:
            return 0
        connection.execute(update(claim).where(claim.c.claim_id.in_(ids)).values(released_at=at, rung_at=0))
        log.info("queue_drained", extra={"claims": len(ids), "unanswered": unanswered})
        return len(ids)


def share_of(frontend: str, since: datetime | None) -> float:
    """Which share of the pause this front-end waits after the link is back: another each, the same whoever asks."""
    digest = blake2b(f"{frontend} {since}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32
