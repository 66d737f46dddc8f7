"""Processes of ours that start at once: each is forked from one warm process that has imported everything.

Starting one afresh costs a second of imports, and the tests start more than a hundred. What is forked is a process
like any other: it has its own environment, folder and log, and dies of signals. That a cold start works as well is
shown by `jiesuan run`, `jiesuan up`, the load test and the random faults. `python -m tests.support.warm` is the warm
process: one request a line on stdin, one answer a line on stdout.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IMPORTED = (
    "city.cli",
    "city.commands.serve",
    "center.tasks",
    "workers.tasks",
    "producers.his.watcher",
    "producers.his.tables.poller",
    "tests.support.crashing",
    "tests.support.crashing_door",
    "tests.support.nursery",
    "tests.support.crash_city",
)
LOOK_EVERY_SECONDS = 0.01


# ── In the child ──────────────────────────────────────────────────────────────────────────────────────────


def _live(request: dict[str, Any]) -> None:
    """Be the process asked for, until its end: `module` is run by its `main`, with these words."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for file, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(file, number)
    os.close(log)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["called"], *request["words"]]
    import_module(request["module"]).main()


def _forked(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code: Any = 1
    try:
        _live(request)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


# ── The warm process ──────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Answer requests until stdin ends; then end what still lives."""
    for name in IMPORTED:
        import_module(name)
    gc.freeze()
    alive: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "module" in request:
            answer: int | None = _forked(request)
            alive.add(int(answer or 0))
        else:
            done, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if done else None
            alive.discard(done)
        print(json.dumps(answer), flush=True)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# ── In the test ───────────────────────────────────────────────────────────────────────────────────────────


class Forked:
    """A process, as `subprocess.Popen` gives one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended; None while it lives."""
        if self.returncode is None:
            self.returncode = _warm().asked(ended=self.pid)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(LOOK_EVERY_SECONDS)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As `kill -9` does."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)


def start(
    module: str, *words: str, environment: Mapping[str, str], folder: Path, log: Path, called: str = "jiesuan"
) -> Forked:
    """A process that runs the `main` of a module with these words; what it writes is added to the log."""
    return Forked(
        _warm().asked(
            module=module, words=words, called=called,
            environment=dict(environment), folder=str(folder), log=str(log),
        )
    )  # fmt: skip


class _Warm:
    """The test's side of the warm process."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JIESUAN_")}
        command: Sequence[str] = [sys.executable, "-m", __name__]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._turn = threading.Lock()
        atexit.register(self._end)

    def asked(self, **request: Any) -> Any:
        """The answer to one request."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def _end(self) -> None:
        self._process.communicate(timeout=20)


@cache
def _warm() -> _Warm:
    return _Warm()


if __name__ == "__main__":
    main()
