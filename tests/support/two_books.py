"""A front-end and a centre, each with a database; what travels between them is handed over in the test."""

from __future__ import annotations

from center.settling.refund import refund as take_back
from center.settling.settle import settle_submitted
from domain.messages import TotalsSubmitted
from tests.support.center import FRONTEND, first, rows_of
from tests.support.frontend import HOSPITAL, NOON, shelf
from workers import deliver as delivering
from workers import desk, refund
from workers.visits import find, settle_visit

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
