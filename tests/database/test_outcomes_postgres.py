"""Decisions at a front-end on PostgreSQL, where two transactions can really run at once: one is first."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text, update

from domain.lifecycle import ClaimState
from domain.outcomes import Phase
from infra.database import open_database
from tests.support.frontend import HOSPITAL, NOON, new_frontend, rows, submission
from workers import intake
from workers.outcomes.decide import Against, Buried, Decided, cancel, cancel_key, confirm
from workers.tables import claim


@pytest.fixture(scope="module")
def engine(empty_database):
    new_frontend(empty_database).dispose()
    engine = open_database(empty_database, pool_size=6)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def _empty(engine):
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE claim, claim_content, verdict, tombstone"))


def at_once(*works):
    start, found = threading.Barrier(len(works)), [None] * len(works)

    def run(place, work):
        start.wait()
        found[place] = work()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found


def test_of_two_decisions_at_once_one_is_noted(engine):
    for turn in range(8):
        one = submission(HOSPITAL, f"key-{turn}", phase=Phase.PREPARE)
        (accepted,) = intake.accept(engine, [one], at=NOON)
        number = f"{accepted.visit_no}-1"
        with engine.begin() as connection:
            connection.execute(
                update(claim).where(claim.c.claim_id == accepted.claim_id).values(state=ClaimState.PREPARED)
            )
        confirmed, cancelled = at_once(
            lambda number=number: confirm(engine, HOSPITAL, number, at=NOON),
            lambda number=number: cancel(engine, HOSPITAL, number, at=NOON),
        )
        phase = rows(engine, claim.c.phase)[-1].phase
        if phase == Phase.CONFIRM:
            assert (confirmed.is_new, cancelled) == (True, Against.CONFIRMING)
        else:
            assert (confirmed, cancelled.is_new, phase) == (Against.CANCELLED, True, Phase.CANCEL)


def test_a_claim_and_the_cancellation_of_its_key_at_once(engine):
    for turn in range(8):
        key = f"key-{turn}"
        (accepted,), cancelled = at_once(
            lambda key=key: intake.accept(engine, [submission(HOSPITAL, key)], at=NOON),
            lambda key=key: cancel_key(engine, HOSPITAL, key, at=NOON),
        )
        if isinstance(accepted, intake.Accepted):
            assert isinstance(cancelled, Decided) and cancelled.state is ClaimState.CANCELLED
            assert rows(engine, claim.c.state)[-1].state == ClaimState.CANCELLED
        else:
            assert (accepted, cancelled) == (intake.Cancelled(), Buried())
