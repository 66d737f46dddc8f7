"""The model of a load test: shares and thresholds of the specification, and the same day from the same seed."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city.load.arithmetic import arithmetic_of
from city.load.arrivals import (
    CLINIC,
    FIRST_HOUR,
    HOUR_SECONDS,
    LAST_HOUR,
    PHARMACY,
    STAYS,
    TWO_HUMPS,
    WEEKEND,
    Flood,
    Kind,
    curve_of,
    day_of,
    expected_by_hour,
)
from city.load.claims import cast_of, claims_of
from city.load.day import PEAK_DAY, NoSuchHours, hours_in, planned_day
from city.load.model import (
    HOSPITALS,
    PHARMACIES,
    WEEKDAYS,
    allowed_discharges,
    allowed_visits,
    class_by_thresholds,
    guangzhou_2005,
    scaled,
)
from city.load.scripts import Asks, script_of
from city.load.servers import Door, Part, one_server_of, servers_of
from city.sample.morning import City
from domain.catalogue import Catalogue
from domain.checks import check_lines
from domain.institution_class import CLASSES, Size
from domain.lifecycle import ClaimState

CITY = guangzhou_2005()
SMALL_CITY = scaled(CITY, 0.01)
seeds = st.integers(0, 2**32)
scales = st.floats(0.005, 2)


def shares(city):
    return {size: sum(one.visits_a_day for one in city.of(size)) / city.visits_a_day * 100 for size in Size}


def test_the_city_is_the_one_of_the_plan():
    kinds = Counter(one.kind for one in CITY.institutions)
    assert (kinds["hospital"] + kinds["clinic"], kinds["pharmacy"]) == (200, 100)
    assert 2_500_000 <= CITY.insured <= 3_000_000


@given(scale=scales)
def test_classes_have_their_printed_shares_at_every_scale(scale):
    found = shares(scaled(CITY, scale))
    assert {size: round(share, 6) for size, share in found.items()} == {
        size: class_.business_percent for size, class_ in CLASSES.items()
    }


def test_every_institution_is_of_its_class_by_the_thresholds():
    assert [one.number for one in CITY.institutions if class_by_thresholds(one) is not one.size] == []


def test_the_volumes_lie_where_thresholds_and_shares_allow_them():
    counts = {**HOSPITALS, Size.SMALL: HOSPITALS[Size.SMALL] + PHARMACIES}
    assert CITY.visits_a_day in allowed_visits(counts)
    assert CITY.discharges_a_year in allowed_discharges(HOSPITALS)
    assert 3_600 * 7 / 0.62 - 1 not in allowed_visits(counts)  # one visit less, and the largest are none
    assert allowed_visits(counts).least == pytest.approx(3_600 * 7 / 0.62)


def test_curves_add_up_and_the_peak_is_where_the_sources_put_it():
    for curve in (TWO_HUMPS, CLINIC, PHARMACY, STAYS, WEEKEND):
        assert len(curve) == LAST_HOUR - FIRST_HOUR
        assert sum(curve) == pytest.approx(100)
    by_hour = expected_by_hour(CITY, weekday=1, peak=True)
    assert sorted(by_hour, key=by_hour.__getitem__)[-2:] == [8, 9]
    assert sum(WEEKDAYS) == pytest.approx(7)
    assert CITY.day_factor(1, peak=True) == pytest.approx(1.4 * CITY.day_factor(1, peak=False))


def test_a_class_has_its_own_curve_and_the_weekend_another():
    hospital, pharmacy = CITY.institutions[0], next(one for one in CITY.institutions if one.kind == "pharmacy")
    clinic = next(one for one in CITY.institutions if one.kind == "clinic")
    curves = {tuple(curve_of(one, Kind.VISIT, 1)) for one in (hospital, pharmacy, clinic)}
    assert len(curves) == 3
    assert curve_of(hospital, Kind.VISIT, 6) != curve_of(hospital, Kind.VISIT, 5)
    assert curve_of(hospital, Kind.STAY, 1) == STAYS


@settings(max_examples=25, deadline=None)
@given(seed=seeds, first=st.integers(7, 18), span=st.integers(1, 6))
def test_arrivals_are_in_their_order_within_the_hours_and_the_same_from_the_same_seed(seed, first, span):
    hours = float(first), float(min(first + span, LAST_HOUR))
    drawn = day_of(SMALL_CITY, seed=seed, weekday=1, peak=True, hours=hours)
    assert drawn == day_of(SMALL_CITY, seed=seed, weekday=1, peak=True, hours=hours)
    assert [one.second for one in drawn] == sorted(one.second for one in drawn)
    assert all(hours[0] * HOUR_SECONDS <= one.second < hours[1] * HOUR_SECONDS for one in drawn)
    whole = day_of(SMALL_CITY, seed=seed, weekday=1, peak=True, hours=(7.0, 20.0))
    assert [one for one in whole if hours[0] <= one.second / HOUR_SECONDS < hours[1]] == drawn


@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_a_day_has_its_shares_to_the_percent_and_its_volume(seed):
    sizes = {one.number: one.size for one in CITY.institutions}
    visits = Counter(
        sizes[one.institution]
        for one in day_of(CITY, seed=seed, weekday=1, peak=True, hours=(7.0, 20.0))
        if one.kind is Kind.VISIT
    )
    assert visits.total() == pytest.approx(CITY.visits_a_day * 1.75, rel=0.02)
    for size, class_ in CLASSES.items():
        assert 100 * visits[size] / visits.total() == pytest.approx(class_.business_percent, abs=1)


def test_another_seed_is_another_day_and_a_flood_comes_on_top():
    day = {"weekday": 1, "peak": True, "hours": (8.0, 12.0)}
    plain = day_of(SMALL_CITY, seed=1, **day)
    flooded = day_of(SMALL_CITY, seed=1, **day, flood=Flood(9, 9 * 3600.0, 600.0, 50))
    assert plain != day_of(SMALL_CITY, seed=2, **day)
    assert [one for one in flooded if one.kind is not Kind.FLOOD] == plain
    floods = [one.second for one in flooded if one.kind is Kind.FLOOD]
    assert len(floods) == 50
    assert all(9 * 3600 <= second <= 9 * 3600 + 600 for second in floods)


@pytest.mark.parametrize("of", [servers_of, one_server_of])
@pytest.mark.parametrize("city", [CITY, SMALL_CITY], ids=["whole", "small"])
def test_every_institution_has_one_front_end_for_its_visits_and_one_for_its_stays(city, of):
    servers = of(city)
    numbers = [number for server in servers for number in server.institutions]
    assert sorted(numbers) == [one.number for one in city.institutions]
    assert set().union(*(server.doors for server in servers)) == set(Door)
    in_wards = [number for server in servers for number in server.wards]
    assert all(
        number in in_wards
        for server in servers
        for number in server.institutions
        if server.door_of(number) is not Door.API or server.part is Part.OUTPATIENTS
    )
    assert any(server.part is Part.ALL for server in servers)


def test_shared_front_ends_have_20_to_30_tenants():
    shared = [len(server.institutions) for server in servers_of(CITY) if server.name.startswith("small")]
    assert sum(shared) == 269
    assert all(20 <= tenants <= 30 for tenants in shared)


def test_claims_are_in_order_where_they_are_to_be_settled_and_wrong_where_they_are_not():
    servers = servers_of(SMALL_CITY)
    day = planned_day(SMALL_CITY, servers, (8.0, 12.0))
    arrivals = day_of(SMALL_CITY, seed=7, weekday=1, peak=True, hours=day.hours, flood=day.flood)
    cast = cast_of(SMALL_CITY, servers, seed=7, people=400)
    claims = list(claims_of(arrivals, cast, seed=7, day=PEAK_DAY))
    assert [claim.number for claim in claims] == list(range(1, len(arrivals) + 1))
    assert claims == list(claims_of(arrivals, cast, seed=7, day=PEAK_DAY))
    catalogues = {}
    for claim in claims:
        name = claim.institution.frontend
        if name not in catalogues:
            matches = [match for one in cast.institutions if one.frontend == name for match in one.matches]
            items = City(seed=0, institutions=(), people=(), claims=(), arrivals=()).items
            catalogues[name] = Catalogue("load", items, matches)
        if claim.forged is None and claim.is_registered:
            codes = {
                verdict.code
                for verdict in check_lines(claim.visit, list(claim.lines), catalogues[name], PEAK_DAY).verdicts
            }
            assert (codes == {"00"}) == (claim.outcome is not ClaimState.RETURNED), claim.number
    stays = [claim for claim in claims if claim.visit.is_stay]
    assert stays
    assert all(100 <= len(stay.lines) <= 600 for stay in stays)
    assert all(stay.visit.visit_date <= line.charge_date <= PEAK_DAY for stay in stays for line in stay.lines)
    numbers = [claim.visit.visit_no for claim in claims if claim.visit.visit_no]
    assert len(set(numbers)) == len(numbers)


def test_a_stay_is_registered_charged_settled_and_discharged_and_nothing_is_asked_before_the_doors_open():
    servers = servers_of(SMALL_CITY)
    arrivals = day_of(SMALL_CITY, seed=3, weekday=1, peak=True, hours=(8.0, 20.0))
    cast = cast_of(SMALL_CITY, servers, seed=3, people=400)
    at, stay = next(
        (arrival.second, claim)
        for arrival, claim in zip(arrivals, claims_of(arrivals, cast, seed=3, day=PEAK_DAY), strict=True)
        if claim.visit.is_stay
    )
    script = script_of(stay, at, opens=at - 1800)
    assert [request.asks for request in script.requests] == [
        Asks.VISIT, Asks.STEP, Asks.STEP, Asks.STEP, Asks.CLAIM, Asks.STEP,
    ]  # fmt: skip
    moments = [request.second for request in script.requests]
    assert moments == sorted(moments)
    assert script.begins == at - 1800
    assert sum(request.body.count(b'"line_no"') for request in script.requests) == len(stay.lines)


@pytest.mark.parametrize("given_", ["19-7", "7-25", "5-9", "x", "9", "9-9"])
def test_hours_that_are_none_are_refused_with_the_form(given_):
    with pytest.raises(NoSuchHours, match="7-19"):
        hours_in(given_)


def test_hours_are_read():
    assert hours_in("7-19") == (7.0, 19.0)
    assert hours_in("9.5-10") == (9.5, 10.0)


def test_accidents_lie_within_the_hours_and_hit_a_shared_and_a_large_front_end():
    servers = servers_of(CITY)
    day = planned_day(CITY, servers, (9.0, 10.0))
    assert day.day == date(2026, 8, 31)
    assert day.day.isoweekday() == 1
    assert day.opens < day.flood.begins < day.flood.begins + day.flood.seconds < day.closes
    assert day.opens < day.cut.begins < day.cut.ends < day.closes
    assert day.noisy_server.startswith("small")
    assert day.cut.server.startswith("large")


def test_the_arithmetic_says_what_the_model_has():
    told = arithmetic_of(CITY, weekday=1)
    assert sum(one["institutions"] for one in told["classes"]) == 300
    assert sum(one["visits_average_day"] for one in told["classes"]) == pytest.approx(CITY.visits_a_day, abs=0.5)
    assert f"{CITY.visits_a_day:,.0f} visits on an average day" in told["sentences"][0]
    assert told["busiest_hour"] == 9
