"""The sample city: the same from the same seed, shaped as the sources say, wrong in every way there is."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import time
from pathlib import Path
from statistics import mean, median

import pytest

from city.hospitals import claim_document
from city.sample.catalogue import sample_items
from city.sample.claims import FILE_DEFECTS
from city.sample.institutions import BUSINESS_SHARE, FRONTENDS, HOSPITAL_A, HOSPITAL_B, SHARED
from city.sample.morning import CLOSES, DAY, OPENS, sample_city
from domain.catalogue import Catalogue
from domain.checks import check_lines
from domain.identity import is_synthetic
from domain.institution_class import Size
from domain.lifecycle import ClaimState
from domain.money import amount_of
from domain.totals import total_up
from domain.visit import pack_lines

CITY = sample_city()
TABLE = Path(__file__).with_name("validation_codes.csv")


def of_size(size):
    return [claim for claim in CITY.claims if claim.institution.size == size]


def total(claim):
    return sum(line.line_amount_fen or 0 for line in claim.lines)


def test_the_same_seed_gives_the_same_city_and_another_another():
    assert sample_city() == CITY
    assert sample_city(seed=1, claims=200).claims != sample_city(seed=2, claims=200).claims


def test_it_is_large_enough():
    assert len(CITY.claims) >= 3_000
    assert len(CITY.items) >= 300
    assert Counter(institution.frontend for institution in CITY.institutions) == {
        HOSPITAL_A: 1, HOSPITAL_B: 1, SHARED: 24,
    }  # fmt: skip
    assert {institution.door for institution in CITY.institutions if institution.frontend == HOSPITAL_A} == {"dbf"}


def test_the_catalogue_has_every_class_kind_and_category_that_is_charged():
    items = [item.item for item in sample_items()]
    assert {item.coverage_class for item in items} == {"1", "2", "9"}
    assert {item.match_type for item in items} == {"0", "1", "2", "3"}
    assert len({item.stat_category for item in items}) >= 10
    assert len({item.item_code for item in items}) == len(items)
    assert all((item.pre_self_pay_ratio_1e4 is not None) == (item.coverage_class == "2") for item in items)
    assert sum(item.price_limit_1e4 is not None for item in items) > 50


def test_institutions_have_their_own_codes_names_and_visit_numbers():
    for name in ("institution_code", "short_code", "name"):
        assert len({getattr(institution, name) for institution in CITY.institutions}) == len(CITY.institutions)
    assert all(len(institution.short_code) == 6 for institution in CITY.institutions)
    first, second = CITY.institutions[:2]
    codes = [{own.local_item_code for own in institution.stock} for institution in (first, second)]
    assert codes[0].isdisjoint(codes[1])


@pytest.mark.parametrize(("size", "percent"), BUSINESS_SHARE.items())
def test_business_is_shared_as_the_specification_says(size, percent):
    assert len(of_size(size)) == round(len(CITY.claims) * percent / 100)


@pytest.mark.parametrize(("size", "yuan"), [(Size.EXTRA_LARGE, 342.70), (Size.LARGE, 342.70), (Size.SMALL, 82.80)])
def test_a_visit_costs_about_what_is_published(size, yuan):
    assert mean(map(total, of_size(size))) / 100 == pytest.approx(yuan, rel=0.15)


def test_claims_have_two_to_fifteen_lines_and_five_in_the_middle():
    counts = [len(claim.lines) for claim in CITY.claims if claim.defect != "21"]
    assert (min(counts), median(counts)) == (2, 5)
    assert max(counts) <= 16  # fifteen, and one given back


def test_the_morning_peaks_between_eight_and_ten():
    hours = Counter(arrival.at.hour for arrival in CITY.arrivals)
    assert all(OPENS <= arrival.at.time() <= CLOSES and arrival.at.date() == DAY for arrival in CITY.arrivals)
    assert hours[8] + hours[9] > 0.5 * len(CITY.arrivals)
    assert min(hours[8], hours[9]) > hours[11]
    assert list(CITY.arrivals) == sorted(CITY.arrivals, key=lambda arrival: arrival.at)


def test_about_six_percent_is_defective_with_every_code_of_the_table():
    returned = [claim for claim in CITY.claims if claim.outcome is ClaimState.RETURNED]
    assert len(returned) / len(CITY.claims) == pytest.approx(0.06, abs=0.005)

    with TABLE.open(encoding="utf-8", newline="") as table:
        printed = {row["code"] for row in csv.DictReader(table)} - {"00"}
    assert printed <= {claim.defect for claim in returned}
    for door in ("dbf", "api"):
        seen = {claim.defect for claim in returned if claim.institution.door == door}
        assert printed <= seen
        assert (set(FILE_DEFECTS) <= seen) == (door == "dbf")


@pytest.mark.parametrize("claims", [300, 700])
def test_a_smaller_morning_has_every_code_too(claims):
    small = sample_city(claims=claims, people=100)
    assert {claim.defect for claim in small.claims} == {claim.defect for claim in CITY.claims}


def test_every_claim_is_what_it_says_it_is():
    catalogues = {frontend: Catalogue("c", CITY.items, CITY.matches_of(frontend)) for frontend in FRONTENDS}
    for claim in CITY.claims:
        if claim.defect in FILE_DEFECTS:
            continue  # what is wrong with it is not in the claim
        catalogue = catalogues[claim.institution.frontend]
        checked = check_lines(claim.visit, claim.lines, catalogue, DAY)
        assert [verdict.code for verdict in checked.verdicts] == list(claim.codes or ["00"] * len(claim.lines))
        if checked.passed:
            lines = list(claim.lines)
            totals = total_up(zip(lines, checked.matched, strict=True), pack_lines(lines))
            assert totals.adds_up and totals.total_fen == total(claim) > 0


def test_lines_in_order_are_price_times_quantity():
    for claim in CITY.claims:
        if claim.outcome is ClaimState.SETTLED:
            for line in claim.lines:
                assert line.line_amount_fen == amount_of(line.unit_price_1e4, line.quantity_1e2) != 0


def test_every_part_of_a_bill_occurs():
    catalogue = Catalogue("c", CITY.items, CITY.matches_of(HOSPITAL_A))
    parts = Counter()
    for claim in of_size(Size.EXTRA_LARGE):
        if claim.outcome is ClaimState.SETTLED:
            lines = list(claim.lines)
            matched = check_lines(claim.visit, lines, catalogue, DAY).matched
            totals = total_up(zip(lines, matched, strict=True), pack_lines(lines))
            parts.update(name for name in totals._fields if name.endswith("_fen") and getattr(totals, name))
    names = ("own_expense_fen", "over_limit_fen", "pre_self_pay_fen", "in_scope_fen")
    assert all(parts[name] > 50 for name in names)


def test_the_centre_refuses_whom_it_does_not_know_or_does_not_pay_for():
    refused = [claim for claim in CITY.claims if claim.outcome is ClaimState.REFUSED]
    assert {claim.refusal for claim in refused} == {"person-unknown", "entitlement-suspended"}
    for claim in CITY.claims:
        is_paid_for = claim.person.is_known and claim.person.entitled
        assert is_paid_for == (claim.outcome is not ClaimState.REFUSED)


def test_people_are_made_up_and_all_different():
    assert all(is_synthetic(person.citizen_id_no) for person in CITY.people)
    assert len({person.citizen_id_no for person in CITY.people}) == len(CITY.people)
    assert {person.scheme for person in CITY.people} == {"employee", "resident"}
    assert {"1", "2", "71", "75"} <= {person.category for person in CITY.people}
    assert all(len(person.name) == 3 for person in CITY.people)


def test_some_claims_come_again_twice_at_once_or_under_a_used_key():
    manners = Counter((a.manner, a.claim.institution.door) for a in CITY.arrivals)
    assert manners["again", "dbf"] and manners["again", "api"]
    assert manners["twice at once", "api"] and manners["key reused", "api"]
    for arrival in CITY.arrivals:
        if arrival.manner in ("again", "key reused"):
            first = next(a for a in CITY.arrivals if a.claim is arrival.claim and a.manner == "first")
            assert first.at < arrival.at or first.at.time() == time(12)


def test_altered_content_is_other_content():
    claim = CITY.claims[0]
    assert claim_document(claim) == claim_document(claim)
    assert claim_document(claim) != claim_document(claim, altered=True)


def test_visits_of_the_file_door_are_numbered_as_front_ends_number_theirs():
    by_file = [claim.visit.visit_no for claim in of_size(Size.EXTRA_LARGE)]
    assert len(set(by_file)) == len(by_file)
    assert all(len(number) == 16 and number.startswith("H00001260302") for number in by_file)
    assert {claim.visit.visit_no for claim in of_size(Size.LARGE)} == {""}


def test_a_part_of_the_second_hospital_goes_through_its_shared_tables():
    by_tables = [claim for claim in CITY.claims if claim.door == "tables"]
    assert 150 <= len(by_tables) <= 250
    assert {claim.institution.frontend for claim in by_tables} == {HOSPITAL_B}
    ends = Counter(claim.outcome for claim in by_tables)
    assert set(ends) == {ClaimState.SETTLED, ClaimState.RETURNED}
    numbers = {claim.number for claim in by_tables}
    assert Counter(a.manner for a in CITY.arrivals if a.claim.number in numbers) == {"first": len(by_tables)}
    assert {arrival.claim.number for arrival in CITY.arrivals if arrival.claim.door == "tables"} == numbers
    assert len([claim for claim in by_tables if claim.is_mistyped]) > 10


@pytest.mark.parametrize("claims", [300, 3_200])
def test_what_is_mistyped_at_the_shared_tables_is_in_order_otherwise(claims):
    mistyped = [claim for claim in sample_city(claims=claims).claims if claim.is_mistyped]
    assert mistyped
    assert {(claim.door, claim.outcome) for claim in mistyped} == {("tables", ClaimState.SETTLED)}
