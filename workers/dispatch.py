"""How a desk shares itself among its institutions: how much each may have in its turn, and when it has to wait.

The bells hang in a queue of each institution, and the queues are taken in turn: that is the round of the round robin
(`domain.fairness`). Here are the weights of it. An institution that has enough unanswered claims at the centre has no
turn until some are answered, so that the centre's lane stays short and nobody waits long behind anybody (R37, R38).
While the centre is slow to answer, what an institution hands in is gathered: a message costs everybody on its way more
than the claims in it, and what would wait in the centre's lane may as well wait here.
All of it is in the memory of one desk: what a desk forgets when it ends are debts of a fraction of a second.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine, Integer, bindparam, func, select

from domain.fairness import LEAST_QUANTUM, Turn, granted, left_over, turn_of
from domain.lifecycle import ClaimState
from infra.database import reading
from workers import tenants
from workers.tables import IS_OPEN, claim, institution, tenant_conduct

LOOK_SECONDS = 0.25
"""How often it is looked whether an institution that waits for answers has got some: at most."""
LOOKS_WHILE_OWED = 4
"""What is owed for long is looked at more rarely: so many times in as long as it is owed already."""
SLOW_SECONDS = 0.25
"""A centre that has owed an institution an answer for so long is slow; a quick one is sent everything at once."""
GATHER_SECONDS = 6.0
"""The longest an institution's claims are gathered for a slow centre."""
NOTE_SECONDS = 2.0
"""How often the weights are read anew, and what was spent is written down."""
RECENT = 0.2
"""How fast the picture of an institution's claims follows what it hands in: the share of the newest turn."""

_IN_FLIGHT = (
    select(claim.c.rung_at)
    .where(
        IS_OPEN,
        claim.c.state == ClaimState.TOTALLED,
        claim.c.institution_code == bindparam("code"),
        claim.c.attempts == 1,
        claim.c.rung_at > bindparam("since"),
        claim.c.waits_for.is_(None),
    )
    .limit(bindparam("most", type_=Integer))
    .subquery()
)
_ACCEPTED = (
    select(claim.c.claim_id)
    .where(IS_OPEN, claim.c.state == ClaimState.ACCEPTED, claim.c.institution_code == bindparam("code"))
    .limit(bindparam("turn", type_=Integer))
    .subquery()
)
_STANDING = select(
    select(func.count()).select_from(_IN_FLIGHT).scalar_subquery(),
    select(func.min(_IN_FLIGHT.c.rung_at)).scalar_subquery(),
    select(func.count()).select_from(_ACCEPTED).scalar_subquery(),
)
_WEIGHTS = select(institution.c.institution_code, institution.c.weight, tenant_conduct.c.lowered).select_from(
    institution.outerjoin(tenant_conduct, tenant_conduct.c.institution_code == institution.c.institution_code)
)
_WEIGHT = _WEIGHTS.where(institution.c.institution_code == bindparam("code"))


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an institution may have in this turn: at most so many claims, while the grant lasts."""

    claims: int
    grant: int
    quantum: int


@dataclass(frozen=True, slots=True)
class _Standing:
    """How an institution's claims stand."""

    in_flight: int
    """At the centre, unanswered."""
    owed_since: float
    """When the longest unanswered of them was sent; the moment of looking where there is none."""
    waiting: int
    """Accepted, up to a whole turn."""


