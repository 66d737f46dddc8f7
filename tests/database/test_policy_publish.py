"""`jiesuan policy publish`: refused when it is no law, in force from its day, one set in place of its predecessor."""

from __future__ import annotations

import json
import os
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from center import schema
from center.ledger.verifying import verify
from center.policy import publications as policy_publications
from center.policy.shelf import PolicyShelf
from center.publications import answer
from center.serving.entering import enter
from center.tables import reference
from city import cli, seed
from city.sample.morning import sample_city
from domain.messages import ReferenceAsked
from infra.clock import SHANGHAI
from infra.database import open_database
from infra.reference import policy_row
from tests.support.center import FRONTEND, institution_row, rows_of
from tests.support.frontend import HOSPITAL

AT = datetime(2026, 3, 2, 10, tzinfo=SHANGHAI)
TODAY, TOMORROW = AT.date(), AT.date() + timedelta(days=1)
POLICIES = Path(__file__).parents[2] / "policies"
BEIJING = (POLICIES / "beijing_employee.toml").read_text(encoding="utf-8")
OTHER_TITLE = BEIJING + "\n# printed anew\n"
NO_LAW = BEIJING.replace('kind = "rounding"', 'kind = "no_such_kind"', 1)


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, center_engine, owner_engine, center_database_url):  # noqa: PLR0917
    """Run `jiesuan policy publish` at an empty centre; its exit code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-03-02T10:00:00+08:00@0.0x0.0")
    monkeypatch.setenv("JIESUAN_OPERATOR", "office")
    with owner_engine.begin() as connection:
        connection.execute(text("TRUNCATE policy_publication, reference, institution, served_by CASCADE"))
        enter(connection, [institution_row(HOSPITAL, FRONTEND)])
    for name, content in {"v1": BEIJING, "v2": OTHER_TITLE, "bad": NO_LAW}.items():
        (tmp_path / f"{name}.toml").write_text(content, encoding="utf-8")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", "policy", "publish", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def in_force(engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(reference.c.version).where(reference.c.in_force)).scalars())


def test_a_file_that_is_no_law_is_refused_with_every_place_and_nothing_is_written(jiesuan, center_engine):
    code, out, err = jiesuan("bad.toml", "--from", "2026-03-02", "--json")

    found = json.loads(out)
    assert (code, found["published"]) == (1, None)
    assert any(each["severity"] == "error" and each["line"] for each in found["findings"])
    assert "未发布" in err
    with center_engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM reference")).scalar() == 0


def test_a_wrong_example_refuses_the_file(center_engine):
    at = BEIJING.index("fund_pay", BEIJING.index("[[example]]"))
    end = BEIJING.index("\n", at)
    wrong = BEIJING[:at] + 'fund_pay = "0.01"' + BEIJING[end:]

    assert policy_publications.review(BEIJING, today=TODAY).errors == []
    assert {each.code for each in policy_publications.review(wrong, today=TODAY).errors} == {"example"}


def test_it_is_in_force_from_its_day_and_front_ends_have_it_before(jiesuan, center_engine):
    code, out, _ = jiesuan("v1.toml", "--from", "2026-03-02", "--json")
    first = json.loads(out)
    assert (code, first["in_force"], first["replaces"]) == (0, True, "")
    assert any(each["severity"] == "warning" for each in first["findings"])
    assert jiesuan("v1.toml", "--from", "2026-03-02")[0] == 1

    second = json.loads(jiesuan("v2.toml", "--json", "--note", "三月")[1])

    assert (second["effective_date"], second["in_force"]) == (TOMORROW.isoformat(), False)
    assert second["replaces"] == first["version"]
    assert in_force(center_engine) == {first["version"]}
    with center_engine.begin() as connection:
        sent = answer(connection, ReferenceAsked(holds=(), wants=()), frontend=FRONTEND, at=AT)
        assert {row.version: row.in_force for row in sent.rows} == {first["version"]: True, second["version"]: False}
        assert all(row.content for row in sent.rows)
        assert policy_publications.activate(connection, TODAY) == ()
        assert policy_publications.activate(connection, TOMORROW) == (second["version"],)
        assert policy_publications.activate(connection, TOMORROW) == ()
        assert PolicyShelf().book(connection, first["version"]) is not None
    assert in_force(center_engine) == {second["version"]}


def test_the_text_before_may_be_published_again(jiesuan, center_engine):
    versions = [
        json.loads(jiesuan(name, "--from", "2026-03-02", "--json")[1])["version"]
        for name in ("v1.toml", "v2.toml", "v1.toml")
    ]

    assert versions[0] == versions[2] != versions[1]
    assert in_force(center_engine) == {versions[0]}


def test_what_has_not_begun_is_taken_back_and_never_begins(jiesuan, center_engine):
    jiesuan("v1.toml", "--from", "2026-03-02")
    ahead = json.loads(jiesuan("v2.toml", "--from", "2026-04-01", "--json")[1])["version"]
    assert jiesuan("v2.toml", "--from", "2026-03-20")[0] == 1

    assert jiesuan("--withdraw", ahead)[0] == 0
    assert jiesuan("--withdraw", ahead)[0] == 2

    with center_engine.begin() as connection:
        assert policy_publications.activate(connection, date(2026, 4, 1)) == ()
    states = {row["version"]: row["state"] for row in json.loads(jiesuan("--json")[1])["policies"]}
    assert states.pop(ahead) == "withdrawn"
    assert list(states.values()) == ["in force"]


def test_two_sets_of_one_place_may_not_hold_at_once(jiesuan, tmp_path, center_engine):
    twin = BEIJING.replace('id = "', 'id = "another-', 1)
    (tmp_path / "twin.toml").write_text(twin, encoding="utf-8")
    jiesuan("v1.toml", "--from", "2026-03-02")

    code, out, _ = jiesuan("twin.toml", "--from", "2026-03-02", "--json")

    assert code == 1
    assert {each["code"] for each in json.loads(out)["findings"] if each["severity"] == "error"} == {"two-sets"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(("v1.toml", "--from", "2026-03-01"), 1, "早于今天", id="a day that is over"),
        pytest.param(("v1.toml", "--from", "soon"), 2, "不是日期", id="no day"),
        pytest.param(("nowhere.toml",), 2, "没有文件", id="no file"),
    ],
)
def test_what_cannot_be_published_is_said(jiesuan, words, code, said):
    ended, _, err = jiesuan(*words)

    assert ended == code
    assert said in err


def test_a_dry_run_writes_nothing(jiesuan, center_engine):
    code, out, _ = jiesuan("v1.toml", "--dry-run")

    assert code == 0
    assert "可以发布" in out
    assert in_force(center_engine) == set()


def test_the_sample_city_is_not_seeded_with_a_policy_that_is_no_law(monkeypatch, empty_database):
    engine = open_database(empty_database)
    monkeypatch.setattr(seed, "_policy", lambda folder: policy_row(BEIJING) | {"content": NO_LAW.encode()})
    try:
        schema.upgrade(engine)
        with pytest.raises(policy_publications.PolicyRefused):
            seed.seed_center(engine, sample_city(claims=400), policies_dir=POLICIES)

        with engine.connect() as connection:
            for table in ("person", "reference"):
                assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
    finally:
        engine.dispose()


def test_whoever_publishes_or_withdraws_is_noted_with_the_reason(jiesuan, center_engine):
    jiesuan("v1.toml", "--from", "2026-03-02")
    ahead = json.loads(jiesuan("v2.toml", "--from", "2026-04-01", "--json")[1])["version"]
    jiesuan("--withdraw", ahead, "--by", "chief", "--note", "too early")

    noted = rows_of(center_engine, "SELECT action, by, subject, reason FROM audit ORDER BY audit_no DESC LIMIT 3")
    assert [row[:2] for row in noted] == [
        ("policy.withdraw", "chief"),
        ("policy.publish", "office"),
        ("policy.publish", "office"),
    ]
    assert noted[0][2:] == (ahead, "too early")
    assert verify(center_engine).tamperings == ()
