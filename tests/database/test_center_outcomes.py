"""Two phases at the centre: prepared, confirmed, cancelled, expired; each edge once, and to the fen."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, text
from sqlalchemy.exc import DBAPIError

from center.approving.actions import CannotDo
from center.approving.decisions import CannotDecide, approve
from center.outcomes.actions import propose_force
from center.outcomes.ask import tell
from center.outcomes.decide import decide
from center.outcomes.expiry import expire
from center.outcomes.prepare import prepare
from center.serving.tables import served_by
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimKey, OutcomeAsked, OutcomeDecided, OutcomeDecision, PrepareAsked, RefundAsked
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    POLICY_VERSION,
    fill_center,
    rows_of,
    submitted,
    totals,
)
from tests.support.frontend import CLINIC

INTERVAL = timedelta(minutes=10)
LATER = AT + INTERVAL
"""When the first that was prepared has expired: the end of the interval is not part of it."""
JUST_IN_TIME = LATER - timedelta(microseconds=1)


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=240, balance_fen=3000)


SERIALS = itertools.count(1, 3)


@pytest.fixture
def person():
    """The serial of a person and of a visit that no other test uses, nor the two after it."""
    return next(SERIALS)


def of(serial, number=None, **change):
    return totals(number or serial, citizen_id_no=synthetic_citizen_id(serial), **change)


def prepared(engine, shelf, *claims, at=AT, interval=INTERVAL, frontend=FRONTEND):
    asked = PrepareAsked(policy_version=POLICY_VERSION, catalogue_version=CATALOGUE_VERSION, claims=claims)
    return prepare(engine, shelf, asked, frontend=frontend, at=at, interval=interval).outcomes


def decided(engine, claim, *, confirm, at=AT, frontend=FRONTEND):
    decision = OutcomeDecision(claim.institution_code, claim.visit_no, claim.charge_batch_no, confirm)
    (told,) = decide(engine, OutcomeDecided(decisions=(decision,)), frontend=frontend, at=at).outcomes
    return told


def asked(engine, claim, *, at=AT, frontend=FRONTEND):
    keys = (ClaimKey(claim.institution_code, claim.visit_no, claim.charge_batch_no),)
    with engine.begin() as connection:
        return tell(connection, OutcomeAsked(keys=keys), frontend=frontend, at=at).outcomes[0]


def settled(engine, shelf, *claims, at=AT):
    return settle_submitted(engine, shelf, submitted(*claims), frontend=FRONTEND, at=at).answers


def refunded(engine, shelf, claim, *, at=AT, number=6):
    question = RefundAsked(
        institution_code=claim.institution_code,
        visit_no=claim.visit_no,
        charge_batch_no=claim.charge_batch_no,
        contra_batch_no=number,
        reason="试验",
        policy_version=POLICY_VERSION,
        catalogue_version=CATALOGUE_VERSION,
    )
    return refund(engine, shelf, question, frontend=FRONTEND, at=at)


def settlements(engine, claim):
    return rows_of(
        engine,
        "SELECT settlement_no, settled_day, fund_pay_fen, account_pay_fen FROM settlement WHERE visit_no = :visit",
        visit=claim.visit_no,
    )


def stands_at(engine, serial):
    """Balance, accumulators and hold of a person."""
    number = synthetic_citizen_id(serial)
    person = rows_of(
        engine, "SELECT account_balance_fen, version, held_until FROM person WHERE citizen_id_no = :n", n=number
    )
    sums = rows_of(
        engine,
        "SELECT key, amount_fen FROM accumulator JOIN person USING (person_no) WHERE citizen_id_no = :n ORDER BY key",
        n=number,
    )
    return person, sums


# ── The state machine ─────────────────────────────────────────────────────────────────────────────────────


def test_what_is_confirmed_is_what_was_prepared_to_the_fen(center_engine, shelf, person):
    claim = of(person)
    before = stands_at(center_engine, person)
    (preparation,) = prepared(center_engine, shelf, claim)
    assert (preparation.state, preparation.refusal, preparation.seconds_left) == ("prepared", "", 600)
    assert (preparation.answer.settlement_no, preparation.answer.settled_at) == (0, None)
    assert settlements(center_engine, claim) == []
    assert stands_at(center_engine, person)[1] == before[1]

    told = decided(center_engine, claim, confirm=True, at=JUST_IN_TIME)

    assert (told.state, told.refusal) == ("confirmed", "")
    written = told.answer
    assert written._replace(settlement_no=0, settled_at=None) == preparation.answer
    assert settlements(center_engine, claim) == [
        (written.settlement_no, JUST_IN_TIME.date(), written.fund_pay_fen, written.account_pay_fen)
    ]
    ((balance, version, held),), sums = stands_at(center_engine, person)
    assert (balance, version, held) == (3000 - written.account_pay_fen, 1, None)
    assert dict(sums) == {entry.key: entry.before_fen + entry.applied_fen for entry in written.entries}


def test_the_same_settled_in_one_phase_comes_to_the_same(center_engine, shelf, person):
    one, two = of(person), of(person + 1)
    (answer,) = settled(center_engine, shelf, one)
    prepared(center_engine, shelf, two)
    confirmed = decided(center_engine, two, confirm=True).answer

    same = {"visit_no": "", "settlement_no": 0, "settled_at": None}
    assert confirmed._replace(**same) == answer._replace(**same)
    postings = "SELECT amount_fen FROM posting WHERE document_no = :n ORDER BY split_part(account, ':', 1), amount_fen"
    first, second = (rows_of(center_engine, postings, n=each.settlement_no) for each in (answer, confirmed))
    assert first == second and len(first) > 2


@pytest.mark.parametrize("first", ["confirm", "cancel", "expire"])
@pytest.mark.parametrize("then", ["confirm", "cancel", "expire", "prepare", "settle"])
def test_each_edge_once_and_the_loser_hears_of_the_winner(center_engine, shelf, person, first, then):
    claim = of(person)
    prepared(center_engine, shelf, claim)

    def act(what):
        if what == "expire":
            with center_engine.begin() as connection:
                expire(connection, at=LATER)
            return asked(center_engine, claim, at=LATER)
        if what == "prepare":
            return prepared(center_engine, shelf, claim, at=LATER)[0]
        if what == "settle":
            return settled(center_engine, shelf, claim, at=LATER)[0]
        return decided(center_engine, claim, confirm=what == "confirm", at=AT)

    won = act(first)
    assert won.state == {"confirm": "confirmed", "cancel": "cancelled", "expire": "expired"}[first]
    books = settlements(center_engine, claim)
    lost = act(then)

    assert settlements(center_engine, claim) == books and len(books) == (first == "confirm")
    if then == "settle":
        assert lost == won.answer if first == "confirm" else lost.refusal == won.refusal
        return
    assert lost.state == won.state
    assert lost.answer == won.answer
    if (first, then) == ("confirm", "cancel"):
        assert lost.refusal == "settled-already" and str(won.answer.settlement_no) in lost.detail
    else:
        assert lost.refusal == won.refusal


def test_a_confirmation_after_the_interval_is_told_to_submit_again(center_engine, shelf, person):
    claim = of(person)
    prepared(center_engine, shelf, claim)

    told = decided(center_engine, claim, confirm=True, at=LATER)

    assert (told.state, told.refusal) == ("expired", "prepare-expired")
    assert "请重新提交" in told.detail
    assert settlements(center_engine, claim) == []
    again = claim._replace(charge_batch_no=2)
    assert prepared(center_engine, shelf, again, at=LATER)[0].state == "prepared"
    assert decided(center_engine, again, confirm=True, at=LATER).state == "confirmed"


def test_preparing_twice_is_preparing_once_and_other_content_is_a_conflict(center_engine, shelf, person):
    claim = of(person)
    first, same = prepared(center_engine, shelf, claim, claim)
    assert same == first
    (later,) = prepared(center_engine, shelf, claim, at=AT + timedelta(minutes=1))
    assert (later.answer, later.seconds_left) == (first.answer, 540)

    (other,) = prepared(center_engine, shelf, claim._replace(digest=bytes(15) + b"x"))

    assert (other.state, other.refusal) == ("refused", "content-conflict")
    assert decided(center_engine, claim, confirm=True).state == "confirmed"


def test_a_prepared_claim_that_is_settled_already_is_told_so(center_engine, shelf, person):
    claim = of(person)
    (answer,) = settled(center_engine, shelf, claim)

    (told,) = prepared(center_engine, shelf, claim)

    assert (told.state, told.answer) == ("confirmed", answer)
    assert decided(center_engine, claim, confirm=True).answer == answer
    refused = decided(center_engine, claim, confirm=False)
    assert (refused.state, refused.refusal, refused.answer) == ("confirmed", "settled-already", answer)


def test_a_refused_preparation_is_parked_and_may_come_again(center_engine, shelf, person):
    claim = of(person, own_expense_fen=501)
    (told,) = prepared(center_engine, shelf, claim)
    assert (told.state, told.refusal) == ("refused", "totals-unequal")
    assert asked(center_engine, claim).refusal == "totals-unequal"
    assert decided(center_engine, claim, confirm=True).refusal == "not-prepared"

    (told,) = prepared(center_engine, shelf, of(person))
    assert told.state == "prepared"


# ── Tombstones ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("original", ["prepare", "settle"])
def test_a_cancellation_before_its_original_makes_the_original_refused(center_engine, shelf, person, original):
    claim = of(person)
    first = decided(center_engine, claim, confirm=False)
    assert (first.state, first.refusal) == ("cancelled", "cancelled")
    assert decided(center_engine, claim, confirm=False) == first

    if original == "settle":
        (answer,) = settled(center_engine, shelf, claim)
        assert answer.refusal == "cancelled"
    else:
        (told,) = prepared(center_engine, shelf, claim)
        assert told == first

    assert settlements(center_engine, claim) == []
    assert decided(center_engine, claim, confirm=True) == first


def test_a_tombstone_is_of_its_institution_only(center_engine, shelf, person):
    claim = of(person)
    strange = claim._replace(institution_code=CLINIC)
    assert decided(center_engine, strange, confirm=False, frontend=OTHER_FRONTEND).state == "cancelled"

    assert settled(center_engine, shelf, claim)[0].refusal == ""
    late = decided(center_engine, strange._replace(charge_batch_no=2), confirm=False, frontend=OTHER_FRONTEND)
    assert late.refusal == "visit-of-another"


def test_only_the_front_end_of_the_institution_decides_and_asks(center_engine, shelf, person):
    claim = of(person)
    prepared(center_engine, shelf, claim)
    for confirm in (True, False):
        told = decided(center_engine, claim, confirm=confirm, frontend=OTHER_FRONTEND)
        assert (told.state, told.refusal, told.answer) == ("refused", "not-served", None)
    told = asked(center_engine, claim, frontend=OTHER_FRONTEND)
    assert (told.state, told.answer) == ("unknown", None)
    assert asked(center_engine, claim).state == "prepared"


@pytest.fixture
def beside(center_engine):
    """A second front-end serves the hospital as well, and may have given the same number."""
    also = insert(served_by).values(institution_code=HOSPITAL, frontend=OTHER_FRONTEND, part=1)
    gone = delete(served_by).where(served_by.c.institution_code == HOSPITAL, served_by.c.frontend == OTHER_FRONTEND)
    with center_engine.begin() as connection:
        connection.execute(also)
    yield OTHER_FRONTEND
    with center_engine.begin() as connection:
        connection.execute(gone)


def test_what_another_front_end_of_the_institution_handed_in_is_not_told_nor_decided(
    center_engine, shelf, person, beside
):
    waits, stands, never = of(person), of(next(SERIALS)), of(next(SERIALS), total_fen=1)
    prepared(center_engine, shelf, waits)
    assert settled(center_engine, shelf, stands, never)[1].refusal

    for confirm in (True, False):
        for claim in (waits, stands):
            told = decided(center_engine, claim, confirm=confirm, frontend=beside)
            assert (told.state, told.refusal, told.answer) == ("refused", "not-served", None)
    for claim in (waits, stands, never):
        told = asked(center_engine, claim, frontend=beside)
        assert (told.state, told.refusal, told.answer) == ("unknown", "", None), "it hands its own in again"
        assert asked(center_engine, claim).state in ("prepared", "confirmed", "refused")


def test_what_is_forced_stays_with_the_front_end_that_handed_it_in(center_engine, shelf, person, beside):
    claim = of(person)
    prepared(center_engine, shelf, claim, frontend=beside)
    key = claim.institution_code, claim.visit_no, claim.charge_batch_no
    with center_engine.begin() as connection:
        number = propose_force(connection, key, confirm=True, by="甲", reason="前置机损坏", at=AT)
    assert approve(center_engine, number, by="乙", at=AT).state == "approved"

    assert asked(center_engine, claim, frontend=beside).state == "confirmed"
    assert asked(center_engine, claim).state == "unknown"


@pytest.mark.parametrize("wrong", [{"visit_no": "x" * 17}, {"visit_no": "a\0b"}, {"charge_batch_no": -1}])
def test_a_key_that_cannot_be_stored_is_refused(center_engine, shelf, wrong):
    told = decided(center_engine, of(1)._replace(**wrong), confirm=False)
    assert (told.state, told.refusal) == ("refused", "malformed")
    assert asked(center_engine, of(1)._replace(**wrong)).state == "unknown"


# ── Holding ───────────────────────────────────────────────────────────────────────────────────────────────


def test_while_a_claim_is_prepared_nothing_else_of_its_person_moves(center_engine, shelf, person):
    earlier, claim, other = of(person), of(person, person + 1), of(person, person + 2)
    settled(center_engine, shelf, earlier)
    prepared(center_engine, shelf, claim)
    stood = stands_at(center_engine, person)

    assert settled(center_engine, shelf, other)[0].refusal == "busy"
    assert prepared(center_engine, shelf, other)[0].refusal == "busy"
    assert refunded(center_engine, shelf, earlier).refusal == "busy"
    assert settled(center_engine, shelf, claim)[0].refusal == "busy"
    assert stands_at(center_engine, person) == stood
    assert rows_of(center_engine, "SELECT * FROM parked WHERE visit_no = :v", v=other.visit_no) == []

    confirmed = decided(center_engine, claim, confirm=True)
    assert confirmed.state == "confirmed"
    assert settled(center_engine, shelf, other)[0].refusal == ""
    assert refunded(center_engine, shelf, other).refusal == ""


def test_two_of_one_person_in_one_message_hold_each_other_up(center_engine, shelf, person):
    first, second = prepared(center_engine, shelf, of(person), of(person, person + 1))
    assert (first.state, second.refusal) == ("prepared", "busy")


def test_the_relative_whose_account_may_pay_is_held_too(center_engine, shelf, person):
    child, parent, sibling = person, person + 1, person + 2
    with center_engine.begin() as connection:
        for number in (child, sibling):
            connection.execute(
                text("UPDATE person SET family_citizen_id_no = :p WHERE citizen_id_no = :c"),
                {"p": synthetic_citizen_id(parent), "c": synthetic_citizen_id(number)},
            )
    prepared(center_engine, shelf, of(child))

    for other in (parent, sibling):
        assert settled(center_engine, shelf, of(other))[0].refusal == "busy"
    decided(center_engine, of(child), confirm=False)
    for other in (parent, sibling):
        assert settled(center_engine, shelf, of(other))[0].refusal == ""


@pytest.mark.parametrize("met_by", ["settle", "prepare", "refund", "relative", "schedule"])
def test_whoever_meets_an_expired_hold_lets_go_of_it_for_good(center_engine, shelf, person, met_by):
    earlier, claim, other = of(person, person), of(person, person + 1), of(person, person + 2)
    parent = person + 1
    with center_engine.begin() as connection:
        connection.execute(
            text("UPDATE person SET family_citizen_id_no = :p WHERE citizen_id_no = :c"),
            {"p": synthetic_citizen_id(parent), "c": synthetic_citizen_id(person)},
        )
    settled(center_engine, shelf, earlier)
    prepared(center_engine, shelf, claim)

    if met_by == "settle":
        assert settled(center_engine, shelf, other, at=LATER)[0].refusal == ""
    elif met_by == "prepare":
        assert prepared(center_engine, shelf, other, at=LATER)[0].state == "prepared"
    elif met_by == "refund":
        assert refunded(center_engine, shelf, earlier, at=LATER).refusal == ""
    elif met_by == "relative":
        assert settled(center_engine, shelf, of(parent, person + 2), at=LATER)[0].refusal == ""
    else:
        with center_engine.begin() as connection:
            assert expire(connection, at=LATER) >= 1

    # A process whose clock is behind comes with the confirmation: it is too late all the same.
    assert decided(center_engine, claim, confirm=True, at=AT).refusal == "prepare-expired"
    assert settlements(center_engine, claim) == []


def test_a_refund_before_the_confirmation_has_its_own_code(center_engine, shelf, person):
    claim = of(person)
    prepared(center_engine, shelf, claim)
    assert refunded(center_engine, shelf, claim).refusal == "not-confirmed"
    decided(center_engine, claim, confirm=True)
    assert refunded(center_engine, shelf, claim, number=7).refusal == ""


def test_a_hold_that_was_broken_confirms_nothing(center_engine, shelf, person):
    """Somebody moved the accumulators past the hold: what was prepared is not true any more."""
    claim = of(person)
    (preparation,) = prepared(center_engine, shelf, claim)
    key = preparation.answer.entries[0].key
    with center_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO accumulator SELECT person_no, :key, 1 FROM person WHERE citizen_id_no = :n"),
            {"key": key, "n": claim.citizen_id_no},
        )

    assert decided(center_engine, claim, confirm=True).refusal == "prepare-expired"
    assert settlements(center_engine, claim) == []


def test_the_database_lets_an_outcome_move_once(center_engine, shelf, person):
    claim = of(person)
    prepared(center_engine, shelf, claim)
    decided(center_engine, claim, confirm=False)
    for change in ("UPDATE outcome SET state = 'prepared', decided_at = NULL", "DELETE FROM outcome"):
        with pytest.raises(DBAPIError, match=r"does not change|permission denied"), center_engine.begin() as connection:
            connection.execute(text(f"{change} WHERE visit_no = :v"), {"v": claim.visit_no})


@pytest.mark.parametrize("confirm", [True, False])
def test_two_persons_at_the_centre_may_decide_it(center_engine, shelf, person, confirm):
    claim = of(person)
    prepared(center_engine, shelf, claim)
    key = claim.institution_code, claim.visit_no, claim.charge_batch_no
    with center_engine.begin() as connection:
        number = propose_force(connection, key, confirm=confirm, by="甲", reason="前置机损坏", at=AT)
    with pytest.raises(CannotDecide):
        approve(center_engine, number, by="甲", at=AT)
    assert settlements(center_engine, claim) == []

    assert approve(center_engine, number, by="乙", at=AT).state == "approved"

    assert len(settlements(center_engine, claim)) == confirm
    told = asked(center_engine, claim)
    assert told.state == ("confirmed" if confirm else "cancelled")
    noted = rows_of(center_engine, "SELECT by, reason FROM audit WHERE action = 'outcome.force' ORDER BY audit_no DESC")
    assert noted[0] == ("乙", f"申请 {number}，甲 提请")
    with center_engine.begin() as connection, pytest.raises(CannotDo, match="没有待确认"):
        propose_force(connection, key, confirm=True, by="甲", reason="误", at=AT)


# ── Asking ────────────────────────────────────────────────────────────────────────────────────────────────


def test_asked_by_own_key_the_centre_says_what_it_has(center_engine, shelf, person):
    claim = of(person)
    assert asked(center_engine, claim).state == "unknown"
    prepared(center_engine, shelf, claim)
    told = asked(center_engine, claim, at=AT + timedelta(minutes=4))
    assert (told.state, told.seconds_left) == ("prepared", 360)
    assert asked(center_engine, claim, at=LATER).state == "expired"
    confirmed = decided(center_engine, claim, confirm=True)
    assert asked(center_engine, claim) == confirmed


# ── Races, on two connections ─────────────────────────────────────────────────────────────────────────────


def race(*works):
    """What each came to; they begin together."""
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


@pytest.mark.parametrize("turn", range(6))
def test_confirm_cancel_and_expiry_at_once_one_wins(center_engine, shelf, person, turn):
    claim = of(person)
    prepared(center_engine, shelf, claim)

    def expiring():
        with center_engine.begin() as connection:
            expire(connection, at=LATER)
        return asked(center_engine, claim, at=LATER)

    told = race(
        lambda: decided(center_engine, claim, confirm=True, at=JUST_IN_TIME),
        lambda: decided(center_engine, claim, confirm=False, at=JUST_IN_TIME),
        lambda: decided(center_engine, claim, confirm=True, at=JUST_IN_TIME),
        expiring,
    )

    assert len({each.state for each in told}) == 1
    confirmed = told[0].state == "confirmed"
    assert len(settlements(center_engine, claim)) == confirmed
    assert stands_at(center_engine, person)[0][0][1:] == (int(confirmed), None)


@pytest.mark.parametrize("turn", range(4))
def test_an_original_and_its_cancellation_at_once(center_engine, shelf, person, turn):
    claim = of(person)
    answers, told = race(
        lambda: settled(center_engine, shelf, claim), lambda: decided(center_engine, claim, confirm=False)
    )
    if answers[0].refusal:
        assert (answers[0].refusal, told.state) == ("cancelled", "cancelled")
        assert settlements(center_engine, claim) == []
    else:
        assert (told.state, told.refusal) == ("confirmed", "settled-already")
        assert len(settlements(center_engine, claim)) == 1


@pytest.mark.parametrize("turn", range(4))
def test_two_claims_of_a_person_prepared_at_once_one_is_held_up(center_engine, shelf, person, turn):
    first, second = race(
        lambda: prepared(center_engine, shelf, of(person)),
        lambda: prepared(center_engine, shelf, of(person, person + 1)),
    )
    assert sorted((first[0].state, second[0].state)) == ["prepared", "refused"]
    assert sorted((first[0].refusal, second[0].refusal)) == ["", "busy"]


@pytest.mark.parametrize("turn", range(6))
@pytest.mark.parametrize("two_phase", [False, True])
def test_two_persons_under_one_new_visit_number_at_once(center_engine, shelf, person, two_phase, turn):
    """Different batches, so no unique key tells them apart, and no person's lock is shared: the number's lock is."""
    one, other = of(person, person), of(person + 1, person, charge_batch_no=2)
    work = prepared if two_phase else settled
    told = race(lambda: work(center_engine, shelf, one), lambda: work(center_engine, shelf, other))
    assert sorted(each[0].refusal for each in told) == ["", "visit-of-another"]
