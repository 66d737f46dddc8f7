"""The hardware advice of the specification (sections 3.2.1, 3.2.2, 3.3), as printed and as numbers to compare with."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from domain.institution_class import Size

TABLE = Path(__file__).with_name("hardware.csv")
SHARED = "shared"
"""Instead of a class: a front-end server at the centre, shared by 20 to 30 institutions (section 3.3)."""

_CLASSES = {
    Size.EXTRA_LARGE: "extra_large;large",
    Size.LARGE: "extra_large;large",
    Size.MEDIUM: "medium",
    Size.SMALL: "small",
    SHARED: "shared_20_30",
}
_BOTH = "both"


@dataclass(frozen=True, slots=True)
class Advice:
    """One line of the table: an item, the recommended and the least configuration as printed."""

    item: str
    item_zh: str
    recommended: str
    minimum: str
    note: str = ""
    """How a misprint is read."""


class Configuration(NamedTuple):
    """What can be compared: of the servers together, processors, memory in MiB, room on disk in GB.

    Mirrored disks (Raid 1) count once for each pair (AMB-46).
    """

    processors: int
    memory_mib: int
    disk_gb: int


def advice(size: Size | str, *, civil_servants: bool) -> tuple[list[Advice], str]:
    """The lines of a class and its remark; `civil_servants` where their business is open there (AMB-63).

    A shared server at the centre has one table for both. Raises KeyError for what is no class.
    """
    printed: dict[tuple[str, str], str] = {}
    names: dict[str, str] = {}
    notes: dict[str, str] = {}
    wanted = {"yes" if civil_servants else "no", "not_applicable"}
    with TABLE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["class"] == _CLASSES[size] and row["civil_servant_business"] in wanted:
                printed[row["item"], row["profile"]] = row["value"]
                names[row["item"]] = row["item_zh"]
                notes[row["item"]] = notes.get(row["item"]) or row["note"]
    remark = printed.pop(("remark", _BOTH), "")
    items = [item for item in names if item != "remark"]
    found = [
        Advice(each, names[each], printed[each, "recommended"], printed[each, "minimum"], notes[each]) for each in items
    ]
    return found, remark


def configuration(printed: dict[str, str]) -> Configuration:
    """The numbers in a printed configuration: `host`, `cpu`, `memory` and `disk`. Raises ValueError for other words."""
    servers = _first(r"^(\d+)×", printed["host"])
    processors, memory, memory_unit = _first(r"^(\d+)×", printed["cpu"]), *_memory(printed["memory"])
    each = {"G": 1024, "M": 1}[memory_unit]
    return Configuration(servers * processors, servers * memory * each, servers * _disk_gb(printed["disk"]))


def _memory(words: str) -> tuple[int, str]:
    found = re.match(r"(\d+)([GM])", words)
    if found is None:
        raise ValueError(f"no amount of memory: {words}")
    return int(found[1]), found[2]


def _disk_gb(words: str) -> int:
    found = re.match(r"(?:(\d+)块)?(\d+)G", words)
    if found is None:
        raise ValueError(f"no room on disk: {words}")
    room = int(found[1] or 1) * int(found[2])
    return room // 2 if "Raid 1" in words else room


def _first(pattern: str, words: str) -> int:
    found = re.match(pattern, words)
    if found is None:
        raise ValueError(f"no number at the start of: {words}")
    return int(found[1])
