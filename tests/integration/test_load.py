"""A short day of the load test on real processes, through every door, and the contract of its report."""

from __future__ import annotations

import copy
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from city.load.comparison import compared, comparison_of
from city.load.report import figure, written
from city.load.run import run_day
from city.load.staging import Wanted
from domain.ways import Way
from infra.settings import Settings

SHORT = Wanted(
    city="guangzhou-2005",
    compress=1800,
    way=Way.CENTRAL,
    seed=11,
    hours=(9.0, 12.0),
    scale=0.005,
    people=2_000,
    one_server=True,
)


class Page(HTMLParser):
    """What a report loads, and the figures it shows."""

    def __init__(self, page):
        super().__init__()
        self.loads, self.shown, self._path = [], {}, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href", "action", "data", "xlink:href") or "url(" in (value or ""):
                self.loads.append((tag, name, value))
        if tag in ("link", "iframe", "object", "embed", "img"):
            self.loads.append((tag, "", ""))
        self._path = dict(attributes).get("data-figure")

    def handle_data(self, data):
        if self._path is not None:
            self.shown[self._path] = data
            self._path = None


def holds_its_contract(page, found):
    read = Page(page)
    assert read.loads == []
    assert not re.search(r"@import|url\(|https?://", page)
    assert json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1]) == found
    assert read.shown == {path: written(figure(found, path)) for path in read.shown}
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for picture in pictures:
        ET.fromstring(picture)
    return read.shown, pictures


@pytest.mark.timeout(400)
def test_a_short_day_is_played_proven_and_told(tmp_path):
    said = io.StringIO()
    to = tmp_path / "reports" / "day.html"

    found = run_day(
        Settings(data_dir=tmp_path / "data"), SHORT, command="jiesuan load run", to=to, console=Console(file=said)
    )

    assert found["proof"]["lost"] == found["proof"]["doubled"] == found["proof"]["difference_fen"] == 0
    assert found["proof"]["all_kept"], [one for one in found["proof"]["promises"] if not one["kept"]]
    assert found["run"]["unfinished"] == ""
    assert [goal for goal in found["goals"] if goal["must"] and not goal["met"]] == []
    assert found["volumes"]["handed_in"] == found["volumes"]["arrivals"] > 150
    assert sum(found["volumes"]["ends"].values()) == found["volumes"]["handed_in"]
    assert found["volumes"]["ends"]["settled"] == found["settled"]
    assert found["servers"][0]["door"] == "api, files, tables"
    assert found["servers"][0]["processes"] == 5
    assert found["closing"]["refused"] == 0 < found["closing"]["closed"]

    total = found["latency"]["all"]["total"]
    assert 0 < total["p50"] <= total["p95"] <= total["p99"] <= total["max"]
    assert sum(found["flow"]["arrivals"]) == found["volumes"]["handed_in"]
    assert found["link"]["lanes"]["settle"]["messages"] > 0
    assert found["link"]["parts"]["all"]["day_bytes"] > found["link"]["lanes"]["settle"]["bytes"] > 0
    assert found["cpu"]["centre_us_per_settlement"] > 0
    assert found["fairness"]["noisy"]["n"] == found["run"]["flood"]["claims"]
    assert "link cut" in said.getvalue()

    kept = json.loads(to.with_suffix(".json").read_text(encoding="utf-8"))
    shown, pictures = holds_its_contract(to.read_text(encoding="utf-8"), kept)
    assert kept == json.loads(json.dumps(found))
    assert len(pictures) == 10
    assert shown["proof.lost"] == "0"
    assert {"latency.all.total.p99", "backlog.longest_seconds", "link.parts.all.peak_bytes"} <= shown.keys()

    other = copy.deepcopy(kept)
    other["run"]["way"] = "centralized"
    other["cpu"]["centre_us_per_settlement"] *= 4
    together = compared([other, kept])
    assert list(together["ways"]) == ["central", "centralized"]
    assert [goal["found"] for goal in together["goals"] if "centre's processes" in goal["name"]] == [25.0]
    shown, pictures = holds_its_contract(comparison_of(together), together)
    assert shown["ways.central.settled"] == shown["ways.centralized.settled"]
    assert len(pictures) == 5
