"""Links between hosts: how long a message takes, whether it comes at all, twice, late, or one way only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.city.city import City


@dataclass(slots=True)
class Host:
    """A machine, with a clock of its own that may be wrong."""

    name: str
    offset: float = 0.0
    """Seconds its clock is ahead."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one message."""

    arrives: bool = True
    is_error: bool = False
    """The sender is told that it failed, whatever became of it."""
    is_silent: bool = False
    """The sender is told that it is there, and it is not."""
    again_after: float | None = None
    later: float | None = None


class Network:
    """Everything between the hosts of a city."""

    def __init__(self, city: City) -> None:
        self.city = city
        self._cut: dict[tuple[str, str], float] = {}

    def cut(self, start: Host, end: Host, until: float, *, one_way: bool) -> None:
        """Let nothing pass until a moment, in one direction or both."""
        self._cut[start.name, end.name] = until
        if not one_way:
            self._cut[end.name, start.name] = until

    def heal(self) -> None:
        """Every link is whole."""
        self._cut.clear()

    def is_open(self, start: Host, end: Host) -> bool:
        """Whether something sent now would arrive, and its acknowledgement, too."""
        return self._passes(start, end) and self._passes(end, start)

    def travel(self, start: Host, end: Host) -> None:
        """Let the time on the way pass."""
        longest = 0.0005 if start is end else self.city.profile.latency_seconds
        self.city.loop.sleep(longest * (0.2 + 0.8 * self.city.dice.random()))

    def fate(self, start: Host, end: Host, is_down: bool) -> Fate:
        """What becomes of a message sent now."""
        profile, dice = self.city.profile, self.city.dice
        if is_down or not self._passes(start, end):
            return Fate(arrives=False, is_error=True)
        if not self._passes(end, start):
            return Fate(is_error=True)  # it arrives, and nobody hears of it
        if not self.city.chance(profile.message_faults):
            return Fate()
        return dice.choice(
            (
                Fate(arrives=False, is_error=True),
                Fate(is_error=True),
                Fate(arrives=False, is_silent=True),
                Fate(again_after=dice.uniform(0.0, profile.longest_delay_seconds)),
                Fate(arrives=False, later=dice.uniform(0.0, profile.longest_delay_seconds)),
                Fate(again_after=0.0, is_error=dice.random() < 0.5),
            )
        )

    def _passes(self, start: Host, end: Host) -> bool:
        if start is end:
            return True
        return self._cut.get((start.name, end.name), 0.0) <= self.city.loop.now
