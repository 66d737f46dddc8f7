"""`jiesuan policy`: what an office reads on its screen, what a program reads, and how each command ends."""

from __future__ import annotations

import json
import os
import sys

import pytest

from city import cli
from city.commands.policy_words import CODES_ZH, KINDS_ZH
from domain.policy.vocabulary import KINDS

LAW = """[set]
id = "testville-2026"
region = "990000"
title = "测试市待遇"
benefit_year_starts = "01-01"

[source.DOC]
title = "测试市办法"
verified = "official"

[policy]
facts = [
  { kind = "deductible", scheme = "employee", visit = "outpatient", amount = "100.00", per = "year", from = 2026-01-01, src = "DOC" },
  { kind = "share", scheme = "employee", visit = "outpatient", ratio = "0.80", basis = "in_scope", from = 2026-01-01, src = "DOC" },
  { kind = "cap", scheme = "employee", visit = "outpatient", amount = "2000.00", per = "year", basis = "fund_paid", from = 2026-01-01, src = "DOC" },
  { kind = "rounding", scheme = "any", place = "band", mode = "half_up", digits = 2, rest_goes_to = "fund", from = 2026-01-01, src = "DOC" },
]

[[example]]
id = "first"
title = "第一次门诊"
day = 2026-03-02
person = { scheme = "employee", category = 1 }
visit = { type = "outpatient", level = 2 }
totals = { in_scope = "300.00" }
[example.expect]
deductible = "100.00"
fund_pay = "160.00"
"""  # noqa: E501  # a policy file has one fact a line
OF_THE_CASE = ("--scheme", "employee", "--category", "1", "--visit", "outpatient", "--day", "2026-03-02")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A policy folder with one set, and an environment without our settings."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "testville.toml").write_text(LAW, encoding="utf-8")
    monkeypatch.setenv("JIESUAN_POLICIES_DIR", str(policies))
    monkeypatch.setenv("COLUMNS", "200")
    return policies


