"""Processes that die where they are told to: `python -m tests.support.nursery` forks roles from one warm process.

Starting a role afresh costs more than a second of imports; a fork costs milliseconds, and is as killable. Each child
arms itself before it begins, so it dies, as by `kill -9`, the first time it comes to the chosen point of the chosen
message. One request a line on stdin, one answer a line on stdout.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

KILLED = 137


# ── In the child ──────────────────────────────────────────────────────────────────────────────────────────


def _die() -> None:
    os._exit(KILLED)


def _when_opened(message: str, then: Callable[[], None]) -> None:
    """Do something when an envelope with this kind of message is opened, before anything is done about it."""
    from center.tasks import Center
    from workers.tasks import Frontend

    for owner in (Center, Frontend):
        opened = owner.opened

        def watched(self: Any, *args: Any, _opened: Any = opened, **rest: Any) -> Any:
            found = _opened(self, *args, **rest)
            told = found[1] if isinstance(found, tuple) else found
            if type(told).__name__ == message and not _only_asks_for_the_link(told):
                then()
            return found

        owner.opened = watched  # type: ignore[method-assign]


def _only_asks_for_the_link(message: Any) -> bool:
    """Whether it is about no claim: a front-end asks whether the centre is there, and is told so."""
    return getattr(message, "keys", None) == () or getattr(message, "outcomes", None) == ()


def _at_the_next_commit(*, committed: bool) -> None:
    """Die at the next commit of a transaction: before it, or when it is done and nothing else."""
    from sqlalchemy.engine.base import Connection

    commit = Connection._commit_impl

    def dying(self: Any) -> None:
        if committed:
            commit(self)
        _die()

    Connection._commit_impl = dying  # type: ignore[method-assign]


def _when_sent(task: str) -> None:
    """Die when a message of this task is about to be sent."""
    from infra.broker import Post

    send = Post.send

    def watched(self: Any, name: str, **rest: Any) -> None:
        if name == task and rest.get("shown", {}).get("claims") != 0:
            _die()
        send(self, name, **rest)

    Post.send = watched  # type: ignore[method-assign, assignment]


def _arm(how: str, what: str) -> None:
    match how:
        case "":
            return
        case "received":
            _when_opened(what, _die)
        case "before-commit":
            _when_opened(what, lambda: _at_the_next_commit(committed=False))
        case "committed":
            _when_opened(what, lambda: _at_the_next_commit(committed=True))
        case "send":
            _when_sent(what)
        case "own-commit":
            _at_the_next_commit(committed=False)
        case _:
            raise ValueError(how)


def _live(request: dict[str, Any]) -> None:
    """Be the role asked for, until the end."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(number, file)
    os.environ.update(request["environment"])
    _arm(request["how"], request["what"])
    if request["role"] == "door":
        from tests.support.crash_city import trigger

        trigger(**request["call"])
        return
    from city.commands.serve import serve

    sys.exit(serve(request["role"]))


# ── The warm process ──────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Answer requests until stdin ends; then end what still lives."""
    for warm in ("center.tasks", "workers.tasks", "city.commands.serve", "tests.support.crash_city"):
        import_module(warm)
    gc.freeze()
    alive: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    _live(request)
                    code = 0
                except SystemExit as end:
                    code = int(end.code or 0)
                finally:
                    os._exit(code)
            alive.add(pid)
            print(pid, flush=True)
        else:
            print(_wait(request["pid"], request["within"]), flush=True)
            alive.discard(request["pid"])
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _wait(pid: int, within: float) -> int:
    """The exit status of a child; -1 when it lives on."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return -1


# ── In the test ───────────────────────────────────────────────────────────────────────────────────────────


class Nursery:
    """The test's side of it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery"],
            env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._pids: dict[str, int] = {}

    def start(self, role: str, *, how: str = "", what: str = "", call: Any = None, **environment: str) -> None:
        """Start a role; it dies `how` the first time it comes to `what`, if that is said."""
        self._pids[role] = self._ask(
            do="start", role=role, how=how, what=what, call=call, environment=environment,
            log=str(self._folder / f"{role}.log"),
        )  # fmt: skip

    def wait(self, role: str, *, within: float = 20.0) -> int:
        """How it ended; -1 when it has not."""
        status = self._ask(do="wait", pid=self._pids[role], within=within)
        if status != -1:
            del self._pids[role]
        return status

    def kill(self, role: str) -> None:
        """As `kill -9`, and wait."""
        os.kill(self._pids[role], signal.SIGKILL)
        self.wait(role)

    def stop(self, role: str) -> None:
        """Ask it to stop, and wait until it has; one that waits for a silent broker has acknowledged by then."""
        os.kill(self._pids[role], signal.SIGTERM)
        if self.wait(role, within=3.0) == -1:
            self.kill(role)

    def is_running(self, role: str) -> bool:
        """Whether it was started and has not been waited for."""
        return role in self._pids

    def end(self) -> None:
        """End everybody."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self, **request: Any) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


if __name__ == "__main__":
    main()
