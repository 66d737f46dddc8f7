"""Registered visits on a front-end with PostgreSQL: the same promises as on SQLite, and many doors at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from domain.messages import ClaimAnswer, ClaimsAnswered, RefundAnswered
from domain.refund import taken_back
from domain.visit import Discharge
from infra.database import open_database
from tests.support.frontend import DAY, HOSPITAL, NOON, new_frontend, shelf
from tests.support.visits import charge, deliver, delivery, flags, give_back, outpatient, registered, registration
from workers import deliver as delivering
from workers import desk, refund
from workers.tables import claim
from workers.visits import (
    Per,
    Settling,
    discharge,
    find,
    handed_out,
    import_lines,
    imported,
    register,
    settle_visit,
    to_hand_out,
)


@pytest.fixture(scope="module")
def engine(empty_database):
    new_frontend(empty_database).dispose()
    engine = open_database(empty_database, pool_size=10)
    yield engine
    engine.dispose()


def at_once(work, count=12):
    with ThreadPoolExecutor(6) as pool:
        return [found.result() for found in [pool.submit(work, number) for number in range(count)]]


def answered(engine, settling):
    desk.preprocess(engine, shelf(), HOSPITAL, limit=100, at=NOON, now=1.0)
    said = ClaimAnswer(settling.visit_no, settling.charge_batch_no, settlement_no=7, fund_pay_fen=1000, settled_at=NOON)
    with engine.begin() as connection:
        delivering.record_answers(connection, ClaimsAnswered(answers=(said,)), at=NOON)
    return said


def test_many_doors_register_at_once_and_every_visit_has_its_number(engine):
    numbers = at_once(lambda _: registered(engine, outpatient(), registration()))

    assert len({number for pair in numbers for number in pair}) == 24


def test_one_key_at_many_doors_is_one_visit(engine):
    outcomes = at_once(lambda _: register(engine, [registration()], at=NOON, keys=["same"])[0])

    assert len({outcome.visit_no for outcome in outcomes}) == 1
    assert [outcome.is_new for outcome in outcomes].count(True) == 1


def test_the_same_rows_at_many_doors_are_imported_once(engine):
    (visit_no,) = registered(engine)
    rows = [charge(number) for number in range(1, 51)]

    at_once(lambda number: import_lines(engine, shelf(), [delivery(visit_no, *rows[number:])], at=NOON, per=Per.ROW))

    with engine.connect() as connection:
        assert sorted(line.line_no for line in imported(connection, visit_no)) == list(range(1, 51))


def test_a_visit_is_settled_once_however_many_ask(engine):
    (visit_no,) = registered(engine)
    deliver(engine, delivery(visit_no, charge(1)))

    outcomes = at_once(lambda _: settle_visit(engine, HOSPITAL, visit_no, final=False, at=NOON))

    assert [isinstance(outcome, Settling) for outcome in outcomes].count(True) == 1


def test_a_stay_goes_its_whole_way(engine):
    (visit_no,) = registered(engine)
    (verdicts,) = deliver(engine, delivery(visit_no, charge(1), charge(2, line_amount_fen=1)), per=Per.ROW)
    assert flags(verdicts) == [1, 2]
    deliver(engine, delivery(visit_no, charge(2), give_back(3, -100)), per=Per.ROW)
    settling = settle_visit(engine, HOSPITAL, visit_no, final=True, at=NOON)
    said = answered(engine, settling)
    left = Discharge(visit_no=visit_no, discharge_date=DAY, discharge_diagnosis_1="肺炎")
    discharge(engine, HOSPITAL, left, at=NOON)
    with engine.connect() as connection:
        assert find(connection, HOSPITAL, visit_no).state == "closed"

    asked = [refund.refund(engine, shelf(), HOSPITAL, visit_no, 1, reason="误", at=NOON, key="f") for _ in range(2)]
    assert [each.is_new for each in asked] == [True, False]
    contra = taken_back(said)._replace(charge_batch_no=2, settlement_no=8)
    answer = RefundAnswered(
        institution_code=HOSPITAL, visit_no=visit_no, charge_batch_no=1, contra_batch_no=2, answers=(contra,)
    )
    with engine.begin() as connection:
        assert refund.record(connection, answer, at=NOON) == 1
        assert refund.record(connection, answer, at=NOON) == 0
    with engine.connect() as connection:
        view = find(connection, HOSPITAL, visit_no)
        total = select(func.sum(claim.c.total_fen), func.sum(claim.c.fund_pay_fen)).where(claim.c.visit_no == visit_no)
        assert tuple(connection.execute(total).one()) == (0, 0)
    assert (view.state, view.lines_unsettled, view.final_batch_no) == ("discharged", 3, None)

    while True:
        with engine.connect() as connection:
            waiting = to_hand_out(connection, HOSPITAL, at=NOON.replace(hour=13), limit=500)
        told = [(each.table, each.number) for each in waiting if each.visit_no == visit_no]
        if not told:
            break
        assert len([table for table, _ in told if table == "FYJS"]) <= 1
        handed_out(engine, [each.hand_out_id for each in waiting], at=NOON)
