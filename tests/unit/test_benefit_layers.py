"""Caps, upper layers, full cover, items, the institution, the account: every shape an office may write."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from domain.benefit import settle
from domain.policy import scheme_of
from domain.policy.facts import CaseNotCovered
from domain.settlement import cells_of
from domain.visit import VisitType
from tests.support.office import (
    DAY,
    OUTPATIENT,
    PHARMACY,
    SPECIFIC,
    STAY,
    account,
    cap,
    cells,
    deductible,
    in_turn,
    in_yuan,
    office,
    person,
    share,
    totals,
)


def layer(kind, scheme, more):
    return f'kind = "{kind}", scheme = "{scheme}", {more}'


def bears(found):
    return in_yuan(found, "person_share")["person_share"]


def funds(found):
    return {fund: f"{amount // 100}.{amount % 100:02d}" for fund, amount in found.funds().items()}


# --- caps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "same", "later"),
    [
        ("day", "60.00", "80.00"),
        ("month", "60.00", "80.00"),
        ("quarter", "60.00", "60.00"),
        ("visit", "60.00", "80.00"),
    ],
)
def test_a_cap_counts_over_its_period(per, same, later):
    book = office(share("0.80"), cap("140.00", per))
    visits = [
        OUTPATIENT._replace(visit_no="M1"),
        OUTPATIENT._replace(visit_no="M1"),
        OUTPATIENT._replace(visit_no="M2", day=date(2026, 2, 27) if per == "quarter" else date(2026, 4, 1)),
    ]
    if per == "quarter":
        visits[2] = visits[2]._replace(day=date(2026, 3, 31))
    one, two, three = in_turn(book, person(), *[(totals(scope="100.00"), visit) for visit in visits])
    assert [in_yuan(each, "fund_pay")["fund_pay"] for each in (one, two)] == ["80.00", same]
    assert in_yuan(three, "fund_pay")["fund_pay"] == ("0.00" if per == "quarter" else later)


def test_a_cap_per_disease_and_quarter():
    book = office(share("0.80"), cap("100.00", "quarter", more=', visit = "specific_outpatient", per_disease = true'))
    visits = [
        SPECIFIC._replace(disease="diabetes"),
        SPECIFIC._replace(disease="diabetes"),
        SPECIFIC._replace(disease="hypertension"),
    ]
    settled = in_turn(book, person(), *[(totals(scope="100.00"), visit) for visit in visits])
    assert [in_yuan(each, "fund_pay")["fund_pay"] for each in settled] == ["80.00", "20.00", "80.00"]
    assert "basic:2:fund:diabetes:2026Q1" in [entry.key for entry in settled[0].entries]
    with pytest.raises(CaseNotCovered, match="病种不详"):
        settle(totals(scope="1.00"), person(), {}, book, SPECIFIC)


def test_two_diseases_have_a_cap_each_and_one_together():
    of = ', visit = "specific_outpatient"'
    book = office(
        share("1.00"),
        cap("400.00", more=f'{of}, disease = "hypertension"'),
        cap("500.00", more=f'{of}, disease = "diabetes"'),
        cap("700.00", more=of),
    )
    visits = [SPECIFIC._replace(disease=disease) for disease in ("hypertension", "diabetes", "diabetes")]
    settled = in_turn(book, person(), *[(totals(scope="450.00"), visit) for visit in visits])
    assert [in_yuan(each, "fund_pay")["fund_pay"] for each in settled] == ["400.00", "300.00", "0.00"]


def test_a_cap_with_a_counter_of_its_own():
    """An accident has a cap of its own, whatever the fund has paid for illness."""
    book = office(share("0.80"), cap("80000.00"), cap("3000.00", more=', when = "accident", counter = "accident"'))
    accident = STAY._replace(conditions=frozenset({"accident"}))
    ill, hurt, again = in_turn(
        book, person(), *[(totals(scope="10000.00"), occasion) for occasion in (STAY, accident, accident)]
    )
    assert [funds(each).get("basic") for each in (ill, hurt, again)] == ["8000.00", "3000.00", None]


@pytest.mark.parametrize(
    ("basis", "fund", "over"),
    [("fund_paid", "500.00", "375.00"), ("charges", "400.00", "500.00"), ("in_scope", "320.00", "600.00")],
)
def test_a_cap_counts_money_or_charges(basis, fund, over):
    book = office(deductible("100.00"), share("0.80"), cap("500.00", basis=basis))
    found = settle(totals(scope="1100.00"), person(), {}, book, STAY)
    assert in_yuan(found, "fund_pay", "over_cap") == {"fund_pay": fund, "over_cap": over}


def test_a_cap_and_a_deductible_may_count_per_institution():
    apart = ", per_institution = true"
    book = office(deductible("100.00", "year", apart), share("0.80"), cap("200.00", more=apart))
    visits = [OUTPATIENT._replace(institution_code=code) for code in ("H1", "H1", "H2")]
    settled = in_turn(book, person(), *[(totals(scope="300.00"), visit) for visit in visits])
    assert [in_yuan(each, "deductible", "fund_pay") for each in settled] == [
        {"deductible": "100.00", "fund_pay": "160.00"},
        {"deductible": "0.00", "fund_pay": "40.00"},
        {"deductible": "100.00", "fund_pay": "160.00"},
    ]


def test_charges_count_on_through_the_year():
    book = office(share("0.80"), cap("500.00", basis="charges"))
    settled = in_turn(book, person(), *[(totals(scope="300.00"), STAY._replace(visit_no=n)) for n in "ABC"])
    assert [in_yuan(each, "fund_pay")["fund_pay"] for each in settled] == ["240.00", "160.00", "0.00"]


def test_a_cap_over_several_funds():
    book = office(
        share("0.80"),
        cap("100.00"),
        layer("layer_share", "large_amount", 'ratio = "0.90", when = "pooled_cap_reached"'),
        layer(
            "cap",
            "large_amount",
            'amount = "150.00", per = "year", basis = "fund_paid", layers = ["basic", "large_amount"]',
        ),
    )
    found = settle(totals(scope="300.00"), person(), {}, book, STAY)
    assert funds(found) == {"basic": "100.00", "large_amount": "50.00"}
    assert cells_of(found.steps) == found.matrix()


def test_a_more_special_cap_goes_before_the_general_one():
    book = office(
        share("0.80"), cap("100.00"), 'kind = "cap", unlimited = true, per = "year", basis = "fund_paid", when = "poor"'
    )
    poor = person(groups=frozenset({"poor"}))
    assert in_yuan(settle(totals(scope="900.00"), poor, {}, book, STAY), "fund_pay") == {"fund_pay": "720.00"}
    assert in_yuan(settle(totals(scope="900.00"), person(), {}, book, STAY), "fund_pay") == {"fund_pay": "100.00"}


# --- what changes the share ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "fund"),
    [
        ([share("0.80")], "80.00"),
        (['kind = "share", self_ratio = "0.15"'], "85.00"),
        ([share("0.80"), 'kind = "share_add", add = "0.05", person = [2]'], "85.00"),
        (
            [share("0.80"), 'kind = "share_add", add = "0.05"', 'kind = "share_add", add = "0.02", when = "poor"'],
            "87.00",
        ),
        ([share("0.80"), 'kind = "share_minus_points", add = "0.25", when = "poor"'], "55.00"),
        ([share("0.80"), 'kind = "self_share_factor", factor = "0.70", person = [2]'], "86.00"),
        ([share("0.80"), 'kind = "share_factor", factor = "0.90", when = "poor"'], "72.00"),
        (
            [
                share("0.80"),
                'kind = "share_add", add = "0.05"',
                'kind = "self_share_factor", factor = "0.60"',
                'kind = "share_factor", factor = "0.90"',
            ],
            "81.90",
        ),
        ([share("0.80"), share("0.40", more=', when = "poor"')], "40.00"),
        ([share("0.80"), share("0.40", more=', when = "not:poor"')], "80.00"),
        (
            [share("0.80"), share("0.40", more=', when = ["poor", "unfiled"]'), share("0.50", more=', when = "poor"')],
            "50.00",
        ),
        ([share("0.80"), share("0.90", more=", age_from = 70")], "90.00"),
        ([share("0.80"), share("0.90", more=", age_to = 69")], "80.00"),
        ([share("0.80"), share("0.70", more=', institution = ["H1", "H2"]')], "70.00"),
        ([share("0.80"), share("0.70", more=', institution = "H3"')], "80.00"),
    ],
)
def test_who_gets_what_share(facts, fund):
    who = person(category="2", groups=frozenset({"poor"}), age=70)
    found = settle(totals(scope="100.00"), who, {}, office(*facts), STAY._replace(institution_code="H1"))
    assert in_yuan(found, "fund_pay") == {"fund_pay": fund}


def test_a_condition_may_follow_from_others():
    facts = (
        share("0.80"),
        share("0.60", more=', when = "away"'),
        'kind = "condition", name = "away", holds = true, when = "filed_transfer"',
        'kind = "condition", name = "away", holds = true, disease = ["flu", "cold"]',
    )
    for occasion, fund in (
        (STAY, "80.00"),
        (STAY._replace(conditions=frozenset({"filed_transfer"})), "60.00"),
        (STAY._replace(disease="cold"), "60.00"),
        (STAY._replace(disease="cough"), "80.00"),
    ):
        assert in_yuan(settle(totals(scope="100.00"), person(), {}, office(*facts), occasion), "fund_pay") == {
            "fund_pay": fund
        }


def test_a_visit_type_follows_another():
    book = office(
        share("0.85", more=', visit = "inpatient"'),
        share("0.50", more=', visit = "outpatient"'),
        'kind = "share", visit = "specific_outpatient", class = 1, follows = "inpatient"',
        share("0.30", more=', visit = "specific_outpatient"'),
    )
    first_class = SPECIFIC._replace(conditions=frozenset({"class:1"}))
    assert in_yuan(settle(totals(scope="100.00"), person(), {}, book, first_class), "fund_pay") == {"fund_pay": "85.00"}
    assert in_yuan(settle(totals(scope="100.00"), person(), {}, book, SPECIFIC), "fund_pay") == {"fund_pay": "30.00"}


@pytest.mark.parametrize(("per", "fund"), [("visit", ["1800.00", "1800.00"]), ("year", ["1800.00", "1400.00"])])
def test_bands_may_go_on_through_the_year(per, fund):
    facts = [
        share("0.90", high="2000.00", more=f', per = "{per}"'),
        share("0.70", "2000.00", more=f', per = "{per}"'),
    ]
    settled = in_turn(office(*facts), person(), *[(totals(scope="2000.00"), STAY._replace(visit_no=n)) for n in "AB"])
    assert [in_yuan(each, "fund_pay")["fund_pay"] for each in settled] == fund


@pytest.mark.parametrize("per", ["stay", "year"])
def test_band_borders_in_fund_money(per):
    """900.00 of fund money at 90 percent are 1000.00 of charges; what is beyond is shared at 70."""
    facts = [
        share(ratio, low, high, f', basis = "fund_paid", per = "{per}"')
        for ratio, low, high in (("0.90", "0.00", "900.00"), ("0.70", "900.00", None))
    ]
    one, two = in_turn(office(*facts), person(), (totals(scope="800.00"), STAY), (totals(scope="800.00"), STAY))
    assert in_yuan(one, "fund_pay") == {"fund_pay": "720.00"}
    assert in_yuan(two, "fund_pay") == {"fund_pay": "600.00"}


@pytest.mark.parametrize(
    ("counts_as", "own", "own_scope"), [("pre_self_pay", "200.00", "160.00"), ("self_pay", "0.00", "360.00")]
)
def test_a_visit_elsewhere_is_pre_paid(counts_as, own, own_scope):
    book = office(
        share("0.80"), f'kind = "pre_self_pay_visit", ratio = "0.20", when = "unfiled", counts_as = "{counts_as}"'
    )
    unfiled = STAY._replace(conditions=frozenset({"unfiled"}))
    found = settle(totals(scope="1000.00"), person(), {}, book, unfiled)
    assert in_yuan(found, "fund_pay", "own_pay", "self_pay") == {
        "fund_pay": "640.00",
        "own_pay": own,
        "self_pay": own_scope,
    }
    assert bears(settle(totals(scope="1000.00"), person(), {}, book, STAY)) == "200.00"


@pytest.mark.parametrize(
    ("mode", "rest", "fund"),
    [
        ("half_up", "person", "0.84"),
        ("half_up", "fund", "0.83"),
        ("down", "person", "0.83"),
        ("down", "fund", "0.84"),
        ("up", "person", "0.84"),
        ("up", "fund", "0.83"),
    ],
)
def test_the_way_of_rounding_is_data(mode, rest, fund):
    """0.835 of the fund and 0.165 of the person: halves of a fen on both sides."""
    rounding = f'kind = "rounding", place = "band", mode = "{mode}", digits = 2, rest_goes_to = "{rest}"'
    found = settle(totals(scope="1.00"), person(), {}, office(share("0.835"), rounding), STAY)
    assert in_yuan(found, "fund_pay") == {"fund_pay": fund}
    assert found.steps[-1].rest == (rest if mode == "half_up" else f"{rest} {mode}")


# --- upper layers -------------------------------------------------------------------------------------------------


SERIOUS = (
    layer("threshold", "serious_illness", 'amount = "10000.00", per = "year", basis = "in_scope_with_person"'),
    layer(
        "layer_share",
        "serious_illness",
        'low = "10000.00", high = "100000.00", ratio = "0.50", basis = "in_scope_with_person"',
    ),
    layer("layer_share", "serious_illness", 'low = "100000.00", ratio = "0.60", basis = "in_scope_with_person"'),
    layer("cap", "serious_illness", 'amount = "200000.00", per = "year", basis = "fund_paid"'),
)


def test_serious_illness_as_shandong_worked_it_out():
    """300000 in all, 270000 in scope, 100000 of the basic fund: 45000 and 42000 more, together 187000."""
    book = office(share("1.00"), cap("100000.00"), *SERIOUS)
    found = settle(totals(own="30000.00", scope="270000.00"), person(scheme="resident"), {}, book, STAY)
    assert funds(found) == {"basic": "100000.00", "serious_illness": "87000.00"}
    assert bears(found) == "113000.00"


def test_serious_illness_adds_up_over_the_year():
    book = office(share("0.50"), *SERIOUS)
    visits = [(totals(scope="15000.00"), STAY._replace(visit_no=n)) for n in "ABC"]
    settled = in_turn(book, person(scheme="resident"), *visits)
    assert [funds(each).get("serious_illness") for each in settled] == [None, "2500.00", "3750.00"]


def test_a_poor_persons_threshold_goes_before_the_general_one():
    poor = layer("threshold", "serious_illness", 'amount = "5000.00", per = "year", when = "poor"')
    book = office(share("0.50"), *SERIOUS, poor)
    who = person(scheme="resident", groups=frozenset({"poor"}))
    assert "serious_illness" not in funds(settle(totals(scope="16000.00"), person(scheme="resident"), {}, book, STAY))
    # borders stay where they are: a band that begins at 10000 pays nothing below it
    assert "serious_illness" not in funds(settle(totals(scope="16000.00"), who, {}, book, STAY))
    lower = layer("layer_share", "serious_illness", 'ratio = "0.60", when = "poor", basis = "in_scope_with_person"')
    assert funds(settle(totals(scope="16000.00"), who, {}, office(share("0.50"), *SERIOUS, poor, lower), STAY)) == {
        "basic": "8000.00",
        "serious_illness": "1800.00",
    }


def test_a_layer_of_the_cap_has_a_cap_too():
    book = office(
        share("0.80"),
        cap("1000.00"),
        layer("layer_share", "large_amount", 'ratio = "0.95", when = "pooled_cap_reached"'),
        layer("cap", "large_amount", 'amount = "500.00", per = "year", basis = "fund_paid"'),
    )
    found = settle(totals(scope="2250.00"), person(), {}, book, STAY)
    assert cells(found) == {
        "shared@fund:basic": "1000.00",
        "shared@person": "250.00",
        "large_amount@fund:large_amount": "500.00",
        "large_amount@person": "26.32",
        "over_cap@person": "473.68",
    }
    assert in_yuan(found, "self_pay", "over_cap") == {"self_pay": "276.32", "over_cap": "473.68"}


def test_a_base_at_the_cap_is_not_rounded_before_the_next_layer():
    """Beijing, settlement 1671213: 91759.51 are left, 67039.6347 at 80 percent are 53631.71."""
    bands = [
        fact + ', per = "stay"'
        for fact in (share("0.85", high="30000.00"), share("0.90", "30000.00", "40000.00"), share("0.95", "40000.00"))
    ]
    book = office(
        deductible("650.00", "stay"),
        *bands,
        'kind = "self_share_factor", factor = "0.60"',
        cap("91759.51"),
        layer("layer_share", "large_amount", 'ratio = "0.80", when = "pooled_cap_reached"'),
        rest="fund",
    )
    found = settle(totals(scope="164411.81"), person(category="2"), {}, book, STAY)
    assert funds(found) == {"basic": "91759.51", "large_amount": "53631.71"}
    assert bears(found) == "19020.59"


@pytest.mark.parametrize(
    ("fact", "paid"),
    [
        ('ratio = "0.96"', "288.00"),
        ('ratio = "0.50", use = "shared"', "100.00"),
        ('ratio = "0.50", use = "deductible"', "50.00"),
        ('ratio = "0.50", use = ["shared", "deductible"]', "150.00"),
        ('keeps = "0.05"', "285.00"),
        ('keeps = "0.10", basis = "in_scope"', "190.00"),
        ('ratio = "0.10", basis = "in_scope"', "110.00"),
        ('ratio = "0.96", person = [2]', None),
        ('ratio = "0.98", rank = "county"', "294.00"),
        ('ratio = "0.98", rank = ["section", "department"]', None),
    ],
)
def test_the_civil_servants_subsidy(fact, paid):
    """Of 1100.00 in scope the basic fund pays 800.00 and leaves 100.00 and 200.00."""
    book = office(deductible("100.00"), share("0.80"), layer("subsidy", "civil_servant", fact))
    servant = person(civil_servant=True, rank="county")
    found = settle(totals(scope="1100.00"), servant, {}, book, STAY)
    assert funds(found).get("civil_servant") == paid
    assert "civil_servant" not in funds(settle(totals(scope="1100.00"), person(), {}, book, STAY))


def test_nanchang_worked_its_subsidy_out():
    book = office(share("0.85"), layer("subsidy", "civil_servant", 'ratio = "0.96", basis = "left_by_layers_before"'))
    found = settle(totals(scope="200000.00"), person(civil_servant=True), {}, book, STAY)
    assert funds(found) == {"basic": "170000.00", "civil_servant": "28800.00"}
    assert bears(found) == "1200.00"


def test_uses_of_the_subsidy_stand_side_by_side():
    book = office(
        deductible("100.00"),
        share("0.80"),
        cap("400.00"),
        layer("subsidy", "civil_servant", 'ratio = "1.00", use = "deductible"'),
        layer("subsidy", "civil_servant", 'ratio = "0.50", use = "shared"'),
        layer("subsidy", "civil_servant", 'ratio = "0.90", use = "over_cap"'),
        layer("cap", "civil_servant", 'amount = "550.00", per = "year", basis = "fund_paid"'),
    )
    found = settle(totals(scope="1100.00"), person(civil_servant=True), {}, book, STAY)
    assert cells(found) == {
        "deductible@fund:civil_servant": "100.00",
        "shared@fund:basic": "400.00",
        "shared@fund:civil_servant": "50.00",
        "shared@person": "50.00",
        "over_cap@fund:civil_servant": "400.00",
        "over_cap@person": "100.00",
    }


def test_a_subsidy_may_follow_the_cap_of_the_basic_fund():
    follows = 'ratio = "0.20", visit = "outpatient", cap_follows = "employee outpatient"'
    book = office(
        share("0.50"),
        cap("1000.00", more=', scheme = "employee", visit = "outpatient"'),
        layer("subsidy", "civil_servant", follows),
    )
    settled = in_turn(book, person(civil_servant=True), *[(totals(scope="9000.00"), OUTPATIENT) for _ in range(2)])
    assert [funds(each).get("civil_servant") for each in settled] == ["1000.00", None]


def test_the_subsidy_may_come_after_the_account():
    book = office(
        share("0.00"),
        account("in_scope"),
        layer("subsidy", "civil_servant", 'ratio = "0.80", basis = "in_scope", after = "account", use = "shared"'),
    )
    found = settle(totals(scope="100.00"), person("30.00", civil_servant=True), {}, book, OUTPATIENT)
    assert cells(found) == {"shared@account": "30.00", "shared@fund:civil_servant": "56.00", "shared@person": "14.00"}


def test_the_order_of_the_layers_is_data():
    facts = (
        share("0.50"),
        layer("subsidy", "civil_servant", 'ratio = "0.50"'),
        layer("subsidy", "assistance", 'ratio = "0.50"'),
    )
    servant = person(civil_servant=True)
    usual = settle(totals(scope="100.00"), servant, {}, office(*facts), STAY)
    assert funds(usual) == {"basic": "50.00", "civil_servant": "25.00", "assistance": "12.50"}
    turned = office(*facts, 'kind = "layer_order", layers = ["assistance", "civil_servant"]')
    assert funds(settle(totals(scope="100.00"), servant, {}, turned, STAY)) == {
        "basic": "50.00",
        "assistance": "25.00",
        "civil_servant": "12.50",
    }


def test_assistance_comes_last_and_has_its_cap():
    book = office(
        share("0.50"),
        layer("subsidy", "enterprise", 'ratio = "0.50"'),
        layer("subsidy", "assistance", 'ratio = "0.80", when = "poor"'),
        layer("cap", "assistance", 'amount = "150.00", per = "year", basis = "fund_paid", when = "poor"'),
    )
    found = settle(totals(scope="1000.00"), person(groups=frozenset({"poor"})), {}, book, STAY)
    assert funds(found) == {"basic": "500.00", "enterprise": "250.00", "assistance": "150.00"}


def test_a_layer_the_counter_does_not_settle_stays_with_the_person():
    book = office(
        share("0.50"),
        layer("subsidy", "assistance", 'ratio = "0.80"'),
        'kind = "settled_at_counter", layers = ["basic"]',
        'kind = "settled_at_counter", layers = ["basic", "assistance"], when = "poor"',
    )
    assert funds(settle(totals(scope="10.00"), person(), {}, book, STAY)) == {"basic": "5.00"}
    poor = person(groups=frozenset({"poor"}))
    assert funds(settle(totals(scope="10.00"), poor, {}, book, STAY)) == {"basic": "5.00", "assistance": "4.00"}


def test_a_layer_serves_whom_the_fact_names():
    serious = layer("layer_share", "serious_illness", 'ratio = "0.50", insured = ["employee", "resident"]')
    for scheme in ("employee", "resident"):
        found = settle(totals(scope="10.00"), person(scheme=scheme), {}, office(share("0.50"), serious), STAY)
        assert funds(found) == {"basic": "5.00", "serious_illness": "2.50"}


def test_a_layer_may_count_what_is_out_of_scope():
    serious = layer(
        "layer_share",
        "serious_illness",
        'ratio = "0.50", insured = ["employee"], includes = ["pre_self_pay"], excludes = ["deductible"]',
    )
    book = office(deductible("100.00"), share("0.80"), serious)
    found = settle(totals(pre="60.00", scope="200.00"), person(), {}, book, STAY)
    assert cells(found) == {
        "pre_self_pay@person": "40.00",
        "pre_self_pay@fund:serious_illness": "20.00",
        "deductible@person": "100.00",
        "shared@fund:basic": "80.00",
        "shared@fund:serious_illness": "20.00",
    }


@pytest.mark.parametrize(
    ("beyond", "expected"), [("0.00", ["100.00", "0.00", "100.00"]), ("0.10", ["120.00", "30.00", "120.00"])]
)
def test_a_cap_on_what_the_person_bears(beyond, expected):
    most = layer("person_cap", "other", f'amount = "100.00", per = "month", beyond = "{beyond}"')
    book = office(share("0.40"), most)
    days = [DAY, date(2026, 3, 30), date(2026, 4, 1)]
    settled = in_turn(book, person(), *[(totals(scope="500.00"), OUTPATIENT._replace(day=day)) for day in days])
    assert [bears(each) for each in settled] == expected


def test_a_cap_on_what_the_person_bears_of_one_document():
    most = layer("person_cap", "other", 'amount = "100.00", per = "visit"')
    book = office(share("0.40"), most)
    settled = in_turn(book, person(), *[(totals(scope="500.00"), OUTPATIENT._replace(visit_no=n)) for n in "ABA"])
    assert [bears(each) for each in settled] == ["100.00", "100.00", "0.00"]


# --- full cover, institution, items -------------------------------------------------------------------------------


def test_a_group_is_covered_wholly_by_another_fund():
    covers = 'covers = ["pre_self_pay", "deductible", "shared", "over_cap"], person = [3], pays = "retired_cadres"'
    book = office(deductible("100.00"), share("0.80"), cap("50.00"), f'kind = "full_cover", {covers}')
    found = settle(totals("7.00", "0.00", "5.00", "300.00"), person(category="3"), {}, book, STAY)
    assert funds(found) == {"retired_cadres": "305.00"}
    assert bears(found) == "7.00"


def test_full_cover_bears_what_is_out_of_scope_where_nothing_is_in_scope():
    covers = 'covers = ["own_expense", "in_scope"], person = [3], pays = "retired_cadres"'
    book = office(share("0.80"), f'kind = "full_cover", {covers}')
    found = settle(totals(own="7.00"), person(category="3"), {}, book, STAY)
    assert cells(found) == {"own_expense@fund:retired_cadres": "7.00"}


def test_a_group_may_be_covered_in_part():
    book = office(deductible("100.00"), share("0.80"), 'kind = "full_cover", covers = ["deductible"], when = "poor"')
    found = settle(totals(scope="300.00"), person(groups=frozenset({"poor"})), {}, book, STAY)
    assert cells(found) == {
        "shared@fund:basic": "240.00",
        "shared@person": "60.00",
    }


def test_a_stay_over_its_fixed_price_is_the_institutions():
    book = office(
        deductible("100.00", "stay"),
        share("0.80"),
        'kind = "institution_share", amount = "1000.00", per = "stay", when = "appendix"',
    )
    appendix = STAY._replace(conditions=frozenset({"appendix"}))
    one, two = in_turn(book, person(), (totals(scope="800.00"), appendix), (totals(scope="500.00"), appendix))
    assert in_yuan(one, "institution_share", "fund_pay") == {"institution_share": "0.00", "fund_pay": "560.00"}
    assert in_yuan(two, "institution_share", "fund_pay", "self_pay") == {
        "institution_share": "300.00",
        "fund_pay": "160.00",
        "self_pay": "40.00",
    }


def test_an_institution_bears_a_ratio_of_what_was_wrong():
    book = office(share("0.80"), 'kind = "institution_share", ratio = "0.30", item = "violation"')
    found = settle(totals(scope="1000.00", violation="200.00"), person(), {}, book, STAY)
    assert in_yuan(found, "institution_share", "fund_pay") == {"institution_share": "60.00", "fund_pay": "752.00"}


FEE = 'kind = "fixed_pooled_amount", item = "fee"'


@pytest.mark.parametrize(
    ("facts", "fee", "pooled"),
    [
        ([f'{FEE}, amount = "7.00", not_below = "7.00"'], "7.00", "7.00"),
        ([f'{FEE}, amount = "7.00", not_below = "7.00"'], "6.99", None),
        ([f'{FEE}, amount = "9.00"'], "8.00", "8.00"),
        ([f'{FEE}, amount = "7.00"', f'{FEE}, amount = "9.00", institution = "H1"'], "10.00", "9.00"),
        ([f'{FEE}, amount = "7.00"', f'{FEE}, amount = "5.00", registration_kind = "expert"'], "10.00", "5.00"),
        ([f'{FEE}, amount = "7.00"', f'{FEE}, amount = "4.00", medical_type = [11, 12]'], "10.00", "4.00"),
        ([f'{FEE}, ratio = "0.50"'], "10.01", "5.01"),
        ([f'{FEE}, ratio = "0.50", above = "4.00"'], "10.00", "3.00"),
        ([f'{FEE}, amount = "7.00"', cap("3.00")], "10.00", "3.00"),
    ],
)
def test_a_registration_fee_is_pooled_with_a_fixed_amount(facts, fee, pooled):
    book = office(share("0.00"), *facts, account("in_scope"), 'kind = "account_pays", item = "fee", may_pay = []')
    visit = OUTPATIENT._replace(institution_code="H1", registration_kind="expert", medical_type="12")
    found = settle(totals(scope=fee, fee=fee), person("99.00"), {}, book, visit)
    assert funds(found).get("basic") == pooled
    assert in_yuan(found, "account_pay") == {"account_pay": "0.00"}


def test_the_rest_of_the_fee_is_the_persons_or_goes_on_in_scope():
    claim = totals(scope="110.00", fee="10.00")
    persons = office(share("0.50"), f'{FEE}, amount = "7.00"')
    assert cells(settle(claim, person(), {}, persons, OUTPATIENT)) == {
        "fixed_item@fund:basic": "7.00",
        "fixed_item@person": "3.00",
        "shared@fund:basic": "50.00",
        "shared@person": "50.00",
    }
    scope = office(share("0.50"), f'{FEE}, amount = "7.00", rest = "in_scope"')
    assert cells(settle(claim, person(), {}, scope, OUTPATIENT)) == {
        "fixed_item@fund:basic": "7.00",
        "shared@fund:basic": "51.50",
        "shared@person": "51.50",
    }


def test_once_a_day_is_refused_or_not_pooled():
    claim = (totals(scope="10.00", fee="10.00"), OUTPATIENT)
    limit = 'kind = "limit_count", item = "fee", times = 1, per = "day"'
    with pytest.raises(CaseNotCovered, match="次数已满"):
        in_turn(office(share("0.00"), f'{FEE}, amount = "7.00"', limit), person(), claim, claim)
    unpooled = office(share("0.00"), f'{FEE}, amount = "7.00"', f'{limit}, on_limit = "unpooled"')
    tomorrow = (claim[0], OUTPATIENT._replace(day=date(2026, 3, 3)))
    settled = in_turn(unpooled, person(), claim, claim, tomorrow)
    assert [funds(each).get("basic") for each in settled] == ["7.00", None, "7.00"]


def test_a_visit_may_be_paid_a_fixed_amount():
    book = office(
        share("0.80"),
        deductible("700.00", "stay"),
        'kind = "fixed_pooled_amount", amount = "1100.00", when = "natural_delivery"',
    )
    delivery = STAY._replace(conditions=frozenset({"natural_delivery"}))
    found = settle(totals(own="50.00", scope="3000.00"), person(), {}, book, delivery)
    assert cells(found) == {
        "own_expense@person": "50.00",
        "fixed_item@fund:basic": "1100.00",
        "fixed_item@person": "1900.00",
    }
    assert funds(settle(totals(scope="900.00"), person(), {}, book, delivery)) == {"basic": "900.00"}


def test_a_daily_amount_counts_the_days_of_the_stay():
    book = office(share("0.80"), 'kind = "fixed_pooled_amount", item = "bed", amount = "30.00", per = "day"')
    week = STAY._replace(started=date(2026, 3, 2), ends=date(2026, 3, 9))
    assert cells(settle(totals(scope="350.00", bed="350.00"), person(), {}, book, week)) == {
        "fixed_item@fund:basic": "210.00",
        "fixed_item@person": "140.00",
    }


def test_an_item_group_may_have_a_share_of_its_own():
    book = office(
        deductible("300.00", "year"), share("0.65"), 'kind = "share", item = "negotiated", ratio = "0.70"', cap("80.00")
    )
    found = settle(totals(scope="200.00", negotiated="100.00"), person(), {}, book, PHARMACY)
    assert cells(found) == {
        "deductible@person": "100.00",
        "shared@fund:basic": "70.00",
        "shared@person": "30.00",
    }
    more = settle(totals(scope="600.00", negotiated="100.00"), person(), {}, book, PHARMACY)
    assert funds(more) == {"basic": "80.00"}


# --- account, states ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "own", "relatives"),
    [("", "20.00", "0.00"), ("true", "20.00", "30.00"), ('"after"', "20.00", "30.00"), ('"before"', "0.00", "50.00")],
)
def test_relatives_accounts_may_help(family, own, relatives):
    book = office(share("0.50"), account("in_scope", more=f", family = {family}" if family else ""))
    who = replace(person("20.00"), family_balance_fen=10_000)
    found = settle(totals(own="9.00", scope="100.00"), who, {}, book, OUTPATIENT)
    paid = cells(found)
    assert (paid.get("shared@account", "0.00"), paid.get("shared@family_account", "0.00")) == (own, relatives)


def test_the_account_may_pay_before_the_deductible():
    """Shanghai's way: the account first, then what the person pays alone, then the shared part of the rest."""
    book = office(deductible("30.00", "year"), share("0.50"), account("own_expense", more=", first = true"))
    found = settle(totals(own="9.00", scope="100.00"), person("50.00"), {}, book, OUTPATIENT)
    assert cells(found) == {
        "own_expense@person": "9.00",
        "deductible@person": "30.00",
        "shared@account": "50.00",
        "shared@fund:basic": "10.00",
        "shared@person": "10.00",
    }
    rich = settle(totals(own="9.00", scope="100.00"), person("105.00"), {}, book, OUTPATIENT)
    assert cells(rich) == {"own_expense@account": "5.00", "own_expense@person": "4.00", "shared@account": "100.00"}


