"""A watcher that dies, as by `kill -9`, at a chosen point; run by `warm`."""

from __future__ import annotations

import os
import sys
from typing import Any

KILLED = 137


def _die_at(owner: Any, name: str, nth: int, *, after: bool) -> None:
    """Die at the nth call: before it does its work, or right after."""
    work = getattr(owner, name)
    calls = 0

    def worked(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            os._exit(KILLED)
        done = work(*args, **kwargs)
        if calls == nth:
            os._exit(KILLED)
        return done

    setattr(owner, name, worked)


def _arm(point: str, nth: int) -> None:
    import mmap

    from producers.his import dbf_write, importer, watcher
    from producers.his.exchange import DbfExchange
    from producers.his.outgoing import Outgoing
    from workers import visits

    class DyingMap(mmap.mmap):
        """Dies in the middle of the marks: some are written, some are not."""

        written = 0

        def __setitem__(self, where: Any, value: Any) -> None:
            super().__setitem__(where, value)
            DyingMap.written += 1
            if DyingMap.written == nth:
                os._exit(KILLED)

    points = {
        "claims accepted": lambda: _die_at(importer, "accept", nth, after=True),
        "lines imported": lambda: _die_at(visits, "import_lines", nth, after=True),
        "settlement asked for": lambda: _die_at(visits, "settle_visits", nth, after=True),
        "before the marks": lambda: _die_at(DbfExchange, "answer", nth, after=False),
        "after the marks": lambda: _die_at(DbfExchange, "answer", nth, after=True),
        "in the middle of the marks": lambda: setattr(mmap, "mmap", DyingMap),
        "a record half written": lambda: _die_at(os, "ftruncate", nth, after=False),
        "records written and not counted": lambda: _die_at(dbf_write.os, "fsync", nth, after=True),
        "before the records are written": lambda: _die_at(Outgoing, "write", nth, after=False),
        "records written and not noted": lambda: _die_at(Outgoing, "write", nth, after=True),
        "records noted": lambda: _die_at(visits, "handed_out", nth, after=True),
        "claims not noted": lambda: _die_at(watcher, "mark_handed_back", nth, after=False),
    }
    points[point]()


POINTS = (
    "claims accepted", "lines imported", "settlement asked for", "before the marks", "after the marks",
    "in the middle of the marks", "a record half written", "records written and not counted",
    "before the records are written", "records written and not noted", "records noted", "claims not noted",
)  # fmt: skip
"""Where the watcher may die."""


def main() -> None:
    """Watch the exchange folder, armed."""
    from city.commands.serve import serve

    _arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(serve("his"))
