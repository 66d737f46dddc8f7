"""`jiesuan books`, /metrics and `jiesuan doctor`: what an operator sees of the books, and what they do about it."""

from __future__ import annotations

import json
import os
import sys

import pytest

from center import metrics
from center.conservation.checking import LEASE
from city import cli
from city.commands import doctor
from infra.broker import Post, build_app
from infra.settings import Settings
from tests.support.books import Books
from tests.support.center import AT, HOSPITAL, fill_center, totals


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine)


@pytest.fixture
def books(center_engine, owner_engine, shelf):
    books = Books(center_engine, owner_engine, shelf)
    yield books
    books.leave()


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, center_database_url):
    """Run a command at the centre; its exit code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CLOCK", f"{AT.isoformat()}@0.0x0.0")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def readings(engine):
    # No broker is asked: what the database knows comes first.
    page = metrics.readings(Settings(_env_file=None, clock=f"{AT.isoformat()}@0.0x0.0"), engine,
                            Post(build_app("test", "redis://127.0.0.1:1/0")))  # fmt: skip
    found = {}
    for family in page:
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def of_books(settings):
    return next(one for one in doctor.findings(settings) if one.name == "账目")


def test_from_a_broken_sum_to_its_release(jiesuan, books, center_database_url):
    settings = Settings(_env_file=None, center_database_url=center_database_url, clock=f"{AT.isoformat()}@0.0x0.0")
    books.settle(totals(1), totals(2))
    assert of_books(settings).ok is False  # nobody has looked yet
    assert readings(books.engine)["jiesuan_books_unchecked_links",] == 1

    code, out, _ = jiesuan("books", "check")
    assert (code, "账目相符" in out, "220.00" in out) == (0, True, True)
    assert of_books(settings).ok
    assert readings(books.engine)["jiesuan_books_unchecked_links",] == 0

    books.break_it(
        "UPDATE day_sum SET fund_pay_fen = fund_pay_fen + 2, self_pay_fen = self_pay_fen - 2",
        "UPDATE day_sum SET fund_pay_fen = fund_pay_fen - 2, self_pay_fen = self_pay_fen + 2",
        {},
    )
    code, out, _ = jiesuan("books", "check", "--all", "--json")
    said = json.loads(out)
    assert (code, said["holds"], said["way"]) == (1, False, "all")
    (day,) = [finding for finding in said["findings"] if finding["level"] == "day"]
    assert (day["institution_code"], day["expected"], day["found"]) == (HOSPITAL, 8000, 8002)
    assert next(level for level in said["levels"] if level["level"] == "day") == {
        "level": "day", "checked": 1, "sum": "220.00", "broken": 1,
    }  # fmt: skip
    code, out, _ = jiesuan("books", "check", "--institution", HOSPITAL)
    assert (code, "日合计与单据合计不符" in out, "应为 80.00 元，实为 80.02 元" in out) == (1, True, True)
    now = readings(books.engine)
    assert (now["jiesuan_flows_frozen",], now["jiesuan_books_broken", "day"]) == (1, 1)
    assert "冻结" in of_books(settings).words

    code, out, _ = jiesuan("books", "frozen", "--json")
    numbers = [row["freeze_no"] for row in json.loads(out)]
    assert "职工医保 门诊" in jiesuan("books", "frozen")[1]
    code, out, _ = jiesuan("books", "release", numbers[0], "--by", "王核算", "--reason", "已查明", "--json")
    proposal = json.loads(out)["proposal"]
    assert jiesuan("books", "release", numbers[0], "--by", "王核算", "--reason", "已查明")[0] == 1
    assert jiesuan("approval", "approve", proposal, "--by", "王核算")[0] == 1
    assert jiesuan("approval", "approve", proposal, "--by", "李科长")[0] == 0
    assert jiesuan("books", "frozen")[1].strip() == "没有冻结的结算"
    code, out, _ = jiesuan("books", "check", "--all")
    assert (code, "已由两人放行" in out) == (0, True)
    assert readings(books.engine)["jiesuan_flows_frozen",] == 0
    assert of_books(settings).ok
    assert jiesuan("books", "check", "--institution", "440199999999")[0] == 1
    assert jiesuan("books", "release", 999, "--by", "王核算", "--reason", "无")[0] == 1


def test_while_another_one_checks_it_is_said(jiesuan, books):
    books.sql(f"UPDATE lease SET holder = 'other', until = until + 1e12 WHERE name = '{LEASE}'")

    code, _, err = jiesuan("books", "check")

    assert (code, "稍后再试" in err) == (75, True)
    assert jiesuan("books", "check", "--all")[0] == 0
    books.sql("DELETE FROM lease")
