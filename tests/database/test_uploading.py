"""The timetable as an office edits it, who is how far, and what operators are shown."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import insert, text

from center.settling.settle import settle_submitted
from center.tables import detail
from center.uploading import marks
from center.uploading.tables import upload_pace
from city import cli
from tests.support.center import AT, CLINIC, FRONTEND, HOSPITAL, OTHER_FRONTEND, fill_center, rows_of, submitted, totals

DAY = timedelta(hours=24)
_serials = count(1)


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine)


@pytest.fixture(autouse=True)
def nothing_due(center_engine, shelf):
    """No windows, no shares, and all detail of what was settled before is here."""
    with center_engine.begin() as connection:
        for table in ("upload_window", "upload_share", "upload_mark", "upload_pace", "difference_case"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(insert(upload_pace).values(one=1, pace=1000, waiting_seconds=0, ticked_at=0))
        connection.execute(
            text(
                "INSERT INTO detail (settlement_no, line_count, total_fen, lines, received_at)"
                " SELECT settlement_no, line_count, total_fen, '', now() FROM settlement ON CONFLICT DO NOTHING"
            )
        )


@pytest.fixture
def settle(center_engine, shelf):
    """Settle claims of 5 lines; their settlement numbers."""

    def settle(many=1, code=HOSPITAL, frontend=FRONTEND, at=AT):
        claims = [totals(next(_serials), institution_code=code, visit_date=at.date()) for _ in range(many)]
        answers = settle_submitted(center_engine, shelf, submitted(*claims), frontend=frontend, at=at).answers
        return [answer.settlement_no for answer in answers]

    return settle


def arrive(engine, *numbers):
    with engine.begin() as connection:
        rows = [{"settlement_no": number, "line_count": 5, "total_fen": 1, "lines": b"", "received_at": AT}
                for number in numbers]  # fmt: skip
        connection.execute(insert(detail), rows)


def due(engine, at=AT, deadline=DAY):
    with engine.connect() as connection:
        return [tuple(mark) for mark in marks.due(connection, at=at, deadline=deadline)]


def counted(engine, at=AT, now=100.0, deadline=DAY):
    with engine.begin() as connection:
        marks.count_when_due(connection, at=at, now=now, deadline=deadline)
    return rows_of(engine, "SELECT institution_code, due_claims, due_lines, overdue_claims FROM upload_mark ORDER BY 1")


# ── High-water marks ──────────────────────────────────────────────────────────────────────────────────────


def test_what_is_due_is_what_was_settled_and_has_no_detail(center_engine, settle):
    first, second, _ = settle(3)
    settle(1, CLINIC, OTHER_FRONTEND, AT + timedelta(minutes=5))
    arrive(center_engine, first)

    assert due(center_engine) == [
        (HOSPITAL, FRONTEND, 2, 10, 0, AT),
        (CLINIC, OTHER_FRONTEND, 1, 5, 0, AT + timedelta(minutes=5)),
    ]
    arrive(center_engine, second)
    assert due(center_engine, AT + timedelta(hours=24, minutes=1)) == [
        (HOSPITAL, FRONTEND, 1, 5, 1, AT),
        (CLINIC, OTHER_FRONTEND, 1, 5, 0, AT + timedelta(minutes=5)),
    ]


def test_a_claim_with_an_open_case_is_waited_for_no_more(center_engine, settle):
    settle(1)
    with center_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO difference_case (kind, institution_code, visit_no, charge_batch_no, center_fen,"
                " frontend_fen, words, opened_at) SELECT 'detail-mismatch', institution_code, visit_no,"
                " charge_batch_no, 1, 1, '', now() FROM settlement ORDER BY settlement_no DESC LIMIT 1"
            )
        )
    assert due(center_engine) == []
    with center_engine.begin() as connection:
        connection.execute(text("UPDATE difference_case SET closed_at = now()"))
    assert len(due(center_engine)) == 1


def test_marks_are_counted_again_and_only_what_changed_is_written(center_engine, settle):
    numbers = settle(2)
    assert counted(center_engine) == [(HOSPITAL, 2, 10, 0)]

    arrive(center_engine, *numbers)
    assert counted(center_engine, now=101.0) == [(HOSPITAL, 2, 10, 0)], "that was just done"
    assert counted(center_engine, now=110.0) == []
    settle(1, at=AT + timedelta(hours=1))
    assert counted(center_engine, at=AT + timedelta(hours=1), now=120.0) == [(HOSPITAL, 1, 5, 0)]


def test_counting_looks_back_to_the_oldest_and_a_day(center_engine, settle):
    (old,) = settle(1, at=AT - timedelta(days=9))
    counted(center_engine)
    since = "SELECT due_since FROM upload_pace"
    assert rows_of(center_engine, since) == [((AT - timedelta(days=10)).date(),)]

    arrive(center_engine, old)
    counted(center_engine, now=200.0)
    assert rows_of(center_engine, since) == [((AT - timedelta(days=1)).date(),)]
    settle(1)
    assert counted(center_engine, now=300.0) == [(HOSPITAL, 1, 5, 0)]


@pytest.mark.parametrize(
    ("took", "wait"), [(0.03, 2), (0.5, 25), (4, 60)], ids=["quick", "slow", "slow by chance, it may be"]
)
def test_counting_that_takes_long_is_done_less_often_but_every_minute(center_engine, settle, took, wait):
    counted(center_engine, now=100.0)
    with center_engine.begin() as connection:
        connection.execute(text(f"UPDATE upload_pace SET counting_seconds = {took}"))
    settle(1)
    assert counted(center_engine, now=99.0 + wait) == []
    assert counted(center_engine, now=101.0 + wait) != []


def test_overdue_is_said_once_an_hour_and_when_it_is_over(center_engine, settle, caplog):
    (number,) = settle(1)
    caplog.set_level("INFO", logger="center")

    def said(hours, now):
        caplog.clear()
        counted(center_engine, at=AT + timedelta(hours=hours), now=now)
        return [record.message for record in caplog.records]

    assert said(23, 100.0) == []
    assert said(25, 200.0) == ["detail_overdue"]
    assert said(25.5, 300.0) == []
    assert said(26.1, 400.0) == ["detail_overdue"]
    arrive(center_engine, number)
    assert said(26.2, 500.0) == ["detail_caught_up"]
    assert rows_of(center_engine, "SELECT 1 FROM upload_mark") == []


# ── The commands ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, shelf, center_database_url):
    """Run a command as an operator at the centre; its exit code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-04-28T10:00:00+08:00@0.0x0.0")
    monkeypatch.setenv("JIESUAN_OPERATOR", "张三")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", "window", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


