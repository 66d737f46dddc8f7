"""What is wanted of a played day, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BACKLOG_SECONDS = 30.0
INPATIENT_PERCENT, OUTPATIENT_PERCENT = 5.0, 12.0
CENTRE_PERCENT = 30.0


def goals_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The goals one day can meet or miss by itself."""
    proof, backlog, run = found["proof"], found["backlog"], found["run"]
    is_whole = not run["is_cut_short"]
    fairness = found["fairness"]
    limit = 2 * fairness["others_elsewhere"]["p99"] + 0.1
    return [
        _goal("claims lost", proof["lost"], "= 0", proof["lost"] == 0, must=True),
        _goal("claims settled twice", proof["doubled"], "= 0", proof["doubled"] == 0, must=True),
        _goal(
            "all promises of the audit kept",
            "yes" if proof["all_kept"] else "no",
            "yes",
            proof["all_kept"],
            must=is_whole,
        ),
        _goal(
            f"longest wait at a counter, {run['compress']:g} × speed, real seconds",
            backlog["longest_seconds"],
            f"≤ {BACKLOG_SECONDS:g}",
            backlog["longest_seconds"] <= BACKLOG_SECONDS,
        ),
        _goal(
            "p99 of other tenants while one floods, real seconds",
            fairness["others_beside"]["p99"],
            f"≤ 2 × elsewhere + 0.1 = {limit:.3f}",
            fairness["others_beside"]["p99"] <= limit,
        ),
        _goal(
            "everything settled, told, uploaded and compared",
            run["unfinished"] or ("yes" if is_whole else "ended early"),
            "yes",
            is_whole and not run["unfinished"],
            must=is_whole,
        ),
    ]


def goals_compared(ways: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What central settlement is wanted to save against centralized; nothing without both."""
    if not {"central", "centralized"} <= ways.keys():
        return []
    central, centralized = ways["central"], ways["centralized"]
    rows = []
    for part, percent in (("stays", INPATIENT_PERCENT), ("outpatients", OUTPATIENT_PERCENT)):
        if part in central["link"]["parts"] and part in centralized["link"]["parts"]:
            for name, words in (
                ("peak_bytes_per_claim", "link bytes in the peak hours, {}, % of centralized"),
                ("peak_message_bytes_per_claim", "the claims' own messages alone, {}, % of centralized"),
            ):
                ours = central["link"]["parts"][part][name]
                theirs = centralized["link"]["parts"][part][name]
                rows.append(_ratio(words.format(part), ours, theirs, percent))
    for name, words in (
        ("centre_us_per_settlement", "CPU of the centre's processes for a settlement, % of centralized"),
        ("centre_and_database_us_per_settlement", "the same with its database, % of centralized"),
    ):
        rows.append(_ratio(words, central["cpu"][name], centralized["cpu"][name], CENTRE_PERCENT))
    return rows


def _ratio(words: str, ours: float, theirs: float, percent: float) -> dict[str, Any]:
    found = round(100 * ours / theirs, 1) if theirs else 0.0
    return _goal(words, found, f"≤ {percent:g}", bool(theirs) and found <= percent)


def _goal(name: str, found: Any, wanted: str, met: bool, *, must: bool = False) -> dict[str, Any]:
    """`must`: a run that misses it has failed; the others are aims, and depend on the machine."""
    return {"name": name, "found": found, "wanted": wanted, "met": met, "must": must}
