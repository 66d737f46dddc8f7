"""What is handed in on a load test's day: one sample claim for each arrival, outpatient visits and whole stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import log
from random import Random

from city.load.arrivals import Arrival, Kind
from city.load.model import CityModel, ModelInstitution
from city.load.servers import Door, Server
from city.sample.claims import DEFECTS, DIAGNOSES, FILE_DEFECTS, SampleClaim, charged, refused, sound_claim
from city.sample.institutions import MEAN_FEN, SampleInstitution, stocked
from city.sample.people import SamplePerson, sample_people
from domain.institution_class import Size
from domain.visit import ChargeLine, Visit, VisitType

FEWEST_STAY_LINES, MEDIAN_STAY_LINES, MOST_STAY_LINES = 100, 300, 600
"""Assumption: no published figure of lines per stay was found."""
STAY_LINE_SPREAD = 0.5
STAY_MEAN_FEN = 1_086_060
"""10,860.60 yuan a stay nationally in 2022."""
STAY_DAYS = 9.2
"""10,860.60 yuan a stay at 1,186.50 yuan a day (the same bulletin)."""
STAY_SPREAD = 0.6

DEFECTIVE_SHARE = 0.015
"""Assumption: so many claims go back with a code, and are not handed in again that day."""
REFUSED_SHARE = 0.003
"""Assumption: so many are of persons the centre does not know or does not pay for."""

PEOPLE = 2_750_000
"""Insured persons that are written: the middle of 2.5 to 3 million."""

HOSPITAL_CODE, WARD_CODE = "9902", "9903"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who plays: the institutions as front-ends and centre know them, and the persons who are there."""

    institutions: tuple[SampleInstitution, ...]
    places: Mapping[tuple[int, bool], SampleInstitution]
    """By number of the model and whether a stay is settled: where that arrival is handed in."""
    people: tuple[SamplePerson, ...]


def cast_of(city: CityModel, servers: Sequence[Server], *, seed: int, people: int) -> Cast:
    """The institutions of these servers with their catalogues, and so many persons."""
    chance = Random(f"{seed} cast")
    models = {one.number: one for one in city.institutions}
    places: dict[tuple[int, bool], SampleInstitution] = {}
    institutions = []
    for server in servers:
        for number in server.institutions:
            institutions.append(stocked(chance, _bare(models[number], server, is_ward=False)))
            places[number, False] = institutions[-1]
            places.setdefault((number, True), institutions[-1])
        for number in server.wards:
            institutions.append(stocked(chance, _bare(models[number], server, is_ward=True)))
            places[number, True] = institutions[-1]
    return Cast(institutions=tuple(institutions), places=places, people=tuple(sample_people(chance, people)))


def claims_of(arrivals: Sequence[Arrival], cast: Cast, *, seed: int, day: date) -> Iterator[SampleClaim]:
    """One claim for each arrival, in their order and numbered from one; the same for the same seed."""
    chance = Random(f"{seed} claims")
    entitled = [person for person in cast.people if person.is_known and person.entitled]
    others = [person for person in cast.people if not (person.is_known and person.entitled)]
    visits: dict[str, int] = {}
    for number, arrival in enumerate(arrivals, 1):
        institution = cast.places[arrival.institution, arrival.kind is Kind.STAY]
        person = chance.choice(entitled)
        if arrival.kind is Kind.STAY:
            yield _stay(chance, number, institution, person, day)
            continue
        claim = sound_claim(chance, number, institution, person, day)
        claim = replace(claim, by_tables=institution.door == Door.TABLES)
        if arrival.kind is Kind.VISIT and not claim.by_tables:
            claim = _spoilt(chance, claim, others)
        if institution.door == "dbf":
            # The insurance client beside the HIS numbers the visits it registers.
            code = institution.institution_code
            visits[code] = visits.get(code, 0) + 1
            visit_no = f"{institution.short_code}{day:%y%m%d}{visits[code]:04X}"
            claim = replace(claim, visit=replace(claim.visit, visit_no=visit_no))
        yield claim


def _bare(model: ModelInstitution, server: Server, *, is_ward: bool) -> SampleInstitution:
    door = Door.API if is_ward else server.door_of(model.number)
    words = {"hospital": "医院", "clinic": "社区卫生服务中心", "pharmacy": "大药房"}[model.kind]
    level = {Size.EXTRA_LARGE: 3, Size.LARGE: 3, Size.MEDIUM: 2, Size.SMALL: 1}[model.size]
    return SampleInstitution(
        institution_code=f"{WARD_CODE if is_ward else HOSPITAL_CODE}{model.number:05d}",
        short_code=f"{'W' if is_ward else model.kind[0].upper()}{model.number:05d}",
        name=f"示例第{model.number}{words}{'住院部' if is_ward else ''}",
        kind=model.kind,
        size=model.size,
        level=0 if model.kind == "pharmacy" else level,
        frontend=server.name,
        door="dbf" if door is Door.FILES else door,
        mean_fen=MEAN_FEN[model.size],
    )


def _spoilt(chance: Random, claim: SampleClaim, others: Sequence[SamplePerson]) -> SampleClaim:
    """The claim, or for a small share of them one that is wrong in a way its door can carry."""
    drawn = chance.random()
    if drawn < DEFECTIVE_SHARE:
        kinds = {**DEFECTS, **FILE_DEFECTS} if claim.door == "dbf" else DEFECTS
        return kinds[chance.choice(list(kinds))](claim)
    if drawn < DEFECTIVE_SHARE + REFUSED_SHARE:
        return refused(claim, chance.choice(others))
    return claim


def _stay(chance: Random, number: int, institution: SampleInstitution, person: SamplePerson, day: date) -> SampleClaim:
    """A stay that ends today, with the lines of all its days."""
    days = min(max(round(chance.lognormvariate(log(STAY_DAYS) - STAY_SPREAD**2 / 2, STAY_SPREAD)), 2), 40)
    count = round(chance.lognormvariate(log(MEDIAN_STAY_LINES), STAY_LINE_SPREAD))
    count = min(max(count, FEWEST_STAY_LINES), MOST_STAY_LINES)
    cost_fen = STAY_MEAN_FEN * chance.lognormvariate(-(STAY_SPREAD**2) / 2, STAY_SPREAD)
    first = day - timedelta(days=days)
    lines = charged(chance, institution, day, count=count, cost_fen=cost_fen)
    diagnosis, diagnosis_code = chance.choice(DIAGNOSES)
    visit = Visit(
        visit_no="",
        institution_code=institution.institution_code,
        citizen_id_no=person.citizen_id_no,
        visit_type=VisitType.INPATIENT,
        visit_date=first,
        person_name=person.name,
        person_category=person.category,
        outpatient_no=f"Z{number:07d}",
        admission_diagnosis=diagnosis,
        admission_diagnosis_code=diagnosis_code,
        department_code=f"{chance.randrange(1, 40):03d}",
    )
    return SampleClaim(
        number=number,
        institution=institution,
        person=person,
        visit=visit,
        lines=tuple(_on_its_day(line, at, count, first, days) for at, line in enumerate(lines)),
    )


def _on_its_day(line: ChargeLine, at: int, count: int, first: date, days: int) -> ChargeLine:
    return line._replace(charge_date=first + timedelta(days=at * (days + 1) // count))