def test_the_account_pays_in_the_order_of_the_fact():
    book = office(deductible("30.00"), share("0.50"), account("own_expense", "in_scope"))
    found = settle(totals(own="9.00", scope="100.00"), person("20.00"), {}, book, OUTPATIENT)
    assert cells(found)["own_expense@account"] == "9.00"
    assert cells(found)["deductible@account"] == "11.00"


def test_a_state_without_benefit_leaves_everything_to_the_person():
    book = office(
        deductible("30.00", "year"),
        share("0.50"),
        'kind = "entitlement", benefit = "none", when = "waiting"',
        'kind = "entitlement", benefit = "refused", when = "suspended"',
    )
    waiting = person(groups=frozenset({"waiting"}))
    found = settle(totals(own="9.00", scope="100.00"), waiting, {}, book, OUTPATIENT)
    assert in_yuan(found, "fund_pay", "deductible", "self_pay") == {
        "fund_pay": "0.00",
        "deductible": "0.00",
        "self_pay": "100.00",
    }
    with pytest.raises(CaseNotCovered, match="不予结算"):
        settle(totals(scope="1.00"), person(groups=frozenset({"suspended"})), {}, book, OUTPATIENT)


@pytest.mark.parametrize(
    ("facts", "who", "words"),
    [
        ([share("0.80"), share("0.90", more=", age_from = 70")], person(), "年龄不详"),
        (
            [share("0.80"), layer("subsidy", "civil_servant", 'ratio = "0.98", rank = "county"')],
            person(civil_servant=True),
            "职级不详",
        ),
        ([share("0.80"), cap("", more=", per_disease = false")], person(), "未知"),
        (
            [share("0.80", more=', when = "a"'), share("0.70", more=', when = "b"')],
            person(groups=frozenset("ab")),
            "不同规定",
        ),
    ],
)
def test_what_the_facts_cannot_settle_is_refused(facts, who, words):
    with pytest.raises(CaseNotCovered, match=words) as refused:
        settle(totals(scope="1.00"), who, {}, office(*facts), STAY)
    assert all(reason.code and "#" in reason.words for reason in refused.value.reasons)


