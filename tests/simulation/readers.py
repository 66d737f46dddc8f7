"""The readers of a front-end, file watcher and table poller: real processes, begun in no time, ended by `kill -9`.

A process of its own has everything imported, runs nothing, and forks a reader when it is told to: what costs a second
of CPU is done once, and not once for each of two hundred kills. `python -m tests.simulation.readers` is that process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from tests.simulation.deaths import DIED, arm

ROOT = Path(__file__).parents[2]
ROLES = ("his", "tables")
EVERYTHING_A_READER_IMPORTS = (
    "city.commands.serve",
    "kombu.transport.redis",
    "producers.his.tables.poller",
    "producers.his.watcher",
    "psycopg",
    "rich.traceback",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "structlog.stdlib",
)


class Readers:
    """Both readers of one front-end, seen from the test."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._logs = (folder / "readers.log").open("ab")
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.simulation.readers"],
            env={**environment, "PYTHONPATH": str(ROOT)}, cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._logs, text=True, bufsize=1,
        )  # fmt: skip

    def start(self, role: str, clock: str, *, dying_at: str = "") -> None:
        """Begin a reader whose business time is that of the clock; `dying_at` is a point of `deaths`."""
        self._ask(f"start {role} {clock} {dying_at.replace(' ', '_')}")

    def kill(self, role: str) -> None:
        """End it wherever it is, and wait until it is gone."""
        self._ask(f"kill {role}")

    def is_running(self, role: str) -> bool:
        """Whether it has not ended by itself; if so it died where it was made to."""
        told = self._ask(f"look {role}")
        assert told in ("runs", f"ended {DIED}"), f"the reader {role} {told}"
        return told == "runs"

    @property
    def log(self) -> str:
        """Everything the readers wrote."""
        return Path(self._logs.name).read_text(errors="replace")

    def end(self) -> None:
        """End everything."""
        self._nursery.communicate("end\n", timeout=20)
        self._logs.close()

    def _ask(self, command: str) -> str:
        assert self._nursery.stdin is not None and self._nursery.stdout is not None
        self._nursery.stdin.write(f"{command}\n")
        answer = self._nursery.stdout.readline().strip()
        assert answer, "the process that begins readers has ended"
        return answer


def _nurse() -> None:
    """Do as told, line by line, until the input ends."""
    running: dict[str, int] = {}
    for line in sys.stdin:
        match line.split():
            case ["start", role, clock, *point]:
                running[role] = _begin(role, clock, " ".join(point).replace("_", " "))
                print("started", flush=True)
            case ["kill", role]:
                _end(running.pop(role))
                print("killed", flush=True)
            case ["look", role]:
                ended = os.waitid(os.P_PID, running[role], os.WEXITED | os.WNOHANG | os.WNOWAIT)
                print("runs" if ended is None else f"ended {ended.si_status}", flush=True)
            case _:
                break
    for pid in running.values():
        _end(pid)


def _begin(role: str, clock: str, point: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.environ["JIESUAN_CLOCK"] = clock
        os.dup2(2, 1)
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        from city.commands.serve import serve

        if point:
            arm(role, point)
        status = serve(role)
    finally:
        os._exit(status)


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    for name in EVERYTHING_A_READER_IMPORTS:
        import_module(name)
    _nurse()
