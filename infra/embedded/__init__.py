"""Real servers inside the data folder, from pip: for `make run`, `make up` and the tests."""

from __future__ import annotations

import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from infra.supervisor import command_of, end

PORTS_TRIED = 100


class NoPortFree(Exception):
    """None of the ports from the wished one upwards is free."""

    def __init__(self, wished: int) -> None:
        super().__init__(f"no port from {wished} to {wished + PORTS_TRIED - 1} is free on 127.0.0.1")


def free_port(wished: int, what: str, say: Callable[[str], None]) -> int:
    """The wished port on the loopback address, or the next free one above it; any free one if 0 is wished."""
    for port in range(wished, wished + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
        if wished not in (0, found):
            say(f"port {wished} is taken by another program; the {what} listens on {found} instead")
        return found
    raise NoPortFree(wished)


def password_in(folder: Path) -> str:
    """The password of the server in this folder, made when first asked for; only its owner can read it."""
    path = folder / "password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24), encoding="ascii")
    return path.read_text(encoding="ascii")


def end_leftover(pid_file: Path, folder: Path, number: signal.Signals, say: Callable[[str], None]) -> None:
    """End the server that an earlier run left in this folder, and forget its pid file.

    A pid may have been given to another program since; only a command that names the folder is ours.
    """
    try:
        pid = int(pid_file.read_text(encoding="ascii").split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    if str(folder) in command_of(pid):
        say(f"a server of an earlier run (process {pid}) still uses {folder}; it is ended")
        end(pid, number)
    pid_file.unlink(missing_ok=True)
