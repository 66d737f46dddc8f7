"""Every code with the line that gets it and the neighbour that does not; then the claim as a whole."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalogue import Catalogue, CatalogueItem, Match
from domain.checks import (
    CHECKS,
    GOOD,
    NOT_LOOKED_UP,
    RowSays,
    Setting,
    Standing,
    Unsettled,
    Verdict,
    check_delivery,
    check_lines,
    standing_of,
    verdict,
)
from domain.codes import CODES, PASSED
from domain.lifecycle import VisitState
from domain.visit import ChargeLine, Visit, VisitType

REGISTERED = date(2026, 3, 1)
TODAY = date(2026, 3, 3)
VISIT = Visit(
    visit_no="F001260301000001",
    institution_code="H1",
    citizen_id_no="",
    visit_type=VisitType.OUTPATIENT,
    visit_date=REGISTERED,
)
LINE = ChargeLine(1, date(2026, 3, 2), "L1", "阿莫西林胶囊", 2, "", "", 125_000, 200, 2500)
ITEM = CatalogueItem("C1", "阿莫西林胶囊", "1", "1", "02", None)


def match(local_item_code, **change):
    return Match("H1", local_item_code, "1", "C1", "阿莫西林胶囊", "1", True)._replace(**change)


CATALOGUE = Catalogue(
    "v1",
    [ITEM, ITEM._replace(item_code="C10", stat_category="")],
    [
        match("L1"),
        match("L2"),
        match("L06", expiry_date=date(2026, 3, 1)),
        match("L07"),
        match("L07"),
        match("L08", coverage_class=""),
        match("L09", match_type=""),
        match("L10", centre_item_code="C10"),
    ],
)


def check(*lines):
    return check_lines(VISIT, lines, CATALOGUE, TODAY)


def codes(*lines):
    return [verdict.code for verdict in check(*lines).verdicts]


@pytest.mark.parametrize(
    ("code", "bad", "good"),
    [
        pytest.param("96", {"door_code": "96"}, {}, id="96 not readable"),
        pytest.param("90", {"door_code": "90"}, {}, id="90 visit unknown"),
        pytest.param("91", {"door_code": "91"}, {}, id="91 visit not open"),
        pytest.param("92", {"door_code": "92"}, {}, id="92 another institution's visit"),
        pytest.param("93", {"door_code": "93"}, {}, id="93 another person's visit"),
        pytest.param("96", {"line_no": 0}, {"line_no": 1}, id="96 numbers begin with 1"),
        pytest.param("96", {"line_no": 100_000}, {"line_no": 99_999}, id="96 a number of six digits"),
        pytest.param("96", {"local_item_code": "L" * 16}, {}, id="96 an item code of 16 bytes"),
        pytest.param("96", {"local_item_code": "甲" * 8}, {}, id="96 an item code of 16 bytes in GBK"),
        pytest.param("96", {"charge_category": 1000}, {"charge_category": 999}, id="96 a category of four digits"),
        pytest.param("96", {"quantity_1e2": 10**8}, {}, id="96 a quantity of nine digits"),
        pytest.param("01", {"line_no": None}, {}, id="01 no line number"),
        pytest.param("02", {"local_item_code": " "}, {"local_item_code": "L1"}, id="02 item code only blanks"),
        pytest.param("03", {"local_item_name": "　 "}, {"local_item_name": "x"}, id="03 item name only blanks"),
        pytest.param("04", {"charge_date": None}, {}, id="04 no charge date"),
        pytest.param(
            "05", {"charge_date": date(2026, 2, 28)}, {"charge_date": REGISTERED}, id="05 the day before registration"
        ),
        pytest.param("95", {"charge_date": date(2026, 3, 4)}, {"charge_date": TODAY}, id="95 tomorrow"),
        pytest.param(
            "06",
            {"local_item_code": "L06"},
            {"local_item_code": "L06", "charge_date": REGISTERED},
            id="06 the match ended the day before the charge",
        ),
        pytest.param("07", {"local_item_code": "L07"}, {}, id="07 two matches"),
        pytest.param("08", {"local_item_code": "L08"}, {}, id="08 incomplete match"),
        pytest.param("09", {"local_item_code": "L09"}, {}, id="09 no match type"),
        pytest.param("10", {"local_item_code": "L10"}, {}, id="10 no statistical category"),
        pytest.param("11", {"unit_price_1e4": None}, {}, id="11 no price"),
        pytest.param(
            "11",
            {"unit_price_1e4": 0},
            {"unit_price_1e4": 1, "quantity_1e2": 1_000_000, "line_amount_fen": 100},
            id="11 price zero",
        ),
        pytest.param("11", {"unit_price_1e4": -125_000, "line_amount_fen": -2500}, {}, id="11 the sign on the price"),
        pytest.param("12", {"quantity_1e2": None}, {}, id="12 no quantity"),
        pytest.param("12", {"quantity_1e2": 0}, {"quantity_1e2": 1, "line_amount_fen": 13}, id="12 quantity zero"),
        pytest.param("13", {"line_amount_fen": None}, {}, id="13 no amount"),
        pytest.param(
            "13",
            {"unit_price_1e4": 49, "quantity_1e2": 100, "line_amount_fen": 0},
            {"unit_price_1e4": 50, "quantity_1e2": 100, "line_amount_fen": 1},
            id="13 rounds to nothing",
        ),
        pytest.param("14", {"line_amount_fen": 2501}, {}, id="14 one fen too much"),
        pytest.param("14", {"line_amount_fen": -2500}, {}, id="14 the sign on the amount alone"),
        pytest.param(
            "14",
            {"unit_price_1e4": 150, "quantity_1e2": 100, "line_amount_fen": 1},
            {"unit_price_1e4": 150, "quantity_1e2": 100, "line_amount_fen": 2},
            id="14 half a fen goes away from zero",
        ),
    ],
)
def test_a_line_gets_its_code_and_its_neighbour_does_not(code, bad, good):
    found = check(LINE._replace(**bad))
    assert [verdict.code for verdict in found.verdicts] == [code]
    assert not found.passed
    assert check(LINE._replace(**good))[:3] == ([CATALOGUE.on("H1", "L1", TODAY)], [GOOD], True)


@pytest.mark.parametrize(
    ("change", "all_codes"),
    [
        pytest.param({"line_no": None, "local_item_name": ""}, ("01", "03"), id="both are told, the first one counts"),
        pytest.param({"local_item_code": "", "charge_date": None}, ("02", "04"), id="nothing to look up"),
        pytest.param({"local_item_code": "LX", "unit_price_1e4": None}, ("06", "11"), id="11 leaves 14 aside"),
        pytest.param(
            {"unit_price_1e4": None, "quantity_1e2": None, "line_amount_fen": None}, ("11", "12", "13"), id="no amounts"
        ),
        pytest.param({"charge_date": date(2026, 2, 1), "line_amount_fen": 1}, ("05", "14"), id="05 before 14"),
        pytest.param({"door_code": "92", "line_no": None}, ("92",), id="a door's code ends it"),
    ],
)
def test_the_first_code_goes_back_and_all_are_logged(change, all_codes):
    (found,) = check(LINE._replace(**change)).verdicts
    assert found == Verdict(all_codes[0], all_codes)


def test_a_repeated_line_number_is_the_later_lines_fault():
    assert codes(LINE, LINE, LINE._replace(line_no=2)) == ["00", "94", "00"]
    assert codes(LINE._replace(line_no=None), LINE._replace(line_no=None)) == ["01", "01"]


def test_good_lines_keep_00_beside_a_bad_one():
    found = check(LINE, LINE._replace(line_no=2, line_amount_fen=1), LINE._replace(line_no=3))
    assert [verdict.code for verdict in found.verdicts] == ["00", "14", "00"]
    assert not found.passed


def sold(line_no, quantity, amount, item="L1", price=10_000):
    return ChargeLine(line_no, TODAY, item, "项目", 1, "", "", price, quantity, amount)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([sold(1, 500, 500), sold(2, -500, -500)], ["00", "00"], id="everything given back"),
        pytest.param([sold(1, 500, 500), sold(2, -501, -501)], ["00", "21"], id="one hundredth too much"),
        pytest.param([sold(1, -100, -100)], ["21"], id="nothing to give back from"),
        pytest.param(
            [sold(1, 500, 500), sold(2, -100, -100, "L2")], ["00", "21"], id="an item that was not charged (AMB-31)"
        ),
        pytest.param(
            [sold(1, 500, 500), sold(2, 100, 100, "L2"), sold(3, -100, -100, "L2")],
            ["00"] * 3,
            id="each item for itself",
        ),
        pytest.param(
            [sold(1, 200, 400, price=20_000), sold(2, -300, -300)], ["00", "21"], id="more pieces at a lower price"
        ),
        pytest.param(
            [sold(1, 900, 900, "L2"), sold(2, 300, 300), sold(3, -200, -400, price=20_000)],
            ["00", "00", "21"],
            id="given back at a higher price",
        ),
        pytest.param(
            [sold(1, -600, -600), sold(2, 100, 100, "L2"), sold(3, -50, -50, "L2"), sold(4, 500, 500)],
            ["21", "00", "21", "00"],
            id="too much in all touches every negative line",
        ),
    ],
)
def test_a_claim_gives_back_no_more_than_it_charged(lines, expected):
    found = check(*lines)
    assert [verdict.code for verdict in found.verdicts] == expected
    assert found.passed == (set(expected) == {"00"})


def test_the_claim_is_looked_at_only_when_every_line_is_good():
    assert codes(sold(1, -100, -100), sold(2, 100, 1)) == ["00", "14"]


def test_a_claim_without_lines_has_nothing_wrong():
    assert check() == ([], [], True, [])


STANDING = Standing("H1", "11010519491231002X", REGISTERED)
ORDER = ["96", "90", "91", "92", "93", "01", "94", "02", "03", "04", "05", "95", *(f"{n:02d}" for n in range(6, 15))]
"""validation_codes.csv and table D1 of the ambiguities: which check is asked before which."""


def test_the_checks_are_asked_in_the_order_of_the_specification():
    assert [code for code, _ in CHECKS] == ORDER


@pytest.mark.parametrize(
    ("standing", "line", "says", "all_codes"),
    [
        pytest.param(None, {}, RowSays(), ("90",), id="90 ends it: nothing is told of a visit we do not have"),
        pytest.param(None, {"line_no": 0}, RowSays(), ("96", "90"), id="96 before 90"),
        pytest.param(
            STANDING._replace(state=VisitState.CANCELLED), {"line_no": None}, RowSays(), ("91", "01"), id="91 before 01"
        ),
        pytest.param(
            STANDING._replace(state=VisitState.CLOSED),
            {},
            RowSays(["H2"]),
            ("91", "92"),
            id="91 before 92",
        ),
        pytest.param(STANDING, {"line_amount_fen": 1}, RowSays(["H2"]), ("92",), id="92 ends it"),
        pytest.param(STANDING, {"line_amount_fen": 1}, RowSays(["H1"], ["1"]), ("93",), id="93 ends it"),
        pytest.param(STANDING, {}, RowSays(["H1"], ["11010519491231002x "]), (), id="written otherwise"),
        pytest.param(
            STANDING._replace(discharge_date=date(2026, 3, 1)), {}, RowSays(), ("95",), id="95 after the discharge"
        ),
    ],
)
def test_a_line_is_checked_against_its_visit(standing, line, says, all_codes):
    found = check_delivery(standing, [LINE._replace(**line)], CATALOGUE, TODAY, says=says)
    assert found.verdicts[0].all_codes == all_codes
    assert found.passed == (all_codes == ())


@pytest.mark.parametrize(
    ("state", "quantity", "code"),
    [
        pytest.param(state, quantity, "00" if taken else "91", id=f"{state} {quantity}")
        for state, charge, reversal in [
            (VisitState.OPEN, True, True),
            (VisitState.SETTLED, False, False),
            (VisitState.DISCHARGED, False, True),
            (VisitState.CLOSED, False, False),
            (VisitState.CANCELLED, False, False),
        ]
        for quantity, taken in [(200, charge), (-200, reversal)]
    ],
)
def test_which_lines_a_visit_takes_depends_on_where_it_stands(state, quantity, code):
    line = LINE._replace(quantity_1e2=quantity, line_amount_fen=quantity * 125_000 // 10_000)
    held = STANDING._replace(state=state)
    found = check_delivery(held, [line], CATALOGUE, TODAY, unsettled=Unsettled(10_000, 0))
    assert found.verdicts[0].code == code


@pytest.mark.parametrize(
    ("unsettled", "codes_"),
    [
        pytest.param(Unsettled(2_500, 0), ["00", "00"], id="equality passes"),
        pytest.param(Unsettled(2_499, 0), ["21", "21"], id="one fen too much fails every negative line"),
        pytest.param(Unsettled(5_000, -2_501), ["21", "21"], id="with what was given back before"),
    ],
)
def test_21_is_asked_over_what_is_imported_and_not_settled(unsettled, codes_):
    lines = [LINE._replace(line_no=n, quantity_1e2=-100, line_amount_fen=-1250) for n in (7, 8)]
    found = check_delivery(STANDING, lines, CATALOGUE, TODAY, unsettled=unsettled)
    assert [each.code for each in found.verdicts] == codes_


DEFECTS = st.fixed_dictionaries(
    {},
    optional={
        "line_no": st.sampled_from([None, 0, 1, 2]),
        "charge_date": st.sampled_from([None, date(2026, 2, 28), REGISTERED, TODAY, date(2026, 3, 4)]),
        "local_item_code": st.sampled_from(["", " ", "L1", "L06", "L07", "L08", "L09", "L10", "LX"]),
        "local_item_name": st.sampled_from(["", " ", "x"]),
        "unit_price_1e4": st.sampled_from([None, -1, 0, 50, 125_000]),
        "quantity_1e2": st.sampled_from([None, 0, 100, 200]),
        "line_amount_fen": st.sampled_from([None, 0, 1, 1250, 2500, -2500]),
        "door_code": st.sampled_from(["", "", "90", "96"]),
    },
)


@given(st.lists(DEFECTS, max_size=6))
def test_the_short_way_for_good_lines_says_what_the_table_says(defects):
    lines = [LINE._replace(**defect) for defect in defects]
    expected, numbers = [], set()
    for line in lines:
        looked_up = line.charge_date is not None and line.local_item_code.strip()
        item = CATALOGUE.on("H1", line.local_item_code, line.charge_date) if looked_up else NOT_LOOKED_UP
        expected.append(verdict(line, Setting(standing_of(VISIT), TODAY, item, set(numbers))))
        numbers.add(line.line_no)
    assert check(*lines).verdicts == expected


def test_the_codes_are_those_of_the_specification():
    with (Path(__file__).parent / "validation_codes.csv").open(encoding="utf-8", newline="") as table:
        printed = {row["code"]: (row["message_zh"], row["message_en"]) for row in csv.DictReader(table)}
    ours = {code: (row.message_zh, row.message_en) for code, row in CODES.items() if code < "90"}
    assert ours == printed
    assert set(CODES) - set(printed) == {"90", "91", "92", "93", "94", "95", "96"}


def test_every_code_says_what_to_do():
    assert all(row.message_zh and row.message_en and row.advice_zh for row in CODES.values())
    assert {code for code, _ in CHECKS} <= set(CODES)
    assert list(CODES) == sorted(CODES)
    assert PASSED in CODES
