"""`jiesuan batch` as an operator of a front-end uses it: what was refused, again or not at all; a refund."""

from __future__ import annotations

import json
import os
import sys

import pytest
import redis

from city import cli
from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimsAnswered
from infra import lanes
from tests.support.frontend import HOSPITAL, NOON, new_frontend, shelf
from tests.support.visits import charge, deliver, delivery, registered
from workers import deliver as delivering
from workers import desk
from workers.visits import find, settle_visit


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, engine, clean_valkey):
    """Run a command at this front-end; its exit code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("07" * 32)
    for name, value in {
        "FRONTEND": "hospital-1",
        "FRONTEND_KEY_FILE": "key",
        "FRONTEND_DATABASE_URL": f"sqlite:///{tmp_path}/frontend.db",
        "CENTER_BROKER_URL": clean_valkey,
        "CLOCK": f"{NOON.isoformat()}@0.0x0.0",
    }.items():
        monkeypatch.setenv(f"JIESUAN_{name}", value)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", "batch", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def answered(engine):
    """A visit with two lines, settled or refused by the centre."""

    def answered(refusal=""):
        (visit_no,) = registered(engine)
        deliver(engine, delivery(visit_no, charge(1), charge(2)))
        settle_visit(engine, HOSPITAL, visit_no, final=False, at=NOON)
        desk.preprocess(engine, shelf(), HOSPITAL, limit=100, at=NOON, now=1.0)
        said = ClaimAnswer(visit_no, 1, refusal, "参保人待遇已暂停" if refusal else "", settled_at=NOON)
        with engine.begin() as connection:
            delivering.record_answers(connection, ClaimsAnswered(answers=(said,)), at=NOON)
        return visit_no

    return answered


def bells(valkey_url):
    with redis.Redis.from_url(valkey_url) as client:
        return client.llen(lanes.preprocess("hospital-1", HOSPITAL))


def states(engine, visit_no):
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT charge_batch_no, kind, state FROM claim WHERE visit_no = ? ORDER BY charge_batch_no", (visit_no,)
        )
        return [tuple(row) for row in rows]


def test_what_the_centre_refused_is_listed_with_its_reason(jiesuan, answered):
    visit_no = answered("entitlement-suspended")
    answered()
    code, out, _ = jiesuan("refused", "--institution", HOSPITAL)
    assert (code, out) == (0, f"{visit_no}\t1\t参保人待遇已暂停\n")
    code, out, _ = jiesuan("refused", "--institution", HOSPITAL, "--json")
    assert (code, json.loads(out)) == (
        0,
        {
            "visit_no": visit_no,
            "charge_batch_no": 1,
            "refusal": "entitlement-suspended",
            "detail": "参保人待遇已暂停",
        },
    )


def test_a_refused_batch_is_sent_again_as_it_was_and_the_bell_is_rung(jiesuan, answered, engine, clean_valkey):
    visit_no = answered("entitlement-suspended")
    code, _, err = jiesuan("again", "--institution", HOSPITAL, visit_no, 1)
    assert (code, err) == (0, "")
    assert states(engine, visit_no) == [(1, "normal", ClaimState.ACCEPTED)]
    assert bells(clean_valkey) == 1
    assert jiesuan("again", "--institution", HOSPITAL, visit_no, 1)[0] == 0, "asking again is asking once"
    assert states(engine, visit_no) == [(1, "normal", ClaimState.ACCEPTED)]


def test_a_refused_batch_is_given_up_and_its_lines_are_free(jiesuan, answered, engine):
    visit_no = answered("entitlement-suspended")
    code, _, err = jiesuan("give-up", "--institution", HOSPITAL, visit_no, 1)
    assert (code, err) == (0, "")
    with engine.connect() as connection:
        assert find(connection, HOSPITAL, visit_no).lines_unsettled == 2
    assert jiesuan("give-up", "--institution", HOSPITAL, visit_no, 1)[0] == 0, "twice is once"
    code, _, err = jiesuan("again", "--institution", HOSPITAL, visit_no, 1)
    assert (code, "没有被中心拒绝" in err) == (1, True)


def test_what_is_settled_is_neither_sent_again_nor_given_up(jiesuan, answered, engine):
    visit_no = answered()
    assert jiesuan("again", "--institution", HOSPITAL, visit_no, 1)[0] == 0, "it is done already"
    code, _, err = jiesuan("give-up", "--institution", HOSPITAL, visit_no, 1)
    assert (code, "没有被中心拒绝" in err) == (1, True)
    assert states(engine, visit_no) == [(1, "normal", ClaimState.SETTLED)]


@pytest.mark.parametrize("command", ["again", "give-up"])
def test_a_batch_nobody_knows_is_said(jiesuan, command):
    code, _, err = jiesuan(command, "--institution", HOSPITAL, "NOTHERE", 1)
    assert (code, "没有此就医登记号" in err) == (1, True)


def test_a_refund_is_asked_with_what_is_kept(jiesuan, answered, engine, clean_valkey):
    visit_no = answered()
    code, out, _ = jiesuan(
        "refund", "--institution", HOSPITAL, visit_no, 1, "--reason", "收费有误", "--keep", "1=1", "--json"
    )
    assert (code, json.loads(out)["contra_batch_no"], json.loads(out)["resettled_batch_no"]) == (0, 2, 3)
    assert states(engine, visit_no) == [
        (1, "normal", ClaimState.SETTLED),
        (2, "contra", ClaimState.TOTALLED),
        (3, "resettled", ClaimState.TOTALLED),
    ]
    assert bells(clean_valkey) == 1


@pytest.mark.parametrize("keep", ["1", "一=1", "1=", "1=0.001", "1=x", "1=NaN", "1=Infinity"])
def test_a_quantity_that_is_none_is_wrong_usage(jiesuan, answered, engine, keep):
    visit_no = answered()
    code, _, err = jiesuan("refund", "--institution", HOSPITAL, visit_no, 1, "--reason", "误", "--keep", keep)
    assert (code, "项目序号=数量" in err) == (2, True)
    assert states(engine, visit_no) == [(1, "normal", ClaimState.SETTLED)]
