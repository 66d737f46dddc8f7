"""`jiesuan clearing` as an office uses it, and the statement its figures come to."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from center import metrics
from center.clearing.printing import as_csv, as_page, as_pdf
from center.clearing.statement import StatementDiffers, statement
from center.tasks import Center, app_of
from city import cli
from domain.money import capitals, yuan
from infra import lanes
from infra.settings import Settings
from tests.support.clearing import City, moment

CLOSED = moment(date(2026, 4, 8), 2)


@pytest.fixture(scope="module")
def city(center_engine):
    return City(center_engine, balance_fen=5_000)


@pytest.fixture
def month(city):
    """An institution's closed March, with a late settlement of February, a contra and a deduction in it."""
    code = city.institution()
    answers = [city.settled(code, person, date(2026, 3, 3 + person), 200_000 + person) for person in range(4)]
    city.take_back(code, answers[0], moment(date(2026, 3, 30)))
    city.deduct(answers[1].settlement_no, 4321, moment(date(2026, 4, 2)))
    city.tick(CLOSED)
    (period,) = city.periods_of(code)
    return period, answers


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, center_database_url):
    """Run a command of clearing as an operator on 20 May 2026; its exit code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-05-20T10:00:00+08:00@0.0x0.0")
    monkeypatch.setenv("COLUMNS", "200")

    def run(by, *words, group="clearing"):
        monkeypatch.setenv("JIESUAN_OPERATOR", by)
        monkeypatch.setattr(sys, "argv", ["jiesuan", group, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_the_statement_is_what_the_ledger_says_and_the_same_every_time(city, month):
    period, answers = month
    with city.engine.connect() as connection:
        paper = statement(connection, period.period_no)
        again = statement(connection, period.period_no)
    due_fen = sum(answer.fund_pay_fen + answer.account_pay_fen for answer in answers[1:]) - 4321

    assert (paper.due, paper.capitals) == (yuan(due_fen), capitals(due_fen))
    assert (as_pdf(paper), as_page(paper), as_csv(paper)) == (as_pdf(again), as_page(again), as_csv(again))
    assert dict(paper.sums)["结算单（笔）"] == "5"
    assert [contra.taken_back for contra in paper.contras] == [str(answers[0].settlement_no)]
    assert [(part.settlement_no, part.amount, part.reason) for part in paper.deductions] == [
        (str(answers[1].settlement_no), "43.21", "复核后")
    ]
    assert paper.funds[-1].paid == paper.due
    days = list(csv.DictReader(io.StringIO(as_csv(paper).removeprefix("\ufeff"))))
    assert sum(row["部分"] == "日" for row in days) == len(paper.days) + 1


def test_a_statement_that_says_something_else_than_the_clearing_is_not_made(city, month, owner_engine):
    period, answers = month
    edit = text("UPDATE settlement SET total_fen = total_fen + :f, over_limit_fen = over_limit_fen + :f,"
                " own_pay_fen = own_pay_fen + :f WHERE settlement_no = :n")  # fmt: skip

    def forge(fen):
        with owner_engine.begin() as connection:
            connection.execute(text("ALTER TABLE settlement DISABLE TRIGGER settlement_is_written_once"))
            connection.execute(edit, {"f": fen, "n": answers[2].settlement_no})
            connection.execute(text("ALTER TABLE settlement ENABLE TRIGGER settlement_is_written_once"))

    forge(1)
    try:
        with city.engine.connect() as connection, pytest.raises(StatementDiffers, match="医疗费总额"):
            statement(connection, period.period_no)
    finally:
        forge(-1)


def test_a_month_by_hand_from_preview_to_payment(city, jiesuan, tmp_path):
    code = city.institution()
    late = city.settled(code, 50, date(2026, 4, 30), 300_000)
    city.opened(date(2026, 5, 2))
    number = city.periods_of(code)[0].period_no

    ended, out, _ = jiesuan("甲", "preview", number, "--json")
    assert (ended, json.loads(out)["due"]) == (0, yuan(late.fund_pay_fen + late.account_pay_fen))
    assert jiesuan("甲", "pay", number, "--reason", "拨付")[0] == 1
    ended, out, _ = jiesuan("甲", "close", number, "--reason", "四月关账", "--json")
    assert ended == 0
    assert json.loads(out)["period_no"] == number
    ended, _, err = jiesuan("甲", "close", number, "--reason", "再关一次")
    assert (ended, "已关账" in err) == (1, True)
    assert jiesuan("院方", "object", number, "--reason", "少计一笔")[0] == 0
    assert jiesuan("院方", "confirm", number, "--reason", "已核对")[0] == 0
    ended, out, _ = jiesuan("甲", "pay", number, "--reason", "拨付四月", "--json")
    proposal = json.loads(out)["proposal_no"]
    assert jiesuan("甲", "approve", proposal, group="approval")[0] == 1
    assert jiesuan("乙", "approve", proposal, group="approval")[0] == 0

    ended, out, _ = jiesuan("甲", "list", "--institution", code, "--json")
    assert [(row["state"], row["name"]) for row in json.loads(out)] == [("paid", "2026-04")]
    assert "已拨付" in jiesuan("甲", "show", number)[1]
    for form in ("html", "pdf", "csv"):
        file = tmp_path / f"statement.{form}"
        assert jiesuan("甲", "statement", number, "--as", form, "--out", file)[0] == 0
        assert file.stat().st_size > 500
    city.check(code)


def test_deductions_shares_and_releases_are_proposed_and_named(city, month, jiesuan):
    period, answers = month
    ended, out, _ = jiesuan("甲", "deduct", f"{answers[2].settlement_no}:basic=1.00", "--reason", "超量开药")
    assert (ended, "扣款 1.00 元退回基金" in out) == (0, True)
    assert jiesuan("甲", "deduct", "12:basic", "--reason", "没写金额")[0] == 2
    ended, _, err = jiesuan("甲", "deduct", f"{answers[0].settlement_no}:basic=1.00", "--reason", "已冲")
    assert (ended, "冲回" in err) == (1, True)
    ended, out, _ = jiesuan("甲", "withhold", "5", "--since", "2026-06-01", "--reason", "年度协议", "--type", "21")
    assert (ended, "全部机构 住院" in out) == (0, True)
    assert jiesuan("甲", "withhold", "5.005", "--since", "2026-06-01", "--reason", "位数太多")[0] == 2
    ended, _, err = jiesuan("甲", "release", period.institution_code, "employee", "11", "2026", "--reason", "年终考核")
    assert (ended, "还没有结束" in err) == (1, True)
    assert jiesuan("甲", "reopen", period.period_no, "--reason", "少扣一笔")[0] == 0


def test_the_calendar_is_shown_and_its_days_are_set(jiesuan):
    ended, out, _ = jiesuan("甲", "calendar", "--json")
    assert ended == 0
    closes = {row["period"]: row["closes_on"] for row in json.loads(out)}
    assert closes["2026-09"] == "2026-10-13"
    assert jiesuan("甲", "calendar", "--day-off", "2026-10-12")[0] == 1
    ended, out, _ = jiesuan("甲", "calendar", "--day-off", "2026-10-12", "--reason", "台风停工", "--json")
    assert {row["period"]: row["closes_on"] for row in json.loads(out)}["2026-09"] == "2026-10-14"
    jiesuan("甲", "calendar", "--workday", "2026-10-12", "--reason", "照常上班")
    today = (date(2026, 5, 20) - timedelta(days=1)).isoformat()
    assert jiesuan("甲", "calendar", "--since", today, "--reason", "已到的日子")[0] == 1
    assert jiesuan("甲", "calendar", "--since", "2026-07-01", "--day-off", "2026-07-02", "--reason", "两件事")[0] == 2


def test_the_schedule_closes_and_the_metrics_count(city, center_database_url, clean_valkey, tmp_path):
    """The task as a worker runs it, and what /metrics says before and after."""
    code = city.institution()
    city.settled(code, 60, date(2026, 6, 10), 300_000)
    secret = tmp_path / "secret"
    secret.write_text("ab" * 32)
    late = moment(date(2026, 7, 20))
    settings = Settings(
        _env_file=None,
        center_database_url=center_database_url,
        center_broker_url=clean_valkey,
        center_secret_file=secret,
        clock=f"{late.isoformat()}@0.0x0.0",
        data_dir=tmp_path,
    )
    center = Center(settings)
    app_of(center)
    city.opened(late.date())

    def read():
        with center.engine.connect() as connection:
            families = list(metrics._clearing(connection, settings))
        return {(sample.name, *sample.labels.values()): sample.value for each in families for sample in each.samples}

    before = read()
    center.app.tasks[lanes.CLEARING_TICK].apply()
    after = read()
    entry = center.app.conf.beat_schedule[lanes.CLEARING_TICK]
    center.app.close()
    center.engine.dispose()

    assert before["jiesuan_clearing_periods_late",] >= 1
    assert after["jiesuan_clearing_periods_late",] == 0
    assert after["jiesuan_clearing_periods", "open"] < before["jiesuan_clearing_periods", "open"]
    assert city.periods_of(code)[0].state == "closed"
    assert (entry["task"], entry["schedule"]) == ("clearing.tick", settings.clearing_tick_seconds)
