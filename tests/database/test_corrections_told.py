"""A correction reaches the institution: told until it is heard, recorded once, handed to the HIS, refunded like any."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from center.approving import decisions
from center.correcting import actions, telling
from center.reconciling import books as center_books
from domain.lifecycle import ClaimState
from domain.messages import BooksAsked, CorrectionHeard
from infra import lanes
from infra.database import reading
from tests.support.center import FRONTEND, OTHER_FRONTEND, fill_center, rows_of, synthetic_citizen_id
from tests.support.frontend import CLINIC, DAY, HOSPITAL, NOON, new_frontend, shelf
from tests.support.line import Line
from tests.support.two_books import BALANCE, City
from tests.support.visits import charge, deliver, delivery, outpatient, registered
from workers import books, corrections, refund
from workers.claims import outcomes
from workers.tables import claim
from workers.visits import to_hand_out

LATER = NOON + timedelta(hours=1)


@pytest.fixture(scope="module")
def city(tmp_path_factory, center_engine):
    center_shelf = fill_center(center_engine, persons=20, balance_fen=BALANCE)
    engine = new_frontend(f"sqlite:///{tmp_path_factory.mktemp('site')}/frontend.db", HOSPITAL, CLINIC)
    yield City(engine, center_engine, center_shelf)
    engine.dispose()


def settled(city, person, lines):
    (visit_no,) = registered(city.engine, outpatient(citizen_id_no=person))
    deliver(city.engine, delivery(visit_no, *(charge(number) for number in range(1, lines + 1))))
    city.settle(visit_no, final=False)
    return visit_no


def corrected(city, person):
    """Two visits, the first taken back, the second corrected at the centre; both visit numbers."""
    early, late = settled(city, person, 5), settled(city, person, 4)
    _, answered = city.refund(early, 1, at=NOON)
    assert answered.refusal == ""
    with city.center.begin() as connection:
        refunded = actions.find(connection, early, 1)
        number = actions.propose(connection, refunded, by="张三", reason="退费后更正", at=NOON)
    outcome = decisions.approve(city.center, number, by="李四", at=LATER)
    assert outcome.state == "approved", outcome.words
    return early, late


def due(city, now):
    with city.center.begin() as connection:
        return telling.due(connection, now=now, after_seconds=8.0)


def told_of(city, visit_no, now):
    """What is told of this visit; what other tests left unheard is told, too."""
    (message,) = [message for _, message in due(city, now=now) if message.visit_no == visit_no]
    return message


def record(city, message):
    with city.engine.begin() as connection:
        return corrections.record(connection, message, at=LATER)


def hear(city, message, frontend=FRONTEND):
    with city.center.begin() as connection:
        heard = CorrectionHeard(correction_no=message.correction_no)
        return telling.heard(connection, heard, frontend=frontend, at=LATER)


def claims_of(city, visit_no):
    with city.engine.connect() as connection:
        columns = claim.c.charge_batch_no, claim.c.kind, claim.c.state, claim.c.total_fen, claim.c.refunded_by
        rows = connection.execute(select(*columns).where(claim.c.visit_no == visit_no).order_by(claim.c.claim_id))
        return [tuple(row) for row in rows]


def test_it_is_told_until_it_is_heard_recorded_once_and_handed_out(city):
    person = synthetic_citizen_id(1)
    early, late = corrected(city, person)

    ((frontend, message),) = due(city, now=0.0)
    assert (frontend, message.visit_no, message.charge_batch_no) == (FRONTEND, late, 1)
    assert due(city, now=7.0) == [], "not before its time"
    assert due(city, now=8.0) == [(frontend, message)], "lost, so told again"

    assert record(city, message)
    assert record(city, message), "twice is once"
    assert not hear(city, message, OTHER_FRONTEND), "only the front-end it concerns"
    assert hear(city, message)
    assert not hear(city, message)
    assert due(city, now=10_000.0) == []

    assert claims_of(city, late) == [
        (1, "normal", ClaimState.SETTLED, 10_000, 9001),
        (9001, "contra", ClaimState.SETTLED, -10_000, None),
        (9002, "resettled", ClaimState.SETTLED, 10_000, None),
    ]
    with city.engine.connect() as connection:
        told = outcomes(connection, [(late, number) for number in (1, 9001, 9002)])
    amounts = {number: each.amounts for (_, number), each in told.items()}
    assert amounts[9001].fund_pay_fen == -amounts[1].fund_pay_fen
    assert amounts[9002].fund_pay_fen != amounts[1].fund_pay_fen
    with reading(city.engine) as connection:
        offered = to_hand_out(connection, HOSPITAL, at=LATER, limit=100)
    assert {(each.visit_no, each.number) for each in offered} >= {(late, 1)}

    alone = synthetic_citizen_id(2)
    settled(city, alone, 4)
    of_visits = [key for key in city.standing(person)[0] if "stay/" not in key]
    assert {key: city.standing(person)[0][key] for key in of_visits} == {
        key: city.standing(alone)[0][key] for key in of_visits
    }
    assert city.standing(person)[1] == city.standing(alone)[1]
    with city.engine.connect() as connection:
        reported = books.report(connection, BooksAsked(day=DAY))
    with city.center.begin() as connection:
        asked = center_books.reconcile(reported, frontend=FRONTEND, connection=connection, at=LATER)
    assert asked is None, "the two books agree"
    assert early != late


def test_what_it_was_corrected_to_is_refunded_under_a_number_of_the_front_end(city):
    person = synthetic_citizen_id(3)
    _, late = corrected(city, person)
    message = told_of(city, late, now=20_000.0)
    record(city, message)

    outcome, answered = city.refund(late, 9002, at=LATER)

    assert (outcome.contra_batch_no, answered.refusal) == (2, "")
    assert city.standing(person) == ({}, BALANCE)


def test_a_correction_before_the_settlements_own_answer_waits(city):
    person = synthetic_citizen_id(4)
    _, late = corrected(city, person)
    message = told_of(city, late, now=30_000.0)
    forget = "UPDATE claim SET state = :state WHERE visit_no = :v AND charge_batch_no = 1"
    with city.engine.begin() as connection:
        connection.execute(text(forget), {"state": "totalled", "v": late})
    assert not record(city, message)
    assert len(claims_of(city, late)) == 1
    with city.engine.begin() as connection:
        connection.execute(text(forget), {"state": "settled", "v": late})
    assert record(city, message)


def test_a_refund_asked_of_what_is_being_corrected_is_refused_and_the_correction_stays(city):
    person = synthetic_citizen_id(5)
    _, late = corrected(city, person)
    _, answered = city.refund(late, 1, at=LATER)
    assert answered.refusal == "refunded-already"
    message = told_of(city, late, now=40_000.0)
    assert record(city, message)
    assert [(number, state, by) for number, _, state, _, by in claims_of(city, late)] == [
        (1, ClaimState.SETTLED, 9001),
        (2, ClaimState.REFUSED, None),
        (9001, ClaimState.SETTLED, None),
        (9002, ClaimState.SETTLED, None),
    ]


def test_a_late_refusal_does_not_undo_the_link_of_a_correction(city):
    person = synthetic_citizen_id(6)
    _, late = corrected(city, person)
    refund.refund(city.engine, shelf(), HOSPITAL, late, 1, reason="误", at=LATER)
    city.asked = []
    refund.send_due(city, now=1.0, after_seconds=1.0)
    message = told_of(city, late, now=50_000.0)
    assert record(city, message)
    answered = refund.RefundAnswered(
        institution_code=HOSPITAL, visit_no=late, charge_batch_no=1, contra_batch_no=2, refusal="refunded-already"
    )
    with city.engine.begin() as connection:
        refund.record(connection, answered, at=LATER)
    assert claims_of(city, late)[0] == (1, "normal", ClaimState.SETTLED, 10_000, 9001)


def test_the_centre_notes_whom_it_told_and_how_often(city):
    person = synthetic_citizen_id(7)
    _, late = corrected(city, person)
    for now in (60_000.0, 60_008.0, 60_024.0):
        told_of(city, late, now)
    rows = rows_of(city.center, "SELECT attempts, due_at FROM correction WHERE visit_no = :v", v=late)
    assert rows == [(3, 60_024.0 + 32.0)]


def test_over_a_line_that_loses_messages_both_sides_know_in_the_end(city, center_database_url, tmp_path):
    """The tasks of both sides: the first telling is lost, then the answer to the second."""
    person = synthetic_citizen_id(8)
    _, late = corrected(city, person)
    line = Line(tmp_path, city.engine, center_database_url)
    line.clock.elapsed = 2_000_000.0
    lost = [lanes.CLAIMS_CORRECTED, lanes.CORRECTIONS_HEARD]

    def loses(task):
        if task in lost:
            lost.remove(task)
            return True
        return False

    line.loses = loses
    unheard = "SELECT count(*) FROM correction WHERE heard_at IS NULL AND visit_no = :v"
    states = []
    try:
        for _ in range(3):
            line._run(lanes.CORRECTIONS_TICK)
            line.carry()
            states.append((len(claims_of(city, late)), rows_of(city.center, unheard, v=late)[0][0]))
            line.clock.pass_by(700.0)
    finally:
        line.close()
    assert lost == []
    assert states[-1] == (3, 0)
    assert states[0] in {(1, 1), (3, 1), (3, 0)}
