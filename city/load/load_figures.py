"""How loaded the system was: what waited, what computed, what detail was still to travel."""

from __future__ import annotations

from typing import Any

from city.load.playing import Played
from city.load.scripts import FLOOD
from city.load.series import Steps, highest, risen, summed

CENTRE = ("center-settle", "center-detail", "beat")
"""What the names of the centre's processes begin with."""
BACKLOG_MARGIN_SECONDS = 15.0
"""After its link is back a front-end sends again what nobody answered: so long it is counted apart."""


def backlog_figures(played: Played, steps: Steps) -> dict[str, Any]:
    """Who waits at the counters and how long, from the intended moment; claims open at front-ends; messages by lane.

    The front-end whose link is cut waits for its link, not for the system: until it is back, and a little longer, it
    is counted apart. So is the noisy clinic, which its own bucket keeps out.
    """
    clocks, cut = played.clocks, played.day.cut
    ends = cut.ends + BACKLOG_MARGIN_SECONDS * clocks.compress
    waiting: dict[str, list[tuple[float, float]]] = {"api": [], "his": []}
    oldest: list[tuple[float, float]] = []
    oldest_cut: list[tuple[float, float]] = []
    oldest_flood: list[tuple[float, float]] = []
    for line in played.drivers:
        second = clocks.second(line["at"])
        waiting[line["door"]].append((second, sum(count for count, _ in line["waiting"].values())))
        for server, (_, age) in line["waiting"].items():
            is_cut = server == cut.server and cut.begins <= second <= ends
            apart = oldest_flood if server.endswith(FLOOD) else oldest_cut if is_cut else oldest
            apart.append((second, age))
    looks = [(clocks.second(look.at), look) for look in played.looks]
    lanes = sorted({lane for _, look in looks for lane in look.lanes})
    open_oldest = [
        (second, age)
        for second, look in looks
        for server, (_, age) in look.open_claims.items()
        if not (server == cut.server and cut.begins <= second <= ends)
    ]
    return {
        "waiting": summed(waiting, lambda door: highest(steps, waiting[door]), steps.count),
        "oldest": _highest_or_none(steps, oldest),
        "oldest_cut": _highest_or_none(steps, oldest_cut),
        "oldest_flood": _highest_or_none(steps, oldest_flood),
        "open": highest(steps, [(at, sum(count for count, _ in look.open_claims.values())) for at, look in looks]),
        "lanes": {lane: highest(steps, [(at, look.lanes.get(lane, 0)) for at, look in looks]) for lane in lanes},
        "longest_seconds": round(max((age for _, age in oldest), default=0.0), 3),
        "longest_cut_seconds": round(max((age for _, age in oldest_cut), default=0.0), 3),
        "longest_flood_seconds": round(max((age for _, age in oldest_flood), default=0.0), 3),
        "longest_open_seconds": round(max((age for _, age in open_oldest), default=0.0), 3),
    }


def _highest_or_none(steps: Steps, seen: list[tuple[float, float]]) -> list[float]:
    """The most of each step, nothing where nobody waited: the wait of one step is not that of the next."""
    most = [0.0] * steps.count
    for moment, value in seen:
        step = steps.of(moment)
        most[step] = round(max(most[step], value), 3)
    return most


def cpu_figures(played: Played, steps: Steps, settled: int) -> dict[str, Any]:
    """CPU by part over the day, in cores and in all, and what a settlement costs the centre."""
    clocks = played.clocks
    looks = [look for look in played.looks if look.at >= clocks.opened - 1.5]
    names = sorted({name for look in looks for name in look.cpu})
    rise = {
        name: risen(steps, [(clocks.second(look.at), look.cpu[name]) for look in looks if name in look.cpu])
        for name in names
    }
    parts: dict[str, list[str]] = {
        "centre": [name for name in names if name.startswith(CENTRE)],
        "database": ["database"],
        "broker": ["broker"],
        "front-ends": [name for name in names if ":" in name and not name.startswith("load:")],
        "site broker": ["site-broker"],
        "HIS database": ["his-database"],
        "link meter": ["load:link"],
        "load generators": [name for name in names if name in ("load:api", "load:his")],
    }
    per_core = steps.seconds / clocks.compress
    cores = {
        part: [round(seconds / per_core, 4) for seconds in summed(of, rise.__getitem__, steps.count)]
        for part, of in parts.items()
        if of and set(of) <= set(names)
    }
    totals = {part: round(sum(sum(rise[name]) for name in parts[part]), 3) for part in cores}
    busy = risen(steps, [(clocks.second(look.at), look.busy) for look in looks])
    real = (looks[-1].at - looks[0].at) if len(looks) > 1 else 0.0
    others = max(0.0, sum(busy) - sum(totals.values()))
    by_server = {
        server.name: round(sum(sum(rise[name]) for name in names if name.endswith(f":{server.name}")), 3)
        for server in played.servers
    }
    roles = sorted({name.partition(":")[0] for name in parts["front-ends"]})
    by_role = {
        role: round(sum(sum(rise[name]) for name in parts["front-ends"] if name.startswith(f"{role}:")), 3)
        for role in roles
    }
    centre = totals.get("centre", 0.0)
    database = totals.get("database", 0.0)
    return {
        "cores": cores,
        "totals": totals,
        "by_server": by_server,
        "by_role": by_role,
        "real_seconds": round(real, 1),
        "others_cores": round(others / real, 3) if real else 0.0,
        "centre_us_per_settlement": _us(centre, settled),
        "centre_and_database_us_per_settlement": _us(centre + database, settled),
        "front_ends_us_per_settlement": _us(totals.get("front-ends", 0.0), settled),
        "all_us_per_settlement": _us(
            sum(totals[part] for part in ("centre", "database", "broker", "front-ends") if part in totals), settled
        ),
    }


def _us(seconds: float, settled: int) -> float:
    return round(seconds / settled * 1e6, 1) if settled else 0.0


def upload_figures(played: Played, steps: Steps) -> dict[str, Any]:
    """Settled claims whose detail is not at the centre, and how old the oldest of them is, in business hours."""
    looks = [(played.clocks.second(look.at), look.detail_due) for look in played.looks if look.detail_due]
    due = [(at, sum(count for count, _ in seen.values())) for at, seen in looks]
    lag = [(at, max((hours for _, hours in seen.values()), default=0.0)) for at, seen in looks]
    return {
        "due": highest(steps, due),
        "lag_hours": highest(steps, lag),
        "most_due": max((count for _, count in due), default=0),
        "longest_lag_hours": round(max((hours for _, hours in lag), default=0.0), 2),
        "left": due[-1][1] if due else 0,
    }
