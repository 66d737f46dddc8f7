"""From a claim to what the engine is asked, at both sites alike."""

from __future__ import annotations

from datetime import date

import pytest

from domain.occasion import occasion_of
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce
from domain.policy.reading import parse
from domain.settlement import Occasion
from domain.visit import VisitType
from tests.support.center import totals
from tests.support.frontend import HOSPITAL, POLICY

SETTLED_ON = date(2026, 3, 5)
STAY = {"visit_type": "1", "visit_started": date(2026, 2, 20), "covers_to": date(2026, 3, 1)}


def book(day=""):
    facts = POLICY.rstrip().removesuffix("]")
    if day:
        facts += f'  {{ kind = "year_end", scheme = "any", day = "{day}", from = 2020-01-01, src = "TEST" }},\n'
    return PolicyBook([parse(facts + "]")])


def asked(claim, policy=None):
    return occasion_of(claim, policy or book(), "employee", institution_level=2, settled_on=SETTLED_ON)


def test_an_outpatient_visit_counts_by_its_day():
    claim = totals(1)

    assert asked(claim) == Occasion(VisitType.OUTPATIENT, 2, claim.visit_date, HOSPITAL, claim.visit_no)


@pytest.mark.parametrize(
    ("chosen", "day"),
    [("", SETTLED_ON), ("settlement", SETTLED_ON), ("discharge", date(2026, 3, 1)), ("admission", date(2026, 2, 20))],
)
def test_the_policy_says_which_day_of_a_stay_counts(chosen, day):
    occasion = asked(totals(1, **STAY, final=False), book(chosen))

    assert (occasion.day, occasion.started, occasion.ends, occasion.final) == (
        day,
        date(2026, 2, 20),
        date(2026, 3, 1),
        False,
    )


def test_conditions_that_name_something_are_fields_and_the_others_hold():
    named = ("disease:M00500", "registration_kind:expert", "medical_type:11", "transferred_from:V1")

    occasion = asked(totals(1, conditions=("unfiled", *named, "class:2")))

    assert occasion.conditions == {"unfiled", "class:2"}
    assert (occasion.disease, occasion.registration_kind, occasion.medical_type, occasion.transferred_from) == (
        "M00500",
        "expert",
        "11",
        "V1",
    )


def test_a_stay_nobody_has_a_policy_for_has_no_day():
    with pytest.raises(NoPolicyInForce):
        occasion_of(totals(1, **STAY), book(), "resident", institution_level=2, settled_on=SETTLED_ON)
