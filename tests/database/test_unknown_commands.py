"""`jiesuan unknown` at a front-end: what is listed, what an operator may decide, and what is said of it."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from city.cli import app
from city.commands import Stop
from domain.outcomes import Phase
from tests.support.frontend import HOSPITAL, NOON, PERSON, new_frontend, submission
from workers import intake
from workers.outcomes import resolving
from workers.tables import claim

run = CliRunner()


@pytest.fixture
def frontend(tmp_path, monkeypatch):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL)
    (tmp_path / "key").write_text("07" * 32)
    for name, value in {
        "FRONTEND": "hospital-1",
        "FRONTEND_DATABASE_URL": str(engine.url),
        "FRONTEND_KEY_FILE": str(tmp_path / "key"),
        "CENTER_BROKER_URL": f"memory://{tmp_path.name}",
        "CLOCK": f"{NOON.isoformat()}@0.0x0.0",
    }.items():
        monkeypatch.setenv(f"JIESUAN_{name}", value)
    yield engine
    engine.dispose()


def sent(engine, key="k", **state):
    one = submission(HOSPITAL, key, phase=Phase.PREPARE)
    (accepted,) = intake.accept(engine, [one], at=NOON)
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.claim_id == accepted.claim_id).values(**state))
    return f"{accepted.visit_no}-{accepted.charge_batch_no}"


def test_what_is_unknown_is_listed_without_anybody(frontend):
    number = sent(frontend, state="totalled", attempts=3, waits_for="busy")
    sent(frontend, "settled", state="settled")
    listed = run.invoke(app, ["unknown", "list", "--json"])
    (one,) = json.loads(listed.stdout)
    assert (one["claim_no"], one["state"], one["phase"], one["attempts"]) == (number, "totalled", "prepare", 3)
    assert (one["tried"], one["waits_for"], one["age_seconds"]) == ("查询中心结果", "busy", 0.0)
    assert PERSON not in listed.stdout
    assert number in run.invoke(app, ["unknown", "list"]).stdout


def test_nothing_unknown_is_said_so(frontend):
    assert "没有不确定的交易" in run.invoke(app, ["unknown", "list"]).stdout


def test_a_decision_needs_a_name_and_a_reason_and_is_noted(frontend):
    number = sent(frontend, state="prepared", answer=None)
    bare = run.invoke(app, ["unknown", "resolve", HOSPITAL, number, "--confirm"])
    assert isinstance(bare.exception, Stop) and "--reason" in str(bare.exception)

    decided = run.invoke(
        app,
        ["unknown", "resolve", HOSPITAL, number, "--confirm", "--by", "张三", "--reason", "已收款", "--wait", "0"],
    )

    assert "prepared" not in str(decided.exception)
    with frontend.connect() as connection:
        row = connection.execute(claim.select()).one()
    assert (row.phase, row.decided_by, row.reason) == ("confirm", "张三", "已收款")
    again = ["unknown", "resolve", HOSPITAL, number, "--confirm", "--by", "李四", "--reason", "又一次", "--wait", "0"]
    run.invoke(app, again)
    (noted,) = json.loads(run.invoke(app, ["unknown", "decided", "--json"]).stdout)
    assert (noted["by"], noted["action"], noted["subject"], noted["reason"]) == (
        "张三",
        "claim.confirm",
        number,
        "已收款",
    )
    assert "已收款" in run.invoke(app, ["unknown", "decided"]).stdout


def test_what_is_not_answered_yet_ends_with_try_later(frontend):
    number = sent(frontend, state="totalled", attempts=1)
    asked = run.invoke(app, ["unknown", "resolve", HOSPITAL, number, "--wait", "0"])
    assert isinstance(asked.exception, Stop)
    assert (asked.exception.code, "中心还没有答复" in str(asked.exception)) == (75, True)
    nobody = run.invoke(app, ["unknown", "resolve", HOSPITAL, "V1-1"])
    assert "没有这笔费用" in str(nobody.exception)


def answered(frontend, monkeypatch, **told):
    """The centre answers the question at once, with this."""

    def ask(_frontend, _institution, _number):
        with frontend.begin() as connection:
            connection.execute(update(claim).values(**told))

    monkeypatch.setattr(resolving, "ask_now", ask)


@pytest.mark.parametrize(
    ("told", "said", "code"),
    [
        ({"waits_for": "busy"}, "中心已答复：该参保人另有一笔预结算尚未确认", 75),
        ({"state": "refused", "refusal": "person-unknown"}, "中心拒绝，待人工处理：中心无此参保人", 0),
        ({"state": "prepared", "expires_at": NOON}, "已预结算", 0),
    ],
    ids=["held up", "refused", "prepared"],
)
def test_what_the_centre_answered_is_said_in_words(frontend, monkeypatch, told, said, code):
    number = sent(frontend, state="totalled", attempts=1)
    answered(frontend, monkeypatch, **told)
    asked = run.invoke(app, ["unknown", "resolve", HOSPITAL, number, "--wait", "5"])
    assert getattr(asked.exception, "code", 0) == code
    assert said in asked.stdout + str(asked.exception)


def test_a_decision_waits_for_its_result_and_not_for_what_was_prepared_before(frontend):
    number = sent(frontend, state="prepared", expires_at=NOON)
    decided = ["unknown", "resolve", HOSPITAL, number, "--confirm", "--by", "张三", "--reason", "已收款", "--wait", "0"]
    assert run.invoke(app, decided).exception.code == 75
