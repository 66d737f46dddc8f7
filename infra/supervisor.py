"""Keeps the processes of one machine running: starts them in order, watches over them, stops them all.

One thread of the supervisor starts and ends every process. That is on purpose: the kernel sends a child its
parent-death signal when the *thread* that started it ends, so this thread lives as long as the children do.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import IO, Self

LINUX = Path("/proc/self/stat").exists()
TICK_SECONDS = 0.02
FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0  # seconds before a crashed service is started again
STEADY_AFTER = 30.0  # a service that lived this long starts again without having to wait
LOG_TAIL_LINES = 20

Probe = Callable[[float], bool]
"""Whether a service is ready, given the moment (Unix time) its process was started."""


class ServiceFailed(Exception):
    """A service ended, or ran out of time, before it was ready."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        super().__init__(f"{name} {what}. The end of its log {log}:\n{_tail(log)}")


class FolderInUse(Exception):
    """Another run holds the data folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(
            f"the data folder {folder} is in use by another run (process {holder}): stop that one first, "
            "or choose another folder with JIESUAN_DATA_DIR"
        )


class FolderNotOurs(Exception):
    """The data folder belongs to somebody else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"the data folder {folder} cannot be written to by this user: it was probably made by another "
            "one (root?). Remove it, or choose another folder with JIESUAN_DATA_DIR"
        )


# ── When is a service ready? ──────────────────────────────────────────────────────────────────────────────


def at_once(started_at: float) -> bool:
    """Ready as soon as it runs."""
    return True


def answers(url: str) -> Probe:
    """Ready when the URL answers with 200; asked directly, whatever proxy the environment names."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def probe(started_at: float) -> bool:
        try:
            with direct.open(url, timeout=1) as response:
                return bool(response.status == 200)
        except (OSError, HTTPException):
            return False

    return probe


def listens(host: str, port: int) -> Probe:
    """Ready when the port takes connections."""

    def probe(started_at: float) -> bool:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    return probe


def touched(path: Path) -> Probe:
    """Ready when the file has been written since the start; what an earlier run left does not count."""
    clock_lag = 0.02  # file times come from a clock that moves in steps

    def probe(started_at: float) -> bool:
        try:
            return path.stat().st_mtime >= started_at - clock_lag
        except FileNotFoundError:
            return False

    return probe


# ── What to run ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Service:
    """A process to keep running, and how those that come after it can tell that it is ready."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)  # on top of the supervisor's own
    ready: Probe = at_once
    after: Collection[str] = ()  # names of the services that must be ready before
    stop_signal: signal.Signals = signal.SIGTERM
    ready_within: float = 60.0
    stop_within: float = 10.0
    once: bool = False  # a job: ready when it has ended with status 0, and not started again


class _Run:
    """What the supervisor knows about one service."""

    def __init__(self, service: Service, log: Path) -> None:
        self.service = service
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.starts = 0
        self.is_ready = False
        self.was_ready = False
        self.failure: str | None = None
        self.quick_deaths = 0
        self.start_not_before = 0.0
        self.kill_after: float | None = None  # set once it has been asked to stop
        self.cpu_of_the_dead = 0.0


