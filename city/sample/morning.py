"""One morning of the sample city: who hands in what, when, and what is handed in again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from random import Random

from city.sample.catalogue import NO_STAT_CATEGORY, sample_items
from city.sample.claims import DEFECTS, FILE_DEFECTS, SampleClaim, refused, sound_claim
from city.sample.institutions import BUSINESS_SHARE, HOSPITAL_B, SampleInstitution, sample_institutions
from city.sample.people import SamplePerson, sample_people
from domain.catalogue import CatalogueItem, Match
from domain.catalogue_records import ItemRecord, record_of
from domain.lifecycle import ClaimState
from infra.clock import SHANGHAI

SEED = 20260302
DAY = date(2026, 3, 2)
OPENS, CLOSES = time(7, 30), time(12, 0)
CATALOGUE_VERSION = "sample-2026-03"

HOURS = {7: 3.5, 8: 16.5, 9: 17.5, 10: 14.5, 11: 8.5}
"""Percent of the day's arrivals in each hour. The sources give the peak (8 to 10); the rest is an assumption."""
BURST_MINUTES = 10
BURST_SHAPE = 6.0
"""Shape of the gamma factor on each institution's ten minutes: the smaller, the burstier."""

DEFECTIVE_SHARE = 0.06
REFUSED_SHARE = 0.012
"""Of all claims: those the centre refuses, besides the defective ones."""
AGAIN_SHARE = 0.02
TWICE_AT_ONCE_SHARE = 0.01
KEY_REUSED_SHARE = 0.004

TABLES_EVERY, MISTYPED_EVERY = 4, 9
"""Every fourth visit that can, goes through the shared tables; of those in order, every ninth is mistyped first."""
STORABLE_DEFECTS = frozenset(("05", "06", "07", "08", "09", "10", "12", "14", "95"))
"""What is wrong with a line that the columns of HIS_MZXM can hold, and can hold in one order only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A claim is handed in. `manner` is how: for the first time, once more, twice at once, or under a used key."""

    at: datetime
    claim: SampleClaim
    manner: str = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """The sample city and its morning."""

    seed: int
    institutions: tuple[SampleInstitution, ...]
    people: tuple[SamplePerson, ...]
    claims: tuple[SampleClaim, ...]
    arrivals: tuple[Arrival, ...]

    @property
    def items(self) -> tuple[CatalogueItem, ...]:
        """The centre's catalogue."""
        return (*(item.item for item in sample_items()), NO_STAT_CATEGORY)

    @property
    def item_records(self) -> tuple[ItemRecord, ...]:
        """The centre's catalogue with what the views show of it."""
        items = [record_of(one.item, dosage_form=one.dosage_form) for one in sample_items()]
        return (*items, record_of(NO_STAT_CATEGORY))

    def matches_of(self, frontend: str) -> tuple[Match, ...]:
        """The matches of the institutions a front-end serves."""
        return tuple(
            match
            for institution in self.institutions
            if institution.frontend == frontend
            for match in institution.matches
        )

    def lines(self) -> int:
        """How many charge lines the morning has, repetitions not counted."""
        return sum(len(claim.lines) for claim in self.claims)


def sample_city(seed: int = SEED, *, claims: int = 3_200, people: int = 3_000, day: date = DAY) -> City:
    """The city of this seed; the same seed gives the same city on every machine."""
    chance = Random(seed)
    institutions = sample_institutions(chance)
    persons = sample_people(chance, people)
    entitled = [person for person in persons if person.is_known and person.entitled]
    not_paid_for = [person for person in persons if not (person.is_known and person.entitled)]

    drawn = []
    for number, institution in enumerate(_who(chance, institutions, claims), 1):
        person = chance.choice(entitled)
        drawn.append(sound_claim(chance, number, institution, person, day))
    spoilt = _spoil(chance, drawn, not_paid_for)
    numbered = _with_visit_numbers(spoilt, day)
    arrivals = sorted(_arrivals(chance, numbered, day), key=lambda arrival: arrival.at)
    at_tables = _at_tables(arrivals)
    return City(
        seed=seed,
        institutions=tuple(institutions),
        people=tuple(persons),
        claims=tuple(at_tables.get(claim.number, claim) for claim in numbered),
        arrivals=tuple(
            replace(arrival, claim=at_tables.get(arrival.claim.number, arrival.claim)) for arrival in arrivals
        ),
    )


def _who(chance: Random, institutions: Sequence[SampleInstitution], claims: int) -> list[SampleInstitution]:
    """Which institution each claim comes from: the shares of the classes exactly, within a class by chance."""
    who: list[SampleInstitution] = []
    for size, percent in BUSINESS_SHARE.items():
        of_size = [institution for institution in institutions if institution.size == size]
        count = round(claims * percent / 100)
        who += [*of_size, *chance.choices(of_size, k=count)][:count]
    chance.shuffle(who)
    return who


