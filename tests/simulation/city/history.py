"""What the clients asked and were told, in Jepsen's manner: invoke, then ok, fail or unknown."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.city.city import City


class Kind(StrEnum):
    """What a client does."""

    SUBMIT = "submit"
    REFUND = "refund"
    CONFIRM = "confirm"
    CANCEL = "cancel"


class History:
    """Every operation, and what contradicts itself in it while it is written."""

    def __init__(self, city: City) -> None:
        self._city = city
        self.counts: Counter[str] = Counter()
        self._said: dict[tuple[str, str], str] = {}

    def invoke(self, kind: Kind, client: str, key: str) -> None:
        """A client asks."""
        self._add("invoke", kind, client, key)

    def ok(self, kind: Kind, client: str, key: str, value: str) -> None:
        """It is told yes, and what: the same key gets the same value for ever."""
        self._add("ok", kind, client, key, value)
        said = self._said.setdefault((kind, key), value)
        if said != value:
            self._city.surprise(f"{kind} {key} was {said} and is now {value}")

    def decided(self, kind: Kind, client: str, key: str, state: str) -> None:
        """A decision is noted; where it leads to is seen later."""
        self._add("ok", kind, client, key, state)

    def fail(self, kind: Kind, client: str, key: str, why: str) -> None:
        """It is told no."""
        self._add("fail", kind, client, key, why)

    def unknown(self, kind: Kind, client: str, key: str) -> None:
        """It is told nothing: the operation counts as either."""
        self._add("unknown", kind, client, key)

    def saw(self, client: str, key: str, state: str, answer: str) -> None:
        """It sees a state it has not seen before."""
        self._add("saw", "", client, key, f"{state} {answer}")

    def _add(self, what: str, kind: str, client: str, key: str, value: str = "") -> None:
        self.counts[f"{kind} {what}".strip()] += 1
        self._city.note(what, client, f"{kind} {key} {value}")
