"""The keys of accumulators: written and read by one grammar, counted over the periods a policy names."""

from __future__ import annotations

from datetime import date

import pytest

from domain.accumulators import (
    AccumulatorKey,
    NotAKey,
    deductible_key,
    fund_key,
    key,
    period_of,
    read_key,
    stay_of,
    year_of,
)
from domain.benefit import accumulator_keys, settle
from domain.visit import VisitType
from tests.support.office import OUTPATIENT, STAY, cap, deductible, office, person, share, totals


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (fund_key(VisitType.OUTPATIENT, 2026), ("basic", "3", "fund", "-", "2026")),
        (deductible_key(VisitType.INPATIENT, 2026), ("basic", "1", "deductible", "-", "2026")),
        (key("basic", "2", "fund", "diabetes", "2026Q1"), ("basic", "2", "fund", "diabetes", "2026Q1")),
        (key("basic", "1", "in_scope", "", stay_of("V1")), ("basic", "1", "in_scope", "-", "stay/V1")),
        (key("basic", "1", "in_scope", "", stay_of("V1", "2")), ("basic", "1", "in_scope", "-", "stay/V1/2")),
    ],
)
def test_a_key_reads_as_it_was_written(text, parts):
    assert read_key(text) == AccumulatorKey(*parts)
    assert str(read_key(text)) == text


@pytest.mark.parametrize("text", ["", "basic:3:fund:2026", "basic:3:fund:-:2026:more", "basic::fund:-:2026"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(NotAKey):
        read_key(text)


@pytest.mark.parametrize(
    ("per", "period"), [("year", "2025"), ("quarter", "2026Q2"), ("month", "2026-06"), ("day", "2026-06-30")]
)
def test_a_day_lies_in_its_periods(per, period):
    assert period_of(per, date(2026, 6, 30), (7, 1)) == period


def test_the_benefit_year_turns_on_its_first_day():
    assert [year_of(day, (7, 1)) for day in (date(2026, 6, 30), date(2026, 7, 1))] == [2025, 2026]


def test_only_periods_of_the_calendar_have_a_name():
    with pytest.raises(ValueError, match="stay"):
        period_of("stay", date(2026, 6, 30), (1, 1))


@pytest.mark.parametrize("occasion", [OUTPATIENT._replace(visit_no="M1"), STAY, STAY._replace(visit_no="")])
def test_the_keys_to_read_are_all_that_settling_reads_and_moves(occasion):
    asked = set()

    class Watched(dict):
        def get(self, key, default=None):
            asked.add(key)
            return default

    book = office(
        deductible("300.00", "stay"),
        share("0.50", high="500.00"),
        share("0.60", "500.00"),
        cap("9.00"),
        cap("8.00", "month"),
        cap("7.00", "visit"),
        'kind = "deductible_nth_stay", stays = [2, 9], factor = "0.50"',
        'kind = "layer_share", scheme = "large_amount", when = "pooled_cap_reached", ratio = "0.90"',
        'kind = "threshold", scheme = "assistance", amount = "10.00", per = "year"',
        'kind = "layer_share", scheme = "assistance", ratio = "0.50"',
    )
    settled = settle(totals(scope="1000.00"), person(), Watched(), book, occasion)
    keys = set(accumulator_keys(person(), occasion, book))
    assert asked <= keys
    assert {entry.key for entry in settled.entries} <= keys
    assert all(str(read_key(text)) == text for text in keys)


def test_no_policy_no_keys():
    assert accumulator_keys(person(scheme="pirate"), STAY, office(share("0.50"))) == ()
