"""The printed statement of a clearing: HTML, CSV and PDF of one paper, the same bytes every time."""

from __future__ import annotations

import csv
import re
import zlib
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from center.clearing.printing import as_csv, as_page, as_pdf
from center.clearing.statement import Contra, DayRow, Deducted, Fund, Statement
from domain.money import capitals, fen, yuan
from infra import typeset

SAMPLE = Path(__file__).parents[2] / "docs/samples/clearing.html"

PAPER = Statement(
    institution_name="试验市第一人民医院",
    facts=[
        ("机构编号", "440100000001"),
        ("险种", "310 职工基本医疗保险"),
        ("清算类别", "21 住院"),
        ("清算方式", "1 按项目"),
        ("清算年月", "2026-09"),
        ("清算期", "2026-09-01 至 2026-09-30"),
        ("清算编号", "1048577"),
        ("关账时间", "2026-10-15 01:00"),
        ("状态", "已确认"),
        ("确认", "医院财务 2026-10-16 09:30"),
    ],
    funds=[
        Fund("310100", "城镇职工基本医疗保险统筹基金", "151000.00", "7550.00", "1234.56", "0.00", "142215.44"),
        Fund("330100", "大额医疗费用补助基金", "9000.00", "450.00", "0.00", "0.00", "8550.00"),
        Fund("310200", "城镇职工基本医疗保险个人账户基金", "11178.20", "0.00", "0.00", "0.00", "11178.20"),
        Fund("", "合计", "171178.20", "8000.00", "1234.56", "0.00", "161943.64"),
    ],
    sums=[
        ("结算单（笔）", "62"),
        ("　其中冲销", "1"),
        ("人数", "58"),
        ("医疗费总额", "214530.75"),
        ("基金申报总额", "160000.00"),
        ("个人账户支付", "11178.20"),
        ("减：预留金", "8000.00"),
        ("减：审核扣款", "1234.56"),
        ("加：返还预留金", "0.00"),
        ("加：上期结转", "-61.00"),
    ],
    due_name="应付金额",
    due="161882.64",
    capitals=capitals(161_882_64),
    days=[
        DayRow("2026-08-31", "1", "0", "820.00", "600.00", "61.00", "661.00"),
        DayRow("2026-09-01", "30", "0", "100000.00", "80000.00", "5000.00", "85000.00"),
        DayRow("2026-09-24", "31", "1", "113710.75", "79400.00", "6117.20", "85517.20"),
    ],
    days_sum=DayRow("合计", "62", "1", "214530.75", "160000.00", "11178.20", "171178.20"),
    contras=[Contra("1048301", "1047009", "2026-09-24", "-820.00", "-661.00", "收费有误")],
    deductions=[
        Deducted("1048320", "1047112", "城镇职工基本医疗保险统筹基金", "1234.56", "=分解住院，第二次入院不予支付")
    ],
    late=[("1046990", "2026-08-31")],
)


def test_the_sample_in_the_docs_is_this_page():
    assert SAMPLE.read_text(encoding="utf-8") == as_page(PAPER)


def test_the_page_says_everything_and_escapes_what_people_wrote():
    page = as_page(replace(PAPER, institution_name="<b>&医院"))

    assert "&lt;b&gt;&amp;医院" in page
    for words in ("壹拾陆万壹仟捌佰捌拾贰元陆角肆分", "1234.56", "1048301", "往期结算单", "-61.00", "合计"):
        assert words in page


def test_the_table_adds_up_and_computes_nothing_people_wrote():
    text = as_csv(PAPER)
    rows = list(csv.DictReader(StringIO(text.removeprefix("\ufeff"))))

    assert text.startswith("\ufeff部分,名称")
    days = [row for row in rows if row["部分"] == "日"]
    for column in ("医疗费总额", "基金", "个人账户", "金额"):
        *parts, whole = [fen(row[column]) for row in days]
        assert yuan(sum(parts)) == yuan(whole)
    assert [row["说明"] for row in rows if row["部分"] == "扣款"] == ["'=分解住院，第二次入院不予支付"]


def test_the_pdf_is_the_same_bytes_every_time_and_brings_its_font_along():
    made = as_pdf(PAPER)

    assert made == as_pdf(PAPER)
    assert made != as_pdf(replace(PAPER, due="0.01"))
    assert made.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", made)) == 2
    assert b"JiesuanSansSC" in made or any(b"JiesuanSansSC" in stream for stream in _streams(made))
    assert b"/FontFile3" in made or any(b"/FontFile3" in stream for stream in _streams(made))
    assert b"CreationDate" not in made


def test_a_template_that_does_not_compile_says_where_and_not_with_what():
    with pytest.raises(typeset.NotTypeset) as found:
        typeset.pdf('#let data = json(bytes(sys.inputs.data))\n#data.at("missing")', {"name": "张三丰"})

    assert "张三丰" not in str(found.value)


def _streams(made: bytes) -> list[bytes]:
    found = []
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", made, re.DOTALL):
        try:
            found.append(zlib.decompress(packed))
        except zlib.error:
            continue
    return found