NIGHT = ("set", "night", "--opens", "18:00", "--closes", "08:00", "--lines", "600000", "--bytes", "64M")


def test_a_window_is_set_changed_listed_and_removed_with_who_and_why(jiesuan, center_engine):
    assert jiesuan(*NIGHT, "--days", "workday,6", "--reason", "夜间线路空闲")[0] == 0
    assert jiesuan("set", "night", "--lines", "700000", "--slice", "120", "--reason", "扩容")[0] == 0
    (window,) = json.loads(jiesuan("list", "--json")[1])
    assert window == {
        "name": "night", "opens": "18:00", "closes": "08:00", "days": "6W", "frontend": "*", "lines_per_hour": 700_000,
        "bytes_per_hour": 64 << 20, "slice_seconds": 120, "active": True,
    }  # fmt: skip
    assert "周六、工作日" in jiesuan("list")[1]

    assert jiesuan("remove", "night", "--reason", "停用")[0] == 0
    assert json.loads(jiesuan("list", "--json")[1]) == []
    audited = "SELECT by, action, subject, reason FROM audit WHERE action LIKE 'window.%' ORDER BY audit_no"
    assert rows_of(center_engine, audited) == [
        ("张三", "window.set", "night", "夜间线路空闲"),
        ("张三", "window.set", "night", "扩容"),
        ("张三", "window.remove", "night", "停用"),
    ]


def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_done(jiesuan, center_engine):
    code, _, err = jiesuan(
        "set", "noon", "--opens", "25:00", "--closes", "8点", "--days", "星期九", "--lines", "0", "--bytes", "-1",
        "--frontend", "nowhere", "--slice", "5", "--reason", "试",
    )  # fmt: skip

    assert code == 1
    for words in (
        "开始时间 25:00",
        "结束时间 8点",
        "日期 星期九",
        "行数 0",
        "字节数 -1",
        "没有前置机 nowhere",
        "片长 5",
    ):
        assert words in err
    assert rows_of(center_engine, "SELECT 1 FROM upload_window") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(["--closes", "18:00"], "时段是空的：18:00 开始又在 18:00 结束", id="empty"),
        pytest.param(["--days", ""], "日期 （空） 读不懂", id="no day"),
        pytest.param(["--lines", "399"], "预算太小：2 台前置机每小时各要传一小片", id="not a small slice for each"),
        pytest.param(["--bytes", "100K"], "至少 --lines 400 --bytes 128K", id="not the bytes of one"),
        pytest.param(["--bytes", "0M"], "每小时字节数 0M 应大于零", id="no bytes"),
        pytest.param(["--reason", ""], "--reason", id="no reason"),
    ],
)
def test_a_window_that_would_carry_nothing_is_refused(jiesuan, center_engine, change, words):
    code, _, err = jiesuan(*NIGHT, "--reason", "试", *change)
    assert code != 0
    assert words in err
    assert rows_of(center_engine, "SELECT 1 FROM upload_window") == []


def test_windows_that_overlap_are_refused_unless_one_is_out_of_use(jiesuan):
    jiesuan(*NIGHT, "--reason", "夜间")
    early = (
        "set",
        "early",
        "--opens",
        "07:00",
        "--closes",
        "09:00",
        "--lines",
        "1000",
        "--bytes",
        "1M",
        "--reason",
        "早",
    )

    code, _, err = jiesuan(*early, "--days", "off")
    assert code == 1
    assert "与时段 night（每天 18:00–次日08:00）重叠" in err
    assert jiesuan(*early, "--off")[0] == 0
    assert jiesuan("set", "early", "--on", "--reason", "启用")[0] == 1
    assert jiesuan(*early[:1], "own", *early[2:], "--frontend", FRONTEND)[0] == 0, "a front-end's own comes first"


