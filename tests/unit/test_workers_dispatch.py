"""The desk's memory: turns by weight, a stop while enough is unanswered, noisy tenants held back and let go."""

from __future__ import annotations

import logging
from datetime import timedelta
from fractions import Fraction

import pytest
from sqlalchemy import insert, select, update

from domain.fairness import LEAST_QUANTUM, LOWEST, NOISY_IN_FLIGHT
from domain.lifecycle import ClaimState
from tests.support.frontend import CLINIC, HOSPITAL, NOON, PHARMACY, hand_in, new_frontend, shelf
from workers import desk, tenants
from workers.dispatch import GATHER_SECONDS, LOOK_SECONDS, LOOKS_WHILE_OWED, SLOW_SECONDS, Dispatch
from workers.tables import claim, institution, tenant_conduct, tenant_use

BATCH, WITHIN, NOW = 5, 8.0, 1_000_000.0


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL, CLINIC, PHARMACY)
    yield engine
    engine.dispose()


@pytest.fixture
def dispatch(engine):
    return Dispatch(engine, BATCH, WITHIN)


def weigh(engine, code, **changes):
    with engine.begin() as connection:
        connection.execute(update(institution).where(institution.c.institution_code == code).values(changes))


def take(engine, dispatch, code, *, now=NOW, seconds=0.001):
    """One turn; how many claims it took, None when it had to wait."""
    allowed = dispatch.begin(code, now=now)
    if allowed is None:
        return None
    turn = desk.preprocess(engine, shelf(), code, limit=allowed.claims, grant=allowed.grant, at=NOON, now=now)
    took = len(turn.visits)
    dispatch.end(code, allowed, claims=took, work=turn.work, more=turn.more, seconds=seconds, now=now)
    return took


def answer(engine, code):
    with engine.begin() as connection:
        connection.execute(
            update(claim)
            .where(claim.c.institution_code == code, claim.c.state == ClaimState.TOTALLED)
            .values(state=ClaimState.SETTLED)
        )


def test_turns_are_as_long_as_the_weights_say(engine, dispatch):
    weigh(engine, CLINIC, weight=20)
    hand_in(engine, HOSPITAL, 40)
    hand_in(engine, CLINIC, 40, prefix="clinic")

    rounds = []
    for _ in range(3):
        rounds.append((take(engine, dispatch, HOSPITAL), take(engine, dispatch, CLINIC)))
        answer(engine, HOSPITAL)
        answer(engine, CLINIC)

    assert rounds == [(5, 10)] * 3


def test_a_stay_of_many_lines_is_paid_for_by_the_turns_after_it(engine, dispatch):
    hand_in(engine, HOSPITAL, 12)
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.claim_id == 1).values(line_count=400))

    turns = []
    for _ in range(3):
        turns.append(take(engine, dispatch, HOSPITAL))
        take(engine, dispatch, CLINIC)

    assert turns[:2] == [1, 0], "410 of 150 a turn"
    assert turns[2] > 0


def test_who_is_alone_pays_nothing(engine, dispatch):
    hand_in(engine, HOSPITAL, 12)
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.claim_id == 1).values(line_count=400))

    assert take(engine, dispatch, HOSPITAL) == 1
    assert take(engine, dispatch, HOSPITAL) > 0


def test_enough_unanswered_claims_stop_an_institution_and_nobody_else(engine, dispatch):
    hand_in(engine, HOSPITAL, 60)
    hand_in(engine, CLINIC, 1, prefix="clinic")
    took = [take(engine, dispatch, HOSPITAL) for _ in range(4)]

    assert took == [5, 5, 5, 5]
    assert take(engine, dispatch, HOSPITAL) is None
    assert take(engine, dispatch, CLINIC) == 1
    assert dispatch.due(now=NOW + LOOK_SECONDS) == []
    answer(engine, HOSPITAL)
    assert dispatch.due(now=NOW + LOOK_SECONDS) == [], "it was looked at a moment ago"
    assert dispatch.due(now=NOW + 2 * LOOK_SECONDS) == [HOSPITAL]
    assert dispatch.due(now=NOW + 3 * LOOK_SECONDS) == [], "it is told once"
    assert take(engine, dispatch, HOSPITAL) == 5


