"""A post that remembers what was sent, and can be away, or say that a lane is long."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeVar

from kombu.exceptions import OperationalError

from infra import lanes
from infra.codec import decode
from infra.envelope import frontend_key, unseal

T = TypeVar("T")

FRONTEND = "FE01"
KEY = frontend_key(b"\x01" * 32, FRONTEND)


class RememberingPost:
    """Stands where `infra.broker.Post` does."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = []
        """(task, queue, shown, kwargs)"""
        self.length: dict[str, int] = defaultdict(int)
        self.away = False
        self.goes_away_after: int | None = None

    def send(self, task: str, *, queue: str, shown: dict[str, Any], **kwargs: Any) -> None:
        """Remember it, unless the broker is away."""
        if self.goes_away_after is not None and len(self.sent) >= self.goes_away_after:
            self.away = True
        self._need_broker()
        self.sent.append((task, queue, shown, kwargs))

    def waiting(self, queue: str) -> int:
        """The length the test gave the queue."""
        self._need_broker()
        return self.length[queue]

    def opened(self, expected: type[T]) -> list[T]:
        """What was sent in envelopes, opened."""
        return [
            decode(unseal(kwargs["envelope"], lane=_kind(queue), key=KEY), expected)
            for _, queue, _, kwargs in self.sent
            if "envelope" in kwargs
        ]

    def _need_broker(self) -> None:
        if self.away:
            raise OperationalError("away")


def _kind(queue: str) -> str:
    """What an envelope is sealed for: settle lanes are of one kind, however many there are."""
    return lanes.SETTLE if queue.startswith(f"{lanes.SETTLE}.") else queue
