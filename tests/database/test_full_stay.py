"""One stay from its registration to its refund, front-end and centre each with a database: every sum is zero again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from center.reconciling import books as center_books
from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState, VisitState
from domain.messages import BooksAsked, RefundAnswered
from domain.visit import Discharge
from tests.support.center import FRONTEND, fill_center
from tests.support.frontend import CLINIC, DAY, HOSPITAL, NOON, new_frontend, shelf
from tests.support.two_books import BALANCE, City
from tests.support.visits import charge, codes, deliver, delivery, give_back, outpatient, registered, registration
from workers import books, refund
from workers.claims import outcomes
from workers.tables import claim
from workers.visits import Per, discharge, handed_out, settle_visit, to_hand_out


@pytest.fixture(scope="module")
def city(tmp_path_factory, center_engine):
    center_shelf = fill_center(center_engine, persons=20, balance_fen=BALANCE)
    engine = new_frontend(f"sqlite:///{tmp_path_factory.mktemp('site')}/frontend.db", HOSPITAL, CLINIC)
    yield City(engine, center_engine, center_shelf)
    engine.dispose()


def test_a_stay_with_corrections_two_settlements_and_a_refund_leaves_nothing_behind(city):
    person = synthetic_citizen_id(3)
    (visit_no,) = registered(city.engine, registration(citizen_id_no=person), at=NOON - timedelta(days=4))

    # Three days of lines; on the second one is wrong and is corrected.
    days = [DAY - timedelta(days=back) for back in (4, 3, 2)]
    for number, day in enumerate(days):
        at = NOON - timedelta(days=(DAY - day).days)
        lines = [charge(10 * number + place, day) for place in (1, 2, 3)]
        if number == 1:
            wrong = lines[1]._replace(line_amount_fen=1)
            (bad,) = deliver(city.engine, delivery(visit_no, lines[0], wrong, lines[2]), at=at)
            assert codes(bad) == ["00", "14", "00"]
            assert "还有 1 条" in settle_visit(city.engine, HOSPITAL, visit_no, final=False, at=at).words
        deliver(city.engine, delivery(visit_no, *lines), at=at)
    interim = city.settle(visit_no, at=NOON - timedelta(days=2))

    # More lines, one of them given back, then the end.
    deliver(city.engine, delivery(visit_no, *(charge(number, DAY - timedelta(days=1)) for number in range(31, 36))))
    deliver(city.engine, delivery(visit_no, give_back(36, -200, DAY - timedelta(days=1))), per=Per.ROW)
    final = city.settle(visit_no, final=True)
    left = Discharge(visit_no=visit_no, discharge_date=DAY, discharge_diagnosis_1="肺炎")
    discharge(city.engine, HOSPITAL, left, at=NOON)

    with city.engine.connect() as connection:
        settled = outcomes(connection, [(visit_no, 1), (visit_no, 2)])
    assert [settled[visit_no, number].amounts.total_fen for number in (1, 2)] == [9 * 2500, 4 * 2500]
    assert (interim.charge_batch_no, final.charge_batch_no) == (1, 2)
    assert city.view(visit_no).state is VisitState.CLOSED
    assert city.standing(person) != ({}, BALANCE)

    # The last first: the first one is refused by the centre, then both go.
    _, refused = city.refund(visit_no, 1, at=NOON + timedelta(hours=1))
    assert refused.refusal == "later-settlement"
    for batch_no in (2, 1):
        _, answered = city.refund(visit_no, batch_no, at=NOON + timedelta(hours=2), lost=2)
        assert isinstance(answered, RefundAnswered)
        assert answered.refusal == ""

    assert city.standing(person) == ({}, BALANCE)
    after = city.view(visit_no)
    assert (after.state, after.lines_unsettled, after.unsettled_fen) == (VisitState.DISCHARGED, 15, 13 * 2500)
    with city.engine.connect() as connection:
        sums = connection.execute(
            select(
                func.sum(claim.c.total_fen), func.sum(claim.c.fund_pay_fen), func.sum(claim.c.account_pay_fen)
            ).where(claim.c.visit_no == visit_no, claim.c.state == ClaimState.SETTLED)
        ).one()
    assert tuple(sums) == (0, 0, 0)
    told = _handed(city, visit_no)
    assert [amount for table, amount in told if table == "FYJS"] == ["225.00", "100.00", "-100.00", "-225.00"]
    assert sorted(table for table, _ in told if table != "FYJS") == ["CYDJ", "RYDJ"]
    assert _differences(city) == {}

    # And settled anew, all of it as the final settlement.
    anew = city.settle(visit_no, final=True, at=NOON + timedelta(hours=3))
    assert city.view(visit_no).state is VisitState.CLOSED
    with city.engine.connect() as connection:
        amounts = outcomes(connection, [(visit_no, anew.charge_batch_no)])[visit_no, anew.charge_batch_no].amounts
    assert amounts.total_fen == 13 * 2500


def test_a_partial_refund_is_the_contra_and_the_kept_lines_both_or_neither(city):
    person = synthetic_citizen_id(4)
    (visit_no,) = registered(city.engine, outpatient(citizen_id_no=person))
    deliver(city.engine, delivery(visit_no, charge(1), charge(2)))
    city.settle(visit_no)

    outcome, _ = city.refund(visit_no, 1, at=NOON + timedelta(hours=1), kept={1: 100}, lost=1)

    assert (outcome.contra_batch_no, outcome.resettled_batch_no) == (2, 3)
    with city.engine.connect() as connection:
        held = outcomes(connection, [(visit_no, number) for number in (1, 2, 3)])
    assert [held[visit_no, number].amounts.total_fen for number in (1, 2, 3)] == [5000, -5000, 1250]
    assert city.view(visit_no).lines_unsettled == 0, "the kept lines are settled, the others given back"
    assert _differences(city) == {}

    city.refund(visit_no, 3, at=NOON + timedelta(hours=2))
    assert city.standing(person) == ({}, BALANCE)


def test_a_refund_is_asked_once_however_often_the_desk_looks(city):
    (visit_no,) = registered(city.engine, outpatient(citizen_id_no=synthetic_citizen_id(5)))
    deliver(city.engine, delivery(visit_no, charge(1)))
    city.settle(visit_no)
    refund.refund(city.engine, shelf(), HOSPITAL, visit_no, 1, reason="误", at=NOON)
    city.asked = []

    sent = [refund.send_due(city, now=now, after_seconds=5.0) for now in (0.0, 1.0, 4.0, 6.0, 7.0)]

    assert sent == [1, 0, 0, 1, 0]
    assert city.asked[0] == city.asked[1]


def _handed(city, visit_no):
    """What the HIS is told of the visit, one result at a time, in order."""
    told = []
    while True:
        with city.engine.connect() as connection:
            waiting = to_hand_out(connection, HOSPITAL, at=NOON + timedelta(hours=9), limit=100)
        if not waiting:
            return told
        for each in waiting:
            if each.visit_no == visit_no:
                amount = each.records[0].get("total_amount")
                told.append((each.table, None if amount is None else str(amount)))
        handed_out(city.engine, [each.hand_out_id for each in waiting], at=NOON)


def _differences(city):
    """Where the books of the last days differ, once the front-end has reported its own."""
    for day in (DAY - timedelta(days=back) for back in range(5)):
        with city.engine.connect() as connection:
            reported = books.report(connection, BooksAsked(day=day))
        with city.center.begin() as connection:
            asked = center_books.reconcile(
                reported, frontend=FRONTEND, connection=connection, at=NOON + timedelta(days=1)
            )
            assert asked is None, "no lines are asked for: every number of the day is the same"
    with city.center.connect() as connection:
        return {code: fen for code, fen in center_books.differences(connection, since=DAY).items() if fen}