def test_a_quick_centre_is_sent_everything_at_once(engine, dispatch):
    for serial in range(3):
        hand_in(engine, HOSPITAL, 1, prefix=f"at {serial}")
        assert take(engine, dispatch, HOSPITAL, now=NOW + serial * SLOW_SECONDS / 3) == 1


def test_for_a_slow_centre_claims_are_gathered_and_not_for_long(engine, dispatch):
    hand_in(engine, HOSPITAL, 1)
    assert take(engine, dispatch, HOSPITAL) == 1
    hand_in(engine, HOSPITAL, 2, prefix="meanwhile")
    assert take(engine, dispatch, HOSPITAL, now=NOW + SLOW_SECONDS) is None
    assert dispatch.due(now=NOW + GATHER_SECONDS - 0.01) == []
    assert dispatch.due(now=NOW + GATHER_SECONDS) == [HOSPITAL]
    assert take(engine, dispatch, HOSPITAL, now=NOW + GATHER_SECONDS) == 2


def test_the_longer_the_centre_owes_an_answer_the_more_rarely_it_is_looked_for(engine, dispatch):
    hand_in(engine, HOSPITAL, 1)
    take(engine, dispatch, HOSPITAL)
    hand_in(engine, HOSPITAL, 1, prefix="meanwhile")
    owed = GATHER_SECONDS / 2
    assert take(engine, dispatch, HOSPITAL, now=NOW + owed) is None
    answer(engine, HOSPITAL)
    again = NOW + owed + owed / LOOKS_WHILE_OWED
    assert dispatch.due(now=again - 0.01) == []
    assert dispatch.due(now=again) == [HOSPITAL]


@pytest.mark.parametrize("happens", ["answered", "whole turn", "clock set back"])
def test_gathering_ends_as_soon_as_there_is_no_reason_to(engine, dispatch, happens):
    hand_in(engine, HOSPITAL, 1)
    take(engine, dispatch, HOSPITAL)
    hand_in(engine, HOSPITAL, 1, prefix="meanwhile")
    assert take(engine, dispatch, HOSPITAL, now=NOW + SLOW_SECONDS) is None
    later = NOW + SLOW_SECONDS + LOOK_SECONDS
    if happens == "answered":
        answer(engine, HOSPITAL)
    elif happens == "whole turn":
        hand_in(engine, HOSPITAL, BATCH - 1, prefix="many")
    else:
        later = NOW - 3600
    assert dispatch.due(now=later) == [HOSPITAL]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"waits_for": "frozen"}, id="held up at the centre"),
        pytest.param({"attempts": 2}, id="sent again"),
        pytest.param({"rung_at": NOW - 2 * WITHIN}, id="unanswered for long: lost on the way"),
    ],
)
def test_what_is_not_on_its_way_stops_nobody(engine, dispatch, change):
    hand_in(engine, HOSPITAL, 40)
    for _ in range(4):
        take(engine, dispatch, HOSPITAL)
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.state == ClaimState.TOTALLED).values(change))

    assert take(engine, dispatch, HOSPITAL) == 5


def noisy(engine, dispatch, looks, *, since=0):
    """The hospital takes all the time there is and has many claims waiting."""
    for look in range(looks):
        now = NOW + 2.0 * (since + look)
        allowed = dispatch.begin(CLINIC, now=now)
        dispatch.end(CLINIC, allowed, claims=1, work=LEAST_QUANTUM, more=False, seconds=0.1, now=NOW)
        allowed = dispatch.begin(HOSPITAL, now=now)
        dispatch.end(HOSPITAL, allowed, claims=5, work=5 * LEAST_QUANTUM, more=True, seconds=0.9, now=NOW)
        dispatch.note(now=now, at=NOON + timedelta(seconds=2 * look))


def lowered(engine):
    with engine.connect() as connection:
        return {one.institution_code: one.lowered for one in tenants.tenants(connection, now=NOW)}


