"""`jiesuan refund` and `jiesuan approval` as an office uses them: look, permit, propose, and the second person."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from itertools import count

import pytest

from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, check_all
from center.ledger.verifying import verify
from center.policy.shelf import PolicyShelf
from city import cli
from tests.support.center import AT, fill_center, rows_of
from tests.support.corrections import BALANCE, POLICY, Office

_persons = count()


@pytest.fixture(scope="module")
def office(center_engine):
    return Office(center_engine, fill_center(center_engine, persons=60, balance_fen=BALANCE, policy=POLICY))


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, office, center_database_url):
    """Run a command as an operator at the centre; its exit code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-03-02T10:00:00+08:00@0.0x0.0")
    monkeypatch.setenv("COLUMNS", "250")

    def run(by: str, *words: object) -> tuple[int, str, str]:
        monkeypatch.setenv("JIESUAN_OPERATOR", by)
        monkeypatch.setattr(sys, "argv", ["jiesuan", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def refunded(office):
    """Two claims of somebody new, the first taken back."""
    person = next(_persons)
    early, late = office.claim(person, 20000), office.claim(person, 10000)
    office.settle(early)
    office.settle(late)
    office.take_back(early)
    return early, late


def audited(office, action, subject):
    return rows_of(
        office.engine, "SELECT by, reason FROM audit WHERE action = :a AND subject = :s", a=action, s=str(subject)
    )


def test_a_permission_is_given_noted_and_shown(jiesuan, office):
    claim = office.claim(next(_persons), 20000)
    office.settle(claim)
    unlock = ("refund", "unlock", claim.visit_no, 1, "--reason", "出国未归", "--until", "2026-03-09")

    code, out, _ = jiesuan("甲", *unlock, "--json")

    assert code == 0
    permit = json.loads(out)
    assert permit["until"] == "2026-03-09"
    assert audited(office, "refund.unlock", f"{claim.visit_no}/1") == [("甲", "出国未归")]
    code, out, _ = jiesuan("甲", "refund", "show", claim.visit_no)
    assert code == 0
    assert f"特许退费 {permit['permit_no']}：批次 1，甲，至 2026-03-09 止，出国未归" in out
    code, out, _ = jiesuan("甲", *unlock)
    assert (code, out.startswith("已特许退费")) == (0, True)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        pytest.param({"visit": "T0000000NOTHERE"}, 1, "中心没有这笔结算", id="nothing settled"),
        pytest.param({"until": "2026-03-01"}, 1, "已过", id="a day gone by"),
        pytest.param({"until": "明天"}, 2, "不是日期", id="no day"),
        pytest.param({"reason": " "}, 1, "请写明理由", id="no reason"),
        pytest.param({"reason": "因" * 201}, 1, "至多 200 字", id="too long a reason"),
    ],
)
def test_what_is_not_permitted_is_said_and_leaves_no_trace(jiesuan, office, change, code, words):
    claim = office.claim(next(_persons), 20000)
    office.settle(claim)
    values = {"visit": claim.visit_no, "until": "2026-03-09", "reason": "出国未归"} | change
    got, _, err = jiesuan(
        "甲", "refund", "unlock", values["visit"], 1, "--reason", values["reason"], "--until", values["until"]
    )
    assert (got, words in err) == (code, True)
    assert audited(office, "refund.unlock", f"{claim.visit_no}/1") == []


def test_what_is_taken_back_is_not_permitted_again(jiesuan, refunded):
    early, _ = refunded
    code, _, err = jiesuan(
        "甲", "refund", "unlock", early.visit_no, 1, "--reason", "误", "--until", "2026-03-09"
    )  # fmt: skip
    assert (code, "已退费" in err) == (1, True)


def test_later_settlements_are_listed_proposed_and_approved_by_another_one(jiesuan, office, refunded):
    early, late = refunded
    code, out, _ = jiesuan("甲", "refund", "later", early.visit_no, 1)
    assert code == 0
    assert "更正 1 笔：基金 -70.00" in out and f"就诊 {late.visit_no} 批次 1" in out and "应向患者补收" in out

    code, out, _ = jiesuan(
        "甲", "refund", "later", early.visit_no, 1, "--propose", "--reason", "退费后更正", "--json"
    )  # fmt: skip
    document = json.loads(out)
    number = document["proposal_no"]
    (change,) = document["changes"]
    assert (code, document["is_taken_back"], change["visit_no"]) == (0, True, late.visit_no)
    assert change["fund_pay"] == {"before": "70.00", "after": "0.00"}
    code, _, err = jiesuan("乙", "refund", "later", early.visit_no, 1, "--propose", "--reason", "退费后更正")
    assert (code, f"同样的申请 {number}" in err) == (1, True)

    assert [each["proposal_no"] for each in json.loads(jiesuan("乙", "approval", "list", "--json")[1])] == [number]
    assert "后续结算更正" in jiesuan("乙", "approval", "list")[1]
    code, out, _ = jiesuan("乙", "approval", "show", number)
    assert code == 0 and "结果预测" in out and "退费后更正" in out and late.visit_no in out

    code, _, err = jiesuan("甲", "approval", "approve", number)
    assert (code, "不能复核自己提请的事项" in err) == (1, True)
    code, out, _ = jiesuan("乙", "approval", "approve", number)
    assert (code, "已批准并执行" in out, "已更正 1 笔" in out) == (0, True, True)
    code, _, err = jiesuan("丙", "approval", "approve", number)
    assert (code, "已批准并执行（乙）" in err) == (1, True)
    assert json.loads(jiesuan("乙", "approval", "list", "--json")[1]) == []
    assert json.loads(jiesuan("乙", "approval", "list", "--all", "--json")[1])[0]["state"] == "approved"

    code, out, _ = jiesuan("甲", "refund", "show", late.visit_no, "--json")
    documents = json.loads(out)["documents"]
    assert [(each["part"], each["charge_batch_no"], each["fund_pay"]) for each in documents] == [
        ("settled", 1, "70.00"),
        ("correction-back", 9001, "-70.00"),
        ("correction", 9002, "0.00"),
    ]
    assert documents[1]["takes_back"] == documents[0]["settlement_no"]
    assert documents[0]["taken_back_by"] == documents[1]["settlement_no"]
    assert {each["proposal_no"] for each in documents[1:]} == {number}
    code, out, _ = jiesuan("甲", "refund", "show", late.visit_no)
    assert f"申请 {number}，机构未收到" in out


