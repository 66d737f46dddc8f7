"""The history of all clients, in one file: invoke, then ok, fail or unknown; and what contradicts it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from tests.simulation.city.history import History, Kind

__all__ = ["Book", "Kind"]


class _Paper:
    """Where a history is written: one JSON line an event."""

    def __init__(self, file: Path) -> None:
        self.file, self.surprises = file, list[str]()
        self._out = file.open("w", encoding="utf-8")
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def note(self, what: str, who: str, words: str) -> None:
        """One event."""
        line = json.dumps([round(time.monotonic() - self._began, 3), what, who, words], ensure_ascii=False)
        with self._lock:
            self._out.write(f"{line}\n")

    def surprise(self, words: str) -> None:
        """Something that must not be."""
        self.note("surprise", "", words)
        self.surprises.append(words)

    def close(self) -> None:
        """Write what is left."""
        self._out.close()


class Book(History):
    """The history that many clients write at once; a client writes about its own keys only."""

    def __init__(self, file: Path) -> None:
        self._paper = _Paper(file)
        super().__init__(self._paper)  # type: ignore[arg-type]  # a city, to the history, is a place to note things
        self._counting = threading.Lock()

    @property
    def surprises(self) -> list[str]:
        """What contradicted itself so far."""
        return self._paper.surprises

    def surprise(self, words: str) -> None:
        """Note something that must not be."""
        self._paper.surprise(words)

    def close(self) -> None:
        """Write what is left."""
        self._paper.close()

    def _add(self, what: str, kind: str, client: str, key: str, value: str = "") -> None:
        with self._counting:
            super()._add(what, kind, client, key, value)
