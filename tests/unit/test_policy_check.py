"""A policy file that is no law is refused: every check with the smallest file it refuses, its line and its case."""

from __future__ import annotations

from datetime import date

import pytest

from domain.money import fen
from domain.policy import PolicyBook
from domain.policy.cases import CATEGORIES, cases, occasion_of, person_of
from domain.policy.check import check, overlaps
from domain.policy.reading import parse
from domain.policy.sweep import sweep
from domain.visit import VisitType

TODAY = date(2026, 3, 2)

HEADING = """[set]
id = "testville-2026"
region = "990000"
title = "测试市"
benefit_year_starts = "01-01"

[source.DOC]
title = "测试文件"
verified = "official"
"""
FIRST_LINE = HEADING.count("\n") + 5
"""Of the first fact."""

ROUNDING = 'kind = "rounding", place = "band", mode = "half_up", digits = 2, rest_goes_to = "person"'
DEDUCTIBLE = 'kind = "deductible", visit = "outpatient", amount = "100.00", per = "visit"'
SHARE = 'kind = "share", visit = "outpatient", ratio = "0.80", basis = "in_scope"'
GOOD = (ROUNDING, DEDUCTIBLE, SHARE)
AROUND_APRIL = (f"{SHARE}, to = 2026-03-31", f"{SHARE}, from = 2026-05-01")
LAYER = 'scheme = "large_amount", visit = "outpatient", basis = "in_scope_with_person"'


def text_of(*facts, heading=HEADING):
    rows = []
    for fact in facts:
        row = fact
        for key, value in (("scheme", '"employee"'), ("from", "2026-01-01"), ("src", '"DOC"')):
            if f", {key} =" not in row:
                row += f", {key} = {value}"
        rows.append(f"  {{ {row} }},\n")
    return f"{heading}\n\n[policy]\nfacts = [\n{''.join(rows)}]\n"


def found(*facts, heading=HEADING, today=TODAY):
    return check(text_of(*facts, heading=heading), today=today)


def only(report, code):
    (finding,) = [each for each in report.findings if each.code == code]
    return finding


def test_a_good_file_has_nothing_to_say():
    report = found(*GOOD)
    assert report.findings == ()
    assert report.policy is not None


@pytest.mark.parametrize(
    ("facts", "code", "numbers"),
    [
        pytest.param((*GOOD, SHARE.replace("0.80", "0.70")), "two-facts", (3, 4), id="two facts for one case"),
        pytest.param((*GOOD, DEDUCTIBLE), "two-facts", (2, 4), id="two deductibles"),
        pytest.param((*GOOD[:2], f'{SHARE}, high = "100.00"'), "gap", (3,), id="nothing above the last band"),
        pytest.param(
            (*GOOD[:2], f'{SHARE}, high = "100.00"', f'{SHARE}, low = "100.01"'),
            "gap",
            (3, 4),
            id="a fen between bands",
        ),
        pytest.param(
            (*GOOD[:2], f'{SHARE}, high = "100.00"', f'{SHARE}, low = "99.00"'), "overlap", (3, 4), id="bands overlap"
        ),
        pytest.param((*GOOD, 'kind = "share_add", add = "0.21"'), "above-all", (3, 4), id="more than all"),
        pytest.param((DEDUCTIBLE, SHARE), "no-rounding", (), id="no rounding"),
        pytest.param((ROUNDING, SHARE), "no-deductible", (), id="no deductible"),
        pytest.param((*GOOD, 'kind = "share_add", person = [74], add = "0.01"'), "for-nobody", (4,), id="for nobody"),
        pytest.param((*GOOD, 'kind = "share_add", person = [9], add = "0.01"'), "unknown-person", (4,), id="person 9"),
        pytest.param(
            (*GOOD, 'kind = "share", visit = "pharmacy", follows = "pharmacy"'), "follows-itself", (4,), id="itself"
        ),
        pytest.param((*GOOD, 'kind = "share_add", when = "rainy", add = "0.01"'), "unknown-name", (4,), id="condition"),
        pytest.param((*GOOD, 'kind = "share_add", disease = "gout", add = "0.01"'), "unknown-name", (4,), id="disease"),
        pytest.param(
            (*GOOD, 'kind = "subsidy", scheme = "civil_servant", rank = "king", ratio = "0.10"'),
            "unknown-name",
            (4,),
            id="rank",
        ),
        pytest.param(
            (
                *GOOD,
                'kind = "cap", visit = "outpatient", amount = "1000.00", per = "year", basis = "fund_paid"',
                'kind = "cap", visit = "outpatient", amount = "500.00", per = "visit", basis = "fund_paid"',
            ),
            "unreachable",
            (4,),
            id="a cap behind a tighter one",
        ),
        pytest.param(
            (
                *GOOD[:1],
                DEDUCTIBLE.replace("100.00", "3000.00"),
                f'{SHARE}, high = "2000.00"',
                f'{SHARE}, low = "2000.00"',
            ),
            "unreachable",
            (3,),
            id="a band below the deductible",
        ),
        pytest.param(
            (*GOOD[:2], f"{SHARE}, to = 2026-03-31", f"{SHARE}, from = 2026-05-01"), "gap-in-time", (), id="April"
        ),
    ],
)
def test_a_file_that_is_no_law_is_refused(facts, code, numbers):
    report = found(*facts)
    finding = next(each for each in report.findings if each.code == code)
    assert finding.severity == "error"
    assert finding.facts == numbers
    assert finding.line == (FIRST_LINE + numbers[0] - 1 if numbers else None)
    assert report.policy is None, "nothing is partly loaded"


