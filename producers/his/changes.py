"""Which exchange folders changed: the kernel says so where it can (inotify); elsewhere a look has to tell.

The kernel sees what this machine writes, which includes what its own file server writes for others. What another
machine writes on a network share it does not see, so such folders, and folders that cannot be watched, are looked at
twice a second; all others are looked at now and then as well, because a notice may be lost.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from pathlib import Path

_CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""IN_MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF."""
_IGNORED = 0x8000
LOOK_EVERY_SECONDS = 0.5
"""How often a folder counts as changed when the kernel tells nothing of it: a look over a network costs a round trip
for every file."""
_EVENT = struct.Struct("iIII")
_ON_NETWORKS = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "gluster", "lustre", "fuse")


class Changes:
    """Watches folders; asks the kernel without waiting."""

    def __init__(self) -> None:
        self._folders: dict[int, Path] = {}
        self._watched: dict[Path, int] = {}
        self._changed: set[Path] = set()
        self._due: dict[Path, float] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._open()

    def changed(self, folder: Path) -> bool:
        """Whether something may have happened in the folder since it was last asked about."""
        if folder not in self._watched:
            return self._watch(folder) or self._is_due(folder)
        self._take_notices()
        if folder not in self._changed:
            return False
        self._changed.discard(folder)
        return True

    def forget(self, folder: Path) -> None:
        """Do not watch this folder any more; it is watched anew at the next question."""
        watch = self._watched.pop(folder, None)
        if watch is not None and self._folders.pop(watch, None) is not None:
            self._libc.inotify_rm_watch(self._file, watch)
        self._changed.discard(folder)

    def close(self) -> None:
        """Give the kernel's queue back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        try:
            return int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except AttributeError:  # not Linux
            return -1

    def _watch(self, folder: Path) -> bool:
        """Begin to watch; whether that is possible."""
        if self._file < 0 or _is_on_a_network(folder):
            return False
        watch = self._libc.inotify_add_watch(self._file, os.fsencode(folder), _CHANGES)
        if watch < 0:
            return False
        self._watched[folder], self._folders[watch] = watch, folder
        return True

    def _is_due(self, folder: Path) -> bool:
        now = time.monotonic()
        if now < self._due.get(folder, 0.0):
            return False
        self._due[folder] = now + LOOK_EVERY_SECONDS
        return True

    def _take_notices(self) -> None:
        while True:
            try:
                notices = os.read(self._file, 65_536)
            except BlockingIOError:
                return
            at = 0
            while at < len(notices):
                watch, what, _, length = _EVENT.unpack_from(notices, at)
                at += _EVENT.size + length
                if watch == -1:  # the queue ran over: anything may have happened
                    self._changed.update(self._watched)
                elif watch in self._folders:
                    self._changed.add(self._folders[watch])
                    if what & _IGNORED:  # the folder itself went away
                        self._watched.pop(self._folders.pop(watch), None)


def _is_on_a_network(folder: Path) -> bool:
    """Whether the folder's file system is another machine's, as the list of mounts tells."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
        real = os.path.realpath(folder)
    except OSError:
        return True
    best, kind = "", ""
    for mount in mounts:
        _, place, what, *_ = mount.split(" ")
        place = place.replace("\\040", " ")
        if len(place) >= len(best) and (real == place or real.startswith(place.rstrip("/") + "/")):
            best, kind = place, what
    return kind.startswith(_ON_NETWORKS)