@dataclass(slots=True)
class Dispatch:
    """One desk's memory of its institutions. `holder` is its name among the desks of this front-end."""

    engine: Engine
    batch: int
    """Claims in a turn of an ordinary institution."""
    answered_within: float
    """Seconds after which an unanswered claim is sent again, and counts as in flight no more."""
    holder: str = "desk"
    _left: dict[str, int] = field(default_factory=dict, init=False)
    _work_of_a_claim: dict[str, float] = field(default_factory=dict, init=False)
    _weights: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)
    _spent: defaultdict[str, tenants.Use] = field(default_factory=lambda: defaultdict(tenants.Use), init=False)
    _at_most: dict[str, int] = field(default_factory=dict, init=False)
    """No more than so many of its claims are unanswered: as they were last counted, and what was taken since."""
    _had_turn_at: dict[str, float] = field(default_factory=dict, init=False)
    _judges_until: float = field(default=0.0, init=False)
    """As long as what this desk has spent counts."""
    _waiting: dict[str, float] = field(default_factory=dict, init=False)
    """Who has to wait, and when it is looked again whether they still have to."""
    _last: str = field(default="", init=False)

    def begin(self, institution_code: str, *, now: float) -> Allowed | None:
        """What the institution may have now; None while it has to wait, `due` says how long: there is no room for a
        whole turn of it at the centre, or the centre is slow. Turns cut short cost a message for a handful of claims.
        """
        if self._waits(institution_code, now):
            return None
        is_alone = self._last == institution_code
        turn = self._turn_of(institution_code, is_alone)
        has_room = self._at_most.get(institution_code, turn.in_flight) <= turn.in_flight - turn.claims
        if not has_room or self._had_turn_lately(institution_code, now):
            with reading(self.engine) as connection:
                if self._has_to_wait(connection, institution_code, turn, now):
                    return None
        self._waiting.pop(institution_code, None)
        self._last = institution_code
        grant = granted(self._left.get(institution_code, 0), turn.work, is_alone=is_alone)
        reach = -(-grant // max(1, int(self._work_of_a_claim.get(institution_code, LEAST_QUANTUM))))
        return Allowed(max(1, min(turn.claims, reach)), grant, turn.work)

    def end(
        self, institution_code: str, had: Allowed, *, claims: int, work: int, more: bool, seconds: float, now: float
    ) -> None:
        """Note what the turn came to, and how long the desk was busy with it."""
        left = left_over(had.grant, work, had.quantum, more_waits=more)
        if left:
            self._left[institution_code] = left
        else:
            self._left.pop(institution_code, None)
        if claims:
            self._had_turn_at[institution_code] = now
            self._at_most[institution_code] = self._at_most.get(institution_code, 0) + claims
            before = self._work_of_a_claim.get(institution_code, work / claims)
            self._work_of_a_claim[institution_code] = before + RECENT * (work / claims - before)
        use = self._spent[institution_code]
        use.busy_us += int(seconds * 1_000_000)
        use.claims += claims
        use.work += work

    def due(self, *, now: float) -> list[str]:
        """Institutions that had to wait and need not any more: their bells are to be rung."""
        to_look_at = sorted(code for code in self._waiting if not self._waits(code, now))
        if not to_look_at:
            return []
        with reading(self.engine) as connection:
            over = [
                code
                for code in to_look_at
                if not self._has_to_wait(connection, code, self._turn_of(code, self._last == code), now)
            ]
        for code in over:
            del self._waiting[code]
        return over

    def note(self, *, now: float, at: datetime) -> None:
        """Write down what was spent, judge who is noisy while anything was, read the weights anew."""
        spent, self._spent = self._spent, defaultdict(tenants.Use)
        if spent:
            with self.engine.begin() as connection:
                tenants.note_use(connection, spent, now=now)
            self._judges_until = now + tenants.LOOKED_BACK_SECONDS
        if now < self._judges_until or any(lowered for _, lowered in self._weights.values()):
            found = tenants.look(self.engine, holder=self.holder, batch=self.batch, now=now, at=at)
            self._weights = {one.institution_code: (one.weight, one.lowered) for one in found}
            return
        with reading(self.engine) as connection:
            rows = connection.execute(_WEIGHTS).all()
        self._weights = {row.institution_code: (row.weight, row.lowered or 0) for row in rows}

    def _turn_of(self, institution_code: str, is_alone: bool) -> Turn:
        """Its turn by its weight. One that is alone has nobody to be held back for."""
        weight, lowered = self._weights.get(institution_code, (0, 0))
        if not weight:
            with reading(self.engine) as connection:
                rows = connection.execute(_WEIGHT, {"code": institution_code}).all()
            weight, lowered = next(((row.weight, row.lowered or 0) for row in rows), (1, 0))
            self._weights[institution_code] = weight, lowered
        return turn_of(weight, 0 if is_alone else lowered, batch=self.batch)

    def _waits(self, code: str, now: float) -> bool:
        """Whether it has to wait and is not to be looked at yet."""
        return 0 < self._waiting.get(code, now) - now <= GATHER_SECONDS

    def _had_turn_lately(self, code: str, now: float) -> bool:
        return 0 <= now - self._had_turn_at.get(code, -GATHER_SECONDS) < GATHER_SECONDS

    def _has_to_wait(self, connection: Connection, code: str, turn: Turn, now: float) -> bool:
        """Whether there is no room for a whole turn, or less than one to take while the centre is slow; noted, and when
        to look again."""
        stands = self._standing(connection, code, turn, now)
        if stands.in_flight > turn.in_flight - turn.claims:
            self._waiting[code] = now + LOOK_SECONDS
            return True
        owed = now - stands.owed_since
        if owed < SLOW_SECONDS or stands.waiting >= turn.claims or not self._had_turn_lately(code, now):
            return False
        over = self._had_turn_at[code] + GATHER_SECONDS
        self._waiting[code] = min(over, now + max(LOOK_SECONDS, owed / LOOKS_WHILE_OWED))
        return True

    def _standing(self, connection: Connection, code: str, turn: Turn, now: float) -> _Standing:
        asked = {"code": code, "since": now - self.answered_within, "most": turn.in_flight, "turn": turn.claims}
        in_flight, owed_since, waiting = connection.execute(_STANDING, asked).one()
        self._at_most[code] = in_flight
        return _Standing(in_flight, now if owed_since is None else owed_since, waiting)