@pytest.mark.parametrize(
    ("facts", "code", "case"),
    [
        ((*GOOD, SHARE.replace('"in_scope"', '"in_scope", level = 3')), "two-facts", ("employee", "1", "3", 3)),
        ((*GOOD, f"{SHARE}, person = [2]"), "two-facts", ("employee", "2", "3", 0)),
        ((*GOOD, SHARE.replace("outpatient", "inpatient")), "no-deductible", ("employee", "1", "1", 0)),
        ((*GOOD[:2], *AROUND_APRIL), "gap-in-time", ("employee", "1", "3", 0)),
    ],
)  # fmt: skip
def test_the_case_that_shows_it_is_named(facts, code, case):
    shown = only(found(*facts), code).case
    assert (shown.scheme, shown.category, shown.visit_type.value, shown.institution_level) == case


def test_a_gap_in_time_is_named_by_its_days():
    finding = only(found(*GOOD[:2], *AROUND_APRIL), "gap-in-time")
    assert finding.case.day == date(2026, 4, 1)
    assert "2026-04-01 至 2026-04-30" in finding.words


def test_overlapping_days_are_two_facts_for_one_case():
    finding = only(found(*GOOD[:2], f"{SHARE}, to = 2026-06-30", f"{SHARE}, from = 2026-06-30"), "two-facts")
    assert finding.facts == (3, 4)
    assert finding.case.day == date(2026, 6, 30)


def test_a_border_where_a_dearer_bill_costs_less_is_found_to_the_fen():
    threshold = f'kind = "threshold", {LAYER}, amount = "1000.00", per = "year"'
    from_the_first_yuan = f'kind = "layer_share", {LAYER.replace("in_scope_with_person", "in_scope")}, ratio = "0.10"'
    fee = 'kind = "fixed_pooled_amount", visit = "outpatient", amount = "50.00", not_below = "500.00", rest = "person"'
    report = found(*GOOD, fee)
    finding = only(report, "dearer-pays-less")
    assert finding.severity == "error"
    assert finding.bills_fen == (fen("499.99"), fen("500.00"))
    assert "499.99" in finding.words and "500.00" in finding.words
    assert finding.case.visit_type == VisitType.OUTPATIENT
    assert report.policy is None
    # A threshold above which a layer pays of what is beyond it drops nothing.
    assert found(*GOOD, threshold, from_the_first_yuan).errors == []


def test_two_funds_that_pay_for_the_same_fen_are_found():
    def with_a_second_layer_on(basis):
        second = f'scheme = "serious_illness", insured = ["employee"], visit = "outpatient", basis = "{basis}"'
        return found(
            *GOOD,
            'kind = "cap", visit = "outpatient", per = "year", amount = "100.00", basis = "fund_paid"',
            f'kind = "layer_share", {LAYER}, when = "pooled_cap_reached", ratio = "0.60"',
            f'kind = "threshold", {second}, per = "year", amount = "10.00"',
            f'kind = "layer_share", {second}, ratio = "0.60"',
        )

    finding = only(with_a_second_layer_on("in_scope_with_person"), "dearer-pays-less")
    assert finding.severity == "error"
    assert finding.bills_fen[0] < finding.bills_fen[1]
    assert with_a_second_layer_on("left_by_layers_before").errors == []


def test_bands_never_make_a_dearer_bill_cheaper():
    bands = [f'{SHARE.replace("0.80", ratio)}, low = "{low}", high = "{high}"' for ratio, low, high in (
        ("0.50", "0.00", "1000.00"), ("0.95", "1000.00", "2000.00"))]  # fmt: skip
    policy = parse(text_of(*GOOD[:2], *bands, f'{SHARE.replace("0.80", "0.10")}, low = "2000.00"'))
    case = next(case for case in cases(policy) if case.visit_type == VisitType.OUTPATIENT)
    swept = sweep(case, PolicyBook([policy]), policy.facts)
    assert swept.drops == ()
    assert swept.facts >= {2, 3, 4, 5}


def test_a_value_nobody_knows_is_a_warning():
    report = found(
        *GOOD, 'kind = "cap", visit = "outpatient", level = 3, amount = "", per = "year", basis = "fund_paid"'
    )
    finding = only(report, "unknown-amount")
    assert (finding.severity, finding.facts, finding.case.institution_level) == ("warning", (4,), 3)
    assert report.errors == []


def test_a_level_that_looks_forgotten_is_a_warning():
    report = found(ROUNDING, DEDUCTIBLE, f"{SHARE}, level = [1, 2, 3]")
    finding = only(report, "no-share")
    assert (finding.severity, finding.case.institution_level) == ("warning", 0)


