"""A front-end and a centre in real processes: each role is a `jiesuan serve` that a test may kill (`warm`)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from sqlalchemy import Engine, select

from domain.identity import synthetic_citizen_id
from infra.broker import Post, build_app
from infra.envelope import frontend_key
from tests.support import warm
from tests.support.frontend import NOON, hand_in, new_frontend, submission
from workers import intake
from workers.doorbell import Doorbell
from workers.tables import claim

ROOT = Path(__file__).parents[2]
JIESUAN = [sys.executable, "-c", "import sys; from city.cli import main; sys.argv[0] = 'jiesuan'; main()"]
SECRET = b"\x07" * 32
FRONTEND = "hospital-1"


class Site:
    """One front-end, its database and its processes; and, where a centre's database is given, the centre's."""

    def __init__(
        self, folder: Path, broker_url: str, *codes: str, center_database_url: str = "", frontend: str = FRONTEND
    ) -> None:
        self.folder, self.broker_url, self.frontend = folder, broker_url, frontend
        self._processes: dict[str, warm.Forked] = {}
        (folder / "center_secret").write_text(SECRET.hex())
        (folder / "frontend_key").write_text(frontend_key(SECRET, frontend).hex())
        database_url = f"sqlite:///{folder}/frontend.db"
        self.engine: Engine = new_frontend(database_url, *codes, backlog_cap=100_000)
        self.key = frontend_key(SECRET, frontend)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("JIESUAN_")},
            "PYTHONPATH": str(ROOT),
            "JIESUAN_DATA_DIR": str(folder),
            "JIESUAN_CENTER_DATABASE_URL": center_database_url,
            "JIESUAN_CENTER_BROKER_URL": broker_url,
            "JIESUAN_CENTER_SECRET_FILE": str(folder / "center_secret"),
            "JIESUAN_FRONTEND": frontend,
            "JIESUAN_FRONTEND_DATABASE_URL": database_url,
            "JIESUAN_FRONTEND_KEY_FILE": str(folder / "frontend_key"),
            "JIESUAN_PREPROCESS_BATCH": "20",
            "JIESUAN_SWEEP_EVERY_SECONDS": "0.5",
            "JIESUAN_SWEEP_AFTER_SECONDS": "1.5",
            "JIESUAN_CLOCK": f"{NOON.isoformat()}@0.0x0.0",
        }
        self.post = Post(build_app("test", broker_url))

    def start(self, *roles: str, name: str = "", dying_at: str = "") -> None:
        """Start these roles; `name` tells a second process of a role from the first, `dying_at` is a crashing point."""
        for role in roles:
            called = f"{name} {role}".strip()
            module, words = ("tests.support.crashing", (dying_at,)) if dying_at else ("city.cli", ("serve", role))
            self._processes[called] = warm.start(
                module, *words, environment=self.environment, folder=self.folder, log=self.log_file(called)
            )

    def kill(self, role: str) -> None:
        """As `kill -9` does."""
        process = self._processes[role]
        process.kill()
        process.wait(timeout=20)

    def end(self, *roles: str) -> None:
        """Ask these to stop, and wait."""
        for role in roles:
            self._processes[role].terminate()
        for role in roles:
            self._processes.pop(role).wait(timeout=20)

    def wait(self, role: str, *, within: float = 30.0) -> int:
        """Wait for the end of a role's process; its exit status."""
        return self._processes[role].wait(timeout=within)

    def signal(self, role: str, number: signal.Signals) -> None:
        """Send a signal to a role's process."""
        self._processes[role].send_signal(number)

    def pid(self, role: str) -> int:
        """The process of a role."""
        return self._processes[role].pid

    def is_running(self, role: str) -> bool:
        """Whether the role's process is still there."""
        return self._processes[role].poll() is None

    def stop(self) -> None:
        """End everything that still runs."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=15)
        self._processes.clear()
        self.engine.dispose()

    def log_file(self, role: str) -> Path:
        """Where a role's process writes."""
        return self.folder / f"{role}.log"

    @property
    def logs(self) -> str:
        """Everything the processes have written."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))

    def listens(self, queue: str) -> bool:
        """Whether a worker asks for the queue's messages, which it does once a second (Valkey only)."""
        until = time.monotonic() + 1.5
        with (
            redis.Redis.from_url(self.broker_url, socket_timeout=1.5) as client,
            client.monitor() as monitor,
            contextlib.suppress(redis.TimeoutError),
        ):
            while time.monotonic() < until:
                command = monitor.next_command()["command"].split()
                if command[:1] == ["BRPOP"] and queue in command:
                    return True
        return False

    def hand_in(self, code: str, count: int, *, prefix: str = "key", serials: range | None = None) -> list[int]:
        """Accept claims of an institution and ring; their ids."""
        if serials is None:
            ids = hand_in(self.engine, code, count, prefix=prefix)
        else:
            batch = [
                submission(code, f"{prefix}-{n}", person=synthetic_citizen_id(serials[n % len(serials)]))
                for n in range(count)
            ]
            ids = [outcome.claim_id for outcome in intake.accept(self.engine, batch, at=NOON)]  # type: ignore[union-attr]
        Doorbell(self.post, self.frontend).ring(code)
        return ids

    def count(self, *states: str) -> int:
        """How many claims are in one of these states; all of them when none is named."""
        with self.engine.connect().execution_options(reading=True) as connection:
            found = [row.state for row in connection.execute(select(claim.c.state))]
        return sum(1 for state in found if state in states) if states else len(found)


@contextlib.contextmanager
def site(folder: Path, broker_url: str, *codes: str, **options: str) -> Iterator[Site]:
    """A site that ends with the block."""
    made = Site(folder, broker_url, *codes, **options)
    try:
        yield made
    finally:
        made.stop()
