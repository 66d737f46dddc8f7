"""Leased entitlements at a front-end: asked for, kept once, never older, gone after a while; no number in them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text

from domain.entitlement import Entitlement
from domain.identity import synthetic_citizen_id
from domain.messages import PersonAnswered, PersonAsked
from infra import lanes
from infra.clock import SHANGHAI
from tests.support.frontend import new_frontend
from workers.entitlement import OFFLINE, ask, forget, keep, last_known, leased, move
from workers.tables import entitlement

AT = datetime(2026, 3, 2, 9, 30, tzinfo=SHANGHAI)
SOMEBODY, OTHER = synthetic_citizen_id(1), synthetic_citizen_id(2)


def held(number=SOMEBODY, **change):
    known = Entitlement(
        citizen_id_no=number,
        known=True,
        entitled=True,
        scheme="employee",
        category="1",
        account_balance_fen=5000,
        accumulators=(("basic:3:fund:-:2026", 700),),
        version=4,
        leased_until=AT + timedelta(minutes=30),
    )
    return known._replace(**change)


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def kept(engine, *rows, at=AT, local=()):
    return keep(engine, PersonAnswered(entitlements=rows, settling_locally=local), at=at)


def found(engine, number=SOMEBODY, at=AT):
    with engine.connect() as connection:
        return leased(connection, number, at=at)


class Sent:
    """A link that takes so many messages."""

    def __init__(self, takes=10):
        self.takes, self.sent = takes, []

    def send(self, task, lane, message, shown):
        self.takes -= 1
        if self.takes < 0:
            return False
        self.sent.append((task, lane, message, shown))
        return True


def test_what_the_centre_said_is_found_while_the_lease_holds(engine):
    assert kept(engine, held()) == 1

    assert found(engine) == held()
    assert found(engine, OTHER) is None
    assert found(engine, at=AT + timedelta(minutes=30)) is None


def test_the_same_answer_again_changes_nothing_and_an_older_one_neither(engine):
    kept(engine, held())

    assert kept(engine, held()) == 0
    assert kept(engine, held(version=3, account_balance_fen=9000)) == 0
    assert found(engine).account_balance_fen == 5000


def test_a_newer_version_and_a_longer_lease_take_the_place(engine):
    kept(engine, held())

    assert kept(engine, held(leased_until=AT + timedelta(hours=1))) == 1
    assert found(engine, at=AT + timedelta(minutes=45)) is not None
    assert kept(engine, held(version=5, account_balance_fen=1)) == 1
    assert found(engine).account_balance_fen == 1


def test_who_is_unknown_now_is_held_no_longer(engine):
    kept(engine, held())

    kept(engine, Entitlement(SOMEBODY, known=False))

    assert found(engine) is None


def test_after_its_lease_a_row_says_who_somebody_is_for_a_day_and_then_goes(engine):
    kept(engine, held())
    end = AT + timedelta(minutes=30)
    with engine.connect() as connection:
        assert last_known(connection, SOMEBODY, at=end + OFFLINE) == held()
        assert last_known(connection, SOMEBODY, at=end + OFFLINE + timedelta(seconds=1)) is None

    kept(engine, held(OTHER, leased_until=end + 2 * OFFLINE), at=end + OFFLINE + timedelta(seconds=1))

    with engine.connect() as connection:
        assert len(connection.execute(select(entitlement)).all()) == 1


def test_no_identity_number_stands_in_the_database(engine):
    kept(engine, held())

    with engine.connect() as connection:
        (row,) = connection.execute(select(entitlement)).all()
    assert all(SOMEBODY.encode() not in value for value in row if isinstance(value, bytes))


def test_our_own_settlements_count_from_the_version_they_started_from(engine):
    kept(engine, held())
    after = held(version=5, account_balance_fen=4000)

    with engine.begin() as connection:
        assert move(connection, {SOMEBODY: (4, after)}) == {SOMEBODY}
        assert move(connection, {SOMEBODY: (4, after), OTHER: (1, after)}) == set()

    assert found(engine) == after


def test_what_is_doubted_is_forgotten(engine):
    kept(engine, held(), held(OTHER))

    with engine.begin() as connection:
        forget(connection, [SOMEBODY])

    assert found(engine) is None
    assert found(engine, OTHER) is not None


def test_a_question_names_each_person_once_and_shows_none():
    link = Sent()

    assert ask(link, [OTHER, SOMEBODY, OTHER])

    assert link.sent == [(lanes.PERSONS_ASK, lanes.ADMIN, PersonAsked(citizens=(SOMEBODY, OTHER)), {"persons": 2})]


def test_many_persons_are_several_questions_and_a_broker_that_is_away_gets_none():
    many = [synthetic_citizen_id(serial) for serial in range(301)]
    link = Sent()

    assert ask(link, many)
    assert [len(message.citizens) for _, _, message, _ in link.sent] == [300, 1]
    assert ask(Sent(0), []) is True
    assert ask(Sent(0), many) is False


def test_a_lease_is_found_by_its_key(engine):
    with engine.connect() as connection:
        plan = connection.execute(text("EXPLAIN QUERY PLAN SELECT * FROM entitlement WHERE person_key IN (x'00')"))
        assert "SEARCH entitlement USING INDEX" in str(plan.all())
