"""A policy set is read whole or not at all, and makes the rules of a case or says what stands in the way."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from domain.policy import PolicyBook, TwoPoliciesInForce
from domain.policy_facts import Case, CaseNotCovered, NoPolicyInForce
from domain.policy_reading import PolicyUnreadable, parse
from domain.visit import VisitType

POLICIES = Path(__file__).parents[2] / "policies"

HEADING = """
[set]
id = "testville-2026"
region = "990000"
title = "测试市"
benefit_year_starts = "01-01"

[source.DOC]
title = "测试文件"
verified = "official"
"""

ROUNDING = 'kind = "rounding", place = "fund_share", mode = "half_up", digits = 2, rest_goes_to = "person"'
NO_DEDUCTIBLE = 'kind = "deductible", amount = "0.00", per = "visit"'
SHARE = 'kind = "share", ratio = "0.80", basis = "in_scope"'

CASE = Case("employee", "1", False, VisitType.OUTPATIENT, 3, date(2026, 3, 2))


def text_of(*facts, heading=HEADING):
    rows = []
    for fact in facts:
        row = fact
        for key, value in (("scheme", '"employee"'), ("from", "2026-01-01"), ("src", '"DOC"')):
            if f"{key} =" not in row:
                row += f", {key} = {value}"
        rows.append(f"  {{ {row} }},\n")
    return f"{heading}\n[policy]\nfacts = [\n{''.join(rows)}]\n"


def rules(*facts, case=CASE):
    return PolicyBook([parse(text_of(*facts))]).rules_for(case)


def reasons(*facts, case=CASE):
    with pytest.raises(CaseNotCovered) as refused:
        rules(*facts, case=case)
    return " | ".join(refused.value.reasons)


def test_a_plain_policy_makes_plain_rules():
    made = rules(NO_DEDUCTIBLE, SHARE, ROUNDING)
    assert made.deductible is None
    assert [(band.low_fen, band.high_fen, band.ratio, band.fact, band.source) for band in made.bands] == [
        (0, None, "0.8", "#2 share", "DOC")
    ]
    assert made.caps == ()
    assert made.account_pays == frozenset()
    assert not made.rest_goes_to_fund


def test_the_version_is_the_name_and_the_text():
    one, same = parse(text_of(SHARE)), parse(text_of(SHARE))
    other = parse(text_of(SHARE.replace("0.80", "0.81")))
    assert one.version == same.version != other.version
    name, digest = one.version.split("@")
    assert name == "testville-2026"
    assert len(bytes.fromhex(digest)) == 4


@pytest.mark.parametrize(
    ("fact", "complaint"),
    [
        ('kind = "share", ratio = 0.8, basis = "in_scope"', "#1 share: ratio: write the number as a text"),
        ('kind = "share", ratio = "0.80001", basis = "in_scope"', "#1 share: ratio: more than 4 decimals"),
        ('kind = "share", ratio = "1.01", basis = "in_scope"', "#1 share: ratio: a ratio lies between 0 and 1"),
        ('kind = "share", ratio = "NaN", basis = "in_scope"', "#1 share: ratio: not a plain decimal number"),
        ('kind = "cap", amount = "100", per = "year", basis = "fund_paid"', "#1 cap: amount: not an amount in yuan"),
        (
            'kind = "cap", amount = "-1.00", per = "year", basis = "fund_paid"',
            "#1 cap: amount: an amount is not negative",
        ),
        ('kind = "cap", amount = "1.00", per = "moon", basis = "fund_paid"', "#1 cap: per: one of visit, stay"),
        ('kind = "cap", amount = "1.00", per = "year"', "#1 cap: basis is missing"),
        ('kind = "gift", amount = "1.00"', "#1 gift: an unknown kind"),
        ('amount = "1.00"', "#1: kind is missing"),
        (f"{SHARE}, colour = 3", "#1 share: an unknown key 'colour'"),
        (f'{SHARE}, visit = "hotel"', "#1 share: visit: of inpatient"),
        (f"{SHARE}, visit = [3]", "#1 share: visit: a text is needed"),
        (f"{SHARE}, level = [4]", "#1 share: level: levels are 0 to 3"),
        (f"{SHARE}, level = true", "#1 share: level: a whole number is needed"),
        (f"{SHARE}, person = []", "#1 share: person: at least one person category"),
        (f'{SHARE}, from = "2026-01-01"', "#1 share: from: a day is needed"),
        (f"{SHARE}, from = 2026-01-01T00:00:00", "#1 share: from: a day is needed"),
        (f"{SHARE}, to = 2025-12-31", "#1 share: to: the last day is before the first"),
        (f'{SHARE}, low = "2.00", high = "1.00"', "#1 share: high: the band ends before it starts"),
        (f'{SHARE}, src = "RUMOUR"', "#1 share: src: there is no [source.RUMOUR]"),
        (f'{SHARE}, scheme = "pirate"', "#1 share: scheme: one of employee, resident"),
        ('kind = "account_pays", may_pay = ["sweets"]', "#1 account_pays: may_pay: one of own_expense"),
        ('kind = "account_pays", may_pay = "deductible"', "#1 account_pays: may_pay: a list is needed"),
        ('kind = "condition", name = "wet", holds = "no"', "#1 condition: holds: true or false is needed"),
    ],
)
def test_a_fact_that_does_not_read_is_named(fact, complaint):
    with pytest.raises(PolicyUnreadable) as unreadable:
        parse(text_of(fact))
    assert [error for error in unreadable.value.errors if error.startswith(complaint)], unreadable.value.errors


def test_all_errors_come_at_once():
    with pytest.raises(PolicyUnreadable) as unreadable:
        parse(
            text_of(
                SHARE, 'kind = "cap", amount = 1, per = "year"', 'kind = "gift"', heading='[set]\nid = "X Y"\n[extra]\n'
            )
        )
    assert len(unreadable.value.errors) == 12
    assert "[source] is missing" in unreadable.value.errors
    assert "[extra]: not a part of a policy set" in unreadable.value.errors


@pytest.mark.parametrize("text", ["", "[set", "a = 1\na = 2", "x = " + "[" * 3000, "[policy]\nfacts = [1]", "set = 3"])
def test_what_is_no_policy_set_is_refused(text):
    with pytest.raises(PolicyUnreadable):
        parse(text)


def test_another_benefit_year_is_not_built_yet():
    with pytest.raises(PolicyUnreadable, match="benefit_year_starts"):
        parse(text_of(SHARE, heading=HEADING.replace("01-01", "07-01")))


@pytest.mark.parametrize(
    ("day", "ratio"), [(date(2026, 1, 1), "0.8"), (date(2026, 6, 30), "0.8"), (date(2026, 7, 1), "0.85")]
)
def test_facts_hold_from_their_first_to_their_last_day(day, ratio):
    made = rules(
        NO_DEDUCTIBLE,
        ROUNDING,
        f"{SHARE}, to = 2026-06-30",
        'kind = "share", ratio = "0.85", basis = "in_scope", from = 2026-07-01',
        case=CASE._replace(day=day),
    )
    assert [band.ratio for band in made.bands] == [ratio]


@pytest.mark.parametrize(
    "case",
    [
        CASE._replace(day=date(2025, 12, 31)),
        CASE._replace(scheme="resident"),
        CASE._replace(scheme="unheard-of"),
        CASE._replace(scheme="any"),
    ],
)
def test_a_day_or_scheme_no_policy_covers_is_refused_by_name(case):
    with pytest.raises(NoPolicyInForce, match=f"{case.scheme}.*{case.day}"):
        rules(NO_DEDUCTIBLE, SHARE, ROUNDING, case=case)


def test_two_sets_for_one_day_are_refused():
    book = PolicyBook([parse(text_of(SHARE)), parse(text_of(SHARE, SHARE))])
    with pytest.raises(TwoPoliciesInForce, match="2026-03-02 is covered by"):
        book.in_force_on("employee", CASE.day)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ([SHARE, ROUNDING], "no deductible fact"),
        ([NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, visit = "inpatient"'], "no share fact"),
        ([NO_DEDUCTIBLE, ROUNDING, f"{SHARE}, level = [0, 1, 2]"], "no share fact"),
        ([NO_DEDUCTIBLE, ROUNDING, f"{SHARE}, person = 2"], "no share fact"),
        ([NO_DEDUCTIBLE, SHARE], "no rounding fact"),
        ([NO_DEDUCTIBLE, NO_DEDUCTIBLE, SHARE, ROUNDING], "#1 deductible and #2 deductible: two facts for one case"),
        ([NO_DEDUCTIBLE, SHARE, SHARE, ROUNDING], "#3 share: its band overlaps another"),
        ([NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, high = "100.00"'], "nothing is said above the last band"),
        ([NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, low = "1.00"'], "#3 share: its band overlaps another or leaves a gap"),
        (
            [NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, high = "100.00"', f'{SHARE}, low = "100.01"'],
            "#4 share: its band overlaps another or leaves a gap",
        ),
        ([NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "share_add", add = "0.21"'], "the fund would pay more than all"),
        ([NO_DEDUCTIBLE, SHARE, ROUNDING.replace("digits = 2", "digits = 4")], "only half up to 2 digits"),
        (
            [NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "deductible_again", days = 90'],
            "#4 deductible_again: this kind is not",
        ),
        (
            [NO_DEDUCTIBLE, SHARE, ROUNDING, f'{SHARE}, when = "unfiled"'],
            "#4 share: no fact says whether unfiled holds",
        ),
        (
            [NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "layer_share", scheme = "large_amount", ratio = "0.9"'],
            "#4 layer_share: the layer large_amount is not built yet",
        ),
        (
            [NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "cap", amount = "", per = "year", basis = "fund_paid"'],
            "#4 cap: the amount is not known",
        ),
        (
            [NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "cap", amount = "1.00", per = "month", basis = "fund_paid"'],
            "#4 cap: only a cap on the fund's money in a year",
        ),
        (
            ['kind = "deductible", amount = "1.00", per = "quarter"', SHARE, ROUNDING],
            "counted per quarter is not built",
        ),
    ],
)
def test_a_case_without_one_clear_answer_is_refused(facts, reason):
    assert reason in reasons(*facts)


def test_facts_of_other_cases_do_not_disturb():
    made = rules(
        NO_DEDUCTIBLE,
        SHARE,
        ROUNDING,
        'kind = "deductible_again", days = 90, visit = "inpatient"',
        'kind = "full_cover", covers = ["shared"], person = [3, 4]',
        'kind = "subsidy", scheme = "civil_servant", ratio = "0.5", basis = "left_by_layers_before"',
        'kind = "threshold", scheme = "serious_illness", amount = "1.00", per = "year", basis = "in_scope_with_person"',
        'kind = "share_factor", factor = "0.50", to = 2026-02-28',
    )
    assert [band.ratio for band in made.bands] == ["0.8"]


def test_a_condition_is_decided_by_a_fact():
    facts = (NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "share_add", add = "0.05", when = "signed"')
    no, yes = (f'kind = "condition", name = "signed", holds = {holds}' for holds in ("false", "true"))
    assert rules(*facts, no).bands[0].ratio == "0.8"
    assert rules(*facts, yes).bands[0].ratio == "0.85"
    assert "two facts for one case (condition signed)" in reasons(*facts, no, yes)


def test_an_upper_layer_the_counter_does_not_settle_is_left_to_the_office():
    layer = 'kind = "layer_share", scheme = "large_amount", ratio = "0.9"'
    assert rules(NO_DEDUCTIBLE, SHARE, ROUNDING, layer, 'kind = "settled_at_counter", layers = ["basic"]')
    assert "large_amount" in reasons(
        NO_DEDUCTIBLE, SHARE, ROUNDING, layer, 'kind = "settled_at_counter", layers = ["basic", "large_amount"]'
    )


def test_the_share_changes_by_points_or_by_a_factor_on_the_persons_share():
    points = 'kind = "share_add", add = "0.05"'
    factor = 'kind = "self_share_factor", factor = "0.70"'
    assert rules(NO_DEDUCTIBLE, SHARE, ROUNDING, points).bands[0].ratio == "0.85"
    assert rules(NO_DEDUCTIBLE, SHARE, ROUNDING, factor).bands[0].ratio == "0.86"
    assert "two facts change one share" in reasons(NO_DEDUCTIBLE, SHARE, ROUNDING, points, factor)


def test_the_deductible_takes_its_factor():
    made = rules(
        'kind = "deductible", amount = "1300.00", per = "year", visit = ["outpatient", "pharmacy"]',
        'kind = "deductible_factor", factor = "0.50"',
        SHARE,
        ROUNDING,
    )
    assert made.deductible == (
        65_000,
        (VisitType.OUTPATIENT, VisitType.PHARMACY),
        "#1 deductible, #2 deductible_factor",
        "DOC, DOC",
    )


SHIPPED = [pytest.param(path, id=path.stem) for path in sorted(POLICIES.glob("*.toml"))]
OUTPATIENT_CASES = [
    pytest.param(name, Case(scheme, category, False, visit, level, date(2026, 3, 2)))
    for name, scheme, category, visit in [
        *(
            ("guangzhou_2024", *who, visit)
            for who in (("employee", "1"), ("employee", "2"), ("resident", "71"), ("resident", "74"))
            for visit in (VisitType.OUTPATIENT, VisitType.PHARMACY)
        ),
        ("nanchang_2025", "employee", "1", VisitType.OUTPATIENT),
        ("nanchang_2025", "employee", "2", VisitType.PHARMACY),
        ("nanchang_2025", "resident", "74", VisitType.OUTPATIENT),
    ]
    for level in range(4)
]


def shipped(name):
    return parse((POLICIES / f"{name}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_sets_read_and_mark_their_assumptions(path):
    policy = parse(path.read_text(encoding="utf-8"))
    assert policy.version.startswith(policy.set_id + "@")
    assert all(fact.assumed for fact in policy.facts if fact.source == "OWN")
    assert set(policy.sources) >= {fact.source for fact in policy.facts}


@pytest.mark.parametrize(("name", "case"), OUTPATIENT_CASES)
def test_shipped_sets_settle_the_outpatient_morning(name, case):
    assert PolicyBook([shipped(name)]).rules_for(case).bands


@pytest.mark.parametrize(
    ("name", "case", "reason"),
    [
        ("guangzhou_2024", Case("employee", "1", False, VisitType.INPATIENT, 3, CASE.day), "#4 deductible_again"),
        (
            "guangzhou_2024",
            Case("employee", "1", False, VisitType.SPECIFIC_OUTPATIENT, 3, CASE.day),
            "the amount is not known",
        ),
        ("guangzhou_2024", Case("resident", "74", False, VisitType.INPATIENT, 3, CASE.day), "serious_illness"),
        ("nanchang_2025", Case("employee", "1", True, VisitType.OUTPATIENT, 3, CASE.day), "civil_servant"),
        ("nanchang_2025", Case("resident", "74", False, VisitType.PHARMACY, 3, CASE.day), "no share fact"),
    ],
)
def test_shipped_sets_refuse_by_name_what_is_not_built(name, case, reason):
    with pytest.raises(CaseNotCovered) as refused:
        PolicyBook([shipped(name)]).rules_for(case)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("category", "level", "ratio", "cap_fen"),
    [("1", 1, "0.8", 800_000), ("1", 3, "0.65", 800_000), ("2", 0, "0.85", 1_000_000), ("2", 2, "0.7", 1_000_000)],
)
def test_guangzhou_outpatient_is_as_printed(category, level, ratio, cap_fen):
    made = PolicyBook([shipped("guangzhou_2024")]).rules_for(CASE._replace(category=category, institution_level=level))
    assert [band.ratio for band in made.bands] == [ratio]
    assert sorted(cap.amount_fen for cap in made.caps) == [cap_fen, 100_000_000]
    assert made.deductible is None
