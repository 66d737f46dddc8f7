"""The faults: what is done to whom, for how long, and how it is undone. The dice choose."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from center.uploading.windows import Asked
from tests.faults.proxy import Way, Wire
from tests.faults.rooms import allow_growth, fill, forbid_growth, is_alive
from tests.faults.town import LOOKERS, Site, Town

Undo = Callable[[], None]


def at_once() -> bool:
    """It holds on from the moment it is struck."""
    return True


class Struck(NamedTuple):
    """What was done, in words, and what undoes it after a while; None where it is done with."""

    words: str
    undo: Undo | None = None
    seconds: float = 0.0
    has_begun: Callable[[], bool] = at_once
    """The seconds count from when it says yes."""


class Kind(NamedTuple):
    """A kind of fault, and how often it is chosen."""

    name: str
    weight: int
    strike: Callable[[Town, random.Random], Struck]


# ── Processes ──


def _kill(town: Town, name: str) -> str:
    try:
        pid = town.supervisor.kill(name)
    except ProcessLookupError:
        return f"kill -9 {name}, which is down already"
    town.ended[name] += 1
    return f"kill -9 {name} (process {pid})"


def _running(town: Town) -> list[str]:
    """Our processes, without those that are just being started again."""
    pids = town.supervisor.pids()
    return [name for name in town.workers if name in pids] or list(town.workers)


def kill_a_worker(town: Town, dice: random.Random) -> Struck:
    """One process of ours dies."""
    return Struck(_kill(town, dice.choice(_running(town))))


def kill_several(town: Town, dice: random.Random) -> Struck:
    """Several die at the same moment."""
    return Struck("; ".join(_kill(town, name) for name in dice.sample(town.workers, dice.randint(2, 4))))


def end_a_worker(town: Town, dice: random.Random) -> Struck:
    """One is asked to stop, as when a new release is put in."""
    name = dice.choice(_running(town))
    with contextlib.suppress(ProcessLookupError):
        town.supervisor.kill(name, signal.SIGTERM)
        town.ended[name] += 1
    return Struck(f"SIGTERM {name}")


def _hold(town: Town, name: str, seconds: float) -> Struck:
    try:
        pid = town.supervisor.kill(name, signal.SIGSTOP)
    except ProcessLookupError:
        return Struck(f"SIGSTOP {name}, which is down")

    def go_on() -> None:
        if town.supervisor.pids().get(name) == pid:
            with contextlib.suppress(ProcessLookupError):
                town.supervisor.kill(name, signal.SIGCONT)

    return Struck(f"SIGSTOP {name} for {seconds:.1f} s", go_on, seconds)


def stop_a_worker(town: Town, dice: random.Random) -> Struck:
    """One stands still, and goes on as if nothing had been."""
    return _hold(town, dice.choice(_running(town)), dice.uniform(1, 12))


def double(town: Town, dice: random.Random) -> Struck:
    """One is run a second time beside the first, which nobody tells; later the second is ended, or killed."""
    return _run_twice(town, dice, dice.choice(town.can_be_doubled))


def double_beat(town: Town, dice: random.Random) -> Struck:
    """The same of the timetable: everything rings twice."""
    return _run_twice(town, dice, "beat")


def _run_twice(town: Town, dice: random.Random, name: str) -> Struck:
    seconds, number = dice.uniform(4, 12), dice.choice((signal.SIGTERM, signal.SIGKILL))
    again = town.double(name)
    return Struck(
        f"{name} runs twice for {seconds:.1f} s (process {again.pid}), then {number.name}",
        lambda: again.end(number),
        seconds,
        lambda: again.has_begun,
    )


# ── Brokers ──


@contextlib.contextmanager
def _asking(town: Town, name: str) -> Iterator[redis.Redis]:
    """A broker, asked directly; nothing is done where it does not answer."""
    with (
        contextlib.suppress(redis.RedisError),
        redis.Redis.from_url(town.broker_urls[name], socket_timeout=3) as client,
    ):
        yield client


def kill_a_broker(town: Town, dice: random.Random) -> Struck:
    """It comes back with what it had written."""
    return Struck(_kill(town, dice.choice(("broker", "site"))))


def wipe_a_broker(town: Town, dice: random.Random) -> Struck:
    """It forgets everything; half of the time it dies of it and comes back empty."""
    name = dice.choice(("broker", "site"))
    words = f"{name} forgets everything"
    with _asking(town, name) as client:
        client.flushall()
    if dice.random() < 0.5:
        words += f"; {_kill(town, name)}"
    return Struck(words)


def stop_a_broker(town: Town, dice: random.Random) -> Struck:
    """It stands still: connections stay, nobody answers."""
    return _hold(town, dice.choice(("broker", "site")), dice.uniform(1, 9))


def fill_a_broker(town: Town, dice: random.Random) -> Struck:
    """It takes nothing more, for lack of memory."""
    name, seconds = dice.choice(("broker", "site")), dice.uniform(2, 8)

    def set_memory(size: str) -> None:
        with _asking(town, name) as client:
            client.config_set("maxmemory", size)

    set_memory("1mb")
    return Struck(f"{name} is full for {seconds:.1f} s", lambda: set_memory("1gb"), seconds)


# ── The centre's database ──


def kill_postgres(town: Town, dice: random.Random) -> Struck:
    """The server dies; what was committed is there again."""
    return Struck(_kill(town, "database"))


def _backends(town: Town) -> list[int]:
    query = text(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'center'"
        " AND application_name <> :lookers"
    )
    town.center.dispose()  # it may have died since it was asked last
    try:
        with town.center.connect() as connection:
            return list(connection.execute(query, {"lookers": LOOKERS}).scalars())
    except DBAPIError:
        return []


def kill_a_backend(town: Town, dice: random.Random) -> Struck:
    """One process of the server is killed; it ends all others, and every transaction, by itself."""
    backends = _backends(town)
    if not backends:
        return kill_postgres(town, dice)
    with contextlib.suppress(ProcessLookupError):
        os.kill(dice.choice(backends), signal.SIGKILL)
    return Struck("kill -9 a backend of PostgreSQL")


def stop_a_backend(town: Town, dice: random.Random) -> Struck:
    """One process of the server stands still, with the locks it has."""
    backends, seconds = _backends(town), dice.uniform(1, 9)
    if not backends:
        return _hold(town, "database", seconds)
    pid = dice.choice(backends)

    def go_on() -> None:
        if is_alive(pid):
            os.kill(pid, signal.SIGCONT)

    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    return Struck(f"SIGSTOP a backend of PostgreSQL for {seconds:.1f} s", go_on, seconds)


# ── Links ──


def _wire(town: Town, dice: random.Random) -> Wire:
    return town.wires[dice.choice(("wire-1", "wire-2", "wire-1", "wire-2", "base", "base", "door-1", "door-2"))]


def _ways(dice: random.Random) -> set[Way]:
    return dice.choice(({Way.UP}, {Way.DOWN}, {Way.UP, Way.DOWN}))


def cut(town: Town, dice: random.Random) -> Struck:
    """Nobody gets through."""
    wire, seconds = _wire(town, dice), dice.uniform(0.5, 9)
    wire.cut()
    return Struck(f"cut {wire.name} for {seconds:.1f} s", wire.heal, seconds)


def flap(town: Town, dice: random.Random) -> Struck:
    """The link between a front-end and the centre comes and goes, several times within a few seconds."""
    wire, seconds = town.wires[dice.choice(("wire-1", "wire-2"))], dice.uniform(4, 10)
    down, up = dice.uniform(0.1, 0.9), dice.uniform(0.2, 1.1)
    wire.flap(down=down, up=up)
    times = math.ceil(seconds / (down + up))
    return Struck(f"{wire.name} flaps: {times} times cut for {down:.1f} s and whole for {up:.1f} s", wire.heal, seconds)


def reset(town: Town, dice: random.Random) -> Struck:
    """Every connection is reset."""
    wire = _wire(town, dice)
    return Struck(f"reset {wire.reset()} connections of {wire.name}")


def blackhole(town: Town, dice: random.Random) -> Struck:
    """Bytes of one way, or both, do not arrive; afterwards they do, or the connections are reset."""
    wire, seconds, ways = _wire(town, dice), dice.uniform(1, 11), _ways(dice)
    wire.weather.stalled = ways
    ends_in_reset = dice.random() < 0.5

    def end() -> None:
        if ends_in_reset:
            wire.reset()
        wire.heal()

    how = "reset afterwards" if ends_in_reset else "delivered afterwards"
    return Struck(f"{wire.name} swallows {' and '.join(sorted(ways))} for {seconds:.1f} s, {how}", end, seconds)


def orphan(town: Town, dice: random.Random) -> Struck:
    """Who connected is gone, and the other side does not know: a transaction stays open with its locks."""
    wire, seconds = _wire(town, dice), dice.uniform(2, 9)
    return Struck(f"{wire.orphan()} connections of {wire.name} are orphans for {seconds:.1f} s", wire.heal, seconds)


def delay(town: Town, dice: random.Random) -> Struck:
    """Everything comes late."""
    wire, seconds, late = _wire(town, dice), dice.uniform(2, 10), dice.choice((0.05, 0.3, 1.0))
    wire.weather.delay = dict.fromkeys(_ways(dice), late)
    return Struck(f"{wire.name} is late by {late} s for {seconds:.1f} s", wire.heal, seconds)


def slow(town: Town, dice: random.Random) -> Struck:
    """A modem line; what is sent comes in small pieces."""
    wire, seconds, speed = _wire(town, dice), dice.uniform(2, 10), dice.choice((1_000, 7_000, 50_000))
    wire.weather.bytes_per_second, wire.weather.slice_bytes = speed, dice.choice((64, 500))
    return Struck(f"{wire.name} carries {speed} bytes/s for {seconds:.1f} s", wire.heal, seconds)


def slices(town: Town, dice: random.Random) -> Struck:
    """What is sent comes in pieces of a few bytes."""
    wire, seconds, size = _wire(town, dice), dice.uniform(2, 10), dice.randint(1, 7)
    wire.weather.slice_bytes = size
    return Struck(f"{wire.name} carries {size} bytes at a time for {seconds:.1f} s", wire.heal, seconds)


def truncate(town: Town, dice: random.Random) -> Struck:
    """The next chunk loses its tail, and its connection is reset."""
    wire, ways = _wire(town, dice), _ways(dice)
    wire.weather.truncate = ways
    return Struck(f"{wire.name} truncates what goes {' and '.join(sorted(ways))} and resets")


def spoil(town: Town, dice: random.Random) -> Struck:
    """Bytes of the broker's protocol go missing or come twice, and the stream goes on for a while.

    Only between front-end and broker, where a message proves its own wholeness. TCP never does this to the database's
    protocol or to HTTP, where nothing would notice but TLS.
    """
    wire, ways = town.wires[dice.choice(("wire-1", "wire-2"))], _ways(dice)
    if dice.random() < 0.5:
        wire.weather.duplicate = ways
        return Struck(f"{wire.name} doubles a chunk {' and '.join(sorted(ways))}, and the stream goes on")
    wire.weather.lose = ways
    return Struck(f"{wire.name} loses the tail of a chunk {' and '.join(sorted(ways))}, and the stream goes on")


# ── Disks ──


def fill_a_disk(town: Town, dice: random.Random) -> Struck:
    """No room: for the database of a front-end, for PostgreSQL, for the logs."""
    places = {"front-end 2": town.sites[1].folder, "PostgreSQL": town.folder / "database", "the logs": town.logs}
    name = dice.choice(sorted(places))
    if places[name] not in town.rooms:
        return stunt(town, dice)
    seconds = dice.uniform(1, 6)
    ballast = fill(places[name])
    return Struck(f"no room for {name} for {seconds:.1f} s", lambda: ballast.unlink(missing_ok=True), seconds)


def stunt(town: Town, dice: random.Random) -> Struck:
    """The files of one process of a front-end may not grow (RLIMIT_FSIZE), its log among them."""
    name, seconds = dice.choice(town.sites[0].services + town.sites[1].services), dice.uniform(2, 8)
    pid = town.supervisor.pids().get(name)
    if pid is None:
        return kill_a_worker(town, dice)
    forbid_growth(pid)
    return Struck(f"the files of {name} may not grow for {seconds:.1f} s", lambda: allow_growth(pid), seconds)


# ── Clocks ──


def shift_a_clock(town: Town, dice: random.Random) -> Struck:
    """A front-end starts again with a wrong clock, of the same day; later with the right one."""
    site, seconds = dice.choice(town.sites), dice.uniform(6, 14)
    minutes = dice.choice((1, 300, -1, -20, -300))
    is_set = town.set_clock(site, timedelta(minutes=minutes))
    words = f"the clock of {site.frontend} is {abs(minutes)} min {'fast' if minutes > 0 else 'slow'}"
    return Struck(f"{words} for {seconds:.1f} s", lambda: _set_right(town, site), seconds, is_set)


def _set_right(town: Town, site: Site) -> None:
    town.set_clock(site, timedelta())


# ── The office ──


def shut_the_window(town: Town, dice: random.Random) -> Struck:
    """While detail is due, an operator closes its window or leaves only the floor, and opens it again later."""
    seconds, now = dice.uniform(3, 11), town.office.now()
    how, asked = dice.choice(
        (
            ("is put out of use", Asked(active=False)),
            (f"ends at {now:%H:%M}, which it is", Asked(closes=f"{now:%H:%M}")),
            ("is left with its floor", Asked(lines="400", bytes="128K")),
        )
    )
    if not town.office.is_free:
        return cut(town, dice)
    begun = town.office.shut(asked, wholly=asked.lines is None)
    return Struck(f"the window of the detail {how} for {seconds:.1f} s", town.office.reopen, seconds, begun)


KINDS = (
    Kind("kill", 14, kill_a_worker),
    Kind("kill-several", 4, kill_several),
    Kind("end", 3, end_a_worker),
    Kind("stop", 8, stop_a_worker),
    Kind("double", 6, double),
    Kind("broker-kill", 4, kill_a_broker),
    Kind("broker-wipe", 6, wipe_a_broker),
    Kind("broker-stop", 3, stop_a_broker),
    Kind("broker-full", 2, fill_a_broker),
    Kind("postgres-kill", 4, kill_postgres),
    Kind("backend-kill", 2, kill_a_backend),
    Kind("backend-stop", 2, stop_a_backend),
    Kind("cut", 5, cut),
    Kind("flap", 5, flap),
    Kind("reset", 4, reset),
    Kind("blackhole", 6, blackhole),
    Kind("orphan", 3, orphan),
    Kind("delay", 4, delay),
    Kind("slow", 3, slow),
    Kind("slices", 2, slices),
    Kind("truncate", 5, truncate),
    Kind("spoil", 5, spoil),
    Kind("disk-full", 6, fill_a_disk),
    Kind("no-growth", 3, stunt),
    Kind("clock", 3, shift_a_clock),
    Kind("window", 5, shut_the_window),
)
"""Every kind of fault."""

BY_NAME = {kind.name: kind for kind in KINDS}


def plan(faults: int, dice: random.Random) -> list[Kind]:
    """So many faults: each kind once, as far as they reach, and the rest by weight; in an order the dice choose."""
    drawn = dice.sample(KINDS, min(faults, len(KINDS)))
    drawn += dice.choices(KINDS, [kind.weight for kind in KINDS], k=faults - len(drawn))
    dice.shuffle(drawn)
    return drawn