def _spoil(chance: Random, claims: Sequence[SampleClaim], not_paid_for: Sequence[SamplePerson]) -> list[SampleClaim]:
    """Make the wanted share of claims defective, every code at both kinds of door first, then by chance."""
    spoilt = list(claims)
    left = {door: [at for at, claim in enumerate(claims) if claim.institution.door == door] for door in ("dbf", "api")}
    for places in left.values():
        chance.shuffle(places)

    wanted = [("dbf", kind) for kind in (*DEFECTS, *FILE_DEFECTS)] + [("api", kind) for kind in DEFECTS]
    doors = [claim.institution.door for claim in claims]
    while len(wanted) < round(len(claims) * DEFECTIVE_SHARE):
        door = chance.choice(doors)
        wanted.append((door, chance.choice([*DEFECTS, *FILE_DEFECTS] if door == "dbf" else [*DEFECTS])))
    for door, kind in wanted:
        at = left[door].pop()
        spoilt[at] = (DEFECTS.get(kind) or FILE_DEFECTS[kind])(spoilt[at])

    for number in range(max(4, round(len(claims) * REFUSED_SHARE))):
        at = left[("dbf", "api")[number % 2]].pop()
        known = [person for person in not_paid_for if person.is_known == bool(number // 2 % 2)]
        spoilt[at] = refused(spoilt[at], chance.choice(known))
    return spoilt


def _with_visit_numbers(claims: Sequence[SampleClaim], day: date) -> list[SampleClaim]:
    """Visits of the DBF door are registered by the insurance client, which numbers them; the API numbers its own."""
    return [
        replace(claim, visit=replace(claim.visit, visit_no=_visit_no(claim, day)))
        if claim.institution.door == "dbf"
        else claim
        for claim in claims
    ]


def _visit_no(claim: SampleClaim, day: date) -> str:
    return f"{claim.institution.short_code}{day:%y%m%d}{claim.number:04d}"


def _arrivals(chance: Random, claims: Sequence[SampleClaim], day: date) -> list[Arrival]:
    """A Poisson process whose rate follows the hours, times a gamma factor for each institution's ten minutes."""
    slots, usual = _slots()
    rates: dict[str, list[float]] = {}
    arrivals = []
    for claim in claims:
        code = claim.institution.institution_code
        if code not in rates:
            rates[code] = [rate * chance.gammavariate(BURST_SHAPE, 1 / BURST_SHAPE) for rate in usual]
        slot = chance.choices(slots, weights=rates[code])[0]
        at = datetime.combine(day, slot, SHANGHAI) + timedelta(minutes=chance.uniform(0, BURST_MINUTES))
        arrivals += _handed_in(chance, claim, at)
    return arrivals


def _at_tables(arrivals: Sequence[Arrival]) -> dict[int, SampleClaim]:
    """The visits of the second hospital that go through its shared tables, by number; nothing is drawn for it.

    A claim that comes again, or that the centre refuses, stays with the API.
    """
    times = Counter(arrival.claim.number for arrival in arrivals)
    fit = [
        arrival.claim
        for arrival in arrivals
        if arrival.claim.institution.frontend == HOSPITAL_B
        and (times[arrival.claim.number], arrival.manner) == (1, "first")
        and (arrival.claim.outcome is ClaimState.SETTLED or arrival.claim.defect in STORABLE_DEFECTS)
    ]
    chosen = [replace(claim, by_tables=True) for claim in fit[::TABLES_EVERY]]
    plain = [
        claim
        for claim in chosen
        if claim.outcome is ClaimState.SETTLED and all((line.quantity_1e2 or 0) > 0 for line in claim.lines)
    ]
    mistyped = [replace(claim, is_mistyped=True) for claim in plain[::MISTYPED_EVERY]]
    return {claim.number: claim for claim in (*chosen, *mistyped)}


def _handed_in(chance: Random, claim: SampleClaim, at: datetime) -> list[Arrival]:
    """The arrival, and for some claims another one: an impatient cashier, a lost answer, a used key."""
    first = Arrival(at=at, claim=claim)
    drawn = chance.random()
    later = first.at + timedelta(minutes=chance.uniform(1, 30))
    later = min(later, datetime.combine(at.date(), CLOSES, SHANGHAI))
    by_file = claim.institution.door == "dbf"
    if drawn < AGAIN_SHARE and not (by_file and claim.outcome is ClaimState.RETURNED):
        return [first, Arrival(at=later, claim=claim, manner="again")]
    if by_file:
        return [first]
    if drawn < AGAIN_SHARE + TWICE_AT_ONCE_SHARE:
        return [replace(first, manner="twice at once")]
    if drawn < AGAIN_SHARE + TWICE_AT_ONCE_SHARE + KEY_REUSED_SHARE:
        return [first, Arrival(at=later, claim=claim, manner="key reused")]
    return [first]


def _slots() -> tuple[list[time], list[float]]:
    slots, rates = [], []
    for hour, percent in HOURS.items():
        for minute in range(0, 60, BURST_MINUTES):
            if time(hour, minute) >= OPENS:
                slots.append(time(hour, minute))
                rates.append(percent)
    return slots, rates
