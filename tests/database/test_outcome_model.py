"""Every sequence of steps about one claim, against a model of eight lines: the centre's answers, its books, its holds.

`python -m tests.database.test_outcome_model 5` is the long form: every sequence of five.
"""

from __future__ import annotations

import itertools
import sys
from datetime import timedelta

from center.outcomes.decide import decide
from center.outcomes.expiry import expire
from center.outcomes.prepare import prepare
from center.settling.settle import settle_submitted
from domain.identity import synthetic_citizen_id
from domain.messages import OutcomeDecided, OutcomeDecision, PrepareAsked
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    FRONTEND,
    POLICY_VERSION,
    fill_center,
    rows_of,
    submitted,
    totals,
)

INTERVAL = timedelta(minutes=10)
STEPS = ("prepare", "confirm", "cancel", "settle", "pass")
"""`pass`: the interval goes by. The schedule looks after the last step only, so each step meets what has expired."""


class Model:
    """What the centre has under one key, and what it says to each step."""

    def __init__(self):
        self.state, self.since = "unknown", 0

    def step(self, what, now):
        if self.state == "prepared" and now > self.since and what != "pass":
            self.state = "expired"
        if what == "prepare" and self.state == "unknown":
            self.state, self.since = "prepared", now
        elif (what == "settle" and self.state == "unknown") or (what == "confirm" and self.state == "prepared"):
            self.state = "confirmed"
        elif what == "cancel" and self.state in ("unknown", "prepared"):
            self.state = "cancelled"
        return self.state


def play(engine, shelf, serial, sequence):
    """What was told after each step, and what the model says."""
    claim = totals(1, visit_no=f"M{serial:015d}", citizen_id_no=synthetic_citizen_id(serial))
    decision = OutcomeDecision(claim.institution_code, claim.visit_no, claim.charge_batch_no, True)
    model, passed, told, expected = Model(), 0, [], []
    for what in sequence:
        at = AT + passed * INTERVAL
        expected.append(model.step(what, passed))
        if what == "pass":
            passed += 1
            told.append(expected[-1])
        elif what == "prepare":
            asked = PrepareAsked(policy_version=POLICY_VERSION, catalogue_version=CATALOGUE_VERSION, claims=(claim,))
            told += [
                each.state
                for each in prepare(engine, shelf, asked, frontend=FRONTEND, at=at, interval=INTERVAL).outcomes
            ]
        elif what == "settle":
            (answer,) = settle_submitted(engine, shelf, submitted(claim), frontend=FRONTEND, at=at).answers
            told.append(STATE_BY_REFUSAL[answer.refusal])
        else:
            decided = OutcomeDecided(decisions=(decision._replace(confirm=what == "confirm"),))
            told += [each.state for each in decide(engine, decided, frontend=FRONTEND, at=at).outcomes]
    with engine.begin() as connection:
        expire(connection, at=AT + (passed + 1) * INTERVAL)
    return [str(each) for each in told], expected, model.state


STATE_BY_REFUSAL = {"": "confirmed", "busy": "prepared", "cancelled": "cancelled", "prepare-expired": "expired"}


def check(engine, shelf, length):
    """Play every sequence that neither begins nor ends with waiting; how many.

    Raises AssertionError with the first that goes another way.
    """
    count = 0
    for serial, sequence in enumerate(itertools.product(STEPS, repeat=length)):
        if "pass" in (sequence[0], sequence[-1]):
            continue
        told, expected, state = play(engine, shelf, serial, sequence)
        assert told == expected, (sequence, told, expected)
        visit = f"M{serial:015d}"
        books = rows_of(engine, "SELECT count(*) FROM settlement WHERE visit_no = :v", v=visit)
        held = rows_of(engine, "SELECT held_until FROM person WHERE citizen_id_no = :n", n=synthetic_citizen_id(serial))
        assert (books, held) == ([(int(state == "confirmed"),)], [(None,)]), sequence
        count += 1
    return count


def test_every_sequence_of_three_steps_goes_as_the_model_says(center_engine):
    shelf = fill_center(center_engine, persons=len(STEPS) ** 3)
    assert check(center_engine, shelf, 3) == 80


def main(length):
    """The long form, on a PostgreSQL of its own."""
    import tempfile
    from pathlib import Path

    from center import schema
    from infra.database import open_database
    from infra.embedded import postgres
    from infra.supervisor import Supervisor

    with (
        tempfile.TemporaryDirectory() as folder,
        Supervisor(Path(folder) / "data", say=lambda line: None) as supervisor,
    ):
        database = postgres.prepare(Path(folder) / "database", port=0, databases=["postgres", "model"])
        supervisor.start(database.service)
        engine = open_database(database.urls["model"])
        schema.upgrade(engine)
        count = check(engine, fill_center(engine, persons=len(STEPS) ** length), length)
        engine.dispose()
    print(f"{count} sequences of {length} steps go as the model says")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
