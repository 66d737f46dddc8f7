"""The link between a front-end and the centre: whether it is heard, and whether the two clocks agree (R42, R43).

Known from what is answered, never from the broker alone: a broker that takes messages says nothing about a centre that
reads them.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain.visit import VisitType

CLOCK_BOUND = timedelta(minutes=5)
"""Further apart than this two clocks do not agree: nothing is settled by the front-end's own."""


class LinkState(StrEnum):
    """What a front-end knows of its link."""

    UP = "up"
    UNSURE = "unsure"
    """Something was asked and is not answered yet, longer than usual."""
    DOWN = "down"


LINK_WORDS = {LinkState.UP: "正常", LinkState.UNSURE: "未确认", LinkState.DOWN: "中断"}

OFFLINE_TYPES = frozenset({VisitType.OUTPATIENT, VisitType.PHARMACY})
"""What may be settled off-line at all (AMB-47)."""


def state_of(unanswered: timedelta | None, *, unsure_after: timedelta, down_after: timedelta) -> LinkState:
    """The state by how long the oldest question has waited for its answer; None: all are answered."""
    if unanswered is None or unanswered < unsure_after:
        return LinkState.UP
    return LinkState.DOWN if unanswered >= down_after else LinkState.UNSURE


class Skew(NamedTuple):
    """How far the centre's clock is ahead of ours, and how far that may be wrong: half the round trip."""

    ahead: timedelta
    uncertain: timedelta

    @property
    def at_least(self) -> timedelta:
        """How far apart the clocks are for certain."""
        return max(timedelta(), abs(self.ahead) - self.uncertain)

    @property
    def is_wrong(self) -> bool:
        """Whether the two clocks do not agree, for certain."""
        return self.at_least > CLOCK_BOUND

    def same_day(self, at: datetime) -> bool:
        """Whether the centre, too, has the day of our moment `at`; a day is all that most settlements take of it."""
        return not self.is_wrong or (at + self.ahead).date() == at.date()

    def words(self) -> str:
        """For operators: which clock is ahead, and by how much."""
        seconds = round(abs(self.ahead).total_seconds())
        side = "慢" if self.ahead > timedelta() else "快"
        return f"本机时钟比中心{side} {seconds // 60} 分 {seconds % 60} 秒"


def skew_of(*, asked_at: datetime, answered_at: datetime, heard_at: datetime) -> Skew:
    """The skew by one question and its answer: ours, the centre's, and ours again."""
    half = max(timedelta(), heard_at - asked_at) / 2
    return Skew(answered_at - (asked_at + half), half)


def is_after(day: date, at: datetime) -> bool:
    """Whether a day has not come yet, by a clock that may be off by the bound."""
    return day > (at + CLOCK_BOUND).date()
