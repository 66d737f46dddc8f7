"""`jiesuan account credit`: a list handed in by one, approved by another, paid in whole or not at all."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from center.approving import decisions
from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, check_all
from center.conservation.crediting import NotAList, read
from center.policy.shelf import PolicyShelf
from city.cli import app
from city.commands import Stop
from domain.identity import synthetic_citizen_id
from tests.support.center import AT, fill_center, rows_of

run = CliRunner()
ONE, TWO = synthetic_citizen_id(1), synthetic_citizen_id(2)


@pytest.fixture(scope="module")
def center(center_engine):
    fill_center(center_engine, persons=5, balance_fen=1_000)
    return center_engine


@pytest.fixture
def credit(center, tmp_path, monkeypatch):
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center.url.render_as_string(hide_password=False))
    monkeypatch.setenv("JIESUAN_CLOCK", f"{AT.isoformat()}@0.0x0.0")

    def call(content, scheme="employee", *options):
        file = tmp_path / "list.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        asked = ["account", "credit", str(file), "--scheme", scheme, "--by", "王划拨", "--reason", "三月划入", *options]
        return run.invoke(app, asked)

    return call


def balance(center, citizen):
    return rows_of(center, "SELECT account_balance_fen FROM person WHERE citizen_id_no = :n", n=citizen)[0][0]


def test_a_list_is_proposed_by_one_and_paid_in_by_another(center, credit):
    made = credit(f"citizen_id_no,amount\n{ONE},200.00\n{TWO},0.05\n", "employee", "--json")
    told = json.loads(made.stdout)
    assert told["effect"] == "职工医保个人账户划入 2 人，共 200.05 元"
    assert ONE not in made.stdout
    assert (balance(center, ONE), balance(center, TWO)) == (1_000, 1_000)
    assert rows_of(center, "SELECT count(*) FROM proposal WHERE payload::text LIKE '%' || :n || '%'", n=ONE) == [(0,)]

    later = AT + timedelta(hours=1)
    with pytest.raises(decisions.CannotDecide if hasattr(decisions, "CannotDecide") else Exception):
        decisions.approve(center, told["proposal_no"], by="王划拨", at=later)
    outcome = decisions.approve(center, told["proposal_no"], by="李复核", at=later)
    assert outcome.state == "approved", outcome.words
    assert (balance(center, ONE), balance(center, TWO)) == (21_000, 1_005)
    document = rows_of(center, "SELECT made_by, approved_by, amount_fen FROM ledger_document WHERE kind = 'credit'")
    assert document == [("王划拨", "李复核", 20_005)]
    assert check_all(center, Shelves(CatalogueShelf(), PolicyShelf()), at=later).holds


def test_nobody_is_credited_while_a_prepared_claim_holds_them(center, credit):
    with center.begin() as connection:
        connection.execute(
            text("UPDATE person SET held_until = :until WHERE citizen_id_no = :n"),
            {"until": AT + timedelta(minutes=5), "n": TWO},
        )
    refused = credit(f"citizen_id_no,amount\n{TWO},1.00\n")
    assert isinstance(refused.exception, Stop)
    assert "预结算尚未确认" in str(refused.exception)
    with center.begin() as connection:
        connection.execute(text("UPDATE person SET held_until = NULL"))


def test_who_is_not_there_or_of_another_scheme_is_named_by_line_and_nothing_is_proposed(center, credit):
    before = rows_of(center, "SELECT count(*) FROM proposal")
    refused = credit(f"citizen_id_no,amount\n{ONE},1.00\n{synthetic_citizen_id(77)},1.00\n{TWO},1.00\n")
    assert str(refused.exception) == "第 3 行：中心无此参保人，或不属于该险种"
    assert "第 2 行" in str(credit(f"citizen_id_no,amount\n{ONE},1.00\n", "resident").exception)
    assert rows_of(center, "SELECT count(*) FROM proposal") == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"\xff\xfe", "不是 UTF-8 的 CSV 文件", id="bytes"),
        pytest.param("", "第 1 行应为表头 citizen_id_no,amount", id="nothing"),
        pytest.param("citizen_id_no,amount\n", "应有 1 至 5000 行，实有 0 行", id="a header only"),
        pytest.param("a,b\n1,2\n", "第 1 行应为表头 citizen_id_no,amount", id="another header"),
        pytest.param(
            "citizen_id_no,amount\nX1,1\nX2,1.00,\nX3,-1.00\nX4,2.00\nX4,3.00\nX5,0.00\n",
            '第 2 行的金额应为两位小数，例如 "12.50"；第 3 行应有 2 列，实有 3 列；第 4 行的金额须大于零；'
            "第 6 行与第 5 行是同一人；第 7 行的金额须大于零",
            id="every line that is wrong",
        ),
    ],
)
def test_a_list_that_is_none_says_all_that_is_wrong(content, words):
    with pytest.raises(NotAList) as refused:
        read(content if isinstance(content, bytes) else content.encode())
    assert str(refused.value) == words