def test_refunds_that_left_later_ones_as_they_were_are_listed_until_they_are_corrected(jiesuan, office, refunded):
    early, _ = refunded
    quiet = office.claim(next(_persons), 20000)
    office.settle(quiet)
    office.take_back(quiet)

    def listed(*words):
        rows = json.loads(jiesuan("甲", "refund", "due", "--json", *words)[1])
        return {row["visit_no"]: (len(row["changes"]), row["proposal_no"]) for row in rows}

    assert listed()[early.visit_no] == (1, None)
    assert quiet.visit_no not in listed(), "nothing came after it"
    assert early.visit_no not in listed("--since", "2026-03-03")
    number = office.propose(early)
    assert listed()[early.visit_no] == (1, number)
    assert early.visit_no in jiesuan("甲", "refund", "due")[1]
    office.approve(number)
    assert early.visit_no not in listed()


def test_a_part_kept_is_told_from_a_new_settlement(jiesuan, office):
    claim = office.claim(next(_persons), 20000)
    office.settle(claim)
    kept = claim._replace(charge_batch_no=3, in_scope_fen=5000, total_fen=6000)
    office.take_back(claim, kept, at=AT + timedelta(minutes=1))
    office.settle(claim._replace(charge_batch_no=4), at=AT + timedelta(minutes=2))
    documents = json.loads(jiesuan("甲", "refund", "show", claim.visit_no, "--json")[1])["documents"]
    assert [each["part"] for each in documents] == ["settled", "taken-back", "settled-anew", "settled"]
    assert documents[1]["reason"] == "收费有误"


def test_a_proposal_is_sent_back_with_a_reason(jiesuan, refunded):
    early, _ = refunded
    words = ("refund", "later", early.visit_no, 1, "--propose", "--reason", "退费后更正", "--json")
    number = json.loads(jiesuan("甲", *words)[1])["proposal_no"]
    code, _, err = jiesuan("乙", "approval", "reject", number, "--reason", " ")
    assert (code, "理由" in err) == (2, True)
    code, out, _ = jiesuan("乙", "approval", "reject", number, "--reason", "患者放弃", "--json")
    assert (code, json.loads(out)["state"]) == (0, "rejected")
    code, out, _ = jiesuan("甲", "approval", "show", number)
    assert "已退回" in out and "患者放弃" in out
    assert json.loads(jiesuan("甲", "approval", "show", number, "--json")[1])["decided_by"] == "乙"


def test_stale_ground_ends_in_a_refusal(jiesuan, office, refunded):
    early, late = refunded
    words = ("refund", "later", early.visit_no, 1, "--propose", "--reason", "退费后更正", "--json")
    number = json.loads(jiesuan("甲", *words)[1])["proposal_no"]
    office.settle(late._replace(charge_batch_no=5, in_scope_fen=3000, total_fen=4000))
    code, out, err = jiesuan("乙", "approval", "approve", number)
    assert (code, "账已变动" in out, "没有执行" in err) == (1, True, True)


@pytest.mark.parametrize(
    "words",
    [("refund", "show", "T0000000NOTHERE"), ("approval", "show", 10**9), ("refund", "later", "T0000000NOTHERE", 1)],
)
def test_what_is_not_there_is_said(jiesuan, words):
    code, out, err = jiesuan("甲", *words)
    assert (code, out, err.startswith("jiesuan: ")) == (1, "", True)


def test_after_refunds_and_corrections_the_books_hold_at_every_level_and_every_chain_is_whole(office, refunded):
    early, late = refunded
    office.correct(early)
    office.take_back(late._replace(charge_batch_no=9002), contra_no=2)

    report = check_all(office.engine, Shelves(CatalogueShelf(), PolicyShelf()), at=AT + timedelta(days=1))
    verified = verify(office.engine)

    assert report.findings == []
    assert verified.tamperings == () and verified.documents > 5
