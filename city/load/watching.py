"""What is looked at while a day is played: once a second, from outside; the processes themselves are not asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Connection, Engine, func, select

from city.load.machine import TICKS, busy_seconds
from infra import lanes
from infra.clock import Clock
from infra.database import reading
from workers.tables import DETAIL_IS_DUE, IS_OPEN, claim

DETAIL_EVERY = 5
"""Detail that is due is counted every so many looks: there may be many rows of it."""
CENTER_LANES = (lanes.SETTLE, lanes.DETAILS, lanes.BOOKS, lanes.ADMIN)


@dataclass(slots=True)
class Look:
    """What was seen at one moment."""

    at: float
    """Unix seconds."""
    cpu: dict[str, float]
    """CPU seconds so far of each process with its children, by its name."""
    busy: float
    """CPU seconds of the whole machine so far."""
    lanes: dict[str, int]
    """Messages waiting at the brokers."""
    open_claims: dict[str, list[float]]
    """By front-end: claims that wait for the centre's answer, and the real age of the oldest in seconds."""
    detail_due: dict[str, list[float]] = field(default_factory=dict)
    """By front-end: settled claims whose detail is not at the centre, and the business age of the oldest in hours."""


def cpu_of(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of these processes, each with its children; one walk through /proc."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(entry.name)
        parents[pid] = int(fields[1])
        used[pid] = sum(map(int, fields[11:15])) / TICKS
    roots = {pid: name for name, pid in pids.items()}
    total = dict.fromkeys(pids, 0.0)
    for pid, seconds in used.items():
        above = pid
        while above and above not in roots:
            above = parents.get(above, 0)
        if above:
            total[roots[above]] += seconds
    return total


@dataclass(slots=True)
class Watch:
    """Looks at processes, brokers and front-ends' tables."""

    clock: Clock
    frontends: Mapping[str, Engine]
    brokers: Iterable[redis.Redis]
    looks: list[Look] = field(default_factory=list)

    def look(self, pids: Mapping[str, int]) -> Look:
        """Look once, and keep what was seen."""
        at, now = time.time(), self.clock.now()
        with_detail = len(self.looks) % DETAIL_EVERY == 0
        open_claims, detail_due = {}, {}
        for name, engine in self.frontends.items():
            with reading(engine) as connection:
                count, oldest = _open(connection, now)
                open_claims[name] = [count, oldest / self.clock.speed]
                if with_detail:
                    count, oldest = _due(connection, now)
                    detail_due[name] = [count, oldest / 3600]
        look = Look(
            at=at,
            cpu=cpu_of(pids),
            busy=busy_seconds(),
            lanes=self._lanes(),
            open_claims={name: seen for name, seen in open_claims.items() if seen[0]},
            detail_due=detail_due,
        )
        self.looks.append(look)
        return look

    def _lanes(self) -> dict[str, int]:
        """Lengths by lane; the lanes of one kind to several front-ends or institutions are added up."""
        found: dict[str, int] = dict.fromkeys((*CENTER_LANES, "results", "uploads", "preprocess"), 0)
        for broker in self.brokers:
            kept = broker.scan_iter(match="*", count=500, _type="list")
            names = [key.decode() for key in kept]
            kinds: list[Any] = [broker.llen(name) for name in names]
            for name, length in zip(names, kinds, strict=True):
                kind = name.partition(".")[0]
                if kind in found:
                    found[kind] += int(length)
        return found


def _open(connection: Connection, now: datetime) -> tuple[int, float]:
    row = connection.execute(select(func.count(), func.min(claim.c.accepted_at)).where(IS_OPEN)).one()
    return int(row[0]), _age(row[1], now)


def _due(connection: Connection, now: datetime) -> tuple[int, float]:
    row = connection.execute(select(func.count(), func.min(claim.c.settled_at)).where(DETAIL_IS_DUE)).one()
    return int(row[0]), _age(row[1], now)


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
