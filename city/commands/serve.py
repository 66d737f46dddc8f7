"""`jiesuan serve`: one process of one role, with its log and its metrics."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from infra import logs, memory
from infra.settings import Settings

log = logging.getLogger("serve")

HEARTBEAT_SECONDS = 5.0
FLOWER_COLUMNS = "name,uuid,state,kwargs,received,started,runtime,worker,retries,exception"
FLOWER_TASKS = 5_000
"""The newest tasks it remembers, 6 kB each: with its own default, 100,000, it grows through a whole day."""


def serve(role: str) -> int:
    """Run the role until it is told to stop; the exit code. Raises MissingSetting."""
    settings = Settings()
    logs.setup(role, settings.log_level)
    code = _ROLES[role](settings)
    logging.shutdown()
    return code


def _center_settle(settings: Settings) -> int:
    from center.tasks import serve_counter

    return serve_counter(settings)


def _center_detail(settings: Settings) -> int:
    from center.tasks import serve_office

    return serve_office(settings)


def _beat(settings: Settings) -> int:
    from center.tasks import serve_beat

    if settings.heartbeat_file is not None:
        settings.heartbeat_file.parent.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=_keep_touching, args=(settings.heartbeat_file,), daemon=True).start()
    memory.collect_as_usual()
    return serve_beat(settings)


def _keep_touching(heartbeat_file: Path) -> None:
    while True:
        heartbeat_file.touch()
        time.sleep(HEARTBEAT_SECONDS)


def _flower(settings: Settings) -> int:
    from infra.broker import build_app

    settings.need("center_broker_url")
    app: Any = build_app("flower", settings.center_broker_url)  # its types say that start never returns
    memory.collect_as_usual()
    app.conf.broker_pool_limit = 32  # it asks every worker many things at once, a connection each
    app.start(
        [
            "--quiet",
            "flower",
            f"--address={settings.api_host}",
            f"--port={settings.flower_port}",
            f"--tasks-columns={FLOWER_COLUMNS}",
            "--read-only",
            "--inspect-timeout=2000",
            "--natural-time=False",
            f"--max-tasks={FLOWER_TASKS}",
        ]
    )
    return 0


def _api(settings: Settings) -> int:
    from producers.api.server import serve as serve_api

    return serve_api(settings)


def _desk(settings: Settings) -> int:
    from workers.tasks import serve_desk

    return serve_desk(settings)


def _link(settings: Settings) -> int:
    from workers.tasks import serve_link

    return serve_link(settings)


def _his(settings: Settings) -> int:
    from producers.his.watcher import serve as serve_his

    settings.need("exchange_dir")
    return serve_his(settings)


def _tables(settings: Settings) -> int:
    from producers.his.tables.poller import serve as serve_tables

    return serve_tables(settings)


_ROLES = {
    "center-settle": _center_settle,
    "center-detail": _center_detail,
    "beat": _beat,
    "flower": _flower,
    "api": _api,
    "desk": _desk,
    "link": _link,
    "his": _his,
    "tables": _tables,
}
