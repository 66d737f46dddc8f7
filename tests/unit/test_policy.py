"""A policy set is read whole or not at all, and makes the rules of a case or says what stands in the way."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from domain.policy import PolicyBook, TwoPoliciesInForce
from domain.policy import book as policy_book
from domain.policy.facts import Case, CaseNotCovered, NoPolicyInForce
from domain.policy.reading import PolicyUnreadable, parse
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


def codes(*facts, case=CASE):
    with pytest.raises(CaseNotCovered) as refused:
        rules(*facts, case=case)
    return [(reason.code, reason.facts) for reason in refused.value.reasons]


def ratios(made):
    return [band.ratio for band in made.shares.bands]


def test_a_plain_policy_makes_plain_rules():
    made = rules(NO_DEDUCTIBLE, SHARE, ROUNDING)
    assert made.deductible is None
    assert [(band.low_fen, band.high_fen, band.ratio, *band.cited) for band in made.shares.bands] == [
        (0, None, "0.8", "#2 share", "DOC")
    ]
    assert made.caps == ()
    assert made.account is None
    assert made.shares.rest == "person"


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
        ('kind = "cap", amount = "1.00", per = "settlement_period", basis = "fund_paid"', "#1 cap: per: one of visit"),
        ('kind = "cap", per = "year", basis = "fund_paid"', "#1 cap: one of amount, unlimited is needed"),
        (
            'kind = "cap", amount = "1.00", per = "year", basis = "in_scope_with_person"',
            "#1 cap: basis: one of fund_paid",
        ),
        (f"{SHARE}, days = 3", "#1 share: days means nothing here"),
        ('kind = "threshold", amount = "1.00"', "#1 threshold: scheme: one of large_amount"),
        (f'{SHARE}, scheme = "large_amount"', "#1 share: scheme: an upper layer has no such fact"),
        (f"{SHARE}, age_from = 8, age_to = 7", "#1 share: age_to: the last age is below the first"),
        ('kind = "deductible_nth_stay", factor = "0.50", stays = [3, 2]', "#1 deductible_nth_stay: stays: the first"),
        ('kind = "deductible_on_transfer", mode = "half_up"', "#1 deductible_on_transfer: mode: one of top_up"),
        ('kind = "benefit_year", starts = "02-30"', "#1 benefit_year: starts: there is no such day"),
        (f"{ROUNDING.replace('digits = 2', 'digits = 4')}", "#1 rounding: digits: 2, and up to 4 for lines"),
        ('kind = "cap", amount = "10000000000.00", per = "year", basis = "fund_paid"', "#1 cap: amount: not an amount"),
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


@pytest.mark.parametrize("starts", ["1-1", "02-29", "13-01", ""])
def test_the_benefit_year_begins_on_a_day_of_every_year(starts):
    with pytest.raises(PolicyUnreadable, match="benefit_year_starts"):
        parse(text_of(SHARE, heading=HEADING.replace("01-01", starts)))
    assert parse(text_of(SHARE, heading=HEADING.replace("01-01", "07-01"))).year_starts == (7, 1)


def test_an_error_names_the_line_of_its_fact():
    with pytest.raises(PolicyUnreadable) as unreadable:
        parse(text_of(SHARE, 'kind = "gift"', SHARE))
    assert unreadable.value.errors == ("#2 gift: an unknown kind (line 15)",)


def test_worked_examples_and_conditions_stand_beside_the_facts():
    text = text_of(SHARE) + '[[example]]\nid = "one"\n[condition.signed]\ntitle = "签约"\nof = "person"\n'
    assert parse(text).conditions == {"signed": {"title": "签约", "of": "person"}}
    with pytest.raises(PolicyUnreadable, match=r"condition\.signed"):
        parse(text.replace('"person"', '"moon"'))


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
    assert ratios(made) == [ratio]


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
    ("facts", "code", "numbers"),
    [
        ([SHARE, ROUNDING], "no_deductible", ()),
        ([NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, visit = "inpatient"'], "no_share", ()),
        ([NO_DEDUCTIBLE, ROUNDING, f"{SHARE}, level = [0, 1, 2]"], "no_share", ()),
        ([NO_DEDUCTIBLE, ROUNDING, f"{SHARE}, person = 2"], "no_share", ()),
        ([NO_DEDUCTIBLE, SHARE], "no_rounding", ()),
        ([NO_DEDUCTIBLE, NO_DEDUCTIBLE, SHARE, ROUNDING], "two_facts", (1, 2)),
        ([NO_DEDUCTIBLE, SHARE, SHARE, ROUNDING], "two_facts", (2, 3)),
        ([NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, high = "100.00"'], "gap", (3,)),
        ([NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, low = "1.00"'], "gap", (3,)),
        ([NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, high = "100.00"', f'{SHARE}, low = "100.01"'], "gap", (3, 4)),
        ([NO_DEDUCTIBLE, ROUNDING, f'{SHARE}, high = "100.00"', f'{SHARE}, low = "99.99"'], "overlap", (3, 4)),
        ([NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "share_add", add = "0.21"'], "above_all", (2, 4)),
        (
            [NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "cap", amount = "", per = "year", basis = "fund_paid"'],
            "unknown_amount",
            (4,),
        ),
        (
            [NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "cap", amount = "1.00", per = "year", basis = "fund_paid"'] * 1
            + ['kind = "cap", amount = "2.00", per = "year", basis = "fund_paid"'],
            "two_facts",
            (4, 5),
        ),
        (
            [
                NO_DEDUCTIBLE,
                SHARE,
                ROUNDING,
                'kind = "deductible_nth_stay", stays = [2, 3], factor = "0.5"',
                'kind = "deductible_nth_stay", stays = [3, 9], factor = "0.6"',
            ],
            "two_facts",
            (4,),
        ),
        (
            ['kind = "deductible", amount = "", per = "quarter"', SHARE, ROUNDING],
            "unknown_amount",
            (1,),
        ),
    ],
)
def test_a_case_without_one_clear_answer_is_refused(facts, code, numbers):
    assert (code, numbers) in codes(*facts)


def test_every_reason_comes_at_once_in_words_for_the_cashier():
    with pytest.raises(CaseNotCovered, match=r"testville-2026@.*支付比例.*起付标准") as refused:
        rules(ROUNDING, f"{SHARE}, person = 2")
    assert [reason.code for reason in refused.value.reasons] == ["no_share", "no_deductible"]
    assert all(str(reason) == reason.words for reason in refused.value.reasons)


def test_what_nobody_says_does_not_hold():
    assert ratios(rules(NO_DEDUCTIBLE, SHARE, ROUNDING, f'{SHARE}, when = "unfiled"')) == ["0.8"]


@pytest.mark.parametrize(
    ("holds", "ratio"), [((), "0.8"), (("a",), "0.7"), (("a", "b"), "0.6"), (("a", "b", "disease:flu"), "0.5")]
)
def test_the_more_special_fact_goes_before_the_more_general(holds, ratio):
    special = [
        f'kind = "share", ratio = "{value}", when = {names}{more}'
        for value, names, more in (
            ("0.70", '"a"', ""),
            ("0.60", '["a", "b"]', ""),
            ("0.50", '["a", "b"]', ', disease = "flu"'),
        )
    ]
    made = rules(NO_DEDUCTIBLE, SHARE, ROUNDING, *special, case=CASE._replace(holds=frozenset(holds)))
    assert ratios(made) == [ratio]


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
    assert ratios(made) == ["0.8"]


def test_a_condition_is_decided_by_a_fact():
    facts = (NO_DEDUCTIBLE, SHARE, ROUNDING, 'kind = "share_add", add = "0.05", when = "signed"')
    no, yes = (f'kind = "condition", name = "signed", holds = {holds}' for holds in ("false", "true"))
    assert ratios(rules(*facts, no)) == ["0.8"]
    assert ratios(rules(*facts, yes)) == ["0.85"]
    assert ratios(rules(*facts, yes, f'{no}, when = "moved"', case=CASE._replace(holds=frozenset({"moved"})))) == [
        "0.8"
    ]
    assert ("two_facts", (5, 6)) in codes(*facts, no, yes)


def test_an_upper_layer_the_counter_does_not_settle_is_left_to_the_office():
    layer = 'kind = "layer_share", scheme = "large_amount", ratio = "0.9"'
    facts = (NO_DEDUCTIBLE, SHARE, ROUNDING, layer)
    assert [each.fund for each in rules(*facts).layers] == ["large_amount"]
    assert rules(*facts, 'kind = "settled_at_counter", layers = ["basic"]').layers == ()


def test_the_share_changes_by_points_and_by_a_factor_on_the_persons_share():
    points = 'kind = "share_add", add = "0.05"'
    factor = 'kind = "self_share_factor", factor = "0.70"'
    assert ratios(rules(NO_DEDUCTIBLE, SHARE, ROUNDING, points)) == ["0.85"]
    assert ratios(rules(NO_DEDUCTIBLE, SHARE, ROUNDING, factor)) == ["0.86"]
    assert ratios(rules(NO_DEDUCTIBLE, SHARE, ROUNDING, points, factor)) == ["0.895"]


def test_the_deductible_takes_its_factor():
    made = rules(
        'kind = "deductible", amount = "1300.00", per = "year", visit = ["outpatient", "pharmacy"]',
        'kind = "deductible_factor", factor = "0.50"',
        SHARE,
        ROUNDING,
    ).deductible
    assert made.amount_fen == 65_000
    assert made.counted.keys == ("basic:3:deductible:-:2026", "basic:4:deductible:-:2026")
    assert made.cited == ("#1 deductible, #2 deductible_factor", "DOC")


def test_rules_are_made_once_and_forgotten_in_time(monkeypatch):
    book = PolicyBook([parse(text_of(NO_DEDUCTIBLE, SHARE, ROUNDING))])
    assert book.rules_for(CASE) is book.rules_for(CASE._replace())
    monkeypatch.setattr(policy_book, "MAX_REMEMBERED", 2)
    cases = [CASE._replace(institution_level=level) for level in range(4)]
    assert [book.rules_for(case).scheme for case in cases] == ["employee"] * 4
    assert len(book._rules) <= 2


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
    assert PolicyBook([shipped(name)]).rules_for(case).shares.bands


@pytest.mark.parametrize(
    ("category", "level", "ratio", "cap_fen"),
    [("1", 1, "0.8", 800_000), ("1", 3, "0.65", 800_000), ("2", 0, "0.85", 1_000_000), ("2", 2, "0.7", 1_000_000)],
)
def test_guangzhou_outpatient_is_as_printed(category, level, ratio, cap_fen):
    made = PolicyBook([shipped("guangzhou_2024")]).rules_for(CASE._replace(category=category, institution_level=level))
    assert ratios(made) == [ratio]
    assert sorted(cap.amount_fen for cap in made.caps) == [cap_fen, 100_000_000]
    assert made.deductible is None
