"""Reading claims: an institution sees its own and nothing else; a door hands back what has its final state, once."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from domain.lifecycle import FINAL, ClaimState
from domain.messages import ClaimAnswer, ClaimsAnswered
from domain.refusals import Refusal
from tests.support.frontend import (
    BAD_LINE,
    CLINIC,
    HOSPITAL,
    LINES,
    NOON,
    PERSON,
    hand_in,
    new_frontend,
    rows,
    shelf,
    submission,
    totals_of,
)
from workers import claims, deliver, desk, intake
from workers.tables import claim


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def show(engine, institution_code, number):
    with engine.connect() as connection:
        return claims.show(connection, institution_code, number)


def number_of(outcome):
    return claims.claim_no(outcome.visit_no, outcome.charge_batch_no)


def test_an_institution_sees_its_own_claim_and_no_other_institution_does(engine):
    [accepted] = intake.accept(engine, [submission(HOSPITAL)], at=NOON)

    assert show(engine, HOSPITAL, number_of(accepted)).claim_id == accepted.claim_id
    assert show(engine, CLINIC, number_of(accepted)) is None
    assert show(engine, "", number_of(accepted)) is None


def test_a_claim_is_shown_whole_at_every_stage(engine):
    [accepted] = intake.accept(engine, [submission()], at=NOON)
    number = number_of(accepted)
    fresh = show(engine, HOSPITAL, number)
    assert (fresh.state, fresh.totals, fresh.answer, fresh.verdicts) == (ClaimState.ACCEPTED, None, None, ())
    assert (fresh.accepted_at, fresh.lines, fresh.visit.citizen_id_no) == (NOON, list(LINES), PERSON)

    desk.preprocess(engine, shelf(), HOSPITAL, limit=1, at=NOON, now=1.0)
    assert show(engine, HOSPITAL, number).totals == totals_of(HOSPITAL, accepted.visit_no)

    answer = ClaimAnswer(accepted.visit_no, 1, settlement_no=3, fund_pay_fen=5, settled_at=NOON)
    with engine.begin() as connection:
        deliver.record_answers(connection, ClaimsAnswered(answers=(answer,)), at=NOON)
    settled = show(engine, HOSPITAL, number)
    assert (settled.state, settled.answer, settled.settled_at) == (ClaimState.SETTLED, answer, NOON)


def test_a_refused_claim_shows_its_code(engine):
    [accepted] = intake.accept(engine, [submission()], at=NOON)
    desk.preprocess(engine, shelf(), HOSPITAL, limit=1, at=NOON, now=1.0)
    answer = ClaimAnswer(accepted.visit_no, 1, refusal=Refusal.PERSON_UNKNOWN, detail="中心无此参保人")
    with engine.begin() as connection:
        deliver.record_answers(connection, ClaimsAnswered(answers=(answer,)), at=NOON)

    assert show(engine, HOSPITAL, number_of(accepted)).refusal == "person-unknown"


@pytest.mark.parametrize(
    "number", ["", "-", "V1", "-1", "V1-", "V1-x", "V1-１", "V1-12345", "V1--1", "V1-1 ", "' OR 1=1 --1", "V1-1\x00"]
)
def test_what_is_not_a_claim_number_finds_nothing(engine, number):
    intake.accept(engine, [submission(visit_no="V1")], at=NOON)

    assert show(engine, HOSPITAL, number) is None


def test_a_claim_number_reads_back(engine):
    assert claims.split_claim_no(claims.claim_no("T00001-X", 12)) == ("T00001-X", 12)


def test_states_and_ended_claims_of_many_come_in_one_go(engine):
    ids = hand_in(engine, HOSPITAL, 3)
    with engine.begin() as connection:
        assert claims.states(connection, ids[:2]) == dict.fromkeys(ids[:2], ClaimState.ACCEPTED)
        assert claims.ended_views(connection, ids) == {}, "none has its final state yet"
        connection.execute(update(claim).where(claim.c.claim_id == ids[1]).values(state=ClaimState.RETURNED))
        assert [view.claim_id for view in claims.ended_views(connection, ids).values()] == [ids[1]]
        assert claims.states(connection, []) == {}
        assert claims.ended_views(connection, []) == {}


@pytest.mark.parametrize("state", list(ClaimState))
def test_a_door_hands_back_final_states_only(engine, state):
    hand_in(engine, HOSPITAL, 1, channel="dbf")
    with engine.begin() as connection:
        connection.execute(update(claim).values(state=state))
        assert bool(claims.ready_to_hand_back(connection, HOSPITAL, 10)) == (state in FINAL)


def test_a_door_hands_back_its_own_claims_once_oldest_first(engine):
    batch = [submission(key=f"key-{n}", channel="dbf", lines=[BAD_LINE], source=f"file-{n}") for n in range(3)]
    intake.accept(engine, [*batch, submission(key="api", lines=[BAD_LINE])], at=NOON)
    desk.preprocess(engine, shelf(), HOSPITAL, limit=10, at=NOON, now=1.0)

    with engine.begin() as connection:
        ready = claims.ready_to_hand_back(connection, HOSPITAL, 2)
        assert [view.source for view in ready] == ["file-0", "file-1"]
        assert ready[0].codes == ["14"]
        claims.mark_handed_back(connection, [view.claim_id for view in ready])
        claims.mark_handed_back(connection, [])
    with engine.begin() as connection:
        assert [view.source for view in claims.ready_to_hand_back(connection, HOSPITAL, 10)] == ["file-2"]
    assert [row.handed_back for row in rows(engine, claim.c.handed_back)] == [True, True, False, False]
