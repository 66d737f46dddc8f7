"""The statement a patient takes home: segments and payers, for a stay and for an outpatient visit."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime

import pytest

from domain import check_value
from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimTotals
from domain.visit import Visit, VisitType, pack_lines
from infra.clock import SHANGHAI
from producers.statement import NotSettled, as_page, as_paper, as_text, stated_of, statement
from tests.support.frontend import HOSPITAL, LINES, PERSON
from workers.claims import ClaimView

KEY = bytes(range(32))
AT = datetime(2026, 3, 9, 15, 4, 5, tzinfo=SHANGHAI)
CELLS = (
    ("shared", "fund:basic", 765_00),
    ("shared", "person", 85_00),
    ("deductible", "account", 60_00),
    ("deductible", "person", 40_00),
    ("own_expense", "person", 30_00),
    ("pre_self_pay", "person", 20_00),
    ("shared", "fund:civil_servant", 50_00),
    ("over_cap", "institution", 0),
)
TOTALS = ClaimTotals(
    institution_code=HOSPITAL, visit_no="T00001260302A001", charge_batch_no=1, citizen_id_no=PERSON, visit_type="1",
    visit_date=date(2026, 3, 2), total_fen=1050_00, own_expense_fen=30_00, over_limit_fen=0, pre_self_pay_fen=20_00,
    in_scope_fen=1000_00, line_count=4, digest=bytes(16), covers_to=date(2026, 3, 9),
)  # fmt: skip
ANSWER = ClaimAnswer(
    TOTALS.visit_no, 1, settlement_no=7, fund_pay_fen=815_00, account_pay_fen=60_00, deductible_fen=100_00,
    self_pay_fen=185_00, settled_at=AT, cells=CELLS, scheme="employee", category="1",
)  # fmt: skip
VISIT = Visit(
    visit_no=TOTALS.visit_no, institution_code=HOSPITAL, citizen_id_no=PERSON, visit_type=VisitType.INPATIENT,
    visit_date=TOTALS.visit_date, person_name="试验甲", outpatient_no="ZY0001", admission_diagnosis="肺炎",
)  # fmt: skip
STAY = ClaimView(
    claim_id=1, claim_no="T00001260302A001-1", institution_code=HOSPITAL, visit_no=TOTALS.visit_no, charge_batch_no=1,
    channel="api", source="", state=ClaimState.SETTLED, line_count=4, total_fen=1050_00, accepted_at=AT, settled_at=AT,
    detail_state=0, visit=VISIT, totals=TOTALS, answer=ANSWER, refusal="", verdicts=(),
    packed_lines=pack_lines([*LINES]),
)  # fmt: skip


def test_a_stay_is_printed_by_segment_and_payer():
    page = as_text(STAY, institution_name="试验医院", key=KEY)
    start = page.index("现金")
    table = [line.split() for line in page[start:].splitlines()[:6]]
    assert table == [
        ["现金", "个人账户", "统筹基金", "公务员补助", "合计"],
        ["全自费", "30.00", "30.00"],
        ["部分项目自付", "20.00", "20.00"],
        ["起付标准以下", "40.00", "60.00", "100.00"],
        ["统筹共付段", "85.00", "765.00", "50.00", "900.00"],
        ["合计", "175.00", "60.00", "765.00", "50.00", "1050.00"],
    ]
    for fact in ("入院日期", "ZY0001", "2026-03-09", "出院结算", "应收现金"):
        assert fact in page


def test_the_page_shows_the_same_table():
    page = as_page(STAY, institution_name="试验医院", key=KEY)
    for part in ("公务员补助", "统筹共付段", "765.00", "医疗费用结算单"):
        assert part in page
    assert PERSON not in page


def test_an_outpatient_visit_has_a_visit_day_and_no_discharge():
    visit = replace(STAY, visit=replace(VISIT, visit_type=VisitType.OUTPATIENT))
    page = as_text(visit, institution_name="试验医院", key=KEY)
    assert "就诊日期" in page
    assert "出院结算" not in page
    assert "统筹共付段" in page


def test_an_interim_settlement_says_so():
    interim = replace(STAY, totals=TOTALS._replace(final=False))
    assert ("结算方式", "中途结算") in statement(interim, institution_name="试验医院", key=KEY).facts


def test_an_answer_from_before_the_matrix_prints_its_amounts_alone():
    old = replace(STAY, answer=ANSWER._replace(cells=()))
    printed = statement(old, institution_name="试验医院", key=KEY)
    assert printed.sheet is None
    assert printed.amounts == statement(STAY, institution_name="试验医院", key=KEY).amounts
    assert printed.cash == "175.00"
    assert "统筹共付段" not in as_text(old, institution_name="试验医院", key=KEY)


def test_a_refund_is_printed_as_one():
    cells = tuple((segment, payer, -amount) for segment, payer, amount in CELLS)
    back = replace(STAY, answer=ANSWER._replace(cells=cells, recomputed="中心复算有出入"))
    page = as_text(back, institution_name="试验医院", key=KEY)
    assert "退费冲销" in page
    assert "中心复算有出入" in page
    assert ["应退现金", "175.00", "元"] in [line.split() for line in page.splitlines()]
    assert "应退现金（大写）：壹佰柒拾伍元整" in page
    assert "-1050.00" in page


@pytest.mark.parametrize(
    "change", [{"answer": None}, {"totals": None}, {"answer": ClaimAnswer(TOTALS.visit_no, 1, refusal="internal")}]
)
def test_nothing_settled_nothing_printed(change):
    with pytest.raises(NotSettled):
        statement(replace(STAY, **change), institution_name="试验医院", key=KEY)


def test_the_code_on_every_form_is_that_of_what_the_books_hold():
    page = statement(STAY, institution_name="试验医院", key=KEY)
    stated, value = check_value.read(page.code)
    assert stated == stated_of(STAY)
    assert check_value.is_true(stated, value, KEY)
    assert check_value.grouped(value) == page.check
    assert page.check in as_page(STAY, institution_name="试验医院", key=KEY)
    assert "<svg" in as_page(STAY, institution_name="试验医院", key=KEY)
    assert page.code in as_text(STAY, institution_name="试验医院", key=KEY)


def test_no_person_is_in_the_code():
    code = statement(STAY, institution_name="试验医院", key=KEY).code
    assert PERSON not in code
    assert "试验甲" not in code


def test_amounts_are_written_in_capitals():
    page = statement(STAY, institution_name="试验医院", key=KEY)
    assert (page.total_in_capitals, page.cash_in_capitals) == ("壹仟零伍拾元整", "壹佰柒拾伍元整")


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        pytest.param({"provisional": True}, KEY, "未经中心确认", id="settled locally so far"),
        pytest.param({}, None, "没有配置密钥", id="no key on this machine"),
    ],
)
def test_where_there_is_no_check_value_the_paper_says_why(change, key, words):
    page = statement(replace(STAY, **change), institution_name="试验医院", key=key)
    assert (page.check, page.code) == ("", "")
    assert words in page.unchecked
    assert words in as_page(replace(STAY, **change), institution_name="试验医院", key=key)
    assert as_paper(replace(STAY, **change), institution_name="试验医院", key=key).startswith(b"%PDF-")


def test_the_same_settlement_is_the_same_pdf():
    once, again = (as_paper(STAY, institution_name="试验医院", key=KEY) for _ in range(2))
    assert once == again


def test_three_hundred_lines_take_pages():
    many = replace(STAY, packed_lines=pack_lines([*LINES] * 75))
    paper = as_paper(many, institution_name="试验医院", key=KEY)
    assert int(re.search(rb"/Type\s*/Pages\s*/Count\s*(\d+)", paper).group(1)) > 3
