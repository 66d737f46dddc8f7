"""Which catalogue item an institution's own item is on a day, and codes 06 to 10 where it is none."""

from __future__ import annotations

from datetime import date

import pytest

from domain import catalogue
from domain.catalogue import Catalogue, CatalogueItem, CoverageClass, Match, agreeing

DAY = date(2026, 3, 2)
ITEM = CatalogueItem("C1", "阿莫西林胶囊", "1", "2", "01", 1000, 200_000, date(2026, 1, 1), date(2026, 3, 31))
MATCH = Match("H1", "L1", "1", "C1", "阿莫西林胶囊", "2", True, date(2026, 2, 1), date(2026, 3, 15))


def on(*matches, items=(ITEM,), day=DAY):
    return Catalogue("v1", items, matches).on("H1", "L1", day)


def test_a_matched_item_brings_class_ratio_limit_and_category():
    assert on(MATCH)[:7] == ("00", "C1", "2", 1000, 200_000, "01", "")


@pytest.mark.parametrize(
    ("matches", "items", "code"),
    [
        pytest.param([], [ITEM], "06", id="never matched"),
        pytest.param([MATCH._replace(audited=False)], [ITEM], "06", id="not audited"),
        pytest.param([MATCH._replace(institution_code="H2")], [ITEM], "06", id="matched by another institution"),
        pytest.param([MATCH._replace(expiry_date=date(2026, 3, 1))], [ITEM], "06", id="the match ended yesterday"),
        pytest.param([MATCH._replace(effective_date=date(2026, 3, 3))], [ITEM], "06", id="the match starts tomorrow"),
        pytest.param([MATCH, MATCH], [ITEM], "07", id="matched twice"),
        pytest.param([MATCH, MATCH._replace(audited=False)], [ITEM], "00", id="only audited matches count"),
        pytest.param([MATCH._replace(centre_item_code="")], [ITEM], "08", id="no centre item"),
        pytest.param([MATCH._replace(coverage_class="")], [ITEM], "08", id="no class"),
        pytest.param([MATCH._replace(coverage_class="3")], [ITEM], "08", id="a class that does not exist"),
        pytest.param([MATCH], [], "08", id="the item is not in the catalogue"),
        pytest.param([MATCH], [ITEM._replace(expiry_date=date(2026, 3, 1))], "08", id="the item ended yesterday"),
        pytest.param([MATCH], [ITEM._replace(pre_self_pay_ratio_1e4=None)], "08", id="class B without its ratio"),
        pytest.param(
            [MATCH._replace(coverage_class="1")],
            [ITEM._replace(pre_self_pay_ratio_1e4=None)],
            "00",
            id="class A needs no ratio",
        ),
        pytest.param([MATCH._replace(match_type="")], [ITEM], "09", id="no match type"),
        pytest.param([MATCH._replace(match_type="", centre_item_code="C9")], [], "09", id="no type hides no item"),
        pytest.param([MATCH._replace(match_type="0")], [ITEM], "08", id="looked up among the wrong kind"),
        pytest.param([MATCH], [ITEM._replace(stat_category="")], "10", id="no statistical category"),
    ],
)
def test_an_item_that_is_not_matched_says_why(matches, items, code):
    assert on(*matches, items=items).code == code


@pytest.mark.parametrize(
    ("day", "code"),
    [(date(2026, 1, 31), "06"), (date(2026, 2, 1), "00"), (date(2026, 3, 15), "00"), (date(2026, 3, 16), "06")],
)
def test_first_and_last_day_are_included(day, code):
    assert on(MATCH, day=day).code == code


def test_the_ratio_counts_for_class_b_only():
    assert on(MATCH._replace(coverage_class=CoverageClass.A)).pre_self_pay_ratio_1e4 == 0
    assert on(MATCH._replace(coverage_class=CoverageClass.OWN_EXPENSE)).pre_self_pay_ratio_1e4 == 0


def test_what_it_remembers_has_an_end(monkeypatch):
    monkeypatch.setattr(catalogue, "MAX_REMEMBERED", 10)
    held = Catalogue("v1", [ITEM], [MATCH])
    assert [held.on("H1", f"L{i}", DAY).code for i in range(50)].count("00") == 1
    assert len(held._known) <= 10


def test_items_of_a_day_come_by_code():
    other = ITEM._replace(item_code="C0")
    gone = ITEM._replace(item_code="C2", expiry_date=date(2026, 3, 1))
    assert [item.item_code for item in Catalogue("v1", [ITEM, other, gone], []).items_on(DAY)] == ["C0", "C1"]


@pytest.mark.parametrize(
    ("stat_category", "match_type", "agree", "differ"),
    [
        pytest.param("02", "1", {None, 0, 2}, {1, 3, 4}, id="compared as integers; 0 says nothing"),
        pytest.param("4", "2", {4, 3}, {5, 2}, id="3 may be a patent medicine"),
        pytest.param("5", "3", {5, 3}, {4, 2}, id="3 may be a herb"),
        pytest.param("3", "2", {3, 4}, {5}, id="of a patent medicine 3 is 4"),
        pytest.param("3", "3", {3, 5}, {4}, id="of a herb 3 is 5"),
        pytest.param("A1", "0", {None, 0, 7, 999}, set(), id="a category that is no number"),
    ],
)
def test_charge_categories_agree_with_the_centres_as_numbers(stat_category, match_type, agree, differ):
    found = agreeing(stat_category, match_type)
    assert (agree <= found, differ & found) == (True, set())
