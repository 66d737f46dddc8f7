"""An exclusive lock on an exchange file, held against other processes, other threads and the file server."""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from producers.his.dbf_format import NotYet

_PAUSE = 0.05  # seconds

# struct flock: type, whence, start, length (0: to the end), process (0, as the lock belongs to the open file)
_WHOLE_FILE = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class FileBusy(NotYet):
    """Somebody else holds the lock for longer than a write takes."""

    def __init__(self, file: str) -> None:
        super().__init__(file, "locked by somebody else", "文件正被其他程序占用，稍后重试")


@contextmanager
def locked(path: Path, *, tries: int = 100) -> Iterator[int]:
    """Open the file for reading and writing and hold its lock; yield the descriptor."""
    while True:
        file = os.open(path, os.O_RDWR)
        try:
            _lock(file, path.name, tries)
            if _is_still(path, file):
                yield file
                return
        finally:
            os.close(file)  # gives the lock back


def _lock(file: int, name: str, tries: int) -> None:
    """Take a record lock of the open file: a file server shows it to its clients, threads keep theirs apart.

    The ordinary record lock would be lost as soon as any thread closes the same file; `flock` is not seen
    by a file server.
    """
    for _ in range(tries):
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _WHOLE_FILE)
            return
        except (BlockingIOError, PermissionError):
            time.sleep(_PAUSE)
    raise FileBusy(name)


def _is_still(path: Path, file: int) -> bool:
    """Whether the name still means the file that was locked, and not one put in its place meanwhile."""
    return os.path.samestat(os.stat(path), os.fstat(file))
