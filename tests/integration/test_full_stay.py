"""One stay from its registration to its refund, front-end and centre each with a database: every sum is zero again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from center import books as center_books
from center.settling.refund import refund as take_back
from center.settling.settle import settle_submitted
from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState, VisitState
from domain.messages import BooksAsked, RefundAnswered, TotalsSubmitted
from domain.visit import Discharge
from tests.support.center import FRONTEND, fill_center, first, rows_of
from tests.support.frontend import CLINIC, DAY, HOSPITAL, NOON, new_frontend, shelf
from tests.support.visits import charge, codes, deliver, delivery, give_back, outpatient, registered, registration
from workers import books, desk, refund
from workers import deliver as delivering
from workers.claims import outcomes
from workers.tables import claim
from workers.visits import Per, discharge, find, handed_out, settle_visit, to_hand_out

BALANCE = 1_000


class City:
    """A front-end on SQLite and a centre on PostgreSQL; what travels between them is handed over here."""

    def __init__(self, engine, center, center_shelf):
        self.engine, self.center, self.center_shelf = engine, center, center_shelf

    def settle(self, visit_no, *, final=False, at=NOON):
        outcome = settle_visit(self.engine, HOSPITAL, visit_no, final=final, at=at)
        self.turn(at)
        return outcome

    def turn(self, at=NOON):
        """The desk takes what waits, the centre settles it, the answers are recorded."""
        taken = desk.preprocess(self.engine, shelf(), HOSPITAL, limit=100, at=at, now=0.0)
        if not taken.totals:
            return
        submitted = TotalsSubmitted(
            policy_version=taken.policy_version, catalogue_version=taken.catalogue_version, claims=tuple(taken.totals)
        )
        answered = settle_submitted(self.center, self.center_shelf, submitted, frontend=FRONTEND, at=at)
        with self.engine.begin() as connection:
            delivering.record_answers(connection, answered, at=at)

    def send(self, task, lane, message, shown):
        """Stands for the frontend of `workers.refund.send_due`: the request reaches the centre, its answer is kept."""
        self.asked.append(message)
        return True

    def refund(self, visit_no, batch_no, *, at, lost=0, **options):
        """Ask, let the request and the answer be lost so many times, and record what came."""
        outcome = refund.refund(self.engine, shelf(), HOSPITAL, visit_no, batch_no, reason="收费有误", at=at, **options)
        answered = None
        for attempt in range(lost + 1):
            self.asked = []
            assert refund.send_due(self, now=attempt * 10_000.0, after_seconds=5.0) == 1
            answered = take_back(self.center, self.center_shelf, self.asked[0], frontend=FRONTEND, at=at)
        for _ in range(2):
            with self.engine.begin() as connection:
                refund.record(connection, answered, at=at)
        return outcome, answered

    def view(self, visit_no):
        with self.engine.connect() as connection:
            return find(connection, HOSPITAL, visit_no)

    def standing(self, number):
        sums = rows_of(
            self.center,
            "SELECT key, amount_fen FROM accumulator JOIN person USING (person_no)"
            " WHERE citizen_id_no = :number AND amount_fen <> 0",
            number=number,
        )
        balance = first(
            rows_of(self.center, "SELECT account_balance_fen FROM person WHERE citizen_id_no = :n", n=number)
        )
        return dict(sums), balance


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
            in_flight = timedelta(0)
            asked = center_books.reconcile(
                reported, frontend=FRONTEND, connection=connection, at=NOON + timedelta(days=1), in_flight=in_flight
            )
            assert asked is None, "no lines are asked for: every number of the day is the same"
    with city.center.connect() as connection:
        return {code: fen for code, fen in center_books.differences(connection, since=DAY).items() if fen}