def test_a_fact_of_cases_that_are_not_settled_is_a_warning():
    finding = only(
        found(*GOOD, 'kind = "cap", visit = "pharmacy", amount = "1.00", per = "year", basis = "fund_paid"'),
        "no-effect",
    )
    assert (finding.severity, finding.facts) == ("warning", (4,))


@pytest.mark.parametrize(
    ("today", "codes"),
    [
        pytest.param(date(2026, 5, 31), set(), id="31 days before"),
        pytest.param(date(2026, 6, 1), {"expires"}, id="30 days before"),
        pytest.param(date(2026, 7, 1), {"expires"}, id="on the last day"),
        pytest.param(date(2026, 7, 2), set(), id="when it is over"),
    ],
)
def test_what_ends_within_30_days_is_warned_of(today, codes):
    report = found(*GOOD[:2], f"{SHARE}, to = 2026-07-01", today=today)
    assert {each.code for each in report.findings} == codes
    assert all(each.facts == (3,) and each.severity == "warning" for each in report.findings)


def test_what_is_followed_by_its_like_does_not_expire():
    assert found(*GOOD[:2], f"{SHARE}, to = 2026-03-31", f"{SHARE}, from = 2026-04-01").findings == ()


def test_what_is_only_remembered_must_say_so():
    memory = HEADING.replace('"official"', '"memory"')
    report = found(*GOOD, heading=memory)
    assert [(each.code, each.facts) for each in report.errors] == [("not-marked", (number,)) for number in (1, 2, 3)]
    marked = found(*(f"{fact}, assumed = true" for fact in GOOD), heading=memory)
    assert marked.errors == []
    assert only(marked, "assumed").facts == (1, 2, 3)


def test_what_nothing_uses_is_a_warning():
    heading = HEADING + '\n[source.SPARE]\ntitle = "备用"\nverified = "official"\n\n[condition.rainy]\ntitle = "下雨"\n'
    report = found(*GOOD, heading=heading)
    assert {each.code: each.line for each in report.findings} == {"unused-source": 11, "unused-name": 15}


def test_a_declared_condition_may_be_used():
    heading = HEADING + '\n[condition.rainy]\ntitle = "下雨"\nof = "visit"\n'
    assert found(*GOOD, 'kind = "share_add", when = "rainy", add = "0.01"', heading=heading).findings == ()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("[set", {None}, id="not TOML"),
        pytest.param(
            text_of(*GOOD, 'kind = "gift"', SHARE.replace('"0.80"', "0.8")), {FIRST_LINE + 3, FIRST_LINE + 4}, id="two"
        ),
        pytest.param(text_of(*GOOD, f'{SHARE}, src = "RUMOUR"'), {FIRST_LINE + 3}, id="a value without source"),
        pytest.param(text_of(*GOOD).replace('title = "测试文件"\n', ""), {7}, id="a source without a title"),
    ],
)  # fmt: skip
def test_what_does_not_read_is_told_with_its_lines(text, lines):
    report = check(text, today=TODAY)
    assert {each.line for each in report.errors} == lines
    assert {each.code for each in report.findings} == {"unreadable"}
    assert report.policy is None


def test_all_errors_come_at_once():
    report = found(
        DEDUCTIBLE,
        SHARE,
        SHARE,
        'kind = "share_add", person = [9], add = "0.01"',
        'kind = "share_add", when = "rainy", add = "0.01"',
    )
    assert {each.code for each in report.errors} >= {"no-rounding", "two-facts", "unknown-person", "unknown-name"}


def test_two_sets_for_one_region_and_day_are_refused():
    one, other = parse(text_of(*GOOD)), parse(text_of(*GOOD, from_next := 'kind = "share_add", add = "0.01"'))
    (finding,) = overlaps([("one.toml", one), ("other.toml", other)])
    assert (finding.severity, finding.code) == ("error", "two-sets")
    assert "2026-01-01" in finding.words
    elsewhere = parse(text_of(*GOOD, from_next, heading=HEADING.replace("990000", "990001")))
    assert overlaps([("one.toml", one), ("elsewhere.toml", elsewhere)]) == []


def test_person_categories_are_those_of_the_exchange():
    assert sorted(int(code) for codes in CATEGORIES.values() for code in codes) == [
        1, 2, 3, 4, 5, 7, 70, 71, 72, 73, 74, 75
    ]  # fmt: skip


def test_a_case_becomes_a_person_and_an_occasion_of_it():
    text = text_of(
        *GOOD,
        'kind = "share_add", when = "signed", disease = "gout", age_from = 70, add = "0.01"',
        'kind = "subsidy", scheme = "civil_servant", rank = "county", ratio = "0.10"',
    )
    policy = parse(text)
    book = PolicyBook([policy])
    asked = cases(policy)
    assert {"signed", "disease:gout", "rank:county"} <= {name for case in asked for name in case.holds}
    covered = [case for case in asked if policy.covers(case.scheme, case.day)]
    assert all(book.case_of(person_of(case), occasion_of(case)) == case for case in covered)
