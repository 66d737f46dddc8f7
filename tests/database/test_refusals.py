"""A refusal that was told stays the answer of its claim until the claim is sent again on purpose."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import text, update

from center.outcomes.ask import tell
from center.outcomes.prepare import prepare
from center.settling.settle import settle_submitted
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimKey, OutcomeAsked, PrepareAsked, RepairOrdered, Resubmitted
from domain.outcomes import Phase
from domain.refusals import Refusal
from domain.repairs import Repair
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    FRONTEND,
    OTHER_FRONTEND,
    POLICY_VERSION,
    fill_center,
    rows_of,
    submitted,
    totals,
)
from tests.support.frontend import HOSPITAL, new_frontend, submission
from tests.support.line import Line
from workers import intake
from workers.claims import show
from workers.reconciling import orders
from workers.tables import claim as claims_of_frontend

SERIALS = itertools.count(1)


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=120, balance_fen=3000)


@pytest.fixture
def suspended(center_engine):
    """A claim of a person whose benefit is suspended, whom no other test uses."""
    serial = next(SERIALS)
    entitle(center_engine, synthetic_citizen_id(serial), is_entitled=False)
    return totals(serial, citizen_id_no=synthetic_citizen_id(serial))


def entitle(engine, citizen_id_no, *, is_entitled=True):
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE person SET entitled = :is_entitled WHERE citizen_id_no = :number"),
            {"is_entitled": is_entitled, "number": citizen_id_no},
        )


def mend(engine, claim):
    """The reason of the refusal is gone."""
    entitle(engine, claim.citizen_id_no)


def answered(engine, shelf, *claims, frontend=FRONTEND, **versions):
    return settle_submitted(engine, shelf, submitted(*claims, **versions), frontend=frontend, at=AT)


def settled(engine, shelf, *claims, **more):
    return answered(engine, shelf, *claims, **more).answers


def prepared(engine, shelf, claim):
    asked = PrepareAsked(policy_version=POLICY_VERSION, catalogue_version=CATALOGUE_VERSION, claims=(claim,))
    (told,) = prepare(engine, shelf, asked, frontend=FRONTEND, at=AT, interval=timedelta(minutes=10)).outcomes
    return told


def told_of(engine, claim):
    key = ClaimKey(claim.institution_code, claim.visit_no, claim.charge_batch_no)
    with engine.begin() as connection:
        return tell(connection, OutcomeAsked(keys=(key,)), frontend=FRONTEND, at=AT).outcomes[0]


def documents(engine, claim):
    return rows_of(engine, "SELECT settlement_no FROM settlement WHERE visit_no = :v", v=claim.visit_no)


def parked(engine, claim):
    return rows_of(
        engine, "SELECT refusal, submission FROM parked WHERE visit_no = :v ORDER BY parked_id", v=claim.visit_no
    )


def test_a_late_copy_is_refused_word_for_word_though_the_reason_is_gone(center_engine, shelf, suspended):
    (first,) = settled(center_engine, shelf, suspended)
    assert first.refusal == Refusal.ENTITLEMENT_SUSPENDED
    mend(center_engine, suspended)

    again = answered(center_engine, shelf, suspended)

    assert again.answers == (first,)
    assert again.resubmitted == ()
    assert documents(center_engine, suspended) == []
    assert parked(center_engine, suspended) == [(Refusal.ENTITLEMENT_SUSPENDED, 0)]


def test_sent_again_on_purpose_it_is_settled_and_that_is_the_answer_of_every_copy(center_engine, shelf, suspended):
    settled(center_engine, shelf, suspended)
    mend(center_engine, suspended)
    further = suspended._replace(submission=1)

    (answer,) = settled(center_engine, shelf, further)

    assert (answer.refusal, len(documents(center_engine, suspended))) == ("", 1)
    for copy in (suspended, further):
        assert settled(center_engine, shelf, copy) == (answer,)
    assert len(documents(center_engine, suspended)) == 1


def test_refused_again_it_is_the_newest_refusal_that_answers_and_says_which(center_engine, shelf, suspended):
    settled(center_engine, shelf, suspended)
    further = suspended._replace(submission=2)
    mend(center_engine, suspended)
    (stale,) = settled(center_engine, shelf, further, catalogue_version="older")
    assert stale.refusal == Refusal.CATALOGUE_STALE

    for copy in (suspended, suspended._replace(submission=1, total_fen=suspended.total_fen + 1), further):
        again = answered(center_engine, shelf, copy)
        assert again.answers == (stale,)
        assert again.resubmitted == (Resubmitted(copy.visit_no, copy.charge_batch_no, 2),)
    told = told_of(center_engine, suspended)
    assert (told.refusal, told.detail, told.submission) == (stale.refusal, stale.detail, 2)
    assert parked(center_engine, suspended) == [(Refusal.ENTITLEMENT_SUSPENDED, 0), (Refusal.CATALOGUE_STALE, 2)]

    (answer,) = settled(center_engine, shelf, further._replace(submission=3))
    assert answer.refusal == ""


@pytest.mark.parametrize("first_by", [prepared, settled])
def test_a_preparation_takes_the_same_path(center_engine, shelf, suspended, first_by):
    first_by(center_engine, shelf, suspended)
    mend(center_engine, suspended)

    told = prepared(center_engine, shelf, suspended)
    (answer,) = settled(center_engine, shelf, suspended)

    assert (told.state, told.refusal) == ("refused", Refusal.ENTITLEMENT_SUSPENDED)
    assert (answer.refusal, answer.detail) == (told.refusal, told.detail)
    assert rows_of(center_engine, "SELECT 1 FROM outcome WHERE visit_no = :v", v=suspended.visit_no) == []
    assert prepared(center_engine, shelf, suspended._replace(submission=1)).state == "prepared"


def test_a_refusal_is_of_whom_it_was_told_to_and_buries_nobody_elses_claim(center_engine, shelf):
    serial = next(SERIALS)
    claim = totals(serial, citizen_id_no=synthetic_citizen_id(serial))
    settled(center_engine, shelf, claim, frontend=OTHER_FRONTEND)
    assert parked(center_engine, claim) == [(Refusal.NOT_SERVED, 0)]

    (answer,) = settled(center_engine, shelf, claim)
    assert answer.refusal == ""


def test_what_is_only_held_up_is_settled_when_it_comes_again(center_engine, shelf):
    serial = next(SERIALS)
    claim = totals(serial, citizen_id_no=synthetic_citizen_id(serial))
    assert prepared(center_engine, shelf, claim).state == "prepared"
    other = totals(1000 + serial, citizen_id_no=claim.citizen_id_no)
    (busy,) = settled(center_engine, shelf, other)
    assert (busy.refusal, parked(center_engine, other)) == (Refusal.BUSY, [])

    with center_engine.begin() as connection:
        connection.execute(text("UPDATE person SET held_until = NULL"))
    (answer,) = settled(center_engine, shelf, other)
    assert answer.refusal == ""


@pytest.mark.parametrize("turn", range(4))
def test_copies_at_once_while_the_reason_goes_away_are_told_one_thing(center_engine, shelf, suspended, turn):
    """Whoever is first decides: the others are told the same, settled or refused."""
    barrier = Barrier(4)

    def send(_):
        barrier.wait()
        return settled(center_engine, shelf, suspended)[0]

    def mend_now():
        barrier.wait()
        mend(center_engine, suspended)

    with ThreadPoolExecutor(4) as pool:
        mending = pool.submit(mend_now)
        answers = set(pool.map(send, range(3)))
        mending.result()

    assert len(answers) == 1
    assert len(documents(center_engine, suspended)) == (0 if answers.pop().refusal else 1)


# ── Through a front-end ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def line(tmp_path, center_engine, shelf, center_database_url):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL)
    line = Line(tmp_path, engine, center_database_url)
    yield line
    line.close()
    engine.dispose()


def hand_in(line, claim):
    one = submission(HOSPITAL, claim.visit_no, person=claim.citizen_id_no, phase=Phase.SETTLE, visit_no=claim.visit_no)
    (accepted,) = intake.accept(line.engine, [one], at=line.clock.now())
    return f"{accepted.visit_no}-{accepted.charge_batch_no}"


def state(line, number):
    with line.engine.connect() as connection:
        return str(show(connection, HOSPITAL, number).state)


def test_the_office_lets_a_refused_claim_go_again_and_a_copy_on_the_way_changes_nothing(center_engine, line, suspended):
    number = hand_in(line, suspended)
    line.ring()
    assert state(line, number) == "refused"
    mend(center_engine, suspended)

    with line.engine.begin() as connection:
        # A sweep that read the claim before its answer came sends it now.
        connection.execute(update(claims_of_frontend).values(state="totalled", rung_at=0))
    line.let_pass(60)
    assert (state(line, number), documents(center_engine, suspended)) == ("refused", [])

    ordered = RepairOrdered(
        order_no=1,
        institution_code=HOSPITAL,
        repair=Repair.RESUBMIT,
        visit_no=suspended.visit_no,
        charge_batch_no=1,
        words="重新提交",
    )
    with line.engine.begin() as connection:
        assert orders.carry_out(connection, ordered, at=AT).done
    line.ring()
    line.let_pass(10)
    assert state(line, number) == "settled"
    assert len(documents(center_engine, suspended)) == 1
