"""Processes that die where they are told to, forked from the warm process.

Each child arms itself before it begins, so it dies, as by `kill -9`, the first time it comes to the chosen point of
the chosen message.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import warm

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


def _in_the_middle_of_expiring() -> None:
    """Die when what has expired is written and not committed."""
    from center import tasks

    expire = tasks.expire

    def dying(*args: Any, **rest: Any) -> int:
        expire(*args, **rest)
        _die()
        raise AssertionError

    tasks.expire = dying


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
        case "expiring":
            _in_the_middle_of_expiring()
        case "own-commit":
            _at_the_next_commit(committed=False)
        case _:
            raise ValueError(how)


def main() -> None:
    """Be the role asked for, armed, until the end; a door hands one thing in."""
    role, how, what, call = sys.argv[1:]
    _arm(how, what)
    if role == "door":
        from tests.support.crash_city import trigger

        trigger(**json.loads(call))
        return
    from city.commands.serve import serve

    sys.exit(serve(role))


# ── In the test ───────────────────────────────────────────────────────────────────────────────────────────


class Nursery:
    """The test's side of it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment, self._folder = environment, folder
        self._processes: dict[str, warm.Forked] = {}

    def start(self, role: str, *, how: str = "", what: str = "", call: Any = None, **environment: str) -> None:
        """Start a role; it dies `how` the first time it comes to `what`, if that is said."""
        self._processes[role] = warm.start(
            "tests.support.nursery", role, how, what, json.dumps(call),
            environment={**self._environment, **environment}, folder=self._folder, log=self._folder / f"{role}.log",
        )  # fmt: skip

    def wait(self, role: str, *, within: float = 20.0) -> int:
        """How it ended; -1 when it has not."""
        try:
            status = self._processes[role].wait(within)
        except subprocess.TimeoutExpired:
            return -1
        del self._processes[role]
        return status

    def kill(self, role: str) -> None:
        """As `kill -9`, and wait."""
        self._processes[role].kill()
        self.wait(role)

    def stop(self, role: str) -> None:
        """Ask it to stop, and wait until it has; one that waits for a silent broker has acknowledged by then."""
        self._processes[role].terminate()
        if self.wait(role, within=3.0) == -1:
            self.kill(role)

    def is_running(self, role: str) -> bool:
        """Whether it was started and has not been waited for."""
        return role in self._processes

    def end(self) -> None:
        """End everybody."""
        for role in list(self._processes):
            self.kill(role)