def test_a_whole_day_is_written_with_twenty_four(jiesuan):
    assert jiesuan(*NIGHT[:2], "--opens", "00:00", "--closes", "24:00", *NIGHT[6:], "--reason", "全天")[0] == 0
    assert "24:00" in jiesuan("list")[1]


def test_what_is_not_there_is_not_removed(jiesuan):
    code, _, err = jiesuan("remove", "noon", "--reason", "试")
    assert (code, "没有时段 noon" in err) == (1, True)


def test_the_week_is_shown_hour_by_hour_with_the_days_that_are_worked(jiesuan):
    """28 April 2026 is a Tuesday; Labour Day begins on Friday."""
    jiesuan(*NIGHT, "--days", "workday", "--reason", "夜间")

    code, out, _ = jiesuan("preview")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["00", "02", "04"]
    friday = next(line for line in lines if line.startswith("05-01"))
    assert "周五 休息日" in friday
    assert friday.count("█") == 16, "the night of Thursday, until eight"
    assert next(line for line in lines if line.startswith("04-29")).count("█") == 28
    assert "night：工作日 18:00–次日08:00，每小时 600,000 行、64M" in out

    hours = json.loads(jiesuan("preview", "--json")[1])
    assert len(hours) == 7 * 24
    assert {hour["workday"] for hour in hours if hour["begins"].startswith("2026-05-01")} == {False}


def test_a_change_is_previewed_before_it_is_made(jiesuan, center_engine):
    code, out, _ = jiesuan(*NIGHT, "--dry-run")
    assert (code, "night：每天" in out) == (0, True)
    assert rows_of(center_engine, "SELECT 1 FROM upload_window") == []
    assert jiesuan("preview", "--frontend", "nowhere")[0] == 1
    assert "没有启用的时段" in jiesuan("preview")[1]


def test_shares_are_shown_and_set_all_or_none(jiesuan, center_engine):
    assert json.loads(jiesuan("share", "--json")[1])["classes"] == {
        "small": 4, "medium": 7, "large": 27, "extra_large": 62,
    }  # fmt: skip
    code, _, err = jiesuan("share", "--size", "huge=5", "--institution", "H9=50", "--frontend", f"{FRONTEND}=0",
                           "--reason", "试")  # fmt: skip
    assert code == 1
    for words in ("没有机构类别 huge", "没有医药机构 H9", f"前置机 {FRONTEND} 的份额 0"):
        assert words in err
    assert rows_of(center_engine, "SELECT 1 FROM upload_share") == []

    assert jiesuan("share", "--size", "small=8", "--institution", f"{HOSPITAL}=50", "--reason", "小机构多")[0] == 0
    found = json.loads(jiesuan("share", "--json")[1])
    assert (found["classes"]["small"], found["institutions"]) == (8, {HOSPITAL: 50})
    assert jiesuan("share", "--size", "small=default", "--reason", "恢复")[0] == 0
    assert json.loads(jiesuan("share", "--json")[1])["classes"]["small"] == 4


def test_who_is_how_far_is_said_and_overdue_is_an_exit_code(jiesuan, settle, center_engine):
    jiesuan(*NIGHT, "--reason", "夜间")
    code, out, _ = jiesuan()
    assert (code, "现在没有时段开放" in out, "全部明细已到中心" in out) == (0, True, True)

    settle(2)  # on 2 March; it is 28 April
    code, out, _ = jiesuan()
    assert code == 1
    assert HOSPITAL in out
    document = json.loads(jiesuan("--json")[1])
    assert [(each["institution_code"], each["overdue_claims"]) for each in document["due"]] == [(HOSPITAL, 2)]
    assert document["due"][0]["lag_seconds"] > 50 * 86_400

    with center_engine.begin() as connection:
        connection.execute(text("UPDATE upload_pace SET pace = 0, waiting_seconds = 3.2"))
    assert "明细让路" in jiesuan()[1]


def test_the_doctor_says_what_is_overdue(jiesuan, settle):
    from city.commands.doctor import findings
    from infra.settings import Settings

    def found():
        return {one.name: (one.ok, one.words) for one in findings(Settings()) if one.name.startswith("明细")}

    assert found()["明细上传时段"][0] is False, "no window, no detail"
    jiesuan(*NIGHT, "--reason", "夜间")
    assert found()["明细上传时段"][0] is True
    assert found()["明细水位（中心）"] == (True, "全部明细已到中心")
    settle(1)
    ok, words = found()["明细水位（中心）"]
    assert (ok, "1 笔超期" in words) == (False, True)


def test_marks_of_an_institution_are_kept_by_front_end(center_engine, settle):
    settle(1)
    settle(2, CLINIC, OTHER_FRONTEND)
    counted(center_engine)
    kept = rows_of(center_engine, "SELECT institution_code, frontend FROM upload_mark ORDER BY 2")
    assert kept == [(HOSPITAL, FRONTEND), (CLINIC, OTHER_FRONTEND)]
