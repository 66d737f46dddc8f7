"""The four classes of institutions: whose the ends are, and which of two measures counts (AMB-44)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.institution_class import CLASSES, Size, size_of


@pytest.mark.parametrize(
    ("discharges", "visits", "size"),
    [
        pytest.param(0, 0, Size.SMALL, id="nothing yet"),
        pytest.param(800, 200, Size.SMALL, id="both at the end of small"),
        pytest.param(801, 200, Size.MEDIUM, id="one discharge more"),
        pytest.param(800, 201, Size.MEDIUM, id="one visit more"),
        pytest.param(1_500, 600, Size.MEDIUM, id="both at the end of medium"),
        pytest.param(100, 3_600, Size.LARGE, id="the higher class of the two measures"),
        pytest.param(7_000, 100, Size.LARGE, id="seven thousand still is large"),
        pytest.param(7_001, 100, Size.EXTRA_LARGE, id="more than seven thousand"),
        pytest.param(100, 3_601, Size.EXTRA_LARGE, id="more than 3,600 visits a day"),
    ],
)
def test_the_upper_end_belongs_to_the_class_and_the_higher_of_two_counts(discharges, visits, size):
    assert size_of(discharges_a_year=discharges, visits_a_day=visits) is size


@given(st.integers(0, 20_000), st.integers(0, 10_000), st.integers(0, 500))
def test_more_patients_never_make_a_lower_class(discharges, visits, more):
    order = list(CLASSES)
    now = order.index(size_of(discharges_a_year=discharges, visits_a_day=visits))
    assert order.index(size_of(discharges_a_year=discharges + more, visits_a_day=visits)) >= now
    assert order.index(size_of(discharges_a_year=discharges, visits_a_day=visits + more)) >= now


def test_the_shares_are_those_of_the_table_and_the_whole():
    assert [CLASSES[size].business_percent for size in Size] == [62, 27, 7, 4]
    assert sum(class_.business_percent for class_ in CLASSES.values()) == 100


def test_a_negative_number_of_patients_is_none():
    with pytest.raises(ValueError, match="negative"):
        size_of(discharges_a_year=-1, visits_a_day=0)