@pytest.fixture
def policy(monkeypatch, capsys):
    """Run `jiesuan policy ...`; its exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["jiesuan", "policy", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def changed(folder, old, new, name="draft.toml", where=None):
    assert old in LAW
    file = (where or folder.parent) / name
    file.write_text(LAW.replace(old, new), encoding="utf-8")
    return str(file)


# ── check ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lawful_file_passes(policy):
    code, out, err = policy("check")
    assert (code, err) == (0, "")
    assert "错误 0　警告 0" in out


def test_an_error_names_file_line_fact_and_case(policy, folder):
    draft = changed(folder, 'ratio = "0.80", basis', 'ratio = "0.80", high = "500.00", basis')
    code, out, err = policy("check", draft)
    assert code == 1
    assert "1 处错误" in err
    assert "draft.toml" in out
    assert "分段有空档　第 14 行　#2" in out
    assert "例：职工，在职，门诊，基层，2026-01-01" in out


def test_warnings_alone_are_no_failure(policy, folder):
    draft = changed(
        folder,
        '"0.80", basis = "in_scope", from = 2026-01-01',
        '"0.80", basis = "in_scope", from = 2026-01-01, to = 2026-03-31',
    )
    code, out, _ = policy("check", draft, "--today", "2026-03-02")
    assert code == 0
    assert "即将到期　第 14 行　#2" in out
    assert "错误 0　警告 1" in out
    assert policy("check", draft, "--today", "2026-02-01")[1].endswith("错误 0　警告 0\n")


def test_findings_for_programs(policy, folder):
    draft = changed(folder, 'src = "DOC" },\n]', 'src = "RUMOUR" },\n]')
    code, out, _ = policy("check", draft, "--json")
    read = json.loads(out)
    assert (code, read["errors"], read["warnings"]) == (1, 1, 0)
    assert {key: read["findings"][0][key] for key in ("line", "severity", "code", "facts")} == {
        "line": 16, "severity": "error", "code": "unreadable", "facts": [4]
    }  # fmt: skip


def test_an_example_that_does_not_read_is_an_error(policy, folder):
    draft = changed(folder, 'fund_pay = "160.00"', 'fund_play = "160.00"')
    code, out, _ = policy("check", draft)
    assert code == 1
    assert "算例不能读取　第 19 行" in out
    assert "fund_play" in out


def test_two_sets_for_one_day_are_refused_together(policy, folder):
    changed(folder, 'id = "testville-2026"', 'id = "testville-2027"', where=folder)
    code, out, _ = policy("check")
    assert code == 1
    assert "draft.toml 与 testville.toml 自 2026-01-01 起" in out


@pytest.mark.parametrize(
    "words",
    [
        ("check", "nowhere"),
        ("check", "--today", "soon"),
        ("show", "nowhere"),
        ("show", "testville-2026", "--scheme", "pirate"),
        ("at", "soon"),
        ("diff", "testville-2026"),
        ("test", "nowhere"),
    ],
)
def test_wrong_usage_is_2(policy, words):
    code, out, err = policy(*words)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_a_file_in_another_encoding_is_no_crash(policy, folder):
    (folder / "gb.toml").write_bytes(LAW.encode("gb18030"))
    for words in (("check",), ("test",)):
        code, out, _ = policy(*words)
        assert code == 1
        assert "不是 UTF-8 文本" in out
    assert policy("at", "2026-03-02")[0] == 1


# ── show, at ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_set_is_shown_as_a_table(policy):
    code, out, _ = policy("show", "testville-2026")
    assert code == 0
    for part in ("测试市待遇", "#2", "统筹支付比例", "ratio 0.8", "2026-01-01 起", "DOC：测试市办法"):
        assert part in out
    assert len(json.loads(policy("show", "testville-2026", "--json")[1])["facts"]) == 4


def test_the_rules_of_a_case_are_shown_with_their_facts(policy):
    code, out, _ = policy("show", "testville-2026", *OF_THE_CASE)
    assert code == 0
    for part in ("职工，在职，门诊，三级，2026-03-02", "100.00 元", "#1", "2000.00 元（按基金支付计）", "尾差归基金"):
        assert part in out
    rules = json.loads(policy("show", "testville-2026", *OF_THE_CASE, "--json")[1])["rules"]
    assert [(rule["part"], rule["facts"], rule["sources"], rule["since"]) for rule in rules][:2] == [
        ("起付标准", [1], ["DOC"], "2026-01-01"),
        ("统筹支付比例", [2], ["DOC"], "2026-01-01"),
    ]


def test_a_case_that_is_not_settled_says_why(policy):
    code, out, err = policy("show", "testville-2026", "--scheme", "employee", "--category", "1", "--visit", "pharmacy")
    assert (code, out) == (1, "")
    assert "不能结算" in err
    assert policy("show", "testville-2026", *OF_THE_CASE[:-1], "2019-01-01")[0] == 1


def test_what_is_in_force_on_a_day(policy):
    code, out, _ = policy("at", "2026-03-02", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert row.pop("version").startswith("testville-2026@")
    assert row == {
        "region": "990000", "scheme": "employee", "title": "测试市待遇", "facts": 4, "since": "2026-01-01", "until": ""
    }  # fmt: skip
    assert "无期限" in policy("at", "2026-03-02")[1]
    assert policy("at", "2019-01-01")[0] == 1


# ── diff ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_set_does_not_differ_from_itself(policy):
    code, out, _ = policy("diff", "testville-2026", "testville-2026")
    assert code == 0
    assert "条款没有变化" in out
    assert "各种情形的结算没有变化" in out


def test_a_changed_value_and_the_cases_it_changes(policy, folder):
    draft = changed(folder, 'ratio = "0.80"', 'ratio = "0.85"')
    code, out, _ = policy("diff", "testville-2026", draft)
    assert code == 0
    assert "改变　#2→#2　统筹支付比例　职工，门诊" in out
    assert "ratio 0.8 → 0.85" in out
    read = json.loads(policy("diff", "testville-2026", draft, "--json")[1])
    assert read["facts"][0]["keys"] == {"ratio": ["0.8", "0.85"]}
    assert read["cases"][0] == {
        "case": "职工，在职，门诊，基层，2026-01-01", "bill": "1000.00", "old": "280.00", "new": "235.00"
    }  # fmt: skip


def test_added_and_removed_facts(policy, folder):
    cap = next(line for line in LAW.split("\n") if '"cap"' in line)
    draft = changed(folder, cap, cap.replace('visit = "outpatient"', 'visit = "pharmacy"'))
    out = policy("diff", "testville-2026", draft)[1]
    assert "删除　#3　最高支付限额　职工，门诊" in out
    assert "新增　#3　最高支付限额　职工，购药" in out


def test_the_order_of_facts_does_not_matter(policy, folder):
    rows = [line for line in LAW.split("\n") if line.startswith("  { kind")]
    draft = changed(folder, "\n".join(rows), "\n".join(reversed(rows)))
    assert "条款没有变化" in policy("diff", "testville-2026", draft)[1]


# ── test ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_examples_that_hold(policy):
    code, out, err = policy("test")
    assert (code, err) == (0, "")
    assert "算例 1 个，相符 1 个" in out


def test_all_differences_come_at_once(policy, folder):
    draft = changed(folder, 'fund_pay = "160.00"', 'fund_pay = "161.00"\nperson_share = "139.00"')
    code, out, err = policy("test", draft)
    assert code == 1
    assert "第 19 行 first　第一次门诊" in out
    assert "fund_pay：应为 161.00，得 160.00" in out
    assert "person_share：应为 139.00，得 140.00" in out
    assert "1 个算例不符" in err
    assert json.loads(policy("test", draft, "--json")[1])[0]["examples"][0]["differences"][0] == {
        "what": "fund_pay", "expected": "161.00", "found": "160.00"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('fund_pay = "160.00"', "fund_pay = 160.00", "expect.fund_pay: write the number as a text"),
        ('totals = { in_scope = "300.00" }', "", "lines, totals: one of the two"),
        ('in_scope = "300.00" }', 'total = "1.00", in_scope = "300.00" }', "totals: 300.00 in parts is not the total"),
        ('type = "outpatient"', 'type = "hotel"', "visit.type: one of inpatient"),
        ("day = 2026-03-02", 'day = "2026-03-02"', "day: a day is needed"),
        ("category = 1", "colour = 1", "person.colour: an unknown key"),
        ('id = "first"', 'id = "first"\nfollows = "nobody"', "follows: no example 'nobody'"),
        ("[[example]]", "[example]", "example: write [[example]]"),
    ],
)
def test_an_example_that_does_not_read_is_told(policy, folder, old, new, words):
    code, out, err = policy("test", changed(folder, old, new))
    assert code == 1
    assert words in out
    assert "1 个文件不能读取" in err


def test_an_example_may_expect_to_be_refused(policy, folder):
    refused = changed(folder, 'deductible = "100.00"\nfund_pay = "160.00"', 'refused = "share"').replace("\\", "/")
    code, out, _ = policy("test", refused)
    assert code == 1
    assert "应为 refused: share，得 settled" in out
    early = LAW.replace("day = 2026-03-02", "day = 2019-03-02").replace(
        'deductible = "100.00"\nfund_pay = "160.00"', 'refused = "2019-03-02"'
    )
    (folder / "testville.toml").write_text(early, encoding="utf-8")
    assert policy("test")[0] == 0


# ── Words ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_kind_has_its_words():
    assert set(KINDS_ZH) == set(KINDS)


def test_every_finding_has_its_words():
    import inspect
    import re

    from domain.policy import check, check_cases

    sources = inspect.getsource(check) + inspect.getsource(check_cases)
    codes = set(re.findall(r'(?:error|warning)\("([a-z-]+)"', sources)) | {"dearer-pays-less"}
    assert codes <= set(CODES_ZH)
