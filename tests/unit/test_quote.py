"""Quotes: the same functions as the real thing, from one document; and why, step by step."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from domain.catalogue import Catalogue, Match
from domain.money import fen
from domain.policy import PolicyBook
from domain.policy.reading import parse
from producers import quote as quotes
from producers.api.problems import Problem
from producers.quote.accumulated import NAMES
from tests.support.api import HOSPITAL, ITEMS, POLICY

BOOK = PolicyBook([parse(POLICY)])
CATALOGUE = Catalogue(
    "1",
    ITEMS,
    [Match("", f"L{one.item_code}", one.match_type, one.item_code, "", one.coverage_class, True) for one in ITEMS],
)
YEARLY = PolicyBook([
    parse(POLICY.replace('amount = "10.00", per = "visit"', 'amount = "100.00", per = "year"'))
])  # fmt: skip


CLASS_A = {"coverage_class": "1"}


def asked(**change):
    good = {
        "person": {"scheme": "employee", "category": "1"},
        "visit": {"visit_type": "3", "visit_date": "2026-03-02", "institution_level": 3},
        "totals": {"total_amount": "110.00", "own_expense_amount": "10.00"},
    }
    return {name: value for name, value in (good | change).items() if value is not None}


def amounts(quoted, *names):
    return tuple(quotes.seen(quoted)["settlement"][f"{name}_amount"] for name in names)


def test_totals_are_settled_by_the_policy_of_the_day():
    quoted = quotes.quote(asked(), BOOK)
    # 100.00 in scope: 10.00 deductible, then 80 %.
    assert amounts(quoted, "total", "fund_pay", "deductible", "own_pay", "person_share") == (
        "110.00",
        "72.00",
        "10.00",
        "10.00",
        "38.00",
    )
    assert quoted.policy.version.startswith("test@")


def test_lines_described_in_the_document_and_lines_of_the_catalogue_come_to_the_same():
    described = [
        {"unit_price": "12.5", "quantity": "4", "item": {"coverage_class": "1"}},
        {"unit_price": "100", "quantity": "3", "item": {"coverage_class": "2", "pre_self_pay_ratio": "0.1"}},
        {"unit_price": "30", "quantity": "1", "item": {"coverage_class": "9"}},
    ]
    known = [
        {"unit_price": "12.5", "quantity": "4", "local_item_code": "LW0001"},
        {"unit_price": "100", "quantity": "3", "local_item_code": "LW0002"},
        {"unit_price": "30", "quantity": "1", "local_item_code": "LX0003"},
    ]
    first = quotes.quote(asked(totals=None, lines=described), BOOK)
    second = quotes.quote(asked(totals=None, lines=known), BOOK, CATALOGUE)
    assert first.settlement == second.settlement
    assert first.totals[:6] == (fen("380.00"), fen("30.00"), 0, fen("30.00"), fen("320.00"), 3)


def test_a_price_above_its_limit_is_the_persons():
    dear = [{"unit_price": "100", "quantity": "3", "item": {"coverage_class": "1", "price_limit": "90"}}]
    quoted = quotes.quote(asked(totals=None, lines=dear), BOOK)
    assert quotes.seen(quoted)["totals"]["over_limit_amount"] == "30.00"


def test_lines_are_split_by_the_rules_of_the_policy():
    split = '  { kind = "line_split", scheme = "any", over_limit = "own_expense", from = 2020-01-01, src = "T" },\n]'
    own = PolicyBook([parse(POLICY.replace("\n]", f"\n{split}"))])
    dear = [{"unit_price": "100", "quantity": "3", "item": {"coverage_class": "1", "price_limit": "90"}}]
    totals = quotes.seen(quotes.quote(asked(totals=None, lines=dear), own))["totals"]
    assert (totals["over_limit_amount"], totals["own_expense_amount"]) == ("0.00", "30.00")


def test_the_account_pays_what_it_may():
    person = {"scheme": "employee", "category": "1", "account_balance": "5.00"}
    assert amounts(quotes.quote(asked(person=person), BOOK), "account_pay", "cash") == ("5.00", "33.00")


def test_what_the_year_has_used_up_counts_and_moves_on():
    capped = POLICY.replace(
        "facts = [",
        'facts = [\n  { kind = "cap", scheme = "any", amount = "100.00", per = "year", basis = "fund_paid",'
        ' from = 2020-01-01, src = "T" },',
    )
    quoted = quotes.quote(asked(accumulators={"basic:3:fund:-:2026": "40.00"}), PolicyBook([parse(capped)]))
    assert amounts(quoted, "fund_pay") == ("60.00",)
    moved = {entry["key"]: entry for entry in quotes.seen(quoted)["accumulators"]}
    assert moved["basic:3:fund:-:2026"] == {
        "key": "basic:3:fund:-:2026",
        "before_amount": "40.00",
        "applied_amount": "60.00",
        "after_amount": "100.00",
    }


def test_every_step_is_told_in_chinese_with_its_fact():
    steps = quotes.seen(quotes.quote(asked(), BOOK))["steps"]
    words = [step["words"] for step in steps]
    assert words[0] == "总费用 110.00 元中，目录外（全自费）项目 10.00 元由个人负担"
    told = "".join(words)
    assert "本次起付 10.00 元由个人先付" in told
    assert "统筹基金支付 90.00 × 80% = 72.00 元，个人自付 18.00 元" in told
    assert all(step["rule_name"] != step["rule"] for step in steps)
    assert [step["fact"] for step in steps if step["rule"] == "deductible"] == ["#1 deductible"]


@pytest.mark.parametrize(("change", "words"), [
    pytest.param({"totals": None}, "lines", id="neither lines nor totals"),
    pytest.param({"lines": [{"unit_price": "1", "quantity": "1", "item": CLASS_A}]}, "totals", id="both"),
    pytest.param({"totals": {"total_amount": "1.00", "in_scope_amount": "2.00"}}, "各分项合计 2.00 元", id="unequal"),
    pytest.param({"totals": {"total_amount": "1.00", "own_expense_amount": "2.00"}}, "1.00", id="parts too large"),
    pytest.param({"visit": {"visit_type": "3", "visit_date": "2026-03-02"}}, "级别", id="no level"),
    pytest.param(
        {"visit": {"visit_type": "3", "visit_date": "2019-12-31", "institution_level": 3}}, "2019-12-31", id="no policy"
    ),
    pytest.param({"totals": None, "lines": [{"unit_price": "1", "quantity": "1"}]}, "项目编号", id="a line of nothing"),
    pytest.param(
        {"totals": None, "lines": [{"unit_price": "1", "quantity": "-1", "item": {"coverage_class": "1"}}]},
        "效验", id="more back than charged",
    ),
])  # fmt: skip
def test_what_cannot_be_quoted_says_why(change, words):
    with pytest.raises(quotes.CannotQuote) as refused:
        quotes.quote(asked(**change), BOOK)
    told = refused.value.words + "".join(error["detail"] for error in refused.value.errors)
    assert words in told


def test_bad_lines_come_back_with_their_codes():
    lines = [
        {"unit_price": "1", "quantity": "1", "line_amount": "2.00", "item": {"coverage_class": "1"}},
        {"unit_price": "1", "quantity": "1", "item": {"coverage_class": "1"}},
        {"unit_price": "0", "quantity": "1", "item": {"coverage_class": "1"}},
        {"unit_price": "1", "quantity": "1", "local_item_code": "NOPE"},
    ]
    with pytest.raises(quotes.CannotQuote) as refused:
        quotes.quote(asked(totals=None, lines=lines), BOOK, CATALOGUE)
    found = [(error["pointer"], error["code"]) for error in refused.value.errors]
    assert found == [("#/lines/0", "14"), ("#/lines/2", "11"), ("#/lines/3", "06")]


def test_more_than_the_type_holds_is_refused():
    dear = {"unit_price": "99999999", "quantity": "90", "item": CLASS_A}
    with pytest.raises(quotes.CannotQuote) as refused:
        quotes.quote(asked(totals=None, lines=[dear, dear]), BOOK)
    assert [error["code"] for error in refused.value.errors] == ["totals-too-large"]


def test_a_visit_cannot_move_off_the_calendar():
    stay = {"visit_type": "1", "visit_date": "2026-03-02", "covers_to": "2026-03-09", "institution_level": 3}
    with pytest.raises(quotes.CannotQuote, match="日历"):
        quotes.quoted(json.dumps(asked(visit=stay)).encode(), BOOK, as_of=date(1, 1, 2))


def test_an_institutions_own_code_cannot_meet_a_described_item():
    lines = [
        {"unit_price": "1", "quantity": "1", "local_item_code": "LW0001", "item": {"coverage_class": "9"}},
        {"unit_price": "1", "quantity": "1", "local_item_code": "LW0001"},
    ]
    quoted = quotes.quote(asked(totals=None, lines=lines), BOOK, CATALOGUE)
    assert quotes.seen(quoted)["totals"]["own_expense_amount"] == "1.00"


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"person": {"scheme": "civil", "category": "1"}}, ["#/person/scheme not-allowed"]),
        (
            {"person": {"scheme": "employee", "category": "1", "account_balance": "-1.00"}},
            ["#/person/account_balance wrong-form"],
        ),
        ({"accumulators": {"basic:3:fund:-:2026": 1}}, ["#/accumulators/basic:3:fund:-:2026 not-a-string"]),
        (
            {"accumulators": {"fund_paid": "1.5", "stays": "-1", "basic:3:fund:110105194912310021:2026": "x"}},
            ["#/accumulators wrong-form", "#/accumulators/fund_paid wrong-form", "#/accumulators/stays wrong-form"],
        ),
        ({"totals": {"total_amount": 5.5}}, ["#/totals/total_amount not-a-string"]),
        ({"totals": {"total_amount": "10000000000.00"}}, ["#/totals/total_amount wrong-form"]),
        ({"name": "x"}, ["#/name unknown-field"]),
        (
            {
                "person": {"scheme": "employee", "category": 1, "height": "1"},
                "visit": {"visit_type": "5", "visit_date": "2026-02-30"},
                "totals": {"total_amount": "1.00", "own_expense_amount": "2.00"},
            },
            [
                "#/person/category not-a-string",
                "#/person/height unknown-field",
                "#/totals totals-unequal",
                "#/visit/visit_date not-a-date",
                "#/visit/visit_type not-allowed",
            ],
        ),
    ],
)
def test_a_document_in_wrong_form_is_told_everything_at_once(change, errors):
    with pytest.raises(Problem) as refused:
        quotes.quote(asked(**change), BOOK)
    assert refused.value.kind.code == "content-invalid"
    assert sorted(f"{error['pointer']} {error['code']}" for error in refused.value.errors) == errors
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in error["detail"]) for error in refused.value.errors)


@pytest.mark.parametrize(
    "raw", [b'{"totals": {"total_amount": NaN}}', b"{", b"[]", b'{"person": {}, "person": {}}', b""]
)
def test_what_is_no_document_is_a_problem(raw):
    with pytest.raises(Problem):
        quotes.quoted(raw, BOOK)


def test_all_that_a_document_means_wrongly_is_told_at_once():
    wrong = asked(
        person={"scheme": "employee", "category": "75"},
        visit={"visit_type": "3", "visit_date": "2026-03-02", "covers_to": "2026-03-01", "final": False},
        totals={
            "total_amount": "5.00",
            "in_scope_amount": "6.00",
            "groups": [{"group": "fee", "total_amount": "9.00"}, {"group": "fee", "total_amount": "1.00"}],
        },
    )
    with pytest.raises(quotes.CannotQuote) as refused:
        quotes.quote(wrong, BOOK)
    assert [(error["pointer"], error["code"]) for error in refused.value.errors] == [
        ("#/visit/institution_level", "missing"),
        ("#/visit/covers_to", "before-the-visit"),
        ("#/visit/final", "not-a-stay"),
        ("#/totals/groups", "group-twice"),
        ("#/totals", "totals-unequal"),
        ("#/totals/groups", "groups-too-large"),
        ("#/person/category", "category-unknown"),
    ]


def test_good_lines_are_checked_although_another_line_is_in_wrong_form():
    lines = [
        {"unit_price": "1", "quantity": "1", "line_amount": "2.00", "item": CLASS_A},
        {"unit_price": 1, "quantity": "1", "item": CLASS_A},
    ]
    with pytest.raises(Problem) as refused:
        quotes.quote(asked(totals=None, lines=lines), BOOK)
    found = [(error["pointer"], error["code"]) for error in refused.value.errors]
    assert found == [("#/lines/1/unit_price", "not-a-string"), ("#/lines/0", "14")]


# ── Accumulators by name ──────────────────────────────────────────────────────────────────────────────────


def test_what_is_used_up_is_said_by_name_or_by_key():
    by_name = quotes.quote(asked(accumulators={"deductible_paid": "4.00"}), YEARLY)
    by_key = quotes.quote(asked(accumulators={"basic:3:deductible:-:2026": "4.00"}), YEARLY)
    assert by_name.settlement == by_key.settlement
    assert amounts(by_name, "deductible") == ("96.00",)
    assert quotes.seen(by_name)["looked_at"]["basic:3:deductible:-:2026"] == "4.00"


def test_every_name_is_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "quote.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in NAMES)


def test_the_visit_moves_with_all_its_days():
    stay = asked(
        visit={"visit_type": "1", "visit_date": "2026-03-02", "covers_to": "2026-03-09", "institution_level": 3},
        totals=None,
        lines=[{"unit_price": "1", "quantity": "5", "item": CLASS_A, "charge_date": "2026-03-04"}],
    )
    moved = quotes.quoted(json.dumps(stay).encode(), BOOK, as_of=date(2025, 3, 9))
    assert (moved.occasion.started, moved.occasion.ends, moved.occasion.day) == (
        date(2025, 3, 2), date(2025, 3, 9), date(2025, 3, 9),
    )  # fmt: skip


@pytest.mark.parametrize(("given", "code"), [
    pytest.param({"nothing_known": "1.00"}, "accumulator-unknown", id="no such name"),
    pytest.param({"basic:3:fund": "1.00"}, "accumulator-unknown", id="no key"),
    pytest.param({"stays": "1.00"}, "wrong-form", id="a count with decimals"),
    pytest.param({"fund_paid": "1"}, "wrong-form", id="an amount without"),
    pytest.param({"fund_paid": "1.00", "basic:3:fund:-:2026": "1.00"}, "accumulator-twice", id="twice"),
])  # fmt: skip
def test_accumulators_that_make_no_sense(given, code):
    with pytest.raises(quotes.CannotQuote) as refused:
        quotes.quote(asked(accumulators=given), BOOK)
    assert [error["code"] for error in refused.value.errors] == [code]


def test_what_nothing_in_the_policy_asks_for_is_said():
    person = {"scheme": "employee", "category": "1", "groups": ["poverty_relief"], "rank": "county"}
    quoted = quotes.quote(asked(person=person, accumulators={"serious_illness_paid": "1.00", "stays": "0"}), BOOK)
    assert quotes.seen(quoted)["unused"] == ["serious_illness_paid", "poverty_relief", "rank:county"]


def test_a_quote_asks_for_nobodys_name():
    assert HOSPITAL not in str(quotes.schema())
    assert "citizen" not in str(quotes.schema())


def test_a_policy_is_chosen_by_its_id_or_by_a_file(tmp_path):
    (tmp_path / "a.toml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "b.toml").write_text(POLICY.replace('id = "test"', 'id = "other"'), encoding="utf-8")
    assert len(quotes.policy_book(tmp_path).sets) == 2
    assert [each.set_id for each in quotes.policy_book(tmp_path, "other").sets] == ["other"]
    assert [each.set_id for each in quotes.policy_book(tmp_path, str(tmp_path / "a.toml")).sets] == ["test"]
    with pytest.raises(quotes.CannotQuote, match=r"other、test|test、other"):
        quotes.policy_book(tmp_path, "nowhere")
    (tmp_path / "c.toml").write_text("x", encoding="utf-8")
    with pytest.raises(quotes.CannotQuote, match=r"c\.toml"):
        quotes.policy_book(tmp_path)


def test_a_document_may_name_its_policy(tmp_path):
    (tmp_path / "a.toml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "b.toml").write_text(POLICY.replace('id = "test"', 'id = "other"'), encoding="utf-8")
    book = quotes.policy_book(tmp_path)
    assert quotes.seen(quotes.quote(asked(policy="other"), book))["policy_version"].startswith("other@")
    with pytest.raises(quotes.CannotQuote) as refused:
        quotes.quote(asked(), book)
    assert [(error["pointer"], error["code"]) for error in refused.value.errors] == [
        ("#/visit/visit_date", "no-policy")
    ]


def test_a_policy_that_is_not_in_force_here_is_refused_unless_another_was_chosen():
    with pytest.raises(quotes.CannotQuote) as refused:
        quotes.quote(asked(policy="nowhere"), BOOK)
    assert [(error["pointer"], error["code"]) for error in refused.value.errors] == [("#/policy", "no-policy")]
    raw = json.dumps(asked(policy="nowhere")).encode()
    assert quotes.quoted(raw, BOOK, is_chosen=True).settlement.total_fen > 0
