"""What a front-end knows of its link to the centre: noted by the process that hears the centre, read by all others.

A question goes down the settle lane every few seconds in which nothing was heard, and its answer tells the centre's
time. What is not answered in time makes the link unsure, then down; so does a note nobody renews any more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, exists, insert, select, update

from domain.link import LINK_WORDS, LinkState, Skew, skew_of, state_of
from domain.messages import OutcomeAsked, OutcomeTold
from workers.tables import IS_QUEUED, claim, link

log = logging.getLogger("link")

CLOCK_EVERY_SECONDS = 60.0
"""However much is heard, or in vain it is asked: so often the centre is asked for its time."""

AT_THE_PEAK = 3
"""So many times longer a question is waited for that lies in the centre's lane, perhaps behind a whole morning."""

_NOTED = select(
    link.c.state,
    link.c.since,
    link.c.fresh_until,
    link.c.heard_at,
    link.c.skew_seconds,
    link.c.uncertain_seconds,
    link.c.unheard_at,
    exists(select(1).select_from(claim).where(IS_QUEUED)).label("has_queue"),
).where(link.c.only == 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the link stands at a moment. `since` is when it came to that; None: nobody has noted anything yet."""

    state: LinkState
    since: datetime | None = None
    heard_at: datetime | None = None
    skew: Skew | None = None
    unheard_at: datetime | None = None
    """The centre's answers cannot be opened since: the key here is not the one the centre has of us."""
    has_queue: bool = False
    """Claims wait here that were accepted while it was down."""

    @property
    def is_down(self) -> bool:
        """Whether claims are kept here, not sent."""
        return self.state is LinkState.DOWN

    @property
    def clock_agrees(self) -> bool:
        """Whether our clock is not known to be wrong."""
        return self.skew is None or not self.skew.is_wrong

    def same_day(self, at: datetime) -> bool:
        """Whether the centre has the same day as we."""
        return self.skew is None or self.skew.same_day(at)

    def words(self) -> str:
        """For cashiers and operators."""
        since = "" if self.since is None else f"（自 {self.since:%m-%d %H:%M:%S}）"
        said = [f"与中心的链路{LINK_WORDS[self.state]}{since}"]
        if self.unheard_at is not None:
            said.append("中心的答复不能用本机密钥打开，中心也不能打开本机的申请：请核对前置机密钥")
        if self.skew is not None and self.skew.is_wrong:
            said.append(f"{self.skew.words()}，超过允许的 5 分钟：请校时，其间本机不自行结算")
        return "；".join(said)


def standing(connection: Connection, *, at: datetime) -> Standing:
    """How the link stands now. A note that was not renewed in time is one of a link that is down."""
    row = connection.execute(_NOTED).first()
    if row is None:
        return Standing(state=LinkState.UNSURE)
    state, since = LinkState(row.state), row.since
    if at > row.fresh_until and state is not LinkState.DOWN:
        state, since = LinkState.DOWN, row.fresh_until
    skew = None
    if row.skew_seconds is not None:
        skew = Skew(timedelta(seconds=row.skew_seconds), timedelta(seconds=row.uncertain_seconds or 0.0))
    return Standing(
        state=state,
        since=since,
        heard_at=row.heard_at,
        skew=skew,
        unheard_at=row.unheard_at,
        has_queue=bool(row.has_queue),
    )


@dataclass(slots=True)
class Hearing:
    """What the process that hears the centre knows; thresholds in real seconds, `speed` business seconds in each."""

    every_seconds: float
    unsure_seconds: float
    down_seconds: float
    speed: float = 1.0
    _state: LinkState = field(default=LinkState.UNSURE, init=False)
    _since: datetime | None = field(default=None, init=False)
    _unanswered_since: float | None = field(default=None, init=False)
    _was_taken: bool = field(default=True, init=False)
    _heard: float | None = field(default=None, init=False)
    _heard_at: datetime | None = field(default=None, init=False)
    _clock_asked: float = field(default=float("-inf"), init=False)
    _skew: Skew | None = field(default=None, init=False)
    _unheard_at: datetime | None = field(default=None, init=False)
    _said: tuple[LinkState, bool, datetime | None] | None = field(default=None, init=False)
    _noted: float = field(default=float("-inf"), init=False)

    def question(self, *, now: float, at: datetime) -> OutcomeAsked | None:
        """What to ask the centre at this tick; None where it was heard a moment ago and its time is known."""
        is_quiet = self._heard is None or now - self._heard >= self.every_seconds
        is_pointless = self._unheard_at is not None or not is_quiet
        if is_pointless and now - self._clock_asked < CLOCK_EVERY_SECONDS:
            return None
        self._clock_asked = now
        if self._unanswered_since is None:
            self._unanswered_since = now
        return OutcomeAsked(keys=(), asked_at=at, skew_seconds=self._certain_skew())

    def sent(self, was_taken: bool) -> None:
        """Whether the centre's broker took the question."""
        self._was_taken = was_taken

    def heard(self, *, now: float, at: datetime) -> None:
        """Something of the centre's was opened."""
        self._heard, self._heard_at = now, at
        self._unanswered_since = self._unheard_at = None

    def told(self, told: OutcomeTold, *, at: datetime) -> None:
        """The centre said what time it is there, or that something in our name was not sealed with our key."""
        if told.asked_at is not None and told.answered_at is not None:
            was_wrong = self._skew is not None and self._skew.is_wrong
            self._skew = skew_of(asked_at=told.asked_at, answered_at=told.answered_at, heard_at=at)
            if self._skew.is_wrong and not was_wrong:
                log.error("clock_is_wrong", extra={"ahead_seconds": round(self._skew.ahead.total_seconds())})
        if told.unopened:
            log.error("sent_in_our_name", extra={"why": "the centre got what was not sealed with our key"})

    def broken_seal(self, *, at: datetime) -> None:
        """Something on our own lane was not sealed with our key."""
        if self._unheard_at is None:
            log.error("center_not_readable", extra={"why": "sealed with another key than ours"})
            self._unheard_at = at

    def _certain_skew(self) -> int:
        if self._skew is None:
            return 0
        seconds = round(self._skew.at_least.total_seconds())
        return seconds if self._skew.ahead > timedelta() else -seconds

    def state(self, now: float) -> LinkState:
        """The state at this moment."""
        if self._heard is None and self._unanswered_since is None:
            return LinkState.UNSURE
        since = self._unanswered_since
        patience = self.down_seconds * (AT_THE_PEAK if self._was_taken else 1)
        found = state_of(
            None if since is None else timedelta(seconds=now - since),
            unsure_after=timedelta(seconds=self.unsure_seconds),
            down_after=timedelta(seconds=patience),
        )
        return LinkState.UNSURE if self._heard is None and found is LinkState.UP else found

    def note(self, engine: Engine, *, now: float, at: datetime) -> LinkState:
        """Write down how the link stands, for every process of this front-end: what is new at once, what is not now
        and then, before the note before is out of date."""
        state = self.state(now)
        if state is not self._state or self._since is None:
            log.warning("link_state", extra={"state": str(state), "was": str(self._state)})
            self._state, self._since = state, at
        said = state, self._skew is not None and self._skew.is_wrong, self._unheard_at
        if said == self._said and now - self._noted < self.down_seconds / 2:
            return state
        self._said, self._noted, skew = said, now, self._skew
        values = {
            "state": str(state),
            "since": self._since,
            "fresh_until": at + timedelta(seconds=(self.down_seconds + self.every_seconds) * self.speed),
            "heard_at": self._heard_at,
            "skew_seconds": None if skew is None else skew.ahead.total_seconds(),
            "uncertain_seconds": None if skew is None else skew.uncertain.total_seconds(),
            "unheard_at": self._unheard_at,
        }
        with engine.begin() as connection:
            if not connection.execute(update(link).where(link.c.only == 1).values(**values)).rowcount:
                connection.execute(insert(link).values(only=1, **values))
        return state
