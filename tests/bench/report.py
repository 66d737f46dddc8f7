"""The figures of a run as tables, and the goals beside them: met or missed, never a failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import ways
from tests.bench.site import PARTIES

console = Console(width=140, highlight=False)
Found = dict[str, Any]

DBF_GOAL, API_GOAL = 10.0, 5.0  # × the empty Celery chain
DRAMATIQ_GOAL = 1.0  # × the empty dramatiq chain
CPU_GOAL_US = 350
P99_GOAL_MS = 250.0
HISTORY_GOAL_PERCENT = 90.0  # of the rate on an empty centre
MEMORY_GOAL_PERCENT = 5.0  # more over the second half of the claims
BYTES_GOAL_PERCENT = 15.0
QUIET_CORES = 0.15
DBF_SECONDS_GOAL = 5.0
UPLOAD_GOAL = 1.2  # × the p99 without detail on the way
SETTLED_GOALS = {"outpatient, from totals": 15_000, "outpatient, from 20 lines": 4_000}
VALIDATED = "ours, read and validated"

CHAINS = {"celery_chain": "Celery 5.7, stock Redis transport", "dramatiq_chain": "dramatiq, prefetch 200"}
DOORS = {"dbf_door": "DBF files, until written back", "api_door": "API, until the answer is recorded"}
MEASURED = {"dbf_door": "DBF door", "api_door": "API door", "latency": "API at half load, waiting"}
FROM, TO = "<!-- figures: written by `python -m tests.bench --page` -->", "<!-- end of figures -->"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table: the first column is words, the others figures. A row that begins with `=` is a sum."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    words: set[int] = field(default_factory=lambda: {0})


def say(words: str) -> None:
    """A line while it runs."""
    console.print(f"[dim]{words}[/dim]")


def goals(found: Found) -> list[Found]:
    """The goals of which this run has what it takes to judge them."""
    judged = [*_of_doors(found), *_of_time(found)]
    if "link_bytes" in found:
        percent = found["link_bytes"]["percent_of"]
        judged += [
            _goal(f"bytes, % of {way}", value, BYTES_GOAL_PERCENT, more=False)
            for way, value in next(iter(percent.values())).items()
        ]
    if "ways" in found:
        judged += [_goal(name, value, goal, more=False) for name, value, goal in ways.goals(found["ways"])]
    if "uploading" in found:
        judged.append(_goal("p99 with detail upload, × without", found["uploading"]["ratio"], UPLOAD_GOAL, more=False))
    for way, words in (("flooded", "one of 24 floods"), ("flooded_without_limit", "the same, without limits")):
        if "tenants" in found:
            late, allowed = found["tenants"][way]["p99_ms"], found["tenants"]["allowed_p99_ms"]
            judged.append(_goal(f"p99 of the others, ms: {words}", late, allowed, more=False))
    for name, goal in SETTLED_GOALS.items():
        if us := found.get("benefit", {}).get(name):
            judged.append(_goal(f"{name}: settlements/s and core", round(1e6 / us), goal, more=True))
    if codec := found.get("dbf_codec"):
        seconds = codec["cpu_seconds_per_100000_records"]["read"][VALIDATED]
        judged.append(_goal("100,000 DBF records read and validated, s of CPU", seconds, DBF_SECONDS_GOAL, more=False))
    return judged


def _of_doors(found: Found) -> Iterator[Found]:
    for door, goal in (("dbf_door", DBF_GOAL), ("api_door", API_GOAL)):
        if door not in found:
            continue
        celery, dramatiq = (_ratio(found, door, chain) for chain in CHAINS)
        if celery:
            yield _goal(f"{MEASURED[door]}, × empty Celery chain", celery, goal, more=True)
        if dramatiq:
            yield _goal(f"{MEASURED[door]}, × empty dramatiq chain", dramatiq, DRAMATIQ_GOAL, more=True)
        yield _goal(f"{MEASURED[door]}, CPU µs a claim", found[door]["cpu_us_total"], CPU_GOAL_US, more=False)


def _of_time(found: Found) -> Iterator[Found]:
    """How late an answer is, and what a long history makes of rate and memory."""
    if "latency" in found:
        p99 = found["latency"]["p99_ms"]
        yield _goal("p99 from submission to answer at half load, ms", p99, P99_GOAL_MS, more=False)
    if history := found.get("history"):
        words = f"rate on {history['settlements']:,} settlements, % of that on none"
        yield _goal(words, history["rate_percent"], HISTORY_GOAL_PERCENT, more=True)
        words = f"memory of a process grew, % (second half of {history['memory']['claims']:,} claims)"
        yield _goal(words, history["memory"]["grew_percent"], MEMORY_GOAL_PERCENT, more=False)


def show(found: Found) -> None:
    """Print everything there is."""
    for sheet in _sheets(found):
        table = Table(title=sheet.title, caption=sheet.note or None)
        for at, column in enumerate(sheet.columns):
            table.add_column(column, justify="left" if at in sheet.words else "right")
        for row in sheet.rows:
            is_sum = row[0].startswith("=")
            table.add_row(row[0].removeprefix("="), *map(_coloured, row[1:]), style="bold" if is_sum else "")
        console.print(table)
        console.print()
    console.print(_where(found))


def write_page(found: Found, page: Path) -> None:
    """Put the tables in the place of those that stand in the page. Raises ValueError when their place is not there."""
    text = page.read_text(encoding="utf-8")
    before, after = text[: text.index(FROM)], text[text.index(TO) :]
    tables = [f"{_where(found)}.\n", *map(_as_markdown, _sheets(found))]
    page.write_text(f"{before}{FROM}\n\n" + "\n".join(tables) + f"\n{after}", encoding="utf-8")


def _sheets(found: Found) -> Iterator[Sheet]:
    made = (make(found) for make in (_goals, *_FIGURES))
    yield from (sheet for sheet in made if sheet.rows)


def _chains(found: Found) -> Sheet:
    ways = {"prefilled": "prefilled", "with_a_publisher": "a publisher beside it"}
    rows = [
        [
            f"{words}, {ways[way]}",
            f"{found[name][way]['per_second']:,}",
            str(found[name][way]["cpu_us_total"]),
            _listed(found[name][way]["cpu_us"]),
            str(found[name][way]["others_cores"]),
        ]
        for name, words in CHAINS.items()
        if name in found
        for way in ways
    ]
    columns = ["library", "pipelines/s", "CPU µs", "of it", "others, cores"]
    return Sheet("An empty chain of two tasks on the same broker", columns, rows, words={0, 3})


def _doors(found: Found) -> Sheet:
    rows = []
    for name, words in DOORS.items():
        if door := found.get(name):
            ratios = [str(_ratio(found, name, chain) or "") for chain in CHAINS]
            figures = [f"{door['claims_per_second']:,}", _runs(door["runs"]), *ratios]
            rows.append([words, *figures, str(door["cpu_us_total"]), str(door["others_cores"])])
    columns = ["door", "claims/s", "of the runs", "× Celery", "× dramatiq", "CPU µs a claim", "others, cores"]
    return Sheet("The whole pipeline, 20 lines a claim, durable at both ends", columns, rows)


def _late(found: Found) -> Sheet:
    late = found.get("latency")
    columns = ["claims/s offered", "p50 ms", "p90 ms", "p99 ms", "max ms", "others, cores"]
    names = ("p50_ms", "p90_ms", "p99_ms", "max_ms", "others_cores")
    rows = [[str(late["offered_per_second"]), *(str(late[name]) for name in names)]] if late else []
    return Sheet("From submission to answer at half of the measured capacity, open loop", columns, rows)


def _uploading(found: Found) -> Sheet:
    measured = found.get("uploading")
    columns = ["detail upload", "claims/s offered", "p50 ms", "p99 ms", "lines uploaded/s"]
    if not measured:
        return Sheet("", columns, [])
    offered, lines = str(measured["offered_per_second"]), str(measured["lines_uploaded_per_second"])
    rows = [
        [way, offered, str(measured["p50_ms"][way]), str(measured["p99_ms"][way]), lines if way == "with" else ""]
        for way in ("without", "with")
    ]
    note = f"p99 with is {measured['ratio']} × without; the window's budget is the whole city's at night"
    return Sheet("Settling at half capacity while detail travels", columns, rows, note)


def _cpu(found: Found) -> Sheet:
    parts = [found[name] for name in MEASURED if name in found]
    rows = []
    for party, names in PARTIES.items():
        rows += [[process, *(str(part["cpu_us"].get(process, "")) for part in parts)] for process in names]
        if len(names) > 1:
            rows.append([f"={party} together", *(str(part["cpu_us_by_party"][party]) for part in parts)])
    rows.append(["=all four", *(str(part["cpu_us_total"]) for part in parts)])
    rows.append(["beside: beat, Flower", *(str(part["cpu_us_beside"]) for part in parts)])
    rows.append(["load generator, not counted", *(str(part.get("load_generator_us", "")) for part in parts)])
    note = f"Idle, ms of CPU a second: {_listed(found['idle_ms_per_second'])}" if parts else ""
    columns = ["process", *(words for name, words in MEASURED.items() if name in found)]
    return Sheet("CPU µs per claim by process", columns, rows if parts else [], note)


def _bytes(found: Found) -> Sheet:
    weighed = found.get("link_bytes")
    columns = ["what", "bytes a claim", "ours are, %", "ours, one claim a message, %"]
    if not weighed:
        return Sheet("", columns, [])
    rows = [
        [f"{name}, {weighed[name]['claims_per_message']} claims a message", f"{weighed[name]['bytes_per_claim']:,.0f}"]
        for name in ("totals", "answers")
    ]
    rows.append(["=totals and answer: ours", f"{weighed['bytes_per_claim']:,}"])
    rows.append(["ours, one claim a message", f"{sum(weighed['alone'].values()):,.0f}"])
    for number, weights in weighed["lines"].items():
        for way, weight in weights.items():
            percents = [str(weighed[of][number][way]) for of in ("percent_of", "percent_of_alone")]
            rows.append([f"{number} lines: {way}", f"{weight:,.0f}", *percents])
    rows = [row + [""] * (len(columns) - len(row)) for row in rows]
    idle = weighed["idle_bytes_per_second"]
    note = f"While nothing happens a front-end's connections to the centre's broker carry {idle} bytes a second"
    return Sheet("Bytes per claim between front-end and centre, as the broker holds them", columns, rows, note)


def _steps(found: Found) -> Sheet:
    rows = [[step, str(us)] for step, us in found.get("steps", {}).items()]
    for batch, settled in found.get("center_settle", {}).items():
        words = f"centre settles, {batch.replace('_', ' of ')}: worker + PostgreSQL"
        rows.append([words, f"{settled['worker_us']} + {settled['postgres_us']}"])
    if alone := found.get("api_alone"):
        words = f"API process alone, closed loop at {alone['claims_per_second']:,} claims/s"
        rows.append([words, str(alone["api_cpu_us_per_claim"])])
    if codec := found.get("dbf_codec"):
        for what, by in codec["cpu_seconds_per_100000_records"].items():
            rows += [[f"20 DBF records, {what}: {who}", f"{spent * 200:.0f}"] for who, spent in by.items()]
    return Sheet("Single steps, CPU µs per claim of 20 lines", ["step", "µs"], rows)


def _benefit(found: Found) -> Sheet:
    rows = [[what, f"{us:g}", f"{1e6 / us:,.0f}"] for what, us in found.get("benefit", {}).items()]
    columns = ["one settlement", "CPU µs", "per second and core"]
    return Sheet("One settlement, steps included", columns, rows)


def _replayed(found: Found) -> Sheet:
    columns = ["settlements", "seconds", "settlements/s", "CPU µs a settlement", "memory grew, MB"]
    if not (replayed := found.get("replay")):
        return Sheet("", columns, [])
    figures = [f"{replayed[name]:,}" for name in ("settlements", "seconds", "settlements_per_second")]
    row = [*figures, str(replayed["cpu_us_per_settlement"]), str(replayed["memory_grew_mb"])]
    return Sheet("A history settled again under a draft", columns, [row], words=set())


def _ways(found: Found) -> Sheet:
    columns = ["what, by claims in a message", *map(str, ways.FILLS)]
    if "ways" not in found:
        return Sheet("", columns, [])
    note = "Centralized sends every line in the same packing, deflated and sealed; answers are counted in both"
    return Sheet(
        "The ways to settle: bytes a claim on the link, CPU of the centre", columns, ways.rows(found["ways"]), note
    )


def _history(found: Found) -> Sheet:
    columns = ["centre that holds", "claims/s", "CPU µs a claim", "of it centre and database"]
    if not (history := found.get("history")):
        return Sheet("", columns, [])
    names = ("claims_per_second", "cpu_us", "centre_cpu_us")
    rows = [
        [words, *(f"{history[which][name]:,.0f}" for name in names)]
        for words, which in (("nothing", "empty"), (f"{history['settlements']:,} settlements", "full"))
    ]
    rows.append(["full, % of empty", str(history["rate_percent"]), "", str(history["centre_cpu_percent"])])
    return Sheet("The same load through the DBF door on an empty centre and on a full one", columns, rows)


def _memory(found: Found) -> Sheet:
    columns = ["process", "first", "after half", "last", "grew in the second half"]
    if not (memory := found.get("history", {}).get("memory")):
        return Sheet("", columns, [])
    rows = [
        [name, *(str(mb[when]) for when in ("first", "half", "last")), str(memory["grew_mb"][name])]
        for name, mb in memory["mb"].items()
    ]
    return Sheet(f"Memory of their own over {memory['claims']:,} claims through the API, MB", columns, rows)


def _exchange(found: Found) -> Sheet:
    names = ("lines_per_second", "cpu_us_per_line", "database_us_per_line")
    rows = [
        [door, *(f"{figures[name]:,}" if name in figures else "" for name in names)]
        for door, figures in found.get("exchange", {}).items()
    ]
    columns = ["door", "lines/s", "CPU µs a line", "of the database, µs a line"]
    return Sheet("Charge lines of stays through each door, one core", columns, rows)


def _goals(found: Found) -> Sheet:
    judged = {True: "met", False: "missed", None: ""}
    rows = [
        [goal["goal"], str(goal["found"]), goal.get("wanted", ""), judged[goal.get("met")]] for goal in found["goals"]
    ]
    return Sheet("Goals", ["goal", "found", "wanted", ""], rows, words={0, 3})


_FIGURES = (
    _chains,
    _doors,
    _late,
    _history,
    _memory,
    _uploading,
    _cpu,
    _bytes,
    _ways,
    _benefit,
    _replayed,
    _exchange,
    _steps,
)


def _goal(name: str, value: float, goal: float, *, more: bool) -> Found:
    return {
        "goal": name,
        "found": value,
        "wanted": f"{'≥' if more else '≤'} {goal:g}",
        "met": value >= goal if more else value <= goal,
    }


def _ratio(found: Found, door: str, chain: str) -> float | None:
    """The median over the turns of what the door did against what the chain did, in its better way."""
    if chain not in found:
        return None
    turns = zip(found[door]["runs"], found[chain]["runs"], strict=True)
    return round(median(claims / pipelines for claims, pipelines in turns), 2)


def _runs(rates: list[float]) -> str:
    return "–".join(f"{rate:,}" for rate in sorted({min(rates), max(rates)}))


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _where(found: Found) -> str:
    """The machine, the versions, and whether it was quiet."""
    about, others = found["machine"], _most_others(found)
    versions = ", ".join(f"{name} {value}" for name, value in about.items() if name not in _OF_THE_MACHINE)
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gb']} GB, {about['system']}, "
        f"Python {about['python']}; {versions}; load average {found['load_before']:.1f} before; "
        f"a fixed calculation took {_runs(found['pace_ms'])} ms{_quiet(others)}"
    )


def _quiet(others: float | None) -> str:
    if others is None:
        return ""
    warning = ", so this was no quiet machine and these figures are not to be quoted" if others > QUIET_CORES else ""
    return f"; other programs used up to {others:g} cores{warning}"


def _most_others(found: Found) -> float | None:
    chains = [found[name][way] for name in CHAINS if name in found for way in ("prefilled", "with_a_publisher")]
    doors = [found[name] for name in MEASURED if name in found]
    return max((float(run["others_cores"]) for run in (*chains, *doors)), default=None)


_OF_THE_MACHINE = ("cpu", "cores", "memory_gb", "system", "python")


def _coloured(cell: str) -> str:
    return {"met": "[green]met[/green]", "missed": "[red]missed[/red]"}.get(cell, cell)


def _as_markdown(sheet: Sheet) -> str:
    rule = ["---" if at in sheet.words else "--:" for at in range(len(sheet.columns))]
    rows = [[f"**{cell}**" if cell else "" for cell in (row[0][1:], *row[1:])] if row[0][0] == "=" else row
            for row in sheet.rows]  # fmt: skip
    lines = [f"| {' | '.join(cells)} |" for cells in (sheet.columns, rule, *rows)]
    return "\n".join([f"### {sheet.title}\n", *lines, *([f"\n{sheet.note}."] if sheet.note else []), ""])
