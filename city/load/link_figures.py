"""What went over the links: bytes of the broker's protocol both ways, and the messages in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from city.load.playing import Played
from city.load.series import Steps, in_hours, risen, summed
from city.load.servers import Part
from infra import lanes

CLAIM_LANES = (lanes.SETTLE, "results")
"""What a claim needs to be settled travels on these: totals or lines up, answers down."""
PEAK_HOURS = ((8.0, 12.0), (14.0, 18.0))
"""The business peaks outside which detail travels by default (AMB-61)."""
_PARTS = {Part.OUTPATIENTS: "outpatients", Part.WARDS: "stays", Part.ALL: "mixed"}
"""What goes over a front-end's link: outpatients only, stays only, or both."""


def link_figures(played: Played, steps: Steps) -> dict[str, Any]:
    """Bytes up and down by front-end over the day, in the peak hours, for each claim; messages by lane."""
    names = [server.name for server in played.servers]
    seen = [(played.clocks.second(line["at"]), line["link"]) for line in played.link]
    up = {name: risen(steps, [(at, link[name][0]) for at, link in seen]) for name in names}
    down = {name: risen(steps, [(at, link[name][1]) for at, link in seen]) for name in names}
    carried = {
        name: risen(steps, [(at, sum(link[name][3].get(lane, 0) for lane in CLAIM_LANES)) for at, link in seen])
        for name in names
    }
    quiet = _quiet(played)
    part_of = {server.name: _PARTS[server.part] for server in played.servers}
    counts = Counter(part_of[claim.institution.frontend] for claim in _handed_in(played))
    parts = {}
    for part in (*_PARTS.values(), "all"):
        of = [name for name in names if part in (part_of[name], "all")]
        if not of:
            continue
        both = [
            a + b
            for a, b in zip(
                summed(of, up.__getitem__, steps.count), summed(of, down.__getitem__, steps.count), strict=True
            )
        ]
        claims = sum(counts.values()) if part == "all" else counts[part]
        day, peak = sum(both), in_hours(steps, both, PEAK_HOURS)
        messages = in_hours(steps, summed(of, carried.__getitem__, steps.count), PEAK_HOURS)
        in_peak = sum(_is_peak(played, at) for at in _arrivals_of(played, of))
        parts[part] = {
            "servers": of,
            "claims": claims,
            "claims_in_peak": in_peak,
            "day_bytes": round(day),
            "peak_bytes": round(peak),
            "bytes_per_claim": round(day / claims, 1) if claims else 0.0,
            "peak_bytes_per_claim": round(peak / in_peak, 1) if in_peak else 0.0,
            "peak_message_bytes": round(messages),
            "peak_message_bytes_per_claim": round(messages / in_peak, 1) if in_peak else 0.0,
            "quiet_bytes_per_second": round(sum(quiet[name] for name in of), 1),
        }
    return {
        "peak_hours": [list(hours) for hours in PEAK_HOURS],
        "up": summed(names, up.__getitem__, steps.count),
        "down": summed(names, down.__getitem__, steps.count),
        "by_server": {
            name: {
                "up": round(sum(up[name])),
                "down": round(sum(down[name])),
                "quiet_per_second": round(quiet[name], 1),
            }
            for name in names
        },
        "parts": parts,
        "lanes": _lanes(played, names),
        "commands": _commands(played, names),
    }


def _handed_in(played: Played) -> list[Any]:
    return [claim for claim in played.claims if claim.number in played.answers]


def _arrivals_of(played: Played, servers: Sequence[str]) -> list[float]:
    return [
        arrival.second
        for claim, arrival in zip(played.claims, played.arrivals, strict=True)
        if claim.institution.frontend in servers and claim.number in played.answers
    ]


def _is_peak(played: Played, second: float) -> bool:
    return any(first <= second / 3600 < last for first, last in PEAK_HOURS)


def _quiet(played: Played) -> dict[str, float]:
    """Bytes a real second on each link before the doors open: what the connection needs by itself."""
    looks = [line for line in played.link if played.ready_at <= line["at"] <= played.clocks.opened]
    if len(looks) < 2:
        return {server.name: 0.0 for server in played.servers}
    first, last = looks[0], looks[-1]
    seconds = last["at"] - first["at"]
    return {name: (sum(last["link"][name][:2]) - sum(first["link"][name][:2])) / seconds for name in last["link"]}


def _commands(played: Played, names: Sequence[str]) -> dict[str, int]:
    """Bytes from the front-ends since the doors opened, by the command of the broker's protocol; the most first."""
    before, last = _since_opening(played)
    shares: Counter[str] = Counter()
    for name in names:
        shares.update(last["link"][name][4])
        shares.subtract(before["link"][name][4])
    return {command: size for command, size in shares.most_common() if size > 0}


def _since_opening(played: Played) -> tuple[dict[str, Any], dict[str, Any]]:
    opened = played.clocks.opened
    return next((line for line in reversed(played.link) if line["at"] <= opened), played.link[0]), played.link[-1]


def _lanes(played: Played, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Messages of each lane since the doors opened, and their bytes as the broker holds them."""
    before, last = _since_opening(played)
    messages: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    for name in names:
        for lane, count in last["link"][name][2].items():
            messages[lane] += count - before["link"][name][2].get(lane, 0)
        for lane, weight in last["link"][name][3].items():
            weights[lane] += weight - before["link"][name][3].get(lane, 0)
    return {lane: {"messages": messages[lane], "bytes": weights[lane]} for lane in sorted(messages)}
