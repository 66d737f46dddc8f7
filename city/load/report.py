"""The report of a played day: one HTML file with its pictures inside, for whoever has no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment
from markupsafe import Markup, escape

from city.load import pictures
from city.load.his import TURN_SECONDS
from domain.ways import WORDS, Way

LINK_WORDS = {
    "outpatients": "只有门诊的前置机 outpatients only",
    "stays": "只有住院的前置机 stays only",
    "mixed": "门诊和住院 both",
    "all": "全部 all",
}
TEMPLATES = ("base.html", "report.html", "comparison.html")


def report_of(found: Mapping[str, Any]) -> str:
    """The page of one day's figures (`city.load.figures`)."""
    run = found["run"]
    settle = found["link"]["lanes"].get("settle", {"messages": 0})["messages"]
    return page(
        "report.html",
        found,
        title=f"Peak-day load test: {run['city']}, {run['way']}",
        way_words=WORDS[Way(run["way"])],
        weekday_zh="一二三四五六日"[date.fromisoformat(run["day"]).weekday()],
        pictures={name: Markup(drawn) for name, drawn in pictures.of_day(found).items()},
        turn_seconds=TURN_SECONDS,
        per_message=f"{found['settled'] / settle:.1f}" if settle else "–",
        **found,
    )


def page(template: str, found: Mapping[str, Any], **names: Any) -> str:
    """A template with these figures: `f(path)` in it writes one of them, so that it can be found again."""
    embedded = json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        _environment()
        .get_template(template)
        .render(
            f=lambda path: Markup('<span data-figure="{}">{}</span>').format(path, written(figure(found, path))),
            badge=_badge,
            clock=clock,
            class_words=lambda group: pictures.CLASS_WORDS.get(group, group),
            part_words=lambda part: LINK_WORDS.get(part, part),
            embedded=embedded,
            **names,
        )
    )


def figure(found: Mapping[str, Any], path: str) -> Any:
    """One figure by its place in the document, names and numbers of lists joined by points. Raises KeyError."""
    value: Any = found
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, Sequence) and not isinstance(value, str) else value[step]
    return value


def written(value: Any) -> str:
    """A figure as the page shows it: whole numbers with commas, others with as many places as they need."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"


def clock(hour: float) -> str:
    """An hour of the day as a clock shows it."""
    minutes = round(hour * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _badge(what: str, value: Markup, is_good: bool | None) -> Markup:
    how = "" if is_good is None else "met" if is_good else "missed"
    return Markup('<div class="badge"><b class="{}">{}</b><span class="what">{}</span></div>').format(
        how, value, escape(what)
    )


@cache
def _environment() -> Environment:
    folder = files("city.load").joinpath("templates")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in TEMPLATES}
    return Environment(loader=DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True)
