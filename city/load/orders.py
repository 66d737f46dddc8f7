"""How the processes beside a load test are led: orders on their standard input, a line of progress a second."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.supervisor import dying_with_parent

PROGRESS_SECONDS = 1.0


class Orders:
    """Inside such a process: what it was told. A closed standard input means that it is to end."""

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who leads
        self._given: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self._given.put(line.split())
        self._given.put(["end"])

    def next(self) -> list[str]:
        """The next order that has come, or nothing."""
        try:
            return self._given.get_nowait()
        except queue.Empty:
            return []


def tell(progress: Mapping[str, Any]) -> None:
    """One line of progress."""
    print(json.dumps(progress, separators=(",", ":")), flush=True)


class Helper:
    """Outside: a helping process, the last progress it told, and its orders. It ends with whoever started it."""

    def __init__(self, module: str, *arguments: str, log: Path, noted: Callable[[dict[str, Any]], None]) -> None:
        self.module = module
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                dying_with_parent([sys.executable, "-m", module, *arguments], signal.SIGKILL),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                text=True,
            )
        self._log, self._noted = log, noted
        self._reader = threading.Thread(target=self._read, name=module, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def order(self, *words: str) -> None:
        """Tell it to do something. Raises HelperFailed when it is gone."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise HelperFailed(self.module, self._process.poll(), self._log)
        try:
            self._process.stdin.write(" ".join(words) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            raise HelperFailed(self.module, self._process.poll(), self._log) from None

    def check(self) -> None:
        """Raises HelperFailed when it has ended by itself."""
        if self._process.poll() is not None:
            raise HelperFailed(self.module, self._process.returncode, self._log)

    def end(self, within: float = 60.0) -> None:
        """Let it end, wait for it, insist when the time is up. A second call does nothing."""
        if self._process.stdin is not None and self._process.stdin.closed:
            return
        try:
            self.order("end")
            self._process.wait(within)
        except (HelperFailed, subprocess.TimeoutExpired):
            pass
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._reader.join()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._noted({"at": time.time(), **json.loads(line)})


class HelperFailed(Exception):
    """A helping process ended before it was told to."""

    def __init__(self, module: str, code: int | None, log: Path) -> None:
        super().__init__(f"{module} ended with status {code}; its log is {log}")
