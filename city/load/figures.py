"""The figures of a played day, as one JSON document: whatever the report shows stands in here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from city.load import goals, machine, proof
from city.load.arithmetic import arithmetic_of
from city.load.arrivals import Kind
from city.load.link_figures import link_figures
from city.load.load_figures import backlog_figures, cpu_figures, upload_figures
from city.load.model import LARGEST_FIRST
from city.load.playing import LOOK_SECONDS, Played
from city.load.series import Steps, counted, percentile, steps_between
from city.load.waits import STAYS, Wait, fairness_figures, latency_figures, waits_of

VERSION = 1
LOOKS_A_STEP = 2


def figures_of(played: Played, *, command: str, began: datetime, version: str) -> dict[str, Any]:
    """Ask the tables, work out every figure; the services still run. All times in real seconds unless they say hour."""
    audit = proof.proof_of(played.center_engine, played.frontends, played.site.city, played.claims, played.answers)
    steps = steps_between(
        played.day.opens,
        max(played.day.closes, played.clocks.second(played.ended_at)),
        at_least=LOOKS_A_STEP * LOOK_SECONDS * played.wanted.compress,
    )
    waits = waits_of(played)
    settled = sum(answer.state == "settled" for answer in played.answers.values())
    found = {
        "version": VERSION,
        "run": _run(played, command, began, version),
        "machine": machine.describe(),
        "model": arithmetic_of(played.city, weekday=played.day.day.isoweekday()),
        "seeded": _seeded(played),
        "servers": _servers(played),
        "volumes": _volumes(played),
        "proof": proof.as_json(audit, way=played.wanted.way),
        "closing": played.closing,
        "settled": settled,
        "hours": steps.hours(),
        "step_seconds": steps.seconds,
        "flow": _flow(played, steps, waits),
        "latency": latency_figures(waits),
        "fairness": fairness_figures(played, waits),
        "backlog": backlog_figures(played, steps),
        "link": link_figures(played, steps),
        "cpu": cpu_figures(played, steps, settled),
        "upload": upload_figures(played, steps),
    }
    found["goals"] = goals.goals_of(found)
    return found


def _run(played: Played, command: str, began: datetime, version: str) -> dict[str, Any]:
    wanted, day = played.wanted, played.day
    return {
        "city": wanted.city,
        "way": str(wanted.way),
        "seed": wanted.seed,
        "compress": wanted.compress,
        "scale": wanted.scale,
        "hours": list(wanted.hours),
        "day": day.day.isoformat(),
        "command": command,
        "release": version,
        "began": began.isoformat(timespec="seconds"),
        "opened": played.clocks.opened,
        "clock_ahead_minutes": round((played.clocks.opened - played.clock.epoch) * wanted.compress / 60, 2),
        "real_seconds": round((day.closes - day.opens) / wanted.compress, 1),
        "drained_seconds": round(played.ended_at - played.clocks.real(day.closes), 1),
        "is_cut_short": played.is_cut_short,
        "unfinished": played.unfinished,
        "flood": {
            "server": day.noisy_server,
            "claims": day.flood.claims,
            "hours": [day.flood.begins / 3600, (day.flood.begins + day.flood.seconds) / 3600],
        },
        "cut": {"server": day.cut.server, "hours": [day.cut.begins / 3600, day.cut.ends / 3600]},
        "processes": len(played.processes),
    }


def _seeded(played: Played) -> dict[str, Any]:
    cast = played.cast
    return {
        "insured": played.city.insured,
        "people": sum(person.is_known for person in cast.people),
        "institutions": len(played.city.institutions),
        "institution_codes": len(cast.institutions),
        "matches": sum(len(one.matches) for one in cast.institutions),
    }


def _servers(played: Played) -> list[dict[str, Any]]:
    return [
        {
            "name": server.name,
            "door": ", ".join(sorted(server.doors)),
            "institutions": len(server.institutions) + len(server.wards),
            "stands_for": server.stands_for,
            "processes": sum(name.endswith(f":{server.name}") for name in played.processes),
        }
        for server in played.servers
    ]


def _volumes(played: Played) -> dict[str, Any]:
    """What was handed in, by class: visits, stays, and lines of each."""
    by_class: dict[str, Counter[str]] = {size: Counter() for size in LARGEST_FIRST}
    ends = Counter(answer.state or answer.problem or "open" for answer in played.answers.values())
    for claim, lines, arrival in zip(played.claims, played.lines, played.arrivals, strict=True):
        if claim.number not in played.answers:
            continue
        what = {Kind.STAY: "stays", Kind.VISIT: "visits", Kind.FLOOD: "flood"}[arrival.kind]
        by_class[claim.institution.size][what] += 1
        by_class[claim.institution.size]["stay_lines" if arrival.kind is Kind.STAY else "lines"] += lines
    visits = sum(counts["visits"] for counts in by_class.values())
    return {
        "arrivals": len(played.arrivals),
        "handed_in": len(played.answers),
        "ends": dict(sorted(ends.items())),
        "tries_again": sum(answer.tries for answer in played.answers.values()),
        "classes": {
            str(size): {
                **{name: counts[name] for name in ("visits", "stays", "flood", "lines", "stay_lines")},
                "share_percent": round(100 * counts["visits"] / visits, 2) if visits else 0.0,
            }
            for size, counts in by_class.items()
        },
    }


def _flow(played: Played, steps: Steps, waits: Sequence[Wait]) -> dict[str, Any]:
    seconds = [played.clocks.second(one.answered) for one in waits if one.answered]
    by_step: list[list[float]] = [[] for _ in range(steps.count)]
    for one in waits:
        if one.total is not None and not one.is_noisy:
            by_step[steps.of(one.due)].append(one.total)
    ordered = [sorted(values) for values in by_step]
    return {
        "arrivals": counted(steps, (one.due for one in waits)),
        "stays": counted(steps, (one.due for one in waits if one.group == STAYS)),
        "answers": counted(steps, seconds),
        **{
            f"p{percent}": [round(percentile(values, percent), 3) if values else None for values in ordered]
            for percent in (50, 95, 99)
        },
    }
