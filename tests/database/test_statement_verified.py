"""A printed statement held against the books, at the centre and at the front-end that printed it."""

from __future__ import annotations

import json

import pytest

from center.settling.refund import refund
from center.settling.settle import settle_submitted
from center.stated import booked
from center.tables import reference
from city.commands import REFUSED, WRONG_USAGE, Stop
from city.commands.statement import verify
from domain import check_value
from domain.messages import ClaimAnswer, RefundAnswered, RefundAsked
from infra.database import reading
from infra.envelope import frontend_key
from infra.reference import ReferenceShelf
from producers.statement import stated_of, statement
from tests.support.api import HOSPITAL, Api, claim, open_sample_site
from tests.support.center import AT, CATALOGUE_VERSION, FRONTEND, POLICY_VERSION, fill_center, submitted, totals
from tests.support.frontend import shelf
from workers import refund as workers_refund
from workers.claims import show

SECRET = b"\x07" * 32
KEY = frontend_key(SECRET, FRONTEND)


@pytest.fixture(scope="module")
def settled(center_engine):
    shelf = fill_center(center_engine, balance_fen=3000)
    answered = settle_submitted(center_engine, shelf, submitted(totals()), frontend=FRONTEND, at=AT)
    with center_engine.connect() as connection:
        held = booked(connection, answered.answers[0].settlement_no)
    assert held is not None
    return held


@pytest.fixture
def office(center_database_url, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text(SECRET.hex())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CENTER_SECRET_FILE", str(secret))


def test_a_true_statement_agrees_with_the_books(settled, office, capsys):
    verify(check_value.written(settled.stated, KEY), as_json=False)
    assert capsys.readouterr().out == "校验码正确\n与中心账一致\n"
    assert settled.stated.total_fen == 110_00
    assert settled.frontend == FRONTEND


def test_an_altered_amount_is_named_with_both_figures(settled, office, capsys):
    altered = settled.stated._replace(cash_fen=settled.stated.cash_fen + 100_00)
    line = check_value.written(altered, bytes(32))
    with pytest.raises(Stop) as stop:
        verify(line, as_json=True)
    assert stop.value.code == REFUSED
    told = json.loads(capsys.readouterr().out)
    assert told["check_value"] is False
    assert list(told["differs"]) == ["现金"]


def test_true_amounts_under_a_false_check_value_are_not_true(settled, office, capsys):
    with pytest.raises(Stop):
        verify(check_value.written(settled.stated, frontend_key(SECRET, "another")), as_json=False)
    assert "校验码不符" in capsys.readouterr().out


def test_a_settlement_nobody_booked(settled, office):
    line = check_value.written(settled.stated._replace(settlement_no=999_999), KEY)
    with pytest.raises(Stop, match="中心账没有这笔结算"):
        verify(line, as_json=False)


def test_what_was_misread_is_no_line(office):
    with pytest.raises(Stop) as stop:
        verify("JS1/3601", as_json=False)
    assert stop.value.code == WRONG_USAGE


def test_the_front_end_knows_its_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "key").write_text(KEY.hex())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_FRONTEND_DATABASE_URL", f"sqlite:///{tmp_path / 'frontend.db'}")
    monkeypatch.setenv("JIESUAN_FRONTEND_KEY_FILE", str(tmp_path / "key"))
    with open_sample_site(tmp_path) as site, Api(site) as api:
        number = api.submit(claim(), "one").json()["claim_no"]
        site.settle_all()
        with reading(site.engine) as connection:
            view = show(connection, HOSPITAL, number)
    code = statement(view, institution_name="试验医院", key=KEY).code
    verify(code, as_json=False)
    assert "与前置机账一致" in capsys.readouterr().out
    other = check_value.written(stated_of(view)._replace(fund_pay_fen=1), KEY)
    with pytest.raises(Stop):
        verify(other, as_json=False)
    assert "社保支付金额：结算单 0.01" in capsys.readouterr().out


def test_the_paper_of_what_was_taken_back_is_no_voucher_any_more(center_engine, office, capsys):
    claim_of = totals(77)
    shelf = ReferenceShelf(reference)
    (answer,) = settle_submitted(center_engine, shelf, submitted(claim_of), frontend=FRONTEND, at=AT).answers
    with center_engine.connect() as connection:
        line = check_value.written(booked(connection, answer.settlement_no).stated, KEY)
    asked = RefundAsked(
        institution_code=claim_of.institution_code, visit_no=claim_of.visit_no, charge_batch_no=1, contra_batch_no=2,
        reason="误", policy_version=POLICY_VERSION, catalogue_version=CATALOGUE_VERSION,
    )  # fmt: skip
    (back,) = refund(center_engine, shelf, asked, frontend=FRONTEND, at=AT).answers

    with pytest.raises(Stop, match=f"反向结算 {back.settlement_no} 冲销") as stop:
        verify(line, as_json=True)

    assert stop.value.code == REFUSED
    assert json.loads(capsys.readouterr().out) == {
        "check_value": True, "differs": {}, "taken_back_by": back.settlement_no
    }  # fmt: skip


def test_a_front_end_knows_what_was_taken_back_and_says_so_on_the_next_print(tmp_path, monkeypatch):
    (tmp_path / "key").write_text(KEY.hex())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_FRONTEND_DATABASE_URL", f"sqlite:///{tmp_path / 'frontend.db'}")
    monkeypatch.setenv("JIESUAN_FRONTEND_KEY_FILE", str(tmp_path / "key"))
    with open_sample_site(tmp_path) as site, Api(site) as api:
        number = api.submit(claim(), "one").json()["claim_no"]
        site.settle_all()
        with reading(site.engine) as connection:
            code = statement(show(connection, HOSPITAL, number), institution_name="试验医院", key=KEY).code
        visit_no = number.partition("-")[0]
        workers_refund.refund(site.engine, shelf(), HOSPITAL, visit_no, 1, reason="误", at=AT)
        verify(code, as_json=False)  # only asked for yet
        answered = RefundAnswered(
            institution_code=HOSPITAL, visit_no=visit_no, charge_batch_no=1, contra_batch_no=2,
            answers=(ClaimAnswer(visit_no, 2, settlement_no=8001, settled_at=AT),),
        )  # fmt: skip
        with site.engine.begin() as connection:
            assert workers_refund.record(connection, answered, at=AT)
        with reading(site.engine) as connection:
            again = statement(show(connection, HOSPITAL, number), institution_name="试验医院", key=KEY)
    assert ("退费", "已申请退费（费用批次 2），办结后以该批次的结算单为准") in again.facts
    with pytest.raises(Stop, match="冲销"):
        verify(code, as_json=False)
