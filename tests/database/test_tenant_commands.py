"""`jiesuan tenant`: terms changed at the centre by a named person for a reason, shares shown at the front-end."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from center.serving.terms import of_frontend
from city.cli import app
from city.commands import Stop, doctor
from infra.settings import Settings
from producers.api.keys import hash_of
from tests.support.center import FRONTEND, OTHER_FRONTEND, fill_center, rows_of
from tests.support.frontend import CLINIC, HOSPITAL, NOON, PHARMACY, hand_in, new_frontend
from workers import tenants
from workers.tables import institution

run = CliRunner()
WHO = ["--by", "张三", "--reason", "签订协议"]
NEW = [
    "tenant", "add", "440100000077", "--name", "新诊所", "--frontend", OTHER_FRONTEND, "--short-code", "XZS077", *WHO
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def filled(center_engine):
    fill_center(center_engine)
    with center_engine.begin() as connection:
        connection.execute(
            text("UPDATE served_by SET connection = 'shared' WHERE frontend = :name"), {"name": OTHER_FRONTEND}
        )


@pytest.fixture
def centre(center_engine, center_database_url, monkeypatch):
    monkeypatch.delenv("JIESUAN_FRONTEND_DATABASE_URL", raising=False)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    return center_engine


def terms(engine, code, frontend):
    return next(each for each in of_frontend_terms(engine, frontend) if each.institution_code == code)


def of_frontend_terms(engine, frontend):
    with engine.connect() as connection:
        return of_frontend(connection, frontend).terms


def document(*words):
    result = run.invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def refusal(*words):
    result = run.invoke(app, words)
    assert isinstance(result.exception, Stop), result.output
    return str(result.exception)


def test_an_institution_is_added_for_its_front_end_to_hear_of(centre):
    added = document(*NEW, "--weight", "5", "--rate", "7")

    told = terms(centre, "440100000077", OTHER_FRONTEND)
    assert (told.name, told.short_code, told.weight, told.rate_per_second, told.standing) == (
        "新诊所", "XZS077", 5, 7, "open"
    )  # fmt: skip
    assert (told.connection, told.version) == ("shared", added["terms_version"])
    assert rows_of(centre, "SELECT by, reason FROM audit WHERE institution_code = '440100000077'") == [
        ("张三", "签订协议")
    ]


def test_everything_that_stands_against_it_is_said_at_once_and_nothing_is_written(centre):
    run.invoke(app, NEW)
    before = rows_of(centre, "SELECT count(*) FROM institution")
    said = refusal(
        "tenant", "add", "440100000077", "--name", "新诊所", "--frontend", "shared 1", "--short-code", "XZS077",
        "--weight", "0", "--kind", "shop", "--connection", "mail", "--by", "张三",
    )  # fmt: skip

    for word in ("已经登记", "前置机代码", "已由机构 440100000077 使用", "权重", "类别", "接入方式", "理由"):
        assert word in said
    assert rows_of(centre, "SELECT count(*) FROM institution") == before


def test_a_server_of_their_own_is_nobody_elses_and_an_unheard_name_is_pointed_out(centre):
    other = [word.replace("440100000077", "440100000078").replace("XZS077", "XZS078") for word in NEW]
    with centre.begin() as connection:
        connection.execute(text("UPDATE served_by SET connection = 'own' WHERE institution_code = :c"), {"c": HOSPITAL})
    at_the_hospitals = [FRONTEND if word == OTHER_FRONTEND else word for word in other]

    assert "本地前置机：托管用 hosted" in refusal(*at_the_hospitals)
    assert "不是该机构的本地前置机" in refusal(*at_the_hospitals, "--connection", "own")
    added = run.invoke(
        app, [*(word.replace(OTHER_FRONTEND, "no-such") for word in other), "--connection", "head-office"]
    )
    assert (added.exit_code, "尚未收到过前置机 no-such" in added.stderr) == (0, True)


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["weight", CLINIC, "30"], "weight", 30),
        (["suspend", CLINIC, "--why", "系统升级"], "suspended", "系统升级"),
        (["resume", CLINIC], "suspended", ""),
        (["limit", CLINIC, "--rate", "9"], "rate_per_second", 9),
        (["limit", CLINIC, "--burst", "90", "--backlog", "50"], "backlog_cap", 50),
        (["offline", CLINIC, "--on", "--claim", "200.00", "--total", "5000.00", "--hours", "24"], "offline", True),
        (["offline", CLINIC, "--claim", "150.00"], "offline_claim_fen", 15_000),
        (["offline", CLINIC, "--hours", "48"], "offline_hours", 48),
        (["offline", CLINIC, "--off"], "offline", False),
        (["change", CLINIC, "--name", "东门诊所", "--size", "medium"], "size", "medium"),
        (["change", CLINIC, "--inactive"], "active", False),
        (["change", CLINIC, "--active"], "active", True),
    ],
)
def test_terms_are_changed_under_a_name_and_a_reason(centre, words, field, value):
    with centre.begin() as connection:
        connection.execute(
            text("UPDATE institution SET short_code = 'T00002' WHERE institution_code = :c"), {"c": CLINIC}
        )
    before = terms(centre, CLINIC, OTHER_FRONTEND).version

    changed = document("tenant", *words, *WHO)

    after = terms(centre, CLINIC, OTHER_FRONTEND)
    assert getattr(after, field) == value
    assert after.version == changed["terms_version"] > before
    assert "理由" in refusal("tenant", *words, "--by", "张三")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["weight", CLINIC, "0"], "权重"),
        (["weight", CLINIC, "101"], "权重"),
        (["weight", "440100099999", "10"], "没有医药机构"),
        (["suspend", CLINIC, "--why", " "], "对外说明"),
        (["suspend", CLINIC, "--why", "长" * 61], "暂停原因"),
        (["limit", CLINIC], "没有要修改的内容"),
        (["limit", CLINIC, "--rate", "-1"], "每秒受理上限"),
        (["offline", CLINIC], "没有要修改的内容"),
        (["offline", "440100000077", "--on"], "每笔限额"),
        (["offline", CLINIC, "--on", "--claim", "200.00", "--total", "100.00", "--hours", "24"], "不得小于每笔限额"),
        (["offline", CLINIC, "--on", "--claim", "200.00", "--total", "300.00", "--hours", "999"], "脱机时限"),
        (["offline", CLINIC, "--claim", "200"], "须为金额"),
        (["change", CLINIC, "--short-code", "ABC123"], "不能更改"),
        (["change", "440100000077", "--civil-servants"], "须有本地前置机"),
        (["change", CLINIC, "--kind", "shop"], "类别"),
    ],
)
def test_what_cannot_be_is_refused_in_chinese(centre, words, said):
    run.invoke(app, NEW)
    before = rows_of(centre, "SELECT max(terms_version) FROM institution")

    assert said in refusal("tenant", *words, *WHO)
    assert rows_of(centre, "SELECT max(terms_version) FROM institution") == before


def test_the_centre_shows_the_terms_of_all(centre):
    shown = document("tenant", "show")

    assert {row["institution_code"]: row["frontend"] for row in shown}[HOSPITAL] == FRONTEND
    assert "没有医药机构" in refusal("tenant", "show", "440100099999")
    one = run.invoke(app, ["tenant", "show", HOSPITAL]).stdout
    assert "受理中" in one
    assert "允许脱机：否" in one
    assert FRONTEND in run.invoke(app, ["tenant", "show"]).stdout


@pytest.fixture
def front_end(tmp_path, monkeypatch):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL, CLINIC, PHARMACY)
    monkeypatch.setenv("JIESUAN_FRONTEND_DATABASE_URL", str(engine.url))
    yield engine
    engine.dispose()


def test_a_front_end_shows_what_each_has_of_it(front_end, monkeypatch):
    hand_in(front_end, HOSPITAL, 40)
    now = 1_000_000.0
    monkeypatch.setattr("infra.clock.time.time", lambda: now)
    with front_end.begin() as connection:
        spent = {HOSPITAL: tenants.Use(900_000, 40, 1200), CLINIC: tenants.Use(100_000, 1, 30)}
        tenants.note_use(connection, spent, now=now)
    tenants.look(front_end, holder="test", batch=20, now=now, at=NOON)

    shown = document("tenant", "show", HOSPITAL)

    (one,), (change,) = shown["tenants"], shown["changes"]
    assert (one["busy_share"], one["fair_share"], one["in_flight"], one["in_flight_share"]) == (0.9, 0.3333, 40, 1.0)
    assert (one["weight"], one["effective_weight"], one["lowered"]) == (10, 5.0, 1)
    assert (change["lowered_from"], change["lowered_to"], change["in_flight"]) == (0, 1, 40)
    table = run.invoke(app, ["tenant", "show"]).stdout
    assert "90.0%" in table and "权重降低" in table
    assert "没有医药机构" in refusal("tenant", "show", "440100099999")


def test_a_new_key_opens_and_the_old_one_does_not(front_end):
    first, second = (document("tenant", "key", HOSPITAL)["api_key"] for _ in range(2))

    with front_end.connect() as connection:
        row = connection.execute(institution.select().where(institution.c.institution_code == HOSPITAL)).one()
    assert row.api_key_hash == hash_of(second) != hash_of(first)
    assert "没有医药机构" in refusal("tenant", "key", "440100099999")


def test_claims_are_spread_over_no_more_lanes_than_the_centre_serves(centre, monkeypatch):
    assert "只开了 1 条" in refusal("tenant", "lanes", "--lanes", "2", "--all", *WHO)
    document(
        "tenant", "add", "440100000066", "--name", "乙", "--frontend", OTHER_FRONTEND, "--short-code", "XZS066", *WHO
    )
    monkeypatch.setenv("JIESUAN_SETTLE_LANES", "4")
    assert "二者取一" in refusal("tenant", "lanes", "--lanes", "2", *WHO)
    assert "没有医药机构" in refusal("tenant", "lanes", HOSPITAL, "440199999999", "--lanes", "2", *WHO)
    lanes = "SELECT DISTINCT settle_lanes FROM institution"
    assert rows_of(centre, lanes) == [(1,)], "all of them or none"

    spread = document("tenant", "lanes", "--lanes", "4", "--all", *WHO)

    assert set(spread["terms_versions"]) >= {HOSPITAL, CLINIC}
    assert rows_of(centre, lanes) == [(4,)]
    assert terms(centre, "440100000066", OTHER_FRONTEND).settle_lanes == 4, "its front-end is told"

    served = next(one for one in doctor.findings(Settings()) if one.name == "结算通道")
    assert served.ok
    monkeypatch.setenv("JIESUAN_SETTLE_LANES", "2")
    fewer = next(one for one in doctor.findings(Settings()) if one.name == "结算通道")
    assert not fewer.ok
    assert f"{len(spread['terms_versions'])} 家机构分到最多 4 条" in fewer.words
