"""The gates before an institution: a bucket that outlives processes, doors that are closed with a word, keys kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from tests.support.frontend import CLINIC, HOSPITAL, NOON, new_frontend, states, submission
from tests.support.visits import outpatient
from workers.admission import DoorsClosed, TooFast, closed_because, why_closed
from workers.intake import Accepted, BacklogFull, Replayed, accept
from workers.tables import admission, institution
from workers.visits import NotReady, register


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def terms(engine, **changes):
    with engine.begin() as connection:
        connection.execute(update(institution).where(institution.c.institution_code == HOSPITAL).values(changes))


def hand_in(engine, *keys, at=NOON, code=HOSPITAL):
    return accept(engine, [submission(code, key=key) for key in keys], at=at)


def kinds(outcomes):
    return [type(outcome) for outcome in outcomes]


def test_more_than_the_burst_at_once_is_told_to_wait_and_its_key_is_free(engine):
    terms(engine, rate_per_second=2, burst=3)

    outcomes = hand_in(engine, *"abcde")

    assert kinds(outcomes) == [Accepted] * 3 + [TooFast] * 2
    assert outcomes[3].seconds == pytest.approx(0.5)
    assert len(states(engine)) == 3
    assert kinds(hand_in(engine, "a", "d", at=NOON + timedelta(seconds=0.5))) == [Replayed, Accepted]


def test_the_bucket_is_the_same_for_every_process_and_after_a_restart(engine, tmp_path):
    terms(engine, rate_per_second=2, burst=3)
    hand_in(engine, "a", "b")

    from infra.database import open_database

    other = open_database(f"sqlite:///{tmp_path}/frontend.db")
    assert kinds(hand_in(other, "c", "d")) == [Accepted, TooFast]
    other.dispose()
    assert kinds(hand_in(engine, "e")) == [TooFast]


def test_one_institutions_haste_is_not_anothers(engine):
    terms(engine, rate_per_second=1, burst=1)
    mixed = [submission(HOSPITAL, key="a"), submission(CLINIC, key="a"), submission(HOSPITAL, key="b"),
             submission(CLINIC, key="b")]  # fmt: skip

    assert kinds(accept(engine, mixed, at=NOON)) == [Accepted, Accepted, TooFast, Accepted]


def test_without_a_rate_nothing_is_counted(engine):
    assert kinds(hand_in(engine, *map(str, range(50)))) == [Accepted] * 50
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(admission)).scalar() == 0


def test_a_rate_without_a_burst_has_ten_seconds_of_it(engine):
    terms(engine, rate_per_second=2)

    assert kinds(hand_in(engine, *map(str, range(21)))).count(Accepted) == 20


def test_what_the_backlog_keeps_out_costs_nothing_of_the_bucket(engine):
    terms(engine, rate_per_second=1, burst=4, backlog_cap=2)
    assert kinds(hand_in(engine, *"abc")) == [Accepted, Accepted, BacklogFull]

    terms(engine, backlog_cap=100)
    assert kinds(hand_in(engine, *"cde")) == [Accepted, Accepted, TooFast]


def test_closed_doors_say_why_and_what_came_before_is_still_answered(engine):
    (first,) = hand_in(engine, "a")
    terms(engine, suspended="协议暂停，2026-03-01 起")

    again, new = hand_in(engine, "a", "b")

    assert again == Replayed(first.claim_id, first.visit_no, first.charge_batch_no)
    assert new == DoorsClosed("本机构的受理已暂停：协议暂停，2026-03-01 起")
    assert states(engine) == ["accepted"]
    terms(engine, suspended="")
    assert kinds(hand_in(engine, "b")) == [Accepted]


def test_nobody_is_registered_behind_closed_doors(engine):
    terms(engine, suspended="协议暂停")

    (outcome,) = register(engine, [outpatient()], at=NOON)

    assert isinstance(outcome, NotReady)
    assert outcome.words == "本机构的受理已暂停：协议暂停"


@pytest.mark.parametrize("standing", ["moving_out", "moved", "moving_in"])
def test_an_institution_that_moves_has_closed_doors_too(engine, standing):
    terms(engine, standing=standing)

    with engine.connect() as connection:
        assert why_closed(connection, HOSPITAL)
        assert why_closed(connection, CLINIC) == ""
        assert why_closed(connection, "unknown") == ""
        row = connection.execute(select(institution).where(institution.c.institution_code == HOSPITAL)).one()
    assert closed_because(row) == why_closed_of(engine)


def why_closed_of(engine):
    with engine.connect() as connection:
        return why_closed(connection, HOSPITAL)
