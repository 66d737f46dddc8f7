"""Which front-end server speaks for which institutions of the model, and what each of them stands for in the city.

A city of 300 institutions has some 90 servers in institutions of their own and ten shared ones. One machine carries
fewer: the large ones are hosted together, a few to a server, every small one sits on a shared server of 20 to 30.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from city.load.model import CityModel, ModelInstitution
from domain.institution_class import Size

TENANTS = 27
"""Institutions on a shared front-end server at the centre: 20 to 30 (section 3.3)."""


class Door(StrEnum):
    """How a server's institutions hand in."""

    FILES = "files"
    TABLES = "tables"
    API = "api"


class Part(StrEnum):
    """What a server serves."""

    OUTPATIENTS = "outpatients"
    WARDS = "wards"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One front-end server: its processes, and whom it speaks for (numbers of the model)."""

    name: str
    door: Door
    others: Mapping[int, Door] = field(default_factory=dict)
    """Institutions with another door."""
    size: Size
    part: Part
    institutions: tuple[int, ...]
    wards: tuple[int, ...] = ()
    """Whose inpatients it serves, as sites with codes of their own; the outpatients of those are served elsewhere."""
    stands_for: str
    is_own: bool = False
    """In the city it would stand in an institution of its own; here several may be hosted on it."""

    def door_of(self, number: int) -> Door:
        """How this institution's outpatients are handed in."""
        return self.others.get(number, self.door)

    @property
    def doors(self) -> set[Door]:
        """Every door it needs; wards and the front desk beside shared tables use the API."""
        doors = {self.door_of(number) for number in self.institutions}
        return doors | ({Door.API} if self.wards or Door.TABLES in doors else set())


def one_server_of(city: CityModel) -> list[Server]:
    """One server for the whole city with every door: for a short run that has to be up in seconds."""
    files, tables, *others = city.institutions
    return [
        Server(
            name="hosted",
            door=Door.API,
            others={files.number: Door.FILES, tables.number: Door.TABLES},
            size=Size.SMALL,
            part=Part.ALL,
            institutions=_numbers(city.institutions),
            wards=(files.number, tables.number),
            stands_for=f"every front-end server of the city: {len(others)} institutions with the API, one with files, "
            "one with shared tables",
        )
    ]


def servers_of(city: CityModel) -> list[Server]:
    """The front-end servers of a city on one machine, the largest first."""
    largest = city.of(Size.EXTRA_LARGE)
    by_api = (len(largest) - 1) // 2
    doors = [Door.TABLES, *[Door.API] * by_api]
    doors += [Door.FILES] * (len(largest) - len(doors))
    servers = []
    for door in Door:
        through = [one for one, its in zip(largest, doors, strict=True) if its is door]
        if through:
            servers.append(_largest(door, through))
    servers.append(
        Server(
            name="wards",
            door=Door.API,
            size=Size.EXTRA_LARGE,
            part=Part.WARDS,
            institutions=(),
            wards=_numbers(largest),
            stands_for=f"the inpatient departments of the {len(largest)} extra-large hospitals, each a site with a "
            "code of its own, hosted on one server",
            is_own=True,
        )
    )
    large = city.of(Size.LARGE)
    for at, group in enumerate(_groups(large, 6), 1):
        servers.append(
            Server(
                name=f"large-{at}",
                door=Door.API,
                size=Size.LARGE,
                part=Part.ALL,
                institutions=_numbers(group),
                stands_for=f"the own servers of {len(group)} large hospitals, hosted on one",
                is_own=True,
            )
        )
    for size, name in ((Size.MEDIUM, "medium"), (Size.SMALL, "small")):
        for at, group in enumerate(_groups(_mixed(city.of(size)), TENANTS), 1):
            shops = sum(one.kind == "pharmacy" for one in group)
            what = f"{len(group)} {size} institutions" + (f", {shops} of them pharmacies" if shops else "")
            servers.append(
                Server(
                    name=f"{name}-{at}",
                    door=Door.API,
                    size=size,
                    part=Part.ALL,
                    institutions=_numbers(group),
                    stands_for=f"itself: a shared server of {what}",
                )
            )
    return servers


def _largest(door: Door, hospitals: Sequence[ModelInstitution]) -> Server:
    words = {Door.FILES: "exchange files", Door.TABLES: "shared tables", Door.API: "the API"}[door]
    return Server(
        name=f"largest-{door}",
        door=door,
        size=Size.EXTRA_LARGE,
        part=Part.OUTPATIENTS,
        institutions=_numbers(hospitals),
        stands_for=f"the own servers of {len(hospitals)} extra-large hospitals with {words}"
        + (", hosted on one" if len(hospitals) > 1 else ""),
        is_own=True,
    )


def _numbers(institutions: Sequence[ModelInstitution]) -> tuple[int, ...]:
    return tuple(one.number for one in institutions)


def _groups(institutions: Sequence[ModelInstitution], most: int) -> list[Sequence[ModelInstitution]]:
    """Groups of at most so many, as equal as can be."""
    count = -(-len(institutions) // most)
    return [institutions[at::count] for at in range(count)]


def _mixed(institutions: Sequence[ModelInstitution]) -> Sequence[ModelInstitution]:
    """Busy and quiet ones in turn come to the same server, whatever the number of servers."""
    return sorted(institutions, key=lambda one: one.visits_a_day, reverse=True)
