"""The day that is played: which day it is, when its counters open, and what goes wrong on purpose in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from city.load.arrivals import FIRST_HOUR, HOUR_SECONDS, LAST_HOUR, Flood
from city.load.model import CityModel
from city.load.servers import Server
from domain.institution_class import Size
from infra.clock import SHANGHAI

PEAK_DAY = date(2026, 8, 31)
"""A Monday, and the last day of its month: the month's clearing closes on it."""

FLOOD_AT, CUT_AT = 0.22, 0.3
"""Parts of the hours played."""
FLOOD_SECONDS, CUT_SECONDS = 600.0, 600.0
"""Business seconds."""
FLOOD_CLAIMS, FEWEST_FLOOD = 1_000, 40
"""Claims of the noisy clinic on the whole city's day: a month of its visits handed in again."""


class NoSuchHours(Exception):
    """The hours are none of the day."""

    def __init__(self, given: str) -> None:
        super().__init__(f"“{given}”不是时段：请写成 7-19（{FIRST_HOUR} 到 {LAST_HOUR} 点之间，先小后大）")


@dataclass(frozen=True, slots=True)
class Cut:
    """One front-end's link to the centre is cut for a while; business seconds of the day."""

    server: str
    begins: float
    ends: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day and its accidents."""

    day: date
    hours: tuple[float, float]
    flood: Flood
    noisy_server: str
    cut: Cut

    @property
    def opens(self) -> float:
        """Business seconds of the day."""
        return self.hours[0] * HOUR_SECONDS

    @property
    def closes(self) -> float:
        """Business seconds of the day."""
        return self.hours[1] * HOUR_SECONDS

    def moment(self, second: float) -> datetime:
        """A second of the day as a moment."""
        return datetime.combine(self.day, datetime.min.time(), SHANGHAI) + timedelta(seconds=second)


def hours_in(given: str) -> tuple[float, float]:
    """ "7-19" as hours. Raises NoSuchHours."""
    try:
        first, last = (float(hour) for hour in given.split("-"))
    except ValueError:
        raise NoSuchHours(given) from None
    if not FIRST_HOUR <= first < last <= LAST_HOUR:
        raise NoSuchHours(given)
    return first, last


def planned_day(city: CityModel, servers: list[Server], hours: tuple[float, float]) -> Day:
    """The peak day of a city: a clinic floods its shared front-end, later a large hospital's link is cut."""
    opens, closes = (hour * HOUR_SECONDS for hour in hours)
    clinics = {one.number for one in city.of(Size.SMALL) if one.kind == "clinic"}
    shared = next(server for server in servers if not server.is_own and clinics.intersection(server.institutions))
    clinic = next(number for number in shared.institutions if number in clinics)
    begins = opens + FLOOD_AT * (closes - opens)
    flood = Flood(
        clinic,
        begins,
        min(FLOOD_SECONDS, (closes - opens) / 8),
        max(FEWEST_FLOOD, round(FLOOD_CLAIMS * min(1.0, city.scale))),
    )
    hospital = next((server for server in servers if server.size is Size.LARGE), servers[-1])
    begins = opens + CUT_AT * (closes - opens)
    cut = Cut(hospital.name, begins, begins + min(CUT_SECONDS, (closes - opens) / 8))
    return Day(day=PEAK_DAY, hours=hours, flood=flood, noisy_server=shared.name, cut=cut)