def test_a_noisy_tenant_is_lowered_step_by_step_and_restored_and_all_of_it_is_written_down(engine, dispatch, caplog):
    hand_in(engine, HOSPITAL, NOISY_IN_FLIGHT)

    with caplog.at_level(logging.WARNING, "tenants"):
        noisy(engine, dispatch, 2)
        assert lowered(engine) == {HOSPITAL: 2, CLINIC: 0, PHARMACY: 0}
        noisy(engine, dispatch, 3, since=2)
        assert lowered(engine) == {HOSPITAL: LOWEST, CLINIC: 0, PHARMACY: 0}
        for look in range(40):
            dispatch.note(now=NOW + 100 + 2.0 * look, at=NOON)

    assert lowered(engine) == {HOSPITAL: 0, CLINIC: 0, PHARMACY: 0}
    with engine.connect() as connection:
        written = [(each.lowered_from, each.lowered_to) for each in tenants.changes_of(connection, HOSPITAL)]
        assert tenants.changes_of(connection, CLINIC) == []
    assert written == [(1, 0), (2, 1), (3, 2), (2, 3), (1, 2), (0, 1)]
    assert [record.message for record in caplog.records] == ["tenant_weight_lowered"] * 3 + [
        "tenant_weight_restored"
    ] * 3


def test_a_lowered_weight_shortens_turns_while_others_wait(engine, dispatch):
    hand_in(engine, HOSPITAL, 60)
    with engine.begin() as connection:
        connection.execute(insert(tenant_conduct).values(institution_code=HOSPITAL, lowered=2, calm=0))

    take(engine, dispatch, CLINIC)
    assert take(engine, dispatch, HOSPITAL) == 1
    assert take(engine, dispatch, HOSPITAL) == 5, "alone it may have what is there"


def test_the_only_institution_of_a_front_end_is_never_noisy(engine, dispatch):
    weigh(engine, CLINIC, active=False)
    weigh(engine, PHARMACY, active=False)
    hand_in(engine, HOSPITAL, NOISY_IN_FLIGHT)
    allowed = dispatch.begin(HOSPITAL, now=NOW)
    dispatch.end(HOSPITAL, allowed, claims=5, work=150, more=True, seconds=0.9, now=NOW)

    dispatch.note(now=NOW, at=NOON)

    assert lowered(engine) == {HOSPITAL: 0}


def test_shares_are_shown_as_they_were_measured_by_all_desks(engine, dispatch):
    other = Dispatch(engine, BATCH, WITHIN, holder="other")
    for desk_, seconds in ((dispatch, 0.3), (other, 0.3)):
        allowed = desk_.begin(HOSPITAL, now=NOW)
        desk_.end(HOSPITAL, allowed, claims=5, work=150, more=False, seconds=seconds, now=NOW)
    allowed = other.begin(CLINIC, now=NOW)
    other.end(CLINIC, allowed, claims=1, work=30, more=False, seconds=0.2, now=NOW)
    hand_in(engine, CLINIC, 3, prefix="clinic")
    dispatch.note(now=NOW, at=NOON)
    other.note(now=NOW, at=NOON)

    with engine.connect() as connection:
        hospital, clinic, _ = tenants.tenants(connection, now=NOW)

    assert (hospital.share, clinic.share) == (Fraction(3, 4), Fraction(1, 4))
    assert (hospital.fair, hospital.in_flight, clinic.in_flight, clinic.in_flight_share) == (Fraction(1, 3), 0, 3, 1)
    assert (hospital.claims, clinic.claims) == (10, 1)


def test_what_was_spent_is_forgotten_after_an_hour_and_judged_by_one_desk_at_a_time(engine, dispatch):
    hand_in(engine, HOSPITAL, NOISY_IN_FLIGHT)
    noisy(engine, dispatch, 1)
    other = Dispatch(engine, BATCH, WITHIN, holder="other")
    other.note(now=NOW + 1, at=NOON)
    assert lowered(engine) == {HOSPITAL: 1, CLINIC: 0, PHARMACY: 0}, "the first desk has the lease"
    other.note(now=NOW + 12, at=NOON)
    assert lowered(engine) == {HOSPITAL: 2, CLINIC: 0, PHARMACY: 0}, "the first desk says nothing any more"

    allowed = dispatch.begin(CLINIC, now=NOW + 4000)
    dispatch.end(CLINIC, allowed, claims=1, work=LEAST_QUANTUM, more=False, seconds=0.1, now=NOW)
    dispatch.note(now=NOW + 4000, at=NOON)
    with engine.connect() as connection:
        assert [use.institution_code for use in connection.execute(select(tenant_use))] == [CLINIC]
