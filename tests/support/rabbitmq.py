"""A RabbitMQ of the tests' own: its folder, its ports on the loopback address, its name, its epmd."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from infra.broker_rights import RabbitRights, rabbit_center
from infra.embedded import free_port
from infra.supervisor import end
from tests.support.waiting import eventually

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Where Debian keeps the programs themselves: what stands in /usr/sbin insists on the system's own user."""


def is_installed() -> bool:
    """Whether this machine has a RabbitMQ to start."""
    return (PROGRAMS / "rabbitmq-server").exists() and shutil.which("erl") is not None


PASSWORD = "word"


@contextmanager
def running_rabbitmq(folder: Path, users: Mapping[str, RabbitRights] | None = None) -> Iterator[str]:
    """The address of a RabbitMQ that ends with the block; its `users` have PASSWORD, its guest may do everything."""

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
    (folder / "definitions.json").write_text(json.dumps(_definitions({"guest": rabbit_center(), **(users or {})})))
    (folder / "rabbitmq.conf").write_text(f"load_definitions = {folder / 'definitions.json'}\n")
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


def _definitions(users: Mapping[str, RabbitRights]) -> dict[str, object]:
    """One virtual host and who may do what in it, as RabbitMQ reads it when it starts."""
    passwords = {name: "guest" if name == "guest" else PASSWORD for name in users}
    return {
        "rabbit_version": "3.8.2",
        "vhosts": [{"name": "/"}],
        "users": [
            {
                "name": name,
                "password_hash": _hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
            for name, password in passwords.items()
        ],
        "permissions": [{"user": name, "vhost": "/", **rights._asdict()} for name, rights in users.items()],
    }


def _hashed(password: str) -> str:
    salt = b"salt"
    return base64.b64encode(salt + sha256(salt + password.encode()).digest()).decode()


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    from kombu import Connection

    assert server.poll() is None, "RabbitMQ ended while it was starting"
    try:
        with Connection(url, connect_timeout=2) as connection:
            connection.connect()
    except OSError:
        return False
    return True
