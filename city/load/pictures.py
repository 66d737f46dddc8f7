"""Which pictures a report has, and what each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from city.load.svg import COLOURS, Band, Line, Second, bars, dots_over_the_day, over_the_day, spreads

FLOOD, CUT, PEAK = "#d9a400", "#c0392b", "#2563a8"
BLUE, ORANGE, GREEN, RED, GREY = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[3], COLOURS[7]
CLASS_WORDS = {
    "all": "全部 all",
    "extra_large": "特大型 extra large",
    "large": "大型 large",
    "medium": "中型 medium",
    "small": "小型 small",
    "stays": "住院 stays",
    "flood": "洪峰 the flood",
}
PART_WORDS = {"accept": "受理 accept", "wait": "等候 wait", "work": "办理 work", "total": "合计 total"}


def of_day(found: Mapping[str, Any]) -> dict[str, str]:
    """Every picture of one day, by its name in the template."""
    run, hours = found["run"], found["hours"]
    second = Second(run["hours"][0], run["compress"])
    flood = _band("洪峰 flood", found["fairness"]["flood_hours"], FLOOD)
    cut = _band(f"断链 {run['cut']['server']}", run["cut"]["hours"], CUT)
    peaks = [_band("高峰 peak", peak, PEAK) for peak in found["link"]["peak_hours"]]
    flow, backlog, link, upload = found["flow"], found["backlog"], found["link"], found["upload"]
    minutes = f"{found['step_seconds'] / 60:g}"

    def lines(
        *series: Line, unit: str, label: str, bands: tuple[Band, ...] | list[Band] = (flood, cut), **how: Any
    ) -> str:
        return over_the_day(hours, series, unit=unit, label=label, bands=bands, second=second, **how)

    return {
        "flow": lines(
            Line(name="应到 arrivals", values=flow["arrivals"], colour=BLUE),
            Line(name="得到结果 answered", values=flow["answers"], colour=ORANGE, is_dashed=True),
            Line(name="其中出院 stays among the arrivals", values=flow["stays"], colour=GREEN),
            unit=f"笔 / {minutes} 业务分钟",
            label="arrivals and completions",
        ),
        "latency": lines(
            Line(name="p50", values=flow["p50"], colour=GREEN),
            Line(name="p95", values=flow["p95"], colour=ORANGE),
            Line(name="p99", values=flow["p99"], colour=RED),
            unit="秒 s",
            label="latency over the day",
            is_log=True,
            least=0.01,
        ),
        "classes": spreads(
            [
                (
                    CLASS_WORDS.get(group, group),
                    [
                        (words, [parts[part][each] for each in ("p50", "p95", "p99")])
                        for part, words in PART_WORDS.items()
                        if parts[part]["n"]
                    ],
                )
                for group, parts in found["latency"].items()
            ],
            unit="s",
            label="latency by class: accept, wait, work and total",
        ),
        "oldest": lines(
            Line(name="最久的等候 longest wait", values=backlog["oldest"], colour=BLUE),
            Line(name="断链的前置机 the front-end that is cut off", values=backlog["oldest_cut"], colour=RED),
            Line(name="洪峰的诊所 the noisy clinic", values=backlog["oldest_flood"], colour=FLOOD),
            unit="秒 s",
            label="longest wait at a counter",
        ),
        "lanes": lines(
            Line(name="柜台等候 waiting at counters, claims", values=backlog["waiting"], colour=GREY, is_dashed=True),
            Line(name="前置机待结 open at front-ends, claims", values=backlog["open"], colour=BLUE),
            *(
                Line(name=f"{lane} 条 messages", values=values, colour=COLOURS[(at + 1) % len(COLOURS)])
                for at, (lane, values) in enumerate(backlog["lanes"].items())
                if any(values)
            ),
            unit="笔、条",
            label="waiting by lane",
        ),
        "link": lines(
            Line(name="上行 up", values=link["up"], colour=BLUE),
            Line(name="下行 down", values=link["down"], colour=ORANGE),
            unit=f"字节 / {minutes} min",
            label="bytes on the links",
            bands=[*peaks, cut],
            is_stacked=True,
        ),
        "cpu": lines(
            *(
                Line(name=part, values=values, colour=COLOURS[at % len(COLOURS)])
                for at, (part, values) in enumerate(found["cpu"]["cores"].items())
            ),
            unit="核 cores",
            label="cores in use",
            is_stacked=True,
        ),
        "upload": lines(
            Line(name="待传 claims due", values=upload["due"], colour=BLUE),
            unit="笔 claims",
            label="detail that is due",
            bands=peaks,
        )
        + lines(
            Line(name="最久 oldest, business hours", values=upload["lag_hours"], colour=RED),
            unit="小时 h",
            label="age of the oldest detail that is due",
            bands=peaks,
        ),
        "fairness": dots_over_the_day(
            [
                ("洪峰 the flood", FLOOD, [(at, value) for at, value, noisy in found["fairness"]["dots"] if noisy]),
                ("其他机构 others", BLUE, [(at, value) for at, value, noisy in found["fairness"]["dots"] if not noisy]),
            ],
            hours=(run["hours"][0], max(run["hours"][1], hours[-1])),
            unit="秒 s",
            label="waits of the tenants of one shared front-end",
            bands=[flood],
            second=second,
        ),
    }


def of_ways(ways: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The pictures of the same day settled in several ways, side by side."""
    first = next(iter(ways.values()))
    run = first["run"]
    second = Second(run["hours"][0], run["compress"])
    peaks = [_band("高峰 peak", peak, PEAK) for peak in first["link"]["peak_hours"]]
    # A day that took longer to come to its end has more steps: what all of them have is drawn.
    count = min(len(found["hours"]) for found in ways.values())
    hours = first["hours"][:count]
    minutes = f"{first['step_seconds'] / 60:g}"

    def over(
        values_of: Callable[[Mapping[str, Any]], Sequence[float | None]], unit: str, label: str, **how: Any
    ) -> str:
        lines = [
            Line(name=WORDS_BOTH[way], values=values_of(found)[:count], colour=COLOURS[at])
            for at, (way, found) in enumerate(ways.items())
        ]
        return over_the_day(hours, lines, unit=unit, label=label, bands=peaks, second=second, **how)

    def beside(words: str, value_of: Callable[[Mapping[str, Any]], float]) -> tuple[str, list[tuple[str, float]]]:
        return words, [(WORDS_BOTH[way], value_of(found)) for way, found in ways.items()]

    parts = [
        part for part in ("outpatients", "stays", "all") if all(part in one["link"]["parts"] for one in ways.values())
    ]
    words = {"outpatients": "门诊 outpatients", "stays": "住院 stays", "all": "全部 all"}
    return {
        "link": over(
            lambda found: [up + down for up, down in zip(found["link"]["up"], found["link"]["down"], strict=True)],
            f"字节 / {minutes} min",
            "bytes on the links",
        ),
        "link_bars": bars(
            [
                beside(f"{words[part]}，{when}", lambda found, part=part, key=key: found["link"]["parts"][part][key])  # type: ignore[misc]
                for part in parts
                for when, key in (
                    ("高峰每笔 peak", "peak_bytes_per_claim"),
                    ("其中费用消息 claims' messages", "peak_message_bytes_per_claim"),
                    ("全天每笔 day", "bytes_per_claim"),
                )
            ],
            unit="B",
            label="bytes a claim",
        ),
        "centre": over(lambda found: found["cpu"]["cores"].get("centre", []), "核 cores", "CPU of the centre"),
        "cpu_bars": bars(
            [
                beside("中心进程 centre", lambda found: found["cpu"]["centre_us_per_settlement"]),
                beside(
                    "连数据库 with its database", lambda found: found["cpu"]["centre_and_database_us_per_settlement"]
                ),
                beside("前置机 front-ends", lambda found: found["cpu"]["front_ends_us_per_settlement"]),
            ],
            unit="µs",
            label="CPU a settlement",
        ),
        "p99": over(lambda found: found["flow"]["p99"], "秒 s", "p99 over the day", is_log=True, least=0.01),
    }


WORDS_BOTH = {"central": "前置机汇总 central", "local": "前置机结算 local", "centralized": "明细集中 centralized"}


def _band(name: str, hours: Sequence[float], colour: str) -> Band:
    return Band(name, hours[0], hours[1], colour)
