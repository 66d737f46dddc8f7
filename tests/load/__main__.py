"""The load test itself, put to the test: `python -m tests.load`, some four minutes.

The short day in all three ways and their comparison, a day that is ended by Ctrl-C, and Locust for a few seconds
against a running city (in an environment of its own, fetched by uv). Exit code 1 when one of them fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
JIESUAN = str(Path(sys.executable).with_name("jiesuan"))
LOCUST = "locust==2.47.0"
SHORT = ("--scale", "0.005", "--compress", "1800", "--hours", "9-12", "--one-server")
WITHIN_SECONDS = 300


def three_ways(folder: Path) -> str:
    """The same short day in every way, with the same money in each; what is wrong with it."""
    to = folder / "all.html"
    ended = subprocess.run(
        [JIESUAN, "load", "run", "--mode", "all", *SHORT, "--to", str(to)],
        env=_env(folder),
        timeout=3 * WITHIN_SECONDS,
        check=False,
    )
    if ended.returncode:
        return f"exit code {ended.returncode}"
    ways = json.loads(to.with_suffix(".json").read_text(encoding="utf-8"))["ways"]
    settled = {way: found["settled"] for way, found in ways.items()}
    ends = [found["volumes"]["ends"] for found in ways.values()]
    if len(ways) != 3 or any(end != ends[0] for end in ends):
        return f"the ways ended differently: {settled}, {ends}"
    up = ways["centralized"]["link"]["parts"]["all"]["day_bytes"]
    return "" if up > ways["central"]["link"]["parts"]["all"]["day_bytes"] else "centralized sent no more than central"


def cut_short(folder: Path) -> str:
    """Ctrl-C in the middle of the morning: it ends cleanly, reports, and nothing is lost."""
    to = folder / "short.html"
    command = [JIESUAN, "load", "run", *SHORT, "--compress", "300", "--to", str(to)]
    with subprocess.Popen(command, env=_env(folder), stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            print(line, end="", file=sys.stderr)
            if (due := re.search(r"应到 (\d+)/", line)) and int(due[1]) > 20:
                run.send_signal(signal.SIGINT)
                break
        rest = run.stderr.read()
        print(rest, end="", file=sys.stderr)
    found = json.loads(to.with_suffix(".json").read_text(encoding="utf-8"))
    if run.returncode or not found["run"]["is_cut_short"]:
        return f"exit code {run.returncode}, cut short: {found['run']['is_cut_short']}"
    if not 0 < found["volumes"]["handed_in"] < found["volumes"]["arrivals"]:
        return f"handed in {found['volumes']['handed_in']} of {found['volumes']['arrivals']}"
    return "" if found["proof"]["lost"] == found["proof"]["doubled"] == 0 else f"{found['proof']}"


def locust(folder: Path) -> str:
    """Locust's cashiers for a few seconds at the shared front-end of a running city."""
    with _running_city(folder) as api:
        ended = subprocess.run(
            [
                *(str(ROOT / ".tools" / "bin" / "uv"), "tool", "run", "--from", LOCUST, "locust"),
                *("-f", str(ROOT / "tests" / "load" / "locustfile.py"), "--host", api),
                *("--headless", "-u", "4", "-r", "4", "-t", "10s", "--only-summary"),
            ],
            env={**os.environ, "JIESUAN_API_KEYS": str(folder / "city" / "secrets" / "api_keys.json")},
            timeout=WITHIN_SECONDS,
            check=False,
        )
    return f"exit code {ended.returncode}" if ended.returncode else ""


@contextlib.contextmanager
def _running_city(folder: Path) -> Iterator[str]:
    """`jiesuan up`, and where its shared front-end's API listens."""
    with subprocess.Popen([JIESUAN, "up"], env=_env(folder), stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        until = time.monotonic() + WITHIN_SECONDS
        try:
            for line in up.stdout:
                if (found := re.search(r"(http://127\.0\.0\.1:\d+)\S*", line)) and "shared" in line:
                    yield found[1]
                    break
                if time.monotonic() > until:
                    raise TimeoutError("the city does not say where it listens")
        finally:
            up.send_signal(signal.SIGINT)


def _env(folder: Path) -> dict[str, str]:
    return {**os.environ, "JIESUAN_DATA_DIR": str(folder)}


def main() -> int:
    """Each in a folder of its own; the exit code."""
    failed = 0
    for check in (three_ways, cut_short, locust):
        with TemporaryDirectory() as folder:
            words = check(Path(folder))
        print(f"{'ok ' if not words else 'NO '} {check.__name__} {words}", flush=True)
        failed += bool(words)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
