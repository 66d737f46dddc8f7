"""The same day settled in several ways, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from city.load import pictures
from city.load.goals import goals_compared
from city.load.report import page
from domain.ways import Way

SAME = ("city", "seed", "compress", "scale", "hours", "day")
"""What two runs must have in common to be compared."""

ROWS = (
    ("丢失 lost", "proof.lost"),
    ("重复结算 settled twice", "proof.doubled"),
    ("结算笔数 settled", "settled"),
    ("高峰链路字节 link bytes in the peak hours", "link.parts.all.peak_bytes"),
    ("全天链路字节 link bytes of the day", "link.parts.all.day_bytes"),
    ("门诊高峰每笔字节 a claim of outpatients in the peak", "link.parts.outpatients.peak_bytes_per_claim"),
    ("其中费用消息 its messages alone", "link.parts.outpatients.peak_message_bytes_per_claim"),
    ("门诊全天每笔字节 the same over the day", "link.parts.outpatients.bytes_per_claim"),
    ("住院高峰每笔字节 a stay in the peak", "link.parts.stays.peak_bytes_per_claim"),
    ("其中费用消息 its messages alone", "link.parts.stays.peak_message_bytes_per_claim"),
    ("住院全天每笔字节 the same over the day", "link.parts.stays.bytes_per_claim"),
    ("中心每笔 CPU µs centre's processes a settlement", "cpu.centre_us_per_settlement"),
    ("连数据库 µs with its database", "cpu.centre_and_database_us_per_settlement"),
    ("前置机每笔 CPU µs front-ends", "cpu.front_ends_us_per_settlement"),
    ("p50 秒 total", "latency.all.total.p50"),
    ("p95 秒 total", "latency.all.total.p95"),
    ("p99 秒 total", "latency.all.total.p99"),
    ("最久等候 longest wait, s", "backlog.longest_seconds"),
    ("其他程序占核 other programs, cores", "cpu.others_cores"),
)


class NotTheSameDay(Exception):
    """Two runs cannot be put side by side; names what differs."""

    def __init__(self, differing: Sequence[str]) -> None:
        super().__init__(f"这些运行不是同一天，不能比较：{'、'.join(differing)} 不同")


def compared(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of several runs as one document. Raises NotTheSameDay."""
    first = runs[0]["run"]
    differing = sorted({name for found in runs for name in SAME if found["run"][name] != first[name]})
    if len({found["run"]["way"] for found in runs}) != len(runs):
        differing.append("way（两次为同一方式）")
    if differing:
        raise NotTheSameDay(differing)
    order = [str(way) for way in Way]
    ways = {found["run"]["way"]: found for found in sorted(runs, key=lambda one: order.index(one["run"]["way"]))}
    return {"ways": ways, "goals": goals_compared(ways)}


def comparison_of(found: Mapping[str, Any]) -> str:
    """The page that puts them side by side."""
    ways = found["ways"]
    first = next(iter(ways.values()))
    rows = [(words, path) for words, path in ROWS if all(_has(one, path) for one in ways.values())]
    return page(
        "comparison.html",
        found,
        title=f"Peak-day load test: {first['run']['city']}, {len(ways)} ways",
        run=first["run"],
        machine=first["machine"],
        way_words=lambda way: pictures.WORDS_BOTH[way],
        rows=rows,
        commands=list(dict.fromkeys(one["run"]["command"] for one in ways.values())),
        pictures={name: Markup(drawn) for name, drawn in pictures.of_ways(ways).items()},
        ways=ways,
        goals=found["goals"],
    )


def _has(found: Mapping[str, Any], path: str) -> bool:
    value: Any = found
    for step in path.split("."):
        if step not in value:
            return False
        value = value[step]
    return True
