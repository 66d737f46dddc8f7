"""Small file systems that can be filled to the last byte, and processes whose files may not grow."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

LITTLE = 4096
BLOCK = 1 << 20


class Rooms:
    """Folders that are file systems of their own (tmpfs); none where the system does not let us mount."""

    def __init__(self) -> None:
        self._mounted: list[Path] = []
        self.refused = ""
        """Why a folder is not a file system of its own, when one is not."""

    def make(self, folder: Path, megabytes: int) -> bool:
        """Make this folder a file system of this size. False where that is not allowed."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            self.refused = done.stderr.strip()
            return False
        self._mounted.append(folder)
        return True

    def __contains__(self, folder: Path) -> bool:
        return folder in self._mounted

    def unmake(self) -> None:
        """Unmount them all; what is in them is gone."""
        while self._mounted:
            subprocess.run(["umount", "--lazy", str(self._mounted.pop())], check=False)


def fill(folder: Path) -> Path:
    """Fill the file system the folder is, to the last byte; the file to remove to have the room back."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (BLOCK, LITTLE, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size) == size:
                    pass
    return ballast


@contextlib.contextmanager
def _limit(pid: int) -> Iterator[int]:
    """The hard limit of a process; nothing is done where the process has gone meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        yield resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]


def forbid_growth(pid: int) -> None:
    """No file the process writes may grow past a few kilobytes: its database, its log."""
    with _limit(pid) as hard:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (LITTLE, hard))


def allow_growth(pid: int) -> None:
    """As much as before."""
    with _limit(pid) as hard:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
