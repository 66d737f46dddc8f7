"""Answers are recorded once; what comes again, or too late, changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimsAnswered, DetailReceipt, DetailReceived, Resubmitted
from domain.refusals import Refusal
from infra.codec import unpack
from tests.support.frontend import HOSPITAL, NOON, hand_in, new_frontend, rows, shelf, states
from workers import deliver, desk
from workers.detail_states import DETAIL_AT_CENTER, DETAIL_DUE, DETAIL_MISMATCH
from workers.tables import claim

LATER = NOON + timedelta(seconds=3)


@pytest.fixture
def engine(tmp_path):
    """Three claims await their answers."""
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    hand_in(engine, HOSPITAL, 3)
    desk.preprocess(engine, shelf(), HOSPITAL, limit=10, at=NOON, now=1.0)
    yield engine
    engine.dispose()


def visits(engine):
    return [row.visit_no for row in rows(engine, claim.c.visit_no)]


def settled(visit_no, **change):
    return ClaimAnswer(visit_no, 1, settlement_no=7, fund_pay_fen=6000, account_pay_fen=500, settled_at=NOON)._replace(
        **change
    )


def refused(visit_no, code=Refusal.PERSON_UNKNOWN):
    return ClaimAnswer(visit_no, 1, refusal=code, detail="中心无此参保人")


def record(engine, *answers, at=LATER):
    with engine.begin() as connection:
        return deliver.record_answers(connection, ClaimsAnswered(answers=answers), at=at)


def receive(engine, *receipts):
    with engine.begin() as connection:
        return deliver.record_receipts(connection, DetailReceived(receipts=receipts))


def receipt(visit_no, accepted):
    return DetailReceipt(visit_no, 1, accepted, 4, 8483, b"")


def test_an_answer_settles_its_claim_and_is_kept_whole(engine):
    visit_no = visits(engine)[0]

    assert record(engine, settled(visit_no)) == 1

    row = rows(engine, claim)[0]
    assert row.state == ClaimState.SETTLED
    assert unpack(row.answer, ClaimAnswer) == settled(visit_no)
    assert (row.settled_at, row.settled_day) == (NOON, NOON.date())
    assert (row.fund_pay_fen, row.account_pay_fen) == (6000, 500)
    assert row.detail_state == DETAIL_DUE
    assert row.rung_at == 0, "its detail is due at once"


def test_an_answer_without_its_moment_counts_from_now(engine):
    record(engine, settled(visits(engine)[0], settled_at=None))

    assert rows(engine, claim.c.settled_at)[0].settled_at == LATER


def test_a_refusal_parks_its_claim_with_its_code(engine):
    visit_no = visits(engine)[1]

    assert record(engine, refused(visit_no)) == 1

    row = rows(engine, claim)[1]
    assert (row.state, row.refusal) == (ClaimState.REFUSED, Refusal.PERSON_UNKNOWN)
    assert unpack(row.answer, ClaimAnswer).detail == "中心无此参保人"
    assert states(engine) == ["totalled", "refused", "totalled"]


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(settled, id="the same answer again"),
        pytest.param(lambda visit_no: settled(visit_no, fund_pay_fen=1, settlement_no=8), id="another settlement"),
        pytest.param(refused, id="a refusal that comes late"),
    ],
)
def test_a_second_answer_changes_nothing(engine, late):
    visit_no = visits(engine)[0]
    record(engine, settled(visit_no))
    before = rows(engine, claim)

    assert record(engine, late(visit_no), at=LATER + timedelta(hours=1)) == 0

    assert rows(engine, claim) == before


def test_what_was_told_as_refused_stays_so_unless_the_office_has_its_settlement_recorded(engine):
    visit_no = visits(engine)[0]
    record(engine, refused(visit_no))

    assert record(engine, settled(visit_no)) == 0
    assert states(engine) == ["refused", "totalled", "totalled"]

    with engine.begin() as connection:
        ordered = ClaimsAnswered(answers=(settled(visit_no),))
        assert deliver.record_answers(connection, ordered, at=LATER, is_ordered=True) == 1
    row = rows(engine, claim)[0]
    assert (row.state, row.refusal, row.handed_back) == (ClaimState.SETTLED, None, False)


def test_the_refusal_of_an_earlier_submission_does_not_refuse_the_one_under_way(engine):
    visit_no = visits(engine)[0]
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.visit_no == visit_no).values(submission=1))

    assert record(engine, refused(visit_no)) == 0
    assert states(engine) == ["totalled", "totalled", "totalled"]

    with engine.begin() as connection:
        of_third = ClaimsAnswered(answers=(refused(visit_no),), resubmitted=(Resubmitted(visit_no, 1, 3),))
        assert deliver.record_answers(connection, of_third, at=LATER) == 1
    row = rows(engine, claim)[0]
    assert (row.state, row.submission) == (ClaimState.REFUSED, 3), "the next is the fourth, whatever we had forgotten"


def test_repeats_within_one_message_count_once(engine):
    first, second, _ = visits(engine)

    assert record(engine, settled(first), refused(second), settled(first), refused(second)) == 2
    assert states(engine) == ["settled", "refused", "totalled"]


@pytest.mark.parametrize("state", [ClaimState.HELD, ClaimState.ACCEPTED, ClaimState.RETURNED])
def test_only_a_claim_in_the_outbox_takes_an_answer(engine, state):
    with engine.begin() as connection:
        connection.execute(update(claim).values(state=state))

    assert record(engine, settled(visits(engine)[0]), refused(visits(engine)[1])) == 0
    assert set(states(engine)) == {state}


def test_answers_to_unknown_claims_and_other_batches_fall_on_nothing(engine):
    assert record(engine, settled("NOSUCHVISIT"), settled(visits(engine)[0], charge_batch_no=2)) == 0
    assert record(engine) == 0
    assert set(states(engine)) == {"totalled"}


def test_a_receipt_closes_the_detail_and_a_mismatch_marks_it(engine):
    first, second, third = visits(engine)
    record(engine, settled(first), settled(second))

    assert receive(engine, receipt(first, True), receipt(second, False), receipt(third, True)) == 2

    found = [row.detail_state for row in rows(engine, claim.c.detail_state)]
    assert found == [DETAIL_AT_CENTER, DETAIL_MISMATCH, DETAIL_DUE], "the third is not settled yet"


def test_detail_at_the_centre_stays_there_whatever_comes_late(engine):
    first = visits(engine)[0]
    record(engine, settled(first))
    receive(engine, receipt(first, True))

    assert receive(engine, receipt(first, False)) == 0
    assert receive(engine, receipt(first, True)) == 0
    assert receive(engine) == 0
    assert rows(engine, claim.c.detail_state)[0].detail_state == DETAIL_AT_CENTER


def test_a_mismatch_that_was_put_right_is_closed(engine):
    first = visits(engine)[0]
    record(engine, settled(first))
    receive(engine, receipt(first, False))

    assert receive(engine, receipt(first, True)) == 1
    assert rows(engine, claim.c.detail_state)[0].detail_state == DETAIL_AT_CENTER


def test_a_receipt_moves_no_money_and_no_state(engine):
    first = visits(engine)[0]
    record(engine, settled(first))
    before = [row._asdict() for row in rows(engine, claim)]

    receive(engine, receipt(first, True))

    after = [row._asdict() for row in rows(engine, claim)]
    assert [{**row, "detail_state": 0} for row in after] == before
