"""Importing lines of registered visits: every code at the visit, all or nothing, each line once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.visit import Discharge
from producers.his.failed_lines import failed_here
from tests.support.frontend import CLINIC, DAY, HOSPITAL, NOON, PERSON, new_frontend
from tests.support.visits import (
    ADMITTED,
    charge,
    codes,
    deliver,
    delivery,
    flags,
    give_back,
    outpatient,
    registered,
)
from workers.line_warnings import warnings
from workers.visits import Per, discharge, failures, find, imported, settle_visit

OTHER_PERSON = "990101194001010015"


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


@pytest.fixture
def visit(engine):
    return registered(engine)[0]


def held(engine, visit_no):
    with engine.connect() as connection:
        return [line.line_no for line in imported(connection, visit_no)]


def open_codes(engine, visit_no):
    with engine.connect() as connection:
        return [found.code for found in failures(connection, HOSPITAL, visit_no=visit_no)]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        pytest.param("96", {"line": {"door_code": "96"}}, id="96 undecodable"),
        pytest.param("96", {"line": {"line_no": 0}}, id="96 number 0"),
        pytest.param("96", {"line": {"line_no": 100_000}}, id="96 number of six digits"),
        pytest.param("96", {"line": {"local_item_code": "项目编号太长了啊"}}, id="96 item code of 16 bytes"),
        pytest.param("90", {"visit_no": "X00001260302ZZZZ"}, id="90 unknown visit"),
        pytest.param("90", {"visit_no": ""}, id="90 empty"),
        pytest.param("92", {"institution_codes": [CLINIC]}, id="92 the row names another institution"),
        pytest.param("93", {"citizen_id_nos": [OTHER_PERSON]}, id="93 the row names another person"),
        pytest.param("01", {"line": {"line_no": None}}, id="01"),
        pytest.param("02", {"line": {"local_item_code": ""}}, id="02"),
        pytest.param("03", {"line": {"local_item_name": ""}}, id="03"),
        pytest.param("04", {"line": {"charge_date": None}}, id="04"),
        pytest.param("05", {"line": {"charge_date": ADMITTED - timedelta(days=1)}}, id="05"),
        pytest.param("95", {"line": {"charge_date": DAY + timedelta(days=1)}}, id="95"),
        pytest.param("06", {"line": {"local_item_code": "L999"}}, id="06"),
        pytest.param("11", {"line": {"unit_price_1e4": 0}}, id="11"),
        pytest.param("12", {"line": {"quantity_1e2": 0}}, id="12"),
        pytest.param("13", {"line": {"line_amount_fen": 0}}, id="13"),
        pytest.param("14", {"line": {"line_amount_fen": 2501}}, id="14"),
        pytest.param("21", {"line": {"quantity_1e2": -200, "line_amount_fen": -2500}}, id="21"),
    ],
)
@pytest.mark.parametrize("per", list(Per))
def test_a_line_gets_its_code_and_nothing_of_it_is_imported(engine, visit, code, change, per):
    rows = dict(change)
    line = charge(1)._replace(**rows.pop("line", {}))
    (verdicts,) = deliver(engine, delivery(rows.pop("visit_no", visit), line, **rows), per=per)

    assert (codes(verdicts), flags(verdicts), verdicts[0].imported_at) == ([code], [2], None)
    assert held(engine, visit) == []


def test_a_good_line_is_imported_and_says_when(engine, visit):
    (verdicts,) = deliver(engine, delivery(visit, charge(1), institution_codes=[HOSPITAL], citizen_id_nos=[PERSON]))

    assert verdicts == [("00", (), 1, NOON, ())]
    assert held(engine, visit) == [1]


@pytest.mark.parametrize(
    ("rows", "line", "expected"),
    [
        pytest.param({"visit_dates": [ADMITTED]}, {}, [], id="the registration's day"),
        pytest.param({"visit_dates": [None]}, {}, [], id="no day, as CFXM allows"),
        pytest.param({"visit_dates": [DAY]}, {}, ["W1"], id="another day: AMB-06"),
        pytest.param({}, {"charge_category": 17}, ["W2"], id="another category: AMB-39"),
        pytest.param({"visit_dates": [DAY]}, {"charge_category": 17}, ["W1", "W2"], id="both"),
    ],
)
def test_a_warning_is_kept_and_holds_up_nothing(engine, visit, rows, line, expected):
    for per in Per:
        (verdicts,) = deliver(engine, delivery(visit, charge(1, **line), **rows), per=per)
        assert (codes(verdicts), flags(verdicts)) == (["00"], [1])

    assert verdicts[0].warnings == (), "warned once, when it was imported"
    with engine.connect() as connection:
        found = warnings(connection, HOSPITAL, visit_no=visit)
        listed = failed_here(connection, HOSPITAL, visit_no=visit)
    assert sorted(each.code for each in found) == expected
    assert [each.is_warning for each in listed] == [True] * len(expected)
    assert open_codes(engine, visit) == []
    assert held(engine, visit) == [1]


def test_a_line_that_is_not_imported_gets_no_warning(engine, visit):
    deliver(engine, delivery(visit, charge(1), charge(2, line_amount_fen=1), visit_dates=[DAY, DAY]))
    with engine.connect() as connection:
        assert warnings(connection, HOSPITAL, visit_no=visit) == []


def test_a_number_of_fifteen_digits_is_the_same_person(engine):
    (visit_no,) = registered(engine, outpatient(citizen_id_no="110105491231002"))

    (verdicts,) = deliver(engine, delivery(visit_no, charge(1), citizen_id_nos=["110105491231002"]))

    assert codes(verdicts) == ["00"]


def test_another_institutions_visit_is_92_and_tells_nothing(engine):
    (theirs,) = registered(engine, outpatient(institution_code=CLINIC))

    (verdicts,) = deliver(engine, delivery(theirs, charge(1, DAY + timedelta(days=9))))

    assert verdicts[0].all_codes == ("92",)
    assert held(engine, theirs) == []


def test_files_import_all_of_a_visit_or_nothing_and_leave_other_visits_alone(engine):
    first, second = registered(engine, outpatient(), outpatient())
    lines = [charge(1), charge(2, line_amount_fen=1), charge(3)]

    mixed, good = deliver(engine, delivery(first, *lines), delivery(second, *[charge(1), charge(2)]))

    assert (codes(mixed), flags(mixed)) == (["00", "14", "00"], [0, 2, 0])
    assert [verdict.imported_at for verdict in mixed] == [None] * 3
    assert flags(good) == [1, 1]
    assert (held(engine, first), held(engine, second)) == ([], [1, 2])


def test_shared_tables_import_each_row_for_itself(engine, visit):
    (verdicts,) = deliver(engine, delivery(visit, charge(1), charge(2, line_amount_fen=1), charge(3)), per=Per.ROW)

    assert (codes(verdicts), flags(verdicts)) == (["00", "14", "00"], [1, 2, 1])
    assert held(engine, visit) == [1, 3]


@pytest.mark.parametrize("per", list(Per))
def test_a_reversal_that_is_too_large_keeps_all_of_the_visit_out(engine, visit, per):
    (verdicts,) = deliver(engine, delivery(visit, charge(1), give_back(2, -300)), per=per)

    assert (codes(verdicts), flags(verdicts)) == (["00", "21"], [0, 2])
    assert held(engine, visit) == []


def test_a_reversal_counts_against_what_was_imported_before_and_not_settled(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    (equal,) = deliver(engine, delivery(visit, give_back(2)))
    (more,) = deliver(engine, delivery(visit, give_back(3, -100)))
    assert (codes(equal), codes(more)) == (["00"], ["21"])

    deliver(engine, delivery(visit, charge(4), source="other"))
    deliver(engine, delivery(visit))
    settle_visit(engine, HOSPITAL, visit, final=False, at=NOON)
    (after,) = deliver(engine, delivery(visit, give_back(5)))
    assert codes(after) == ["21"], "what is settled is given back by a refund"


def test_a_line_read_twice_is_imported_once_and_answers_as_before(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    (again,) = deliver(engine, delivery(visit, charge(1), charge(2)), at=NOON + timedelta(hours=1))

    assert again == [("00", (), 1, NOON, ()), ("00", (), 1, NOON + timedelta(hours=1), ())]
    assert held(engine, visit) == [1, 2]


def test_the_same_number_with_other_content_is_refused_and_never_merged(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    other = charge(1, quantity_1e2=400, line_amount_fen=5000)
    (verdicts,) = deliver(engine, delivery(visit, other))

    assert (codes(verdicts), flags(verdicts)) == (["94"], [2])
    assert held(engine, visit) == [1]


def test_a_row_that_stands_twice_is_one_line(engine, visit):
    (verdicts,) = deliver(
        engine, delivery(visit, charge(1), charge(1), charge(1, local_item_name="另一个")), per=Per.ROW
    )

    assert (codes(verdicts), flags(verdicts)) == (["00", "00", "94"], [1, 1, 2])
    assert held(engine, visit) == [1]


def test_a_corrected_line_is_read_again_without_asking(engine, visit):
    deliver(engine, delivery(visit, charge(1), charge(2, line_amount_fen=1)))
    assert open_codes(engine, visit) == ["14"]

    deliver(engine, delivery(visit, charge(1), charge(2)), at=NOON + timedelta(hours=1))

    assert held(engine, visit) == [1, 2]
    assert open_codes(engine, visit) == []
    with engine.connect() as connection:
        (found,) = failures(connection, HOSPITAL, only_open=False)
    assert (found.code, found.line.line_no, found.gone_at) == ("14", 2, NOON + timedelta(hours=1))


def test_what_fails_as_it_did_before_is_logged_once(engine, visit):
    for _ in range(3):
        deliver(engine, delivery(visit, charge(1, line_amount_fen=1)))
    deliver(engine, delivery(visit, charge(1, line_amount_fen=2)))

    with engine.connect() as connection:
        found = failures(connection, HOSPITAL, only_open=False)
    assert [(each.line.line_amount_fen, each.gone_at is None) for each in found] == [(1, False), (2, True)]


def test_all_codes_are_in_the_log(engine, visit):
    bad = charge(1, ADMITTED - timedelta(days=1), local_item_name="", line_amount_fen=1)
    (verdicts,) = deliver(engine, delivery(visit, bad))

    assert verdicts[0].all_codes == ("03", "05", "14")
    with engine.connect() as connection:
        assert failures(connection, HOSPITAL)[0].all_codes == ("03", "05", "14")


def test_rows_that_went_away_hold_up_nothing(engine, visit):
    deliver(engine, delivery(visit, charge(1, line_amount_fen=1)))
    deliver(engine, delivery(visit))

    assert open_codes(engine, visit) == []


def test_a_number_that_comes_good_from_another_source_is_corrected(engine, visit):
    deliver(engine, delivery(visit, charge(1, line_amount_fen=1), source="CFXM0301.DBF"))
    deliver(engine, delivery(visit, charge(1), source="CFXM0302.DBF"))

    assert open_codes(engine, visit) == []


def test_after_discharge_only_reversals_come_in_and_nothing_is_later_than_it(engine, visit):
    deliver(engine, delivery(visit, charge(1, DAY - timedelta(days=2))))
    discharge(
        engine,
        HOSPITAL,
        Discharge(visit_no=visit, discharge_date=DAY - timedelta(days=1), discharge_diagnosis_1="肺炎"),
        at=NOON,
    )
    day = DAY - timedelta(days=1)
    (verdicts,) = deliver(
        engine, delivery(visit, charge(2, day), give_back(3, -100, day), give_back(4, -100)), per=Per.ROW
    )

    assert [verdict.all_codes for verdict in verdicts] == [("91",), (), ("95",)]
    assert held(engine, visit) == [1, 3]


def test_after_the_final_settlement_nothing_comes_in(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    settle_visit(engine, HOSPITAL, visit, final=True, at=NOON)

    (verdicts,) = deliver(engine, delivery(visit, charge(2), give_back(3, -100)), per=Per.ROW)

    assert codes(verdicts) == ["91", "91"]


STEP = st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(st.lists(STEP, min_size=1, max_size=3), min_size=1, max_size=6), per=st.sampled_from(list(Per)))
def test_however_deliveries_are_repeated_and_mixed_each_line_is_imported_once(tmp_path_factory, rounds, per):
    engine = new_frontend(f"sqlite:///{tmp_path_factory.mktemp('imports')}/frontend.db")
    (visit_no,) = registered(engine)
    offered = set()
    for deliveries in rounds:
        deliver(engine, *[delivery(visit_no, *map(charge, numbers)) for numbers in deliveries], per=per)
        offered.update(number for numbers in deliveries for number in numbers)
        assert sorted(held(engine, visit_no)) == sorted(offered)
    with engine.connect() as connection:
        view = find(connection, HOSPITAL, visit_no)
    assert (view.lines_imported, view.unsettled_fen) == (len(offered), 2500 * len(offered))
    engine.dispose()
