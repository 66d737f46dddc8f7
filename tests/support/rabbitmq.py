"""A RabbitMQ of the tests' own: its folder, its ports on the loopback address, its name, its epmd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.embedded import free_port
from infra.supervisor import end
from tests.support.waiting import eventually

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Where Debian keeps the programs themselves: what stands in /usr/sbin insists on the system's own user."""


def is_installed() -> bool:
    """Whether this machine has a RabbitMQ to start."""
    return (PROGRAMS / "rabbitmq-server").exists() and shutil.which("erl") is not None


@contextmanager
def running_rabbitmq(folder: Path) -> Iterator[str]:
    """The address of a RabbitMQ that ends with the block."""

    def port() -> str:
        return str(free_port(0, "RabbitMQ", lambda line: None))

    amqp = port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ERL_EPMD_PORT": port(),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "jiesuan-tests@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": amqp,
        "RABBITMQ_DIST_PORT": port(),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    (folder / "enabled_plugins").write_text("[].\n")
    server = subprocess.Popen(
        [str(PROGRAMS / "rabbitmq-server")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"amqp://guest:guest@127.0.0.1:{amqp}//"
    try:
        eventually(lambda: _answers(url, server), within=60, every=0.3)
        yield url
    finally:
        end(server.pid, signal.SIGTERM, within=20)
        server.wait()
        subprocess.run(["epmd", "-kill"], env=environment, stdout=subprocess.DEVNULL, check=False)


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    from kombu import Connection

    assert server.poll() is None, "RabbitMQ ended while it was starting"
    try:
        with Connection(url, connect_timeout=2) as connection:
            connection.connect()
    except OSError:
        return False
    return True
