"""How large a machine an institution wants: the printed table as numbers, our measurements, what falls short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from city.commands import DONE, REFUSED, Stop, doctor_as
from city.sizing import scale
from city.sizing.hardware import SHARED, Configuration, advice, configuration
from city.sizing.needs import needs
from domain.institution_class import Size

ROOT = Path(__file__).parents[2]
CHOICES = (*Size, SHARED)
LEAST = {
    (Size.EXTRA_LARGE, True): Configuration(1, 2048, 144),
    (Size.LARGE, False): Configuration(1, 2048, 144),
    (Size.MEDIUM, True): Configuration(1, 1024, 72),
    (Size.MEDIUM, False): Configuration(1, 1024, 120),
    (Size.SMALL, True): Configuration(1, 1024, 80),
    (Size.SMALL, False): Configuration(1, 512, 80),
    (SHARED, False): Configuration(1, 2048, 144),
}
"""Worked out by hand from sections 3.2.1, 3.2.2 and 3.3; of a mirrored pair one disk counts."""


@pytest.mark.parametrize(("size", "civil_servants"), LEAST, ids=str)
def test_the_printed_minimum_as_numbers(size, civil_servants):
    lines, _ = advice(size, civil_servants=civil_servants)
    assert configuration({line.item: line.minimum for line in lines}) == LEAST[size, civil_servants]


@pytest.mark.parametrize("size", CHOICES)
@pytest.mark.parametrize("civil_servants", [True, False])
def test_what_is_recommended_is_never_below_the_minimum_but_where_the_table_says_so(size, civil_servants):
    lines, _ = advice(size, civil_servants=civil_servants)
    recommended = configuration({line.item: line.recommended for line in lines})
    least = configuration({line.item: line.minimum for line in lines})
    assert recommended.processors >= least.processors
    assert recommended.memory_mib >= least.memory_mib
    # Small and open for civil servants: a mirrored pair of 72 GB against one disk of 80.
    assert recommended.disk_gb >= least.disk_gb or (size, civil_servants) == (Size.SMALL, True)


def test_a_configuration_in_other_words_is_no_number():
    with pytest.raises(ValueError, match="memory"):
        configuration({"host": "1×PC", "cpu": "1×Xeon", "memory": "plenty", "disk": "80G"})


def test_a_larger_class_needs_no_less():
    small, medium, large, extra = (needs(size) for size in (Size.SMALL, Size.MEDIUM, Size.LARGE, Size.EXTRA_LARGE))
    for less, more in ((small, medium), (medium, large), (large, extra), (small, needs(None))):
        assert all(a <= b for a, b in zip(_numbers(less), _numbers(more), strict=True))


def _numbers(need):
    return [getattr(need, name) for name in need.__slots__]


def test_a_small_institution_s_line_carries_what_its_connections_say_while_nobody_comes():
    small, extra = needs(Size.SMALL), needs(Size.EXTRA_LARGE)
    assert small.idle_bytes_a_day == extra.idle_bytes_a_day > 0
    assert small.link_bytes_a_day > small.idle_bytes_a_day + small.detail_bytes_a_day


def test_a_machine_below_the_minimum_is_told_where():
    lines, _ = advice(Size.LARGE, civil_servants=True)
    need = needs(Size.LARGE)
    assert doctor_as.shortfalls(Configuration(4, 8192, 500), lines, need) == []
    assert doctor_as.shortfalls(Configuration(4, 1990, 500), lines, need) == [], "a machine of 2G reports a little less"
    short = doctor_as.shortfalls(Configuration(4, 1024, 100), lines, need)
    assert [line.split()[0] for line in short] == ["内存", "硬盘"]


def test_the_nation_is_the_sum_of_its_heads_and_the_page_has_the_figures_there_are():
    rows = {row.place: row for row in scale.scales()}
    nation, province = rows["the nation, 1.33 billion"], rows["a province of 100 million"]
    assert (nation.a_day, nation.peak_day) == (18_000_000, 34_000_000)
    assert province.a_day == round(nation.a_day / 13.3)
    assert nation.stored_gb_a_year == pytest.approx(13.3 * province.stored_gb_a_year, rel=0.001)
    assert scale.table() in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", CHOICES)
def test_the_command_tells_the_table_the_need_and_this_machine(capsys, size):
    code = doctor_as.examine(str(size), civil_servants=True, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert code == (REFUSED if told["shortfalls"] else DONE)
    assert {line["item"] for line in told["specification"]} >= {"host", "cpu", "memory", "disk"}
    assert told["need"]["cores"] >= 1


def test_a_misprint_is_shown_as_printed_and_said_how_it_is_read(capsys):
    doctor_as.examine("small", civil_servants=False, as_json=False)
    shown = capsys.readouterr().out
    assert "120G以上72000转" in shown
    assert "注：硬盘，原文印作72000转，按7200转理解（AMB-46）" in shown


def test_what_is_no_class_is_refused():
    with pytest.raises(Stop, match="extra_large"):
        doctor_as.examine("huge", civil_servants=True, as_json=False)
