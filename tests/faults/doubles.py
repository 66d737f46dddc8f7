"""A process that is run a second time beside the first, as when somebody starts one by hand on another machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from infra.supervisor import Service, spawn

READY_WITHIN = 60.0
"""Seconds after which one that is not ready, because all it needs is away, is ended as one that was."""
STOP_WITHIN = 15.0


class Double:
    """Runs outside the supervisor: nobody starts it again, and nobody misses it."""

    def __init__(self, service: Service, log: Path) -> None:
        self.service = service
        self.was_asked_to_end = False
        self._was_ready = False
        self._began = time.time()
        with log.open("ab") as out:
            self._process = spawn(service, out, dying_by=signal.SIGKILL)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def was_ready(self) -> bool:
        """Whether it has ever worked."""
        self._was_ready = self._was_ready or self.service.ready(self._began)
        return self._was_ready

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    @property
    def has_begun(self) -> bool:
        """Whether there are two now, or there will not be."""
        return self.was_ready or self.has_ended or time.time() - self._began > READY_WITHIN

    def end(self, number: signal.Signals) -> None:
        """Ask it to stop, or kill it. It may take its time."""
        self.was_asked_to_end = True
        if not self.has_ended:
            os.killpg(self.pid, number)

    def gone(self, *, within: float = STOP_WITHIN) -> None:
        """Return when it has ended; it is killed when the time is up."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
