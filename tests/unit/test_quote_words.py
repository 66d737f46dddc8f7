"""The calculation as a cashier tells it: golden sentences of two known cases, and no rule without words."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import domain
from domain.policy import PolicyBook
from domain.policy.reading import parse
from domain.settlement import Step
from infra.settings import Settings
from producers import quote as quotes
from producers.quote.words import RULES_ZH, in_words, percent, summed_up

BEIJING = parse((Settings().policies_dir / "beijing_employee.toml").read_text(encoding="utf-8"))

SMALL = parse("""
[set]
id = "small"
region = "440000"
title = "小城"
benefit_year_starts = "01-01"
[source.T]
title = "试验"
verified = "memory"
[policy]
facts = [
  { kind = "deductible", scheme = "employee", amount = "100.00", per = "year", from = 2020-01-01, src = "T" },
  { kind = "share", scheme = "employee", ratio = "0.855", basis = "in_scope", from = 2020-01-01, src = "T" },
  { kind = "rounding", scheme = "any", place = "band", mode = "half_up", digits = 2, rest_goes_to = "person", from = 2020-01-01, src = "T" },
  { kind = "subsidy", scheme = "civil_servant", ratio = "0.50", basis = "left_by_layers_before", from = 2020-01-01, src = "T" },
  { kind = "account_pays", scheme = "employee", may_pay = ["in_scope"], family = true, from = 2020-01-01, src = "T" },
]
""")  # noqa: E501


def told(policy, **asked):
    return quotes.quote(asked, PolicyBook([policy]))


def sentences(quoted):
    seen = quotes.seen(quoted)
    return [step["words"] for step in seen["steps"]] + seen["words"]


def test_the_record_of_beijing_is_told():
    """Settlement 1671213: a retiree's second stay, over the cap of the basic fund and into the large-amount layer."""
    quoted = told(
        BEIJING,
        person={"scheme": "employee", "category": "2"},
        visit={"visit_type": "1", "visit_date": "2025-05-06", "institution_level": 3},
        accumulators={"stays": "1", "fund_paid": "8240.49"},
        totals={"total_amount": "164411.81"},
    )
    assert sentences(quoted) == [
        "政策范围内费用 164411.81 元",
        "起付标准为 1300.00 元",
        "按 50% 计，起付标准为 650.00 元",
        "起付标准 650.00 元，本次起付 650.00 元由个人先付",
        "进入统筹共付段 163761.81 元",
        "统筹基金支付 29350.00 × 91% = 26708.50 元，个人自付 2641.50 元",
        "统筹基金支付 10000.00 × 94% = 9400.00 元，个人自付 600.00 元",
        "统筹基金支付限额还剩 55651.01 元，本段超出限额的费用 67039.63 元不再由其支付",
        "限额以内 57372.18 元，统筹基金支付到限额 55651.01 元，个人自付 1721.17 元",
        "进入大额共付段 67039.63 元",
        "大额补助支付 67039.63 × 80% = 53631.71 元，个人自付 13407.92 元，四舍五入到分，尾差归个人",
        "总费用 164411.81 元，基金支付 145391.22 元（统筹基金 91759.51 元，大额补助 53631.71 元），"
        "个人负担 19020.59 元",
        "现金 19020.59 元",
    ]


