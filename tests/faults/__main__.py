"""Random faults on real processes: `python -m tests.faults [--faults 60] [--seed N] [--minutes M]`."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.run import Failed, as_json, run

MOUNTS_ARE_OURS = "JIESUAN_FAULTS_MOUNTS"


def main() -> int:
    """Run it and print what was done; 1 where something was not as it should be."""
    parser = argparse.ArgumentParser(description="Random faults on real processes.")
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None, help="left out: a new one, which is printed")
    parser.add_argument("--minutes", type=float, default=4.0, help="about how long faults go on")
    options = parser.parse_args()
    _have_mounts_to_ourselves()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:7.1f} {words}", flush=True)

    say(f"seed {seed}: {options.faults} faults")
    with tempfile.TemporaryDirectory(prefix="jiesuan-faults-") as folder:
        try:
            figures = run(Path(folder), seed, faults=options.faults, minutes=options.minutes, say=say)
        except Failed as failed:
            print(failed, file=sys.stderr)
            return 1
    if not figures["disks"].startswith("full"):
        print(f"NO DISK WAS FILLED: {figures['disks']}; files that may not grow stood in", file=sys.stderr)
    print(as_json(figures))
    return 0


def _have_mounts_to_ourselves() -> None:
    """Begin again where what is mounted is gone when we are, whatever ends us."""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None or MOUNTS_ARE_OURS in os.environ:
        return
    command = [unshare, "--mount", "--propagation", "private", sys.executable, "-m", "tests.faults", *sys.argv[1:]]
    os.execve(unshare, command, os.environ | {MOUNTS_ARE_OURS: "1"})


if __name__ == "__main__":
    sys.exit(main())
