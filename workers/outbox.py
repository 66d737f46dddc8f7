"""The outbox: totalled claims go to the centre in sealed batches, again and again, until an answer is recorded.

The sweep is the only thing that sends again. It works under a lease, takes a bounded number of rows, waits longer
after each attempt, and never feeds a lane that does not drain: the naive form of it was measured to be an outage.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, bindparam, func, select, update

from domain.lifecycle import ClaimState
from domain.messages import ClaimLines, ClaimTotals, LinesSubmitted, Message, TotalsSubmitted
from domain.outcomes import Phase
from infra import lanes
from infra.broker import BrokerAway, Post
from infra.codec import encode, unpack
from infra.database import execute_many
from infra.envelope import seal
from infra.lease import LeaseLost, guard, take
from workers import lines
from workers.doorbell import Doorbell
from workers.lines import chunks
from workers.tables import IS_OPEN, IS_TO_BE_SENT, claim, institution, lease

log = logging.getLogger("outbox")

Claim = TypeVar("Claim", ClaimTotals, ClaimLines)

CLAIMS_PER_ENVELOPE = 300
SWEEP_CAP = 1000
LANE_IS_LONG = 20
LONGEST_WAIT_SECONDS = 120.0

_DUE_AT_ONCE = (
    update(claim)
    .where(
        claim.c.visit_no == bindparam("visit"),
        claim.c.charge_batch_no == bindparam("batch"),
        claim.c.state == ClaimState.TOTALLED,
    )
    .values(rung_at=0)
)


@dataclass(frozen=True, slots=True)
class Outbox:
    """Sends totals from this front-end to the centre."""

    post: Post
    frontend: str
    key: bytes

    def send(
        self, totals: Sequence[ClaimTotals], *, policy_version: str, catalogue_version: str, settle_lanes: int = 1
    ) -> bool:
        """Send one batch, spread over so many lanes by person; False when the broker is away (the sweep sends what is
        left later)."""
        versions = {"policy_version": policy_version, "catalogue_version": catalogue_version}
        sent = [
            self._post(lanes.CLAIMS_SETTLE, TotalsSubmitted(**versions, claims=tuple(part)), part, lane)
            for lane, part in _by_lane(totals, settle_lanes)
        ]
        return all(sent)

    def send_lines(self, claims: Sequence[ClaimLines], *, prepare: bool = False, settle_lanes: int = 1) -> int:
        """Send claims with all their lines, to be settled or to be prepared; how many were sent."""
        sent = 0
        for lane, part in ((lane, part) for lane, all_ in _by_lane(claims, settle_lanes) for part in chunks(all_)):
            submitted = LinesSubmitted(prepare=prepare, claims=tuple(part))
            if not self._post(lanes.CLAIMS_SETTLE_LINES, submitted, part, lane):
                break
            sent += len(part)
        return sent

    def _post(
        self,
        task: str,
        message: Message,
        claims: Sequence[ClaimTotals] | Sequence[ClaimLines],
        lane: str = lanes.SETTLE,
    ) -> bool:
        envelope = seal(encode(message), frontend=self.frontend, lane=lanes.SETTLE, key=self.key)
        try:
            self.post.send(task, queue=lane, shown=shown(self.frontend, claims), envelope=envelope)
        except BrokerAway as error:
            log.warning("claims_not_sent", extra={"claims": len(claims), "error": type(error).__name__})
            return False
        return True


def _by_lane(claims: Sequence[Claim], count: int) -> list[tuple[str, Sequence[Claim]]]:
    """A batch cut by the lane its persons are settled on."""
    if count == 1:
        return [(lanes.SETTLE, claims)]
    parts: dict[str, list[Claim]] = defaultdict(list)
    for each in claims:
        parts[lanes.settle_of(each.citizen_id_no, count)].append(each)
    return sorted(parts.items())


def shown(frontend: str, totals: Sequence[ClaimTotals] | Sequence[ClaimLines]) -> dict[str, object]:
    """What Flower may show of a batch: where from and how many; the visit when there is one only."""
    institutions = {row.institution_code for row in totals}
    show: dict[str, object] = {"frontend": frontend, "claims": len(totals)}
    if len(institutions) == 1:
        show["institution"] = totals[0].institution_code
    if len(totals) == 1:
        show["visit"] = totals[0].visit_no
    return show


class _Batch(NamedTuple):
    """What claims have in common that travel together."""

    policy_version: str
    catalogue_version: str
    settle_lanes: int


@dataclass(slots=True)
class Sweep:
    """Finds what nobody has answered for a while and rings or sends again."""

    engine: Engine
    outbox: Outbox
    doorbell: Doorbell
    holder: str
    after_seconds: float
    _lane_was: int = field(default=0, init=False)

    def run(self, *, now: float, may_send: bool = True) -> int:
        """One round under the lease; how many claims were sent again. Bells are rung even while nothing `may_send`:
        a link that is down would only be waited for."""
        with self.engine.begin() as connection:
            fence = take(connection, lease, name="sweep", holder=self.holder, now=now, seconds=3 * self.after_seconds)
            if fence is None:
                return 0
            unrung = self._unrung(connection, now)
        for institution_code in unrung:
            self.doorbell.ring(institution_code)
        if not may_send or not self._lane_drains():
            return 0
        try:
            with self.engine.begin() as connection:
                guard(connection, lease, name="sweep", fence=fence)
                due, whole = self._claim_due(connection, now)
        except LeaseLost:
            return 0
        unsent: list[ClaimTotals | ClaimLines] = [*self._send(due)]
        for count, part in sorted(whole.items()):
            if self.outbox.send_lines(part, settle_lanes=count) < len(part):
                unsent += part
        self._due_at_once(unsent)
        sent = len(due) + sum(map(len, whole.values())) - len(unsent)
        if sent:
            log.info("claims_sent_again", extra={"claims": sent})
        return sent

    def _due_at_once(self, unsent: Sequence[ClaimTotals | ClaimLines]) -> None:
        """The broker went away over it: nobody is waited for longer because of that."""
        if unsent:
            with self.engine.begin() as connection:
                keys = [{"visit": each.visit_no, "batch": each.charge_batch_no} for each in unsent]
                execute_many(connection, _DUE_AT_ONCE, keys)

    def _unrung(self, connection: Connection, now: float) -> list[str]:
        """Institutions with accepted claims whose bell may have been lost; each is rung once per waiting time."""
        codes = connection.execute(
            select(claim.c.institution_code)
            .where(IS_OPEN, claim.c.state == ClaimState.ACCEPTED, claim.c.rung_at < now - self.after_seconds)
            .group_by(claim.c.institution_code)
        ).scalars()
        return sorted(codes)

    def _lane_drains(self) -> bool:
        """Whether the settle lane is short, or at least shorter than at the last look."""
        try:
            waiting = self.outbox.post.waiting(lanes.SETTLE)
        except BrokerAway:
            return False
        before, self._lane_was = self._lane_was, waiting
        return waiting < LANE_IS_LONG or waiting < before

    def _claim_due(
        self, connection: Connection, now: float
    ) -> tuple[list[tuple[_Batch, ClaimTotals]], dict[int, list[ClaimLines]]]:
        """What is due as totals, with what its batch has in common, and what is due with its lines, by the number of
        lanes."""
        rows = connection.execute(
            select(
                claim.c.claim_id,
                claim.c.attempts,
                claim.c.policy_version,
                claim.c.catalogue_version,
                claim.c.totals,
                claim.c.sent_lines,
                func.coalesce(institution.c.settle_lanes, 1).label("settle_lanes"),
            )
            .outerjoin(institution, institution.c.institution_code == claim.c.institution_code)
            .where(IS_OPEN, claim.c.state == ClaimState.TOTALLED, claim.c.rung_at < now - self.after_seconds)
            .where(claim.c.kind == "normal")  # refunds are sent by `workers.refund`
            .where(claim.c.phase == Phase.SETTLE)  # the others by `workers.outcomes`
            .where(IS_TO_BE_SENT)
            .order_by(claim.c.claim_id)
            .limit(SWEEP_CAP)
        ).all()
        if not rows:
            return [], {}
        connection.execute(
            update(claim)
            .where(claim.c.claim_id == bindparam("id"), claim.c.state == ClaimState.TOTALLED)
            .values(rung_at=bindparam("due"), attempts=claim.c.attempts + 1),
            [{"id": row.claim_id, "due": now + self._patience(row.attempts)} for row in rows],
        )
        totals = {row.claim_id: unpack(row.totals, ClaimTotals) for row in rows}
        whole: dict[int, dict[int, ClaimTotals]] = defaultdict(dict)
        due = []
        for row in rows:
            if row.sent_lines:
                whole[row.settle_lanes][row.claim_id] = totals[row.claim_id]
            else:
                of = _Batch(row.policy_version, row.catalogue_version, row.settle_lanes)
                due.append((of, totals[row.claim_id]))
        return due, {count: lines.read(connection, part) for count, part in whole.items()}

    def _patience(self, attempts: int) -> float:
        """How much longer than the usual time to wait after this many attempts, in seconds."""
        return float(min(self.after_seconds * (2 ** min(attempts, 10) - 1), LONGEST_WAIT_SECONDS))

    def _send(self, due: Sequence[tuple[_Batch, ClaimTotals]]) -> list[ClaimTotals]:
        """Send them; those that could not be sent."""
        batches: dict[_Batch, list[ClaimTotals]] = defaultdict(list)
        for of, totals in due:
            batches[of].append(totals)
        parts = [
            (of, claims[start : start + CLAIMS_PER_ENVELOPE])
            for of, claims in batches.items()
            for start in range(0, len(claims), CLAIMS_PER_ENVELOPE)
        ]
        for place, (of, part) in enumerate(parts):
            if not self.outbox.send(part, **of._asdict()):
                return [each for _, unsent in parts[place:] for each in unsent]
        return []
