"""The command line: what stands on stdout, what on stderr, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from city import cli
from city.commands import claim as claims
from city.commands import configuration, failures
from infra import logs
from infra.settings import MissingSetting, Settings
from producers.client import JiesuanClient, Refused, TryLater
from tests.support.api import PERSON, POLICY

QUOTE = {
    "person": {"scheme": "employee", "category": "1"},
    "visit": {"visit_type": "3", "visit_date": "2026-03-02", "institution_level": 3},
    "totals": {"total_amount": "100.00"},
}


@pytest.fixture(autouse=True)
def somewhere_quiet(tmp_path, monkeypatch):
    """A folder without .env, and an environment without our settings."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "test.toml").write_text(POLICY, encoding="utf-8")
    monkeypatch.setenv("JIESUAN_POLICIES_DIR", str(policies))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def jiesuan(monkeypatch, capsys):
    """Run a command; its exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def write(tmp_path, document) -> str:
    file = tmp_path / "document.json"
    file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return str(file)


# ── quote ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_quote_for_people(jiesuan, tmp_path):
    code, out, err = jiesuan("quote", write(tmp_path, QUOTE), "--explain")
    assert (code, err) == (0, "")
    for part in (
        "试算（不入账）",
        "72.00 元",
        "计算步骤",
        "各分段由谁负担",
        "起付标准",
        "统筹基金支付 90.00 × 80% = 72.00 元",
        "#2 ",
    ):
        assert part in out


def test_a_quote_for_programs(jiesuan, tmp_path):
    code, out, _ = jiesuan("quote", write(tmp_path, QUOTE), "--json", "--explain")
    assert code == 0
    assert json.loads(out)["settlement"]["fund_pay_amount"] == "72.00"
    assert [step["rule"] for step in json.loads(out)["steps"]] == ["in-scope", "deductible", "shared", "fund-share"]


def test_the_schema_of_a_quote_is_printed(jiesuan):
    code, out, _ = jiesuan("quote", "--schema")
    assert (code, json.loads(out)["title"]) == (0, "Jiesuan quote")
    assert jiesuan("quote")[0] == 2


def test_a_quote_as_of_another_day(jiesuan, tmp_path):
    code, _, err = jiesuan("quote", write(tmp_path, QUOTE), "--as-of", "2019-01-01")
    assert code == 1
    assert "2019-01-01" in err
    assert jiesuan("quote", write(tmp_path, QUOTE), "--as-of", "soon")[0] == 2


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        ({**QUOTE, "totals": {"total_amount": 1.5}}, 2, "#/totals/total_amount  not-a-string"),
        ({**QUOTE, "totals": {"total_amount": "1.00", "in_scope_amount": "3.00"}}, 1, "各分项合计 3.00 元"),
    ],
)
def test_a_quote_that_cannot_be_made(jiesuan, tmp_path, document, code, words):
    ended, out, err = jiesuan("quote", write(tmp_path, document))
    assert (ended, out) == (code, "")
    assert words in err
    assert "Traceback" not in err


def test_a_program_reads_what_is_wrong(jiesuan, tmp_path):
    document = {**QUOTE, "person": {"scheme": "employee", "category": "99"}, "accumulators": {"x": "1.00"}}
    code, out, _ = jiesuan("quote", write(tmp_path, document), "--json")
    assert (code, json.loads(out)["code"]) == (1, "quote-refused")
    assert [error["code"] for error in json.loads(out)["errors"]] == ["category-unknown", "accumulator-unknown"]
    code, out, _ = jiesuan("quote", write(tmp_path, {**QUOTE, "x": 1}), "--json")
    assert (code, json.loads(out)["errors"][0]["pointer"]) == (2, "#/x")


def test_a_policy_by_name_and_a_file_that_is_not_there(jiesuan, tmp_path):
    assert jiesuan("quote", write(tmp_path, QUOTE), "--policy", "test")[0] == 0
    code, _, err = jiesuan("quote", write(tmp_path, QUOTE), "--policy", "nowhere")
    assert (code, "test" in err) == (1, True)
    assert jiesuan("quote", "nothing.json")[0] == 2


# ── claim ─────────────────────────────────────────────────────────────────────────────────────────────────

SETTLED = {
    "claim_no": "X-1", "state": "settled", "settlement": {"total_amount": "9.00", "cash_amount": "1.00"},
}  # fmt: skip
RETURNED = {
    "claim_no": "X-1",
    "state": "returned",
    "verdicts": [{"line_no": 2, "code": "14", "detail": "不等于", "advice": "重算", "all_codes": [], "pointer": ""}],
}


def answering(monkeypatch, answer):
    asked = []

    def given(self, *words, **named):
        asked.append((words, named))
        if isinstance(answer, Exception):
            raise answer
        return answer

    for method in ("submit", "show"):
        monkeypatch.setattr(JiesuanClient, method, given)
    monkeypatch.setenv("JIESUAN_API_KEY", "k")
    return asked


def test_a_settled_claim(jiesuan, tmp_path, monkeypatch):
    asked = answering(monkeypatch, SETTLED)
    code, out, err = jiesuan("claim", "submit", write(tmp_path, {"visit": {}}))
    assert (code, err) == (0, "")
    assert "应收现金" in out
    jiesuan("claim", "submit", write(tmp_path, {"visit": {}}))
    assert asked[0][1]["key"] == asked[1][1]["key"], "the same file is the same claim"
    assert json.loads(jiesuan("claim", "show", "X-1", "--json")[1]) == SETTLED


def test_a_returned_claim_is_told_on_both_channels(jiesuan, tmp_path, monkeypatch):
    answering(monkeypatch, RETURNED)
    code, out, err = jiesuan("claim", "show", "X-1")
    assert code == 1
    assert "重算" in out
    assert "已退回" in err


@pytest.mark.parametrize(("error", "code"), [
    (Refused(422, {"code": "content-invalid", "errors": [{"pointer": "#/a", "code": "c", "detail": "d"}]}), 1),
    (Refused(404, {"code": "not-found", "detail": "没有"}), 1),
    (Refused(401, {"code": "unauthorized", "detail": "密钥"}), 2),
    (TryLater("503", "k"), 75),
])  # fmt: skip
def test_a_refusal_is_one_sentence_with_its_code(jiesuan, monkeypatch, error, code):
    answering(monkeypatch, error)
    ended, out, err = jiesuan("claim", "show", "X-1")
    assert (ended, out) == (code, "")
    assert err.startswith("jiesuan: ")
    assert "Traceback" not in err


def test_without_a_key_nothing_is_asked(jiesuan):
    code, _, err = jiesuan("claim", "show", "X-1")
    assert code == 2
    assert "API 密钥" in err


def test_every_state_has_its_words():
    from domain.lifecycle import ClaimState

    assert set(claims.STATES) == {state.value for state in ClaimState}


# ── settings, keys, doctor ────────────────────────────────────────────────────────────────────────────────


def test_settings_are_shown_with_their_origin_and_without_passwords(jiesuan, monkeypatch, tmp_path):
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", "postgresql://jiesuan:very-secret@db/center")
    (tmp_path / ".env").write_text("JIESUAN_FRONTEND_BROKER_URL=redis://:hush@broker/0\n", encoding="utf-8")
    code, out, _ = jiesuan("config", "show", "--json")
    rows = json.loads(out)
    assert code == 0
    assert rows["JIESUAN_CENTER_DATABASE_URL"] == {
        "value": "postgresql://jiesuan:***@db/center", "origin": "environment"
    }  # fmt: skip
    assert rows["JIESUAN_FRONTEND_BROKER_URL"] == {"value": "redis://:***@broker/0", "origin": ".env"}
    assert rows["JIESUAN_API_PORT"]["origin"] == "default"
    plain = jiesuan("config", "show")[1]
    assert "very-secret" not in out + plain
    assert "hush" not in out + plain


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("redis://:p@h/0", "redis://:***@h/0"),
        ("amqp://u:p%40@h//", "amqp://u:***@h//"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        (8080, 8080),
    ],
)
def test_an_address_is_shown_without_its_password(value, shown):
    assert configuration.masked(value) == shown


def test_the_key_of_a_frontend_is_the_one_the_centre_derives(jiesuan, monkeypatch, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("ab" * 32)
    monkeypatch.setenv("JIESUAN_CENTER_SECRET_FILE", str(secret))
    code, out, _ = jiesuan("key", "F1")
    assert code == 0
    assert out.strip() == Settings().key_of("F1").hex()
    assert jiesuan("key", "F2")[1] != out


def test_the_doctor_tells_what_is_missing_and_what_is_wrong(jiesuan, monkeypatch, tmp_path):
    code, out, _ = jiesuan("doctor", "--json")
    found = {one["name"]: one["ok"] for one in json.loads(out)}
    assert code == 0
    assert found["Python"] is True
    assert found["政策"] is True
    assert found["中心数据库"] is None

    monkeypatch.setenv("JIESUAN_FRONTEND_DATABASE_URL", f"sqlite:///{tmp_path / 'f.db'}")
    monkeypatch.setenv("JIESUAN_FRONTEND_BROKER_URL", "redis://127.0.0.1:1/0")
    code, out, _ = jiesuan("doctor", "--json")
    found = {one["name"]: one["ok"] for one in json.loads(out)}
    assert code == 1
    assert found["前置机数据库"] is True
    assert found["前置机数据库结构"] is False
    assert found["前置机消息服务"] is False

    assert jiesuan("migrate", "frontend")[0] == 0
    found = {one["name"]: one["ok"] for one in json.loads(jiesuan("doctor", "--json")[1])}
    assert found["前置机数据库结构"] is True
    assert "有误" in jiesuan("doctor")[1]


# ── How it ends ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("words", [("nope",), ("serve", "nobody"), ("claim", "submit"), ("quote", "x", "--nope")])
def test_wrong_usage_is_2(jiesuan, words):
    code, _, err = jiesuan(*words)
    assert code == 2
    assert "Traceback" not in err


@pytest.mark.parametrize("role", ["api", "desk", "link", "his", "center-settle", "center-detail", "beat", "flower"])
def test_a_role_without_its_settings_names_them(jiesuan, monkeypatch, role):
    monkeypatch.setattr(logs, "setup", lambda *_: None)  # one process has one log; this one runs all the roles
    code, _, err = jiesuan("serve", role)
    assert code == 2
    assert "JIESUAN_" in err
    assert "Traceback" not in err


def test_a_process_without_its_settings_ends_with_the_same_words():
    ended = subprocess.run(
        [sys.executable, "-m", "city", "serve", "desk"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2
    assert "JIESUAN_" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MissingSetting("missing: JIESUAN_X"), 2),
        (OperationalError("SELECT", {}, Exception()), 75),
        (ProgrammingError("SELECT", {}, Exception()), 2),
        (ConnectionError(), 75),
        (FileNotFoundError(2, "", "x.json"), 2),
        (ZeroDivisionError(PERSON), 70),
    ],
)
def test_what_goes_wrong_is_one_sentence(error, code):
    words, ended = failures.in_words(error)
    assert ended == code
    assert "\n" not in words
    assert PERSON not in words


def test_help_is_there_at_once():
    asked = "import sys, city.cli; print(sorted(set(sys.modules) & {'sqlalchemy', 'pydantic', 'celery', 'fastapi'}))"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "给出费用编号"),
        (("T00001260302A001-1", "--verify", "JS1/"), "给出费用编号"),
        (("--verify", "JS1/3601"), "不是结算单二维码的内容"),
        (("T00001260302A001-1", "--to", "slip.doc"), "不知道写成哪种文件：.html、.pdf、.txt 之一"),
    ],
)
def test_a_statement_is_printed_or_verified_and_nothing_else(jiesuan, words, told):
    code, out, err = jiesuan("statement", *words)
    assert (code, out) == (2, "")
    assert told in err
