"""Figures over the day, small pictures, and days side by side."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.load.comparison import NotTheSameDay, compared
from city.load.goals import goals_compared
from city.load.report import clock, figure, written
from city.load.series import Steps, counted, highest, in_hours, percentile, risen, spread_of, steps_between
from city.load.svg import Band, Line, Second, bars, dots_over_the_day, over_the_day, spreads
from city.load.told import Clocks, Waiting

HOURS = [8.0, 9.0, 10.0, 11.0]
STEPS = Steps(begins=28_800.0, seconds=600.0, count=6)


def drawn(svg):
    """The picture, read as XML."""
    return ET.fromstring(svg[: svg.index("</svg>") + len("</svg>")])


@given(begins=st.floats(0, 80_000), length=st.floats(1, 50_000), at_least=st.floats(0.1, 4_000))
def test_steps_cover_the_day_and_are_as_long_as_is_asked(begins, length, at_least):
    steps = steps_between(begins, begins + length, at_least=at_least)
    assert steps.edges[-1] >= begins + length - 1e-6
    assert steps.seconds >= min(at_least, 3_600)
    assert len(steps.hours()) == steps.count <= 80


def test_moments_are_counted_in_their_steps_and_those_outside_at_the_ends():
    assert counted(STEPS, [28_800, 29_399.9, 29_400, 40_000, 0]) == [3, 1, 0, 0, 0, 1]


def test_a_counter_rises_by_what_it_rose_however_seldom_it_was_looked_at():
    looks = [(28_000.0, 100.0), (28_800.0, 100.0), (30_000.0, 160.0), (33_000.0, 160.0)]
    assert risen(STEPS, looks) == [30.0, 30.0, 0.0, 0.0, 0.0, 0.0]
    assert risen(STEPS, []) == [0.0] * 6


def test_the_highest_of_a_step_stands_until_somebody_looks_again():
    assert highest(STEPS, [(28_801, 4), (28_802, 9), (30_001, 2)]) == [9, 9, 2, 2, 2, 2]


def test_percentiles_are_of_the_values():
    assert spread_of(range(1, 101)) == {"n": 100, "p50": 51, "p95": 96, "p99": 100, "max": 100}
    assert spread_of([]) == {"n": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    assert percentile([1.0], 99) == 1.0


def test_bytes_of_the_peak_hours_are_those_of_their_steps():
    assert in_hours(STEPS, [1, 2, 4, 8, 16, 32], ((8.0, 8.5),)) == 7


def test_lines_have_gaps_where_there_is_nothing_and_names_are_escaped():
    picture = over_the_day(
        HOURS,
        [Line(name="p50 <a>", values=[1.0, None, 3.0, 4.0]), Line(name="p99", values=[2.0, 2.0, 2.0, 2.0])],
        unit="s",
        label="a & b",
        bands=[Band("断链", 8.5, 9.0, "#c00")],
        second=Second(8.0, 60),
    )
    lines = [element for element in drawn(picture).iter() if element.tag == "polyline"]
    assert [line.find("title").text for line in lines] == ["p99", "p50 <a>", "p50 <a>"]
    assert "p50 &lt;a&gt;" in picture
    assert "断链" in picture
    assert "1′00″" in picture


def test_areas_stand_one_on_the_other():
    picture = over_the_day(
        HOURS,
        [Line(name="up", values=[1, 1, 1, 1]), Line(name="down", values=[2, 2, 2, 2])],
        unit="B",
        label="link",
        is_stacked=True,
    )
    tops = [
        min(float(point.split(",")[1]) for point in element.get("points").split())
        for element in drawn(picture).iter()
        if element.tag == "polygon"
    ]
    assert tops[0] < tops[1]


def test_an_empty_day_can_be_drawn():
    drawn(over_the_day([8.0], [Line(name="nothing", values=[0.0])], unit="", label=""))
    drawn(dots_over_the_day([("none", "#000", [])], hours=(8.0, 8.0), unit="s", label=""))
    drawn(bars([("a", [("x", 0.0)])], unit="B", label=""))
    drawn(spreads([("a", [("x", (0.0, 0.0, 0.0))])], unit="s", label=""))


def test_bars_carry_their_figures():
    picture = bars([("stays", [("central", 1_500.0), ("centralized", 30_000.0)])], unit="B", label="bytes")
    assert "1.5k B" in picture
    widths = [float(element.get("width")) for element in drawn(picture).iter() if element.tag == "rect"]
    assert widths[0] * 20 == pytest.approx(widths[1], rel=0.01)


def test_spreads_run_from_the_median_to_the_99th_on_a_scale_of_decades():
    picture = spreads(
        [("small", [("accept", [0.01, 0.05, 0.1]), ("total", [0.1, 0.5, 1.0])])], unit="s", label="by class", least=0.01
    )
    strokes = [element.get("d") for element in drawn(picture).iter() if element.get("class") == "spread"]
    (begins, ends), (later, last) = [
        (float(re.match(r"M([\d.]+)", stroke)[1]), float(re.search(r"H([\d.]+)", stroke)[1])) for stroke in strokes
    ]
    assert ends == later, "0.1 s stands where it stands"
    assert ends - begins == pytest.approx(last - later, abs=0.2), "a decade is as long everywhere"
    assert "1 s" in picture


def test_figures_are_written_as_people_read_them():
    assert [written(value) for value in (0, 1234567, 0.1234, 12.345, 3.0, "ja", True)] == [
        "0", "1,234,567", "0.123", "12.3", "3", "ja", "True",
    ]  # fmt: skip
    assert figure({"a": [{"b": 7}]}, "a.0.b") == 7
    assert (clock(9.5), clock(19.999)) == ("09:30", "20:00")


def test_both_clocks_say_the_same_moment():
    clocks = Clocks(opens=32_400.0, opened=1_000.0, compress=60)
    assert clocks.real(36_000.0) == 1_060.0
    assert clocks.second(1_060.0) == 36_000.0


def test_who_waits_waits_from_the_intended_moment():
    waiting = Waiting()
    waiting.begin("a", 1, 0.0)
    waiting.begin("a", 2, 9e9)
    assert waiting.progress()["waiting"]["a"][0] == 2
    assert waiting.progress()["waiting"]["a"][1] > 1e9
    waiting.end("a", 1)
    assert waiting.progress()["waiting"]["a"][1] < 0
    waiting.end("a", 2)
    assert (waiting.due, waiting.answered, waiting.progress()["waiting"]) == (2, 2, {})


def day(way, *, stays, outpatients, centre, **run):
    """The figures two days are compared by."""
    return {
        "run": {
            "way": way, "city": "c", "seed": 1, "compress": 60, "scale": 1, "hours": [7, 19], "day": "2026-08-31",
            **run,
        },
        "link": {
            "parts": {
                part: {"peak_bytes_per_claim": value, "peak_message_bytes_per_claim": value / 2}
                for part, value in (("stays", stays), ("outpatients", outpatients))
            }
        },
        "cpu": {"centre_us_per_settlement": centre, "centre_and_database_us_per_settlement": centre * 2},
    }  # fmt: skip


def test_central_is_held_against_centralized():
    together = compared(
        [
            day("centralized", stays=10_000, outpatients=1_000, centre=1_000),
            day("central", stays=400, outpatients=130, centre=250),
        ]
    )
    assert list(together["ways"]) == ["central", "centralized"]
    assert [(goal["found"], goal["met"]) for goal in together["goals"]] == [
        (4.0, True), (4.0, True), (13.0, False), (13.0, False), (25.0, True), (25.0, True),
    ]  # fmt: skip
    assert goals_compared({"central": together["ways"]["central"]}) == []
    json.dumps(together)


def test_only_the_same_day_is_compared():
    central = day("central", stays=1, outpatients=1, centre=1)
    with pytest.raises(NotTheSameDay, match="seed"):
        compared([central, day("local", stays=1, outpatients=1, centre=1, seed=2)])
    with pytest.raises(NotTheSameDay, match="同一方式"):
        compared([central, central])
