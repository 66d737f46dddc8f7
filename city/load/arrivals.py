"""Who arrives when: a day's arrivals drawn beforehand from the seed, whatever becomes of the system under them.

A non-homogeneous Poisson process: the rate follows the hours of the day, and every institution's ten minutes have a
gamma factor of their own, because patients come in bursts. The factors of one institution are scaled so that its day
keeps its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from city.load.model import CityModel, ModelInstitution
from domain.institution_class import Size

HOUR_SECONDS = 3600
BURST_SECONDS = 600
BURST_SHAPE = 6.0
"""Assumption: shape of the gamma factor on each institution's ten minutes; the smaller, the burstier."""

FIRST_HOUR, LAST_HOUR = 7, 20

TWO_HUMPS = (3.5, 16.5, 17.5, 14.5, 8.5, 3, 3.5, 10.5, 9.5, 7, 3.5, 1.5, 1)
"""Percent of a hospital's outpatients in each hour from 7. No source gives them; two humps with the peak between 8 and
10 are what the sources say, the figures are an assumption."""
CLINIC = (4, 13, 13, 11, 8, 5, 5, 9, 9, 8, 7, 5, 3)
"""Assumption: a small place has the same humps, flatter, and an evening."""
PHARMACY = (3, 7, 9, 9, 8, 6, 6, 7, 8, 9, 11, 10, 7)
"""Assumption: purchases spread over the day and are most after work."""
STAYS = (0, 6, 16, 20, 16, 4, 4, 12, 11, 7, 3, 1, 0)
"""Assumption: discharges are settled once the morning round is over."""
WEEKEND = (5, 20, 21, 17, 11, 3, 3, 6, 5, 4, 2, 2, 1)
"""Assumption: at the weekend hospitals are busy in the morning only."""


class Kind(StrEnum):
    """What an arrival hands in."""

    VISIT = "visit"
    """An outpatient visit or a purchase."""
    STAY = "stay"
    """A stay that ends: hundreds of lines, settled finally."""
    FLOOD = "flood"
    """A visit of the noisy clinic, whose program hands in far more than it ever has."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody is to be settled: seconds of the business day, at which institution, and what it is."""

    second: float
    institution: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Flood:
    """One institution's program hands in so many claims in a short time, on top of its day."""

    institution: int
    begins: float
    seconds: float
    claims: int


def curve_of(institution: ModelInstitution, kind: Kind, weekday: int) -> Sequence[float]:
    """Percent of the institution's day in each hour from 7 to 20, by its class, what arrives, and the weekday."""
    if kind is Kind.STAY:
        return STAYS
    if institution.kind == "pharmacy":
        return PHARMACY
    if weekday > 5:
        return WEEKEND
    return CLINIC if institution.size is Size.SMALL else TWO_HUMPS


def day_of(
    city: CityModel, *, seed: int, weekday: int, peak: bool, hours: tuple[float, float], flood: Flood | None = None
) -> list[Arrival]:
    """The arrivals of one day between two hours, in their order: the same for the same seed.

    `hours` only cuts the day; what is drawn does not depend on it. `weekday` is ISO.
    """
    first, last = (hour * HOUR_SECONDS for hour in hours)
    factor = city.day_factor(weekday, peak=peak)
    arrivals: list[Arrival] = []
    for institution in city.institutions:
        for kind, a_day in ((Kind.VISIT, institution.visits_a_day), (Kind.STAY, institution.discharges_a_day)):
            chance = Random(f"{seed} {institution.number} {kind}")
            curve = curve_of(institution, kind, weekday)
            arrivals += [
                Arrival(second, institution.number, kind)
                for second in _poisson(chance, curve, a_day * factor)
                if first <= second < last
            ]
    if flood is not None:
        chance = Random(f"{seed} flood")
        arrivals += [
            Arrival(flood.begins + flood.seconds * chance.random(), flood.institution, Kind.FLOOD)
            for _ in range(flood.claims)
        ]
    return sorted(arrivals, key=lambda arrival: (arrival.second, arrival.institution, arrival.kind))


def expected_by_hour(city: CityModel, *, weekday: int, peak: bool) -> Mapping[int, float]:
    """How many visits and stays each hour has on average."""
    factor = city.day_factor(weekday, peak=peak)
    expected = dict.fromkeys(range(FIRST_HOUR, LAST_HOUR), 0.0)
    for institution in city.institutions:
        for kind, a_day in ((Kind.VISIT, institution.visits_a_day), (Kind.STAY, institution.discharges_a_day)):
            for hour, percent in enumerate(curve_of(institution, kind, weekday), FIRST_HOUR):
                expected[hour] += a_day * factor * percent / 100
    return expected


def _poisson(chance: Random, curve: Sequence[float], a_day: float) -> list[float]:
    """The moments of one day, in seconds of the day: its rate changes every ten minutes."""
    if not a_day:
        return []
    slots_an_hour = HOUR_SECONDS // BURST_SECONDS
    plain = [percent / 100 / slots_an_hour for percent in curve for _ in range(slots_an_hour)]
    bursts = [share * chance.gammavariate(BURST_SHAPE, 1 / BURST_SHAPE) for share in plain]
    scale = a_day / sum(bursts)
    moments = []
    for slot, share in enumerate(bursts):
        rate = share * scale / BURST_SECONDS
        begins = FIRST_HOUR * HOUR_SECONDS + slot * BURST_SECONDS
        moment = chance.expovariate(rate) if rate else BURST_SECONDS
        while moment < BURST_SECONDS:
            moments.append(begins + moment)
            moment += chance.expovariate(rate)
    return moments
