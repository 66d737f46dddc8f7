"""The policy sets we ship, and the sets of the tests: lawful, with their worked examples exact to the fen."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from domain.checker import check as second_opinion
from domain.money import fen
from domain.policy import PolicyBook
from domain.policy.check import check, overlaps
from domain.policy.example_reading import read_examples
from domain.policy.examples import run
from domain.policy.reading import parse

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "policies").glob("*.toml"))
OF_TESTS = sorted((ROOT / "tests" / "policies").glob("*.toml"))
PUBLISHED = json.loads((ROOT / "tests" / "policies" / "published_examples.json").read_text(encoding="utf-8"))[
    "examples"
]
TODAY = date(2026, 3, 2)

SETS = {
    "beijing-employee", "foshan", "guangzhou-2024", "guangzhou-employee-2005", "jiamusi-resident-2018", "nanchang-2025",
    "shandong-serious-illness-2014",
}  # fmt: skip

# What a source prints, under the name an example of ours expects it by.
PRINTED = {
    "fund_pay": "fund_pay",
    "person_pay": "person_share",
    "psn_part_amt": "person_share",
    "psn_cash_pay": "cash",
    "cash_pay": "cash",
    "account_pay": "account_pay",
    "total": "total",
    "in_scope": "in_scope",
    "inscp_scp_amt": "in_scope",
    "own_expense": "own_expense",
    "pre_self_pay": "pre_self_pay",
    "deductible": "deductible",
    "deductible_paid": "deductible",
    "act_pay_dedc": "deductible",
}
COLUMNS = {
    "ZYZJE": "total",
    "SBZFJE": "fund_pay",
    "ZHZFJE": "account_pay",
    "GRZFJE1": "own_pay",
    "BFXMZFJE": "pre_self_pay",
    "QFJE": "deductible",
    "GRZFJE2": "self_pay",
    "CXZFJE": "over_cap",
    "GRZFJE3": "person_share",
    "YYFDJE": "institution_share",
}
DEDUCTIBLE_LEFT = {  # the standard each problem is put into, less what is left of it
    "medbench-5": ("basic:1:deductible:-:2024", "200.00"),
    "medbench-80": ("basic:1:deductible:-:2024", "200.00"),
    "medbench-112": ("basic:1:deductible:-:2024", "200.00"),
    "medbench-sample-answer": ("basic:1:deductible:-:2024", "200.00"),
    "medbench-43": ("basic:1:deductible:-:2024", "150.00"),
    "medbench-33": ("basic:3:deductible:-:2024", "150.00"),
    "medbench-121": ("basic:3:deductible:-:2024", "150.00"),
    "medbench-105": ("basic:3:deductible:-:2024", "100.00"),
    "medbench-132": ("basic:3:deductible:-:2024", "100.00"),
}


def text_of(file):
    return file.read_text(encoding="utf-8")


@cache
def report_of(file):
    return check(text_of(file), today=TODAY)


def files(*groups):
    return [pytest.param(file, id=file.stem) for group in groups for file in group]


@pytest.mark.parametrize("file", files(SHIPPED, OF_TESTS))
def test_a_set_has_no_error(file):
    assert report_of(file).errors == []
    assert report_of(file).policy is not None


@pytest.mark.parametrize("file", files(SHIPPED, OF_TESTS))
def test_its_examples_hold_to_the_fen(file):
    text = text_of(file)
    outcomes = run(read_examples(text), PolicyBook([parse(text)]))
    assert outcomes, "a set without an example proves nothing"
    assert [(each.example.example_id, each.differences) for each in outcomes if not each.holds] == []


def test_the_seven_sets_are_there_and_stand_side_by_side():
    policies = [(file.name, parse(text_of(file))) for file in SHIPPED]
    assert {policy.set_id for _, policy in policies} == SETS
    assert overlaps(policies) == []


@pytest.mark.parametrize("file", files(SHIPPED))
def test_what_nobody_knows_is_marked(file):
    policy = parse(text_of(file))
    assert all(fact.assumed for fact in policy.facts if fact.source == "OWN")
    assert any("一" <= letter <= "鿿" for letter in policy.title), "cashiers read the title"


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("beijing_employee", {"assumed", "no-share"}),
        ("foshan", {"assumed", "no-share"}),
        ("guangzhou_2024", {"assumed", "no-share", "unknown-amount", "no-effect"}),
        ("guangzhou_employee_2005", {"assumed", "no-share", "unknown-amount", "no-effect"}),
        ("jiamusi_resident_2018", {"assumed"}),
        ("nanchang_2025", {"assumed", "no-share"}),
        ("shandong_resident_2014", {"assumed"}),
    ],
)
def test_what_a_shipped_set_leaves_open_is_known(name, codes):
    report = report_of(ROOT / "policies" / f"{name}.toml")
    assert {finding.code for finding in report.warnings} == codes


# ── The published examples ────────────────────────────────────────────────────────────────────────────────

OURS = {example.example_id: example for file in (*SHIPPED, *OF_TESTS) for example in read_examples(text_of(file))}


def test_all_22_published_examples_are_policy_data():
    assert len(PUBLISHED) == 22
    assert {each["id"] for each in PUBLISHED} <= set(OURS)
    assert [each["id"] for each in PUBLISHED if each["arithmetic"]["status"] != "ok"] == []


@pytest.mark.parametrize("published", [pytest.param(each, id=each["id"]) for each in PUBLISHED])
def test_every_figure_a_source_prints_is_expected(published):
    ours = OURS[published["id"]]
    printed = dict(published["expected"])
    if (left := printed.pop("deductible_left_after", None)) is not None:
        key, standard = DEDUCTIBLE_LEFT[published["id"]]
        assert ours.accumulators_after[key] == fen(standard) - int(Decimal(left) * 100)
    if (self_pay := printed.pop("pool_self_pay", None)) is not None:
        assert ours.cells["shared", "person"] == fen(self_pay)
    assert {PRINTED[name]: fen(amount) for name, amount in printed.items()}.items() <= ours.amounts.items()


@pytest.mark.parametrize("published", [pytest.param(each, id=each["id"]) for each in PUBLISHED])
def test_every_exchange_column_is_expected(published):
    columns = published["seed_fields"] or {}
    expected = {
        COLUMNS[name]: fen(amount) for name, amount in columns.items() if name in COLUMNS and amount is not None
    }
    assert expected.items() <= OURS[published["id"]].amounts.items()


@pytest.mark.parametrize("file", files(SHIPPED, OF_TESTS))
def test_the_second_opinion_agrees_with_every_example(file):
    text = text_of(file)
    book = PolicyBook([parse(text)])
    for outcome in run(read_examples(text), book):
        example = outcome.example
        assert outcome.settlement is not None, example.example_id
        found = second_opinion(
            outcome.settlement, outcome.totals, example.person, outcome.used, policy=book, at=example.occasion
        )
        assert found == [], example.example_id
