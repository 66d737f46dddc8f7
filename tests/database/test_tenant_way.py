"""`jiesuan tenant way`: the way of settling is a term of the institution, changed with a name and a reason under it."""

from __future__ import annotations

import json
import os
import sys

import pytest
from sqlalchemy import text

from center.serving.terms import of_frontend
from city import cli
from tests.support.center import FRONTEND, fill_center, rows_of
from tests.support.frontend import HOSPITAL


@pytest.fixture(scope="module")
def centre(center_engine):
    fill_center(center_engine, persons=0)
    with center_engine.begin() as connection:
        connection.execute(text("UPDATE institution SET short_code = 'T' || right(institution_code, 5)"))
    return center_engine


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, centre, center_database_url):
    """Run `jiesuan tenant way`; its exit code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-03-02T10:00:00+08:00@0.0x0.0")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["jiesuan", "tenant", "way", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def way_of(engine):
    with engine.connect() as connection:
        return {each.institution_code: each.way for each in of_frontend(connection, FRONTEND).terms}[HOSPITAL]


def test_it_is_shown_and_changed_and_the_ledger_says_by_whom(centre, jiesuan):
    assert jiesuan(HOSPITAL) == (0, f"{HOSPITAL} 的结算方式是 central（前置机汇总，中心结算）\n", "")

    code, out, _ = jiesuan(HOSPITAL, "centralized", "--by", "王", "--reason", "试点对照", "--json")

    assert code == 0
    assert json.loads(out) | {"terms_version": 0} == {
        "institution_code": HOSPITAL, "way": "centralized", "before": "central", "terms_version": 0,
    }  # fmt: skip
    assert way_of(centre) == "centralized"
    ((by, reason),) = rows_of(centre, "SELECT by, reason FROM audit WHERE action = 'terms.change'")
    assert (by, reason) == ("王", "试点对照")
    assert (
        "由 centralized（明细集中，中心结算）改为 local" in jiesuan(HOSPITAL, "local", "--by", "王", "--reason", "x")[1]
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(
            ["990000000000", "local", "--by", "王", "--reason", "x"], 1, "没有医药机构 990000000000", id="unknown"
        ),
        pytest.param([HOSPITAL, "decentral", "--by", "王", "--reason", "x"], 2, "没有结算方式“decentral”", id="no way"),
        pytest.param([HOSPITAL, "central", "--by", "王"], 1, "请写明理由", id="no reason"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(centre, jiesuan, words, code, says):
    before = way_of(centre)
    ended, out, err = jiesuan(*words)
    assert (ended, says in out + err) == (code, True)
    assert way_of(centre) == before
