"""Shapes cities write that few sets have: points by age, falling deductibles, prices of a month, caps that grow."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from domain.benefit import settle
from domain.checker import check as second_opinion
from domain.money import fen, yuan
from domain.policy.check import check
from domain.policy.facts import CaseNotCovered
from domain.policy.reading import PolicyUnreadable, parse
from tests.support.office import (
    HEADING,
    OUTPATIENT,
    SPECIFIC,
    STAY,
    account,
    cap,
    cells,
    deductible,
    in_turn,
    office,
    person,
    share,
    totals,
)

TODAY = date(2026, 3, 2)
STANDARD = deductible("800.00", "stay")
FALLS = 'kind = "deductible_nth_stay", stays = [2, 99], less = "100.00", at_least = "500.00"'
BY_AGE = 'kind = "share_add", over_age = 40, add = "0.002", ceiling = "0.95"'


def settled(book, who, claim, occasion, used=None):
    """The settlement, which the second opinion must share."""
    settlement = settle(claim, who, used or {}, book, occasion)
    assert second_opinion(settlement, claim, who, used or {}, policy=book, at=occasion) == []
    return settlement


@pytest.mark.parametrize(
    ("stays_before", "due"),
    [(0, "800.00"), (1, "700.00"), (2, "600.00"), (3, "500.00"), (9, "500.00")],
)
def test_a_deductible_falls_with_each_stay_to_its_floor(stays_before, due):
    book = office(share("0.80"), STANDARD, FALLS)
    used = {"basic:1:stays:-:2026": stays_before}
    assert yuan(settled(book, person(), totals(scope="5000.00"), STAY, used).deductible_fen) == due


def test_a_floor_above_the_standard_does_not_raise_it():
    book = office(share("0.80"), deductible("300.00", "stay"), FALLS)
    used = {"basic:1:stays:-:2026": 1}
    assert yuan(settled(book, person(), totals(scope="5000.00"), STAY, used).deductible_fen) == "300.00"


@pytest.mark.parametrize(
    ("age", "fund"),
    [(39, "800.00"), (40, "800.00"), (41, "802.00"), (65, "850.00"), (115, "950.00"), (120, "950.00")],
)
def test_points_for_each_year_over_an_age_up_to_the_ceiling(age, fund):
    book = office(share("0.80"), BY_AGE)
    assert yuan(settled(book, person(age=age), totals(scope="1000.00"), STAY).fund_pay_fen) == fund


def test_points_over_an_age_need_the_age():
    with pytest.raises(CaseNotCovered, match="年龄不详"):
        settle(totals(scope="10.00"), person(), {}, office(share("0.80"), BY_AGE), STAY)


def test_points_without_a_ceiling_that_lead_above_all_are_refused():
    text = HEADING.format(starts="01-01") + "".join(
        f'{{ {fact}, scheme = "employee", from = 2026-01-01, src = "DOC" }},\n'
        for fact in (
            share("0.95"),
            'kind = "share_add", over_age = 40, add = "0.002"',
            STANDARD,
            'kind = "rounding", place = "band", mode = "half_up", rest_goes_to = "person"',
        )
    )
    assert "above-all" in {finding.code for finding in check(text + "]\n", today=TODAY).errors}


def test_a_fixed_price_of_a_month_is_counted_for_each_institution():
    price = 'kind = "institution_share", amount = "500.00", per = "month", per_institution = true'
    first, again, other, april = in_turn(
        office(share("0.80"), price),
        person(),
        *(
            (totals(scope="400.00"), SPECIFIC._replace(institution_code=code, day=day))
            for code, day in (("A", TODAY), ("A", TODAY), ("B", TODAY), ("A", date(2026, 4, 1)))
        ),
    )
    assert [each.institution_share_fen for each in (first, again, other, april)] == [0, fen("300.00"), 0, 0]
    assert yuan(again.fund_pay_fen) == "80.00"


def test_what_is_added_to_a_cap_adds_up_and_only_to_the_cap_it_is_about():
    more = [f'kind = "cap_add", amount = "{amount}", per = "year", when = "{name}"' for amount, name in
            (("30.00", "loyal"), ("10.00", "healthy"))]  # fmt: skip
    month = 'kind = "cap_add", amount = "500.00", per = "month"'
    book = office(share("0.80"), cap("100.00"), *more, month)
    bill = totals(scope="1000.00")
    assert yuan(settled(book, person(), bill, STAY).fund_pay_fen) == "100.00"
    both = person(groups=frozenset({"loyal", "healthy"}))
    assert yuan(settled(book, both, bill, STAY).fund_pay_fen) == "140.00"
    used = {"basic:1:fund:-:2026": fen("120.00")}
    assert cells(settled(book, both, bill, STAY, used))["shared@fund:basic"] == "20.00"


def test_a_deductible_for_each_disease():
    visits = [(totals(scope="300.00"), SPECIFIC._replace(disease=name)) for name in ("asthma", "asthma", "gout")]
    found = in_turn(office(share("0.80"), deductible("200.00", "year", ", per_disease = true")), person(), *visits)
    assert [yuan(each.deductible_fen) for each in found] == ["200.00", "0.00", "200.00"]


def test_a_ratio_of_an_item_up_to_an_amount():
    book = office(share("0.50"), 'kind = "fixed_pooled_amount", item = "scan", ratio = "0.90", up_to = "120.00"')
    assert [
        yuan(settled(book, person(), totals(scope=fee, scan=fee), OUTPATIENT).fund_pay_fen)
        for fee in ("100.00", "133.33", "400.00")
    ] == ["90.00", "120.00", "120.00"]


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ('kind = "share", ratio = "0.8", self_ratio = "0.2"', "ratio and self_ratio say it twice"),
        ('kind = "cap", amount = "1.00", unlimited = true, per = "year", basis = "fund_paid"', "say it twice"),
        (
            'kind = "deductible_nth_stay", stays = [2, 9], factor = "0.5", at_least = "9.00"',
            "only where the deductible",
        ),
        ('kind = "fixed_pooled_amount", amount = "9.00", up_to = "9.00"', "only of a ratio"),
        ('kind = "pre_self_pay", amount = "9.00"', "a part of the price is of an item"),
    ],
)
def test_what_contradicts_itself_does_not_read(fact, words):
    with pytest.raises(PolicyUnreadable, match=words):
        parse(HEADING.format(starts="01-01") + f'{{ {fact}, scheme = "any", from = 2026-01-01, src = "DOC" }},\n]\n')


def test_an_unknown_amount_of_a_later_stay_is_not_nothing():
    book = office(share("0.80"), STANDARD, 'kind = "deductible_nth_stay", stays = [2, 9], amount = ""')
    with pytest.raises(CaseNotCovered, match="未知"):
        settle(totals(scope="1000.00"), person(), {}, book, STAY)


def test_a_condition_that_follows_from_itself_is_refused():
    rules = "".join(
        f'{{ kind = "condition", name = "{name}", holds = true, when = "{when}", scheme = "any", from = 2026-01-01, '
        'src = "DOC" },\n'
        for name, when in (("a", "b"), ("b", "not:a"))
    )
    report = check(HEADING.format(starts="01-01") + rules + "]\n", today=TODAY)
    assert [finding.facts for finding in report.errors if finding.code == "follows-itself"] == [(1,), (2,)]


# ── What the second opinion must not object to ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("conditions", "fund"), [({"x"}, "50.00"), ({"x", "c"}, "90.00"), (set(), "90.00")])
def test_a_condition_taken_away_by_a_more_special_fact(conditions, fund):
    book = office(
        share("0.50"),
        share("0.90", more=', when = "not:a"'),
        'kind = "condition", name = "a", holds = true, when = "x"',
        'kind = "condition", name = "a", holds = false, when = ["x", "c"]',
    )
    occasion = STAY._replace(conditions=frozenset(conditions))
    assert yuan(settled(book, person(), totals(scope="100.00"), occasion).fund_pay_fen) == fund


def test_an_account_in_the_red_pays_nothing():
    book = office(share("0.50"), account("in_scope"))
    assert settled(book, replace(person(), account_balance_fen=-500), totals(scope="100.00"), STAY).cash_fen == 5_000


def test_accumulators_below_zero_leave_no_charge_unshared():
    per = ', per = "year"'
    book = office(share("0.50", high="1000.00", more=per), share("0.80", low="1000.00", more=per))
    used = {"basic:1:in_scope:-:2026": fen("10.00") * -1}
    assert yuan(settled(book, person(), totals(scope="100.00"), STAY, used).fund_pay_fen) == "50.00"


# ── What cities write that the older shapes say ───────────────────────────────────────────────────────────


def test_assistance_and_a_second_one_for_what_is_left():
    poor = ', when = "low_income"'
    book = office(
        share("0.60"),
        f'kind = "threshold", scheme = "assistance", amount = "3000.00", per = "year"{poor}',
        f'kind = "layer_share", scheme = "assistance", ratio = "0.70"{poor}',
        cap("2000.00", more=f', scheme = "assistance"{poor}'),
        f'kind = "threshold", scheme = "other", amount = "5000.00", per = "year"{poor}',
        f'kind = "layer_share", scheme = "other", ratio = "0.50"{poor}',
    )
    found = settled(book, person(groups=frozenset({"low_income"})), totals(scope="20000.00"), STAY)
    assert found.funds() == {"basic": 1_200_000, "assistance": 200_000, "other": 50_000}


def test_civil_servants_get_part_of_class_b_and_of_what_is_left():
    book = office(
        share("0.80"),
        'kind = "subsidy", scheme = "civil_servant", use = ["pre_self_pay"], ratio = "0.50"',
        'kind = "subsidy", scheme = "civil_servant", use = ["shared", "deductible"], ratio = "0.90"',
    )
    found = settled(book, person(civil_servant=True), totals(pre="100.00", scope="1000.00"), STAY)
    assert cells(found)["pre_self_pay@fund:civil_servant"] == "50.00"
    assert cells(found)["shared@fund:civil_servant"] == "180.00"


def test_the_account_before_the_deductible_then_the_share():
    book = office(deductible("1500.00", "year"), share("0.65"), account("in_scope", more=", first = true"))
    found = settled(book, person("200.00"), totals(scope="3000.00"), OUTPATIENT)
    assert (yuan(found.account_pay_fen), yuan(found.fund_pay_fen)) == ("200.00", "845.00")


def test_several_chronic_diseases_share_the_highest_cap_and_more():
    book = office(
        share("0.50"),
        cap("400.00", "month", more=', counter = "chronic", when = "hypertension"'),
        'kind = "cap_add", amount = "150.00", per = "month", counter = "chronic", when = "second_disease"',
    )
    ill = person(groups=frozenset({"hypertension", "second_disease"}))
    assert yuan(settled(book, ill, totals(scope="2000.00"), SPECIFIC).fund_pay_fen) == "550.00"