def test_a_civil_servant_with_accounts_is_told():
    quoted = told(
        SMALL,
        person={
            "scheme": "employee", "category": "1", "civil_servant": True, "account_balance": "20.00",
            "family_account_balance": "500.00",
        },
        visit={"visit_type": "3", "visit_date": "2026-03-02", "institution_level": 1},
        accumulators={"deductible_paid": "60.00"},
        totals={"total_amount": "350.33", "own_expense_amount": "10.00", "pre_self_pay_amount": "5.00"},
    )  # fmt: skip
    assert sentences(quoted) == [
        "总费用 350.33 元中，目录外（全自费）项目 10.00 元由个人负担",
        "总费用 350.33 元中，乙类等项目先由个人自付的 5.00 元由个人负担",
        "政策范围内费用 335.33 元",
        "起付标准 100.00 元，此前已付 60.00 元，本次起付 40.00 元由个人先付",
        "进入统筹共付段 295.33 元",
        "统筹基金支付 295.33 × 85.5% = 252.51 元，个人自付 42.82 元，四舍五入到分，尾差归个人",
        "公务员补助的计算基数 82.82 元",
        "公务员补助应付 82.82 × 50% = 41.41 元",
        "公务员补助支付统筹共付段中个人负担的 41.41 元",
        "个人账户支付起付标准以下 20.00 元，尚差 20.00 元",
        "家庭共济账户支付起付标准以下 20.00 元",
        "家庭共济账户支付统筹共付段 1.41 元",
        "总费用 350.33 元，基金支付 293.92 元（统筹基金 252.51 元，公务员补助 41.41 元），个人负担 56.41 元",
        "其中个人账户支付 41.41 元，现金 15.00 元",
    ]
    national = quotes.seen(quoted)["national"]
    assert {name: national["setlinfo"][name] for name in ("cvlserv_pay", "acct_pay", "acct_mulaid_pay", "balc")} == {
        "cvlserv_pay": "41.41", "acct_pay": "41.41", "acct_mulaid_pay": "21.41", "balc": "0.00",
    }  # fmt: skip
    assert [(row["fund_pay_type"], row["fund_payamt"]) for row in national["setldetail"]] == [
        ("310200", "20.00"), ("310200", "21.41"), ("310100", "252.51"), ("320100", "41.41"),
    ]  # fmt: skip
    assert national["setldetail"][2]["setl_proc_info"].startswith("统筹基金支付 295.33 × 85.5%")


def test_where_a_cap_was_reached_setldetail_says_what_the_fund_could_pay():
    quoted = told(
        BEIJING,
        person={"scheme": "employee", "category": "2"},
        visit={"visit_type": "1", "visit_date": "2025-05-06", "institution_level": 3},
        accumulators={"stays": "1", "fund_paid": "8240.49"},
        totals={"total_amount": "164411.81"},
    )
    rows = {row["fund_pay_type"]: row for row in quotes.seen(quoted)["national"]["setldetail"]}
    assert rows["310100"]["crt_payb_lmt_amt"] == rows["310100"]["fund_payamt"] == "91759.51"
    assert "crt_payb_lmt_amt" not in rows["330100"]


@pytest.mark.parametrize(("rest", "said"), [
    ("person", "四舍五入到分，尾差归个人"),
    ("fund", "个人部分四舍五入到分，尾差归统筹基金"),
    ("person down", "舍去分以下，尾差归个人"),
    ("fund up", "个人部分进到分，尾差归统筹基金"),
])  # fmt: skip
def test_who_takes_the_rest_is_told_where_there_is_one(rest, said):
    step = Step("fund-share", "#2 share", "T", 101, "0.855", 86, "shared", "person", "shared", "fund:basic", rest=rest)
    assert in_words(step, SMALL).endswith(said)
    assert said not in in_words(step._replace(input_fen=200, output_fen=171), SMALL)


def rules_of_the_engine() -> set[str]:
    """Every rule the engine writes into a step: the first argument of `Step`, or of `Calculation.opens`."""
    rules = set()
    for file in Path(domain.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in ("Step", "opens"):
                    rules.add(node.args[0].value)
    return rules


def test_every_rule_of_the_engine_has_a_name_and_a_sentence():
    rules = rules_of_the_engine()
    assert {"fund-share", "deductible", "relief", "own-expense"} <= rules
    assert rules <= RULES_ZH.keys()
    for rule in rules:
        step = Step(rule, "#1 share", "T", 100, "0.5", 50, "shared", "person", "shared", "fund:basic", 10, 5)
        for words in (in_words(step, SMALL), in_words(step._replace(ratio="", limit_fen=None, before_fen=0), SMALL)):
            assert rule not in words
            assert "None" not in words


@pytest.mark.parametrize(("ratio", "said"), [("0.85", "85%"), ("0.895", "89.5%"), ("1", "100%"), ("0", "0%")])
def test_a_ratio_is_said_in_percent(ratio, said):
    assert percent(ratio) == said


def test_what_an_institution_bears_is_said():
    quoted = told(
        SMALL,
        person={"scheme": "employee", "category": "1"},
        visit={"visit_type": "3", "visit_date": "2026-03-02", "institution_level": 1},
        totals={"total_amount": "1.00"},
    )
    assert "医药机构" not in "".join(summed_up(quoted.settlement))