class Supervisor:
    """Runs services below one data folder; leaving the `with` block stops them all, whatever the reason.

    Inside the block SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does. A supervisor that is killed
    takes its services with it (Linux); whatever survives is ended by the next run in the same folder.
    """

    def __init__(self, data_dir: Path, *, say: Callable[[str], None] | None = None) -> None:
        self.data_dir = data_dir
        self._say = say or say_on_stderr
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Condition()
        self._stopping = False
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._folder_lock: IO[str] | None = None
        self._handlers: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        try:
            for folder in (self.data_dir, self.data_dir / "logs", self.data_dir / "run"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder_lock = self._take_folder()
        except PermissionError:
            raise FolderNotOurs(self.data_dir) from None
        self._end_what_an_earlier_run_left()

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, _interrupt)
        atexit.register(self.stop)
        self._watcher.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    # ── What callers ask for ──────────────────────────────────────────────────────────────────────────────

    def start(self, *services: Service) -> None:
        """Start the services, side by side where none waits for another, and return when all are ready."""
        new = {service.name: _Run(service, self.data_dir / "logs" / f"{service.name}.log") for service in services}
        with self._lock:
            known = new.keys() | self._runs.keys()
            for service in services:
                if service.name in self._runs:
                    raise ValueError(f"there is a service {service.name} already")
                for name in service.after:
                    if name not in known:
                        raise ValueError(f"{service.name} waits for {name}, which is not among the services")
            self._runs.update(new)
        self._wait_for(new)

    def wait_until_ready(self, *names: str, within: float = 60.0) -> None:
        """Return when the services are ready (again), for instance after `kill`. Raises ServiceFailed."""
        self._wait_for(names, within)

    def wait(self) -> None:
        """Keep everything running until the run is asked to stop: Ctrl-C, SIGTERM, the terminal closed."""
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send the service's process a signal and return its pid; if it ends, it is started again.

        After SIGKILL the process is gone when this returns.
        """
        with self._lock:
            run = self._runs[name]
            process = run.process
            if process is None:
                raise ProcessLookupError(f"{name} is not running")
            os.kill(process.pid, number)
            while number is signal.SIGKILL and run.process is process:
                self._lock.wait(TICK_SECONDS)
            return process.pid

    def pids(self) -> dict[str, int]:
        """The process of each service that is running at this moment."""
        with self._lock:
            return {name: run.process.pid for name, run in self._runs.items() if run.process is not None}

    def starts(self, name: str) -> int:
        """How often the service has been started: 1, and one more for each time it crashed."""
        return self._runs[name].starts

    def cpu_seconds(self, name: str) -> float:
        """CPU time the service has used so far, with its children and its earlier processes (Linux)."""
        with self._lock:
            run = self._runs[name]
            alive = 0.0 if run.process is None else _cpu_seconds_of_tree(run.process.pid)
            return run.cpu_of_the_dead + alive

    def log(self, name: str) -> Path:
        """Where the service writes; what it wrote in the run before stands beside it, ending in .1."""
        return self._runs[name].log

    def stop(self) -> None:
        """Stop all services, the last ones first: ask, wait, insist. A second call does nothing."""
        with _deaf_to(*self._handlers, signal.SIGINT):
            with self._lock:
                self._stopping = True
                self._lock.notify_all()
            if self._watcher.ident is not None:
                self._watcher.join()
            if self._folder_lock is not None:
                self._folder_lock.close()
                self._folder_lock = None
        while self._handlers:
            signal.signal(*self._handlers.popitem())
        atexit.unregister(self.stop)

    def _wait_for(self, names: Collection[str], within: float = math.inf) -> None:
        deadline = time.monotonic() + within
        with self._lock:
            while waiting := [run for name in names if not (run := self._runs[name]).is_ready]:
                for run in self._runs.values():
                    if run.failure is not None:
                        raise ServiceFailed(run.service.name, run.failure, run.log)
                if time.monotonic() > deadline:
                    what = f"was not ready again within {within:g} seconds"
                    raise ServiceFailed(waiting[0].service.name, what, waiting[0].log)
                if self._stopping or not self._watcher.is_alive():
                    raise RuntimeError("the supervisor has stopped")
                self._lock.wait(1)

    # ── The thread that owns the processes ────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        while True:
            with self._lock:
                runs = list(self._runs.values())
                for run in runs:
                    self._bury_if_dead(run)
                if self._stopping:
                    self._stop_the_next(runs)
                    if all(run.process is None for run in runs):
                        self._record()
                        return
                else:
                    for run in runs:
                        self._start_if_due(run)
            for run in runs:
                self._look_if_ready(run)
            with self._lock:
                self._lock.notify_all()
                self._lock.wait(TICK_SECONDS)

    def _start_if_due(self, run: _Run) -> None:
        service = run.service
        is_done = service.once and run.was_ready
        if run.process is not None or is_done or run.failure or time.monotonic() < run.start_not_before:
            return
        if run.starts == 0 and not all(self._runs[name].was_ready for name in service.after):
            return

        if run.starts == 0 and run.log.exists():
            run.log.replace(run.log.with_suffix(".log.1"))
        run.started_at = time.time()
        with run.log.open("ab") as out:
            try:
                run.process = spawn(service, out, dying_by=service.stop_signal)
            except OSError as error:
                run.failure = f"could not be started ({error})"
                return
        run.starts += 1
        self._record()

    def _look_if_ready(self, run: _Run) -> None:
        """Ask the probe, without the lock: a probe may take its time."""
        if run.process is None or run.is_ready or self._stopping:
            return
        if not run.service.once and run.service.ready(run.started_at):
            run.is_ready = run.was_ready = True
        elif not run.was_ready and time.time() - run.started_at > run.service.ready_within:
            run.failure = f"was not ready within {run.service.ready_within:g} seconds"

    def _bury_if_dead(self, run: _Run) -> None:
        if run.process is None:
            return
        pid, status, usage = os.wait4(run.process.pid, os.WNOHANG)
        if pid == 0:
            return
        _signal_group(pid, signal.SIGKILL)  # whatever it started and left behind
        run.process.returncode = os.waitstatus_to_exitcode(status)
        how = _how_it_ended(run.process.returncode)
        run.cpu_of_the_dead += usage.ru_utime + usage.ru_stime
        run.process = None
        run.is_ready = False
        self._record()

        name = run.service.name
        if self._stopping:
            return
        if run.service.once and run.failure is None:
            run.is_ready = run.was_ready = how == "ended"
            run.failure = None if run.is_ready else how
        elif not run.was_ready:
            run.failure = run.failure or f"{how} before it was ready"
        else:
            lived = time.time() - run.started_at
            run.quick_deaths = 0 if lived > STEADY_AFTER else run.quick_deaths + 1
            delay = min(FIRST_DELAY * 2 ** max(run.quick_deaths - 1, 0), LONGEST_DELAY)
            run.start_not_before = time.monotonic() + delay
            self._say(f"{name} {how}; it is started again in {delay:.1f} s")

    def _stop_the_next(self, runs: Sequence[_Run]) -> None:
        """Ask everything to stop that nothing running depends on any more; insist where time is up."""
        needed = {name for run in runs if run.process is not None for name in run.service.after}
        for run in runs:
            if run.process is None:
                continue
            if run.kill_after is None and run.service.name not in needed:
                run.kill_after = time.monotonic() + run.service.stop_within
                os.kill(run.process.pid, run.service.stop_signal)
            elif run.kill_after is not None and time.monotonic() > run.kill_after:
                within = run.service.stop_within
                self._say(f"{run.service.name} did not stop within {within:g} s; it is killed")
                _signal_group(run.process.pid, signal.SIGKILL)
                run.kill_after += LONGEST_DELAY

    # ── What the next run has to know ─────────────────────────────────────────────────────────────────────

    def _take_folder(self) -> IO[str]:
        lock = (self.data_dir / "run" / "supervisor.lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read() or "unknown"
            lock.close()
            raise FolderInUse(self.data_dir, holder) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    @property
    def _state(self) -> Path:
        return self.data_dir / "run" / "services.json"

    def _record(self) -> None:
        state = {
            name: {
                "pid": run.process.pid,
                "mark": birth_mark(run.process.pid),
                "stop_signal": run.service.stop_signal,
                "argv": list(run.service.argv),
            }
            for name, run in self._runs.items()
            if run.process is not None
        }
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(state, indent=1), encoding="utf-8")
        new.replace(self._state)

    def _end_what_an_earlier_run_left(self) -> None:
        try:
            left = json.loads(self._state.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return
        for name, process in left.items():
            pid, mark = process["pid"], process["mark"]
            if mark and birth_mark(pid) == mark:
                self._say(f"{name} (process {pid}) is left over from a run that was killed; it is ended")
                end(pid, signal.Signals(process["stop_signal"]))


# ── Processes ─────────────────────────────────────────────────────────────────────────────────────────────


def spawn(service: Service, out: IO[bytes], *, dying_by: signal.Signals) -> subprocess.Popen[bytes]:
    """Its process, in a session of its own, which writes all it says there. Raises OSError."""
    return subprocess.Popen(
        dying_with_parent(service.argv, dying_by),
        env={**os.environ, **service.env},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def dying_with_parent(argv: Sequence[str], number: signal.Signals = signal.SIGTERM) -> list[str]:
    """The same command, sent this signal by the kernel when the thread that starts it is gone (Linux).

    A parent killed in the milliseconds before setpriv has asked for it leaves the process behind; the next run
    in the same folder ends that one, as it ends any that did not listen.
    """
    setpriv = _setpriv()
    return [setpriv, "--pdeathsig", number.name.removeprefix("SIG"), "--", *argv] if setpriv else list(argv)


@functools.cache
def _setpriv() -> str | None:
    """The program that asks the kernel for that signal, where there is one and it is new enough."""
    setpriv = shutil.which("setpriv") if LINUX else None
    if setpriv is None:
        return None
    tried = subprocess.run([setpriv, "--pdeathsig", "TERM", "true"], capture_output=True, check=False)
    return setpriv if tried.returncode == 0 else None


def birth_mark(pid: int) -> str:
    """What tells this process from an earlier or later one with the same pid; empty if there is none."""
    if LINUX:
        fields = _stat_of(pid)
        if not fields or fields[0] == "Z":
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {fields[19]}"
    return _ask_ps(pid, "lstart=")


def command_of(pid: int) -> str:
    """The command line of a process; empty if there is no such process."""
    if LINUX:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    return _ask_ps(pid, "command=")


def end(pid: int, number: signal.Signals = signal.SIGTERM, *, within: float = 10.0) -> None:
    """Ask the leader of a process group to end, and kill the group if it has not when the time is up."""
    mark = birth_mark(pid)
    deadline = time.monotonic() + within
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    while mark and birth_mark(pid) == mark:
        if time.monotonic() > deadline:
            _signal_group(pid, signal.SIGKILL)
            deadline += within
        time.sleep(TICK_SECONDS)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name, so state and parent first; empty if none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return stat.rpartition(")")[2].split()


def _ask_ps(pid: int, what: str) -> str:
    asked = subprocess.run(["ps", "-o", what, "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def _cpu_seconds_of_tree(root: int) -> float:
    processes = {
        int(entry.name): fields
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (fields := _stat_of(int(entry.name)))
    }
    tree = {root}
    for pid in sorted(processes, key=lambda pid: int(processes[pid][19])):  # parents are born first
        if int(processes[pid][1]) in tree:
            tree.add(pid)
    ticks = sum(int(value) for pid in tree & processes.keys() for value in processes[pid][11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _how_it_ended(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return "ended" if status == 0 else f"ended with status {status}"


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:]) or "  (it is empty)"


def say_on_stderr(what: str) -> None:
    """Tell the person at the terminal; standard output is for results."""
    print(f"jiesuan: {what}", file=sys.stderr, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _deaf_to(*numbers: signal.Signals) -> Iterator[None]:
    """Leave these signals unheard for a while; only the main thread hears any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
