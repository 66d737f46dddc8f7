"""The city of a load test: its institutions in four classes, how many patients each has, and on which day.

Classes, their thresholds and their shares of the business are those of section 3.1 (`domain.institution_class`). How
many institutions and insured a city has comes from its plan. Everything else is derived here, or stands as an
assumption with its reason beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from domain.institution_class import CLASSES, Size, size_of

LARGEST_FIRST = (Size.EXTRA_LARGE, Size.LARGE, Size.MEDIUM, Size.SMALL)

VISITS_PER_PERSON = 6.0
"""Outpatient visits per inhabitant in 2022: 8.42 billion in all, national health statistics bulletin."""
ADMISSIONS_PER_PERSON = 0.176
"""246.9 million admissions in 2022, by the inhabitants that make 8.42 billion visits 6.0 each (the same bulletin)."""
DAYS_A_YEAR = 365

WEEKDAYS = (1.25, 1.15, 1.10, 1.05, 1.10, 0.75, 0.60)
"""Assumption: a day of the week against the average day, Monday first. They add up to seven."""
SEASON = 1.4
"""Of the busiest month against the average one: up to 1.40 in ten years of one hospital (1997-2006)."""
MONDAY = 1

SPREAD = {Size.EXTRA_LARGE: 0.08, Size.LARGE: 0.3, Size.MEDIUM: 0.1, Size.SMALL: 0.6}
"""Assumption: the busiest institution of a class has so much more than its mean, the quietest so much less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInstitution:
    """One institution of the model, with its average day and year."""

    number: int
    kind: str
    size: Size
    visits_a_day: float
    discharges_a_year: float

    @property
    def discharges_a_day(self) -> float:
        """On the average day of the year."""
        return self.discharges_a_year / DAYS_A_YEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class CityModel:
    """A city: who there is and how much happens on an average day."""

    name: str
    insured: int
    visits_a_day: float
    discharges_a_year: float
    institutions: tuple[ModelInstitution, ...]
    scale: float = 1.0
    """Of the volumes, against the real city."""

    def of(self, size: Size) -> list[ModelInstitution]:
        """The institutions of a class."""
        return [one for one in self.institutions if one.size == size]

    def day_factor(self, weekday: int, *, peak: bool) -> float:
        """A day against the average one; `weekday` is ISO, Monday is 1, and a peak day lies in the busiest month."""
        return WEEKDAYS[weekday - 1] * (SEASON if peak else 1.0)


@dataclass(frozen=True, slots=True)
class Range:
    """From which volume to which the thresholds of the classes allow."""

    least: float
    most: float

    def __contains__(self, volume: object) -> bool:
        return isinstance(volume, float | int) and self.least <= volume <= self.most


def allowed_visits(counts: Mapping[Size, int]) -> Range:
    """Visits on the city's average day that keep the mean institution of every class within its thresholds.

    `counts` are the institutions of each class.
    """
    return _allowed(counts, {size: class_.visits_a_day for size, class_ in CLASSES.items()})


def allowed_discharges(counts: Mapping[Size, int]) -> Range:
    """Discharges in the city's year, in the same way."""
    return _allowed(counts, {size: class_.discharges_a_year for size, class_ in CLASSES.items()})


def _allowed(counts: Mapping[Size, int], upper_ends: Mapping[Size, int | None]) -> Range:
    least, most, lower_end = 0.0, float("inf"), 0
    for size, class_ in CLASSES.items():
        per_share = counts[size] / (class_.business_percent / 100)
        least = max(least, lower_end * per_share)
        upper_end = upper_ends[size]
        if upper_end is not None:
            most = min(most, upper_end * per_share)
            lower_end = upper_end
    return Range(least, most)


HOSPITALS = {Size.EXTRA_LARGE: 7, Size.LARGE: 12, Size.MEDIUM: 12, Size.SMALL: 169}
"""200 hospitals (city plan of 2005, section 1). How many are of which class is not printed: so chosen that visits and
discharges can both have the printed shares with every institution inside the thresholds of its class."""
PHARMACIES = 100
"""All of them small."""
INSURED = 2_750_000
"""2.5 to 3 million (the same section): the middle."""


def guangzhou_2005() -> CityModel:
    """Guangzhou as its second project planned it: 200 hospitals, 100 pharmacies, 2.5 to 3 million insured."""
    visits = INSURED * VISITS_PER_PERSON / DAYS_A_YEAR
    stays = allowed_discharges(HOSPITALS)
    discharges = (stays.least + stays.most) / 2
    return _city(
        "guangzhou-2005",
        INSURED,
        visits=visits,
        discharges=discharges,
        hospitals=HOSPITALS,
        pharmacies=PHARMACIES,
    )


CITIES = {"guangzhou-2005": guangzhou_2005}


def scaled(city: CityModel, scale: float) -> CityModel:
    """The same city with so much of its business, for machines and tests that cannot carry all of it.

    Below a fifth there are fewer institutions, too; the shares of the classes stay, the thresholds do not hold then.
    """
    if not 0 < scale <= 10:
        raise ValueError(f"a scale of {scale} is not between 0 and 10")
    kept = min(1.0, scale * 5)
    hospitals = {size: max(FEWEST[size], round(count * kept)) for size, count in HOSPITALS.items()}
    smaller = _city(
        city.name,
        city.insured,
        visits=city.visits_a_day * scale,
        discharges=city.discharges_a_year * scale,
        hospitals=hospitals,
        pharmacies=max(2, round(PHARMACIES * kept)),
    )
    return replace(smaller, scale=scale)


FEWEST = {Size.EXTRA_LARGE: 4, Size.LARGE: 1, Size.MEDIUM: 1, Size.SMALL: 4}
"""So that every door and every kind of front-end server is there in the smallest city."""


def _city(
    name: str,
    insured: int,
    *,
    visits: float,
    discharges: float,
    hospitals: Mapping[Size, int],
    pharmacies: int,
) -> CityModel:
    institutions: list[ModelInstitution] = []
    for size in LARGEST_FIRST:
        share = CLASSES[size].business_percent / 100
        shops = pharmacies if size is Size.SMALL else 0
        count = hospitals[size] + shops
        # Pharmacies stand between the small hospitals, so that both have busy ones and quiet ones.
        is_shop = [shops and (number * shops) // count != ((number + 1) * shops) // count for number in range(count)]
        seen = _spread(visits * share, count, SPREAD[size])
        stayed = iter(_spread(discharges * share, hospitals[size], SPREAD[size]))
        for number in range(count):
            institutions.append(
                ModelInstitution(
                    number=len(institutions) + 1,
                    kind="pharmacy" if is_shop[number] else "clinic" if size is Size.SMALL else "hospital",
                    size=size,
                    visits_a_day=seen[number],
                    discharges_a_year=0.0 if is_shop[number] else next(stayed),
                )
            )
    return CityModel(
        name=name,
        insured=insured,
        visits_a_day=visits,
        discharges_a_year=discharges,
        institutions=tuple(institutions),
    )


def _spread(total: float, count: int, spread: float) -> Sequence[float]:
    """The total over so many, from the busiest to the quietest in equal steps."""
    if count == 1:
        return [total]
    return [total / count * (1 + spread - 2 * spread * at / (count - 1)) for at in range(count)]


def class_by_thresholds(institution: ModelInstitution) -> Size:
    """The class its visits and discharges put it in, the higher of the two (AMB-44)."""
    return size_of(discharges_a_year=round(institution.discharges_a_year), visits_a_day=round(institution.visits_a_day))
