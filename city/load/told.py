"""What the doors told of each claim, and when: how the processes of a load test hand it over."""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Answer:
    """What a claim's institution knows of it. Moments are real, Unix seconds."""

    number: int
    claim_no: str = ""
    state: str = ""
    codes: tuple[str, ...] = ()
    words: str = ""
    problem: str = ""
    amounts: Mapping[str, int] = field(default_factory=dict)
    answered_at: float = 0.0
    """When its result was told at the door, also one the centre had still to confirm; 0: not yet."""
    tries: int = 0
    """How often it was asked again after a 429, a 503 or a broken connection."""


class Waiting:
    """The claims of each server, and of the noisy clinic, that were due and are not answered, oldest first."""

    def __init__(self) -> None:
        self._since: dict[str, dict[int, float]] = {}
        self.due = self.answered = 0

    def begin(self, server: str, number: int, since: float) -> None:
        """A claim is due: it counts from its intended moment, whenever it was handed in."""
        self.due += 1
        self._since.setdefault(server, {})[number] = since

    def end(self, server: str, number: int) -> None:
        """It was answered, or never will be."""
        self.answered += 1
        self._since[server].pop(number, None)

    def progress(self) -> dict[str, object]:
        """How many were due and answered; how many wait at each server, and the age of the oldest, in real seconds."""
        now = time.time()
        return {
            "due": self.due,
            "answered": self.answered,
            "waiting": {
                server: [len(since), round(now - next(iter(since.values())), 3)]
                for server, since in self._since.items()
                if since
            },
        }


@dataclass(frozen=True, slots=True)
class Clocks:
    """The day's two clocks: a business second of the day is a real moment."""

    opens: float
    """Business seconds of the day at the real moment `opened`."""
    opened: float
    compress: float

    def real(self, second: float) -> float:
        """Unix seconds."""
        return self.opened + (second - self.opens) / self.compress

    def second(self, real: float) -> float:
        """Business seconds of the day."""
        return self.opens + (real - self.opened) * self.compress


def write(path: Path, answers: Sequence[Answer]) -> None:
    """Leave the answers for whoever leads the test."""
    new = path.with_suffix(".new")
    new.write_bytes(pickle.dumps(list(answers)))
    new.replace(path)


def read(path: Path) -> list[Answer]:
    """The answers a helping process of this test left; none if it left none."""
    if not path.exists():
        return []
    answers: list[Answer] = pickle.loads(path.read_bytes())
    return answers
