"""`jiesuan catalogue` as an office uses it: check, enter, audit, compare, publish, look."""

from __future__ import annotations

import csv
import json
import os
import sys

import pytest
from sqlalchemy import text

from center.serving.entering import enter
from city import cli
from tests.support.catalogue import (
    ITEM_HEADINGS,
    ITEM_ROWS,
    MATCH_HEADINGS,
    match_rows,
    write_csv,
    write_workbook,
)
from tests.support.center import FRONTEND, institution_row
from tests.support.frontend import HOSPITAL


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, center_engine, owner_engine, center_database_url):  # noqa: PLR0917
    """Run a command of the catalogue as an operator; its exit code, stdout and stderr. The centre is empty."""
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-03-02T10:00:00+08:00@0.0x0.0")
    monkeypatch.setenv("COLUMNS", "200")
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "TRUNCATE catalogue_import, catalogue_item, catalogue_match, catalogue_version, reference_part,"
                " reference_report, reference, institution, served_by RESTART IDENTITY CASCADE"
            )
        )
    with center_engine.begin() as connection:
        enter(connection, [institution_row(HOSPITAL, FRONTEND)])

    def run(by: str, *words: object) -> tuple[int, str, str]:
        monkeypatch.setenv("JIESUAN_OPERATOR", by)
        monkeypatch.setattr(sys, "argv", ["jiesuan", "catalogue", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_from_a_file_to_a_version_by_two_people(jiesuan, tmp_path):
    items = write_workbook(tmp_path / "items.xlsx", ITEM_HEADINGS, ITEM_ROWS)
    matches = write_csv(tmp_path / "matches.csv", MATCH_HEADINGS, match_rows(HOSPITAL))

    code, out, _ = jiesuan("甲", "import", items)
    assert (code, "没有错误" in out, "--write" in out) == (0, True, True)
    assert json.loads(jiesuan("甲", "audit", "--json")[1]) == [], "a check enters nothing"

    code, out, _ = jiesuan("甲", "import", items, "--write", "--json")
    assert (code, json.loads(out)["batch"], json.loads(out)["entered"]) == (0, 1, 4)
    code, _, err = jiesuan("甲", "import", items, "--write")
    assert (code, "批号 1" in err) == (1, True)
    code, _, err = jiesuan("甲", "audit", 1, "--accept")
    assert (code, "另一人" in err) == (1, True)
    _, out, _ = jiesuan("乙", "audit", 1)
    assert "头孢克洛胶囊" in out
    assert jiesuan("乙", "audit", 1, "--accept")[0] == 0

    assert jiesuan("甲", "match", matches, "--write")[0] == 0
    assert jiesuan("乙", "audit", 2, "--accept", "--json")[1].count('"accepted": 3') == 1
    _, out, _ = jiesuan("乙", "diff", "--json")
    assert (len(json.loads(out)["items"]["added"]), json.loads(out)["institutions_touched"]) == (4, {HOSPITAL: 3})

    code, out, _ = jiesuan("乙", "publish", "--from", "2026-04-01", "--note", "四月")
    assert (code, "20260401-01" in out, "2026-04-01 零时生效" in out) == (0, True, True)
    listed = json.loads(jiesuan("乙", "show", "--json")[1])
    assert [(one["version"], one["state"], one["published_by"]) for one in listed["versions"]] == [
        ("20260401-01", "待生效", "乙")
    ]
    assert listed["frontends"] == [{"frontend": FRONTEND, "versions": [], "heard_at": ""}]

    shown = json.loads(jiesuan("乙", "show", "A2", "--institution", HOSPITAL, "--day", "2026-03-02", "--json")[1])
    assert (shown["valid"][0]["centre_item_code"], shown["valid"][0]["coverage_class"]) == ("W002", "2")
    assert [(row["entered_by"], row["audited_by"]) for row in shown["history"]] == [("甲", "乙")]
    code, out, _ = jiesuan("乙", "show", "W002", "--version", "20260401-01")
    assert (code, "自负比例" in out, "0.1" in out) == (0, True, True)

    assert jiesuan("乙", "publish", "--withdraw", "20260401-01")[0] == 0
    assert json.loads(jiesuan("乙", "show", "--json")[1])["versions"][0]["state"] == "已撤回"


def test_one_record_by_hand(jiesuan):
    cells = ("药品编码=W9", "药品名称=手工药", "匹配类型=西药", "甲乙标志=甲类", "统计类别=2", "生效日期=2026-01-01")
    words = [word for cell in cells for word in ("--set", cell)]
    assert json.loads(jiesuan("甲", "import", *words, "--write", "--json")[1])["entered"] == 1
    assert "手工录入" in jiesuan("乙", "audit")[1]
    code, _, err = jiesuan("甲", "import", "--set", "药品编码")
    assert (code, "列名" in err or "写作" in err) == (2, True)
    assert jiesuan("甲", "import")[0] == 2


def test_everything_wrong_is_told_and_nothing_is_entered(jiesuan, tmp_path):
    rows = [*ITEM_ROWS[:2], ("1", "", "无编码", "", "9", "2", "", "", "2025-01-01", "")]
    file = write_csv(tmp_path / "items.csv", ITEM_HEADINGS, rows)
    code, out, err = jiesuan("甲", "import", file, "--write", "--errors", tmp_path / "errors.csv")
    assert (code, "1 处错误，什么都没有录入" in err, "药品编码" in out) == (1, True, True)
    with (tmp_path / "errors.csv").open(encoding="utf-8-sig") as errors:
        assert list(csv.reader(errors)) == [["工作表", "行", "列", "原因"], ["CSV", "4", "药品编码", "不能为空"]]
    assert json.loads(jiesuan("乙", "audit", "--json")[1]) == []
    code, out, _ = jiesuan("甲", "import", file, "--json")
    assert (code, json.loads(out)["problems"][0]["row"]) == (1, 4)


def test_candidates_for_a_match(jiesuan, tmp_path):
    jiesuan("甲", "import", write_csv(tmp_path / "items.csv", ITEM_HEADINGS, ITEM_ROWS), "--write")
    jiesuan("乙", "audit", 1, "--accept")
    own = write_csv(tmp_path / "own.csv", ["本院编码", "本院名称"], [["A1", "阿莫西林胶囊（国产）"], ["A9", "挂号"]])
    assert jiesuan("甲", "match", own, "--propose", tmp_path / "proposed.csv")[0] == 0
    with (tmp_path / "proposed.csv").open(encoding="utf-8-sig") as proposed:
        rows = list(csv.reader(proposed))
    assert rows[1][:5] == ["A1", "阿莫西林胶囊（国产）", "1", "W001", "阿莫西林胶囊"]
    assert ["A9", "挂号", "", "", "", "", "0.00"] in rows


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("import", "nothing.xlsx"), 2, "没有这个文件"),
        (("audit", 7, "--accept"), 1, "没有批号 7"),
        (("audit", 7, "--reject"), 2, "理由"),
        (("audit", 7, "--accept", "--rows", "a-b"), 2, "行号"),
        (("publish",), 1, "没有审核通过"),
        (("publish", "--from", "soon"), 2, "不是日期"),
        (("diff", "v1"), 2, "没有发布过版本 v1"),
        (("show", "W1"), 1, "没有编码 W1"),
        (("publish", "--withdraw", "v1"), 2, "没有发布过版本 v1"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(jiesuan, words, code, said):
    ended, _, err = jiesuan("甲", *words)
    assert (ended, said in err, "Traceback" in err) == (code, True, False)
