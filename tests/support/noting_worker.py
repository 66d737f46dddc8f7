"""A worker whose task notes in a file that it began and that it ended.

`python -m tests.support.noting_worker URL FILE VISIBILITY_SECONDS near|far QUEUE...`
"""

from __future__ import annotations

import os
import sys
import time

from infra.broker import build_app
from infra.worker import run


def main(url: str, file: str, visibility_seconds: str, distance: str, *queues: str) -> int:
    """Serve `note` until told to stop."""
    is_far = distance == "far"
    app = build_app("noting", url, member="front-end" if is_far else "", is_far=is_far)
    if url.startswith("redis"):
        app.conf.broker_transport_options["visibility_timeout"] = float(visibility_seconds)

    @app.task(name="note")
    def note(name: str, seconds: float = 0.0) -> None:
        _write(file, f"begin {name}")
        time.sleep(seconds)
        _write(file, f"end {name}")

    return run(app, role=f"noting{os.getpid()}", queues=queues, log_level="WARNING", is_far=is_far)


def _write(file: str, line: str) -> None:
    with open(file, "a", encoding="utf-8") as notes:
        notes.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