def test_line_split_and_scheme_are_data():
    book = office(
        share("0.80"),
        'kind = "line_split", price_limit = "after_pre_self_pay", over_limit = "own_expense"',
        'kind = "pre_self_pay", grade = 2, ratio = "0.10", ratio_from = "policy", visit = "pharmacy"',
        'kind = "rounding", place = "line", mode = "half_up", digits = 4',
        'kind = "share", item = "negotiated", ratio = "0.70"',
    )
    pharmacy = book.line_rules("employee", "1", VisitType.PHARMACY, 0, DAY)
    assert (pharmacy.limit_first, pharmacy.over_limit_is_own, pharmacy.digits) == (False, True, 4)
    assert pharmacy.ratios == {"": 1000}
    assert pharmacy.groups == {"negotiated"}
    assert book.line_rules("employee", "1", VisitType.OUTPATIENT, 0, DAY).ratios == {}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (['kind = "line_split", over_limit = "apart"', 'kind = "line_split", over_limit = "own_expense"'], "不同规定"),
        (['kind = "pre_self_pay", grade = 2, ratio = "", ratio_from = "policy"'], "未知"),
        (
            ['kind = "rounding", place = "line", mode = "half_up", digits = 4'] * 2,
            "不同规定",
        ),
    ],
)
def test_a_line_split_the_facts_do_not_settle_is_refused(facts, words):
    book = office(share("0.80"), *facts)
    with pytest.raises(CaseNotCovered, match=words):
        book.line_rules("employee", "1", VisitType.OUTPATIENT, 0, DAY)


@pytest.mark.parametrize(
    ("category", "scheme"), [("1", "employee"), ("2", "employee"), ("70", "resident"), ("75", "resident")]
)
def test_a_visit_without_entitlement_is_of_the_scheme_of_its_category(category, scheme):
    assert scheme_of(category) == scheme
