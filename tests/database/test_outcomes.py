"""Two phases and unknown outcomes through front-end and centre, with a line that loses, repeats and is down."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from domain.identity import synthetic_citizen_id
from domain.messages import ClaimAnswer, ClaimsAnswered, OutcomeTold, ToldOutcome
from domain.outcomes import OutcomeState, Phase
from infra import lanes
from tests.support.center import AT, fill_center
from tests.support.frontend import HOSPITAL, new_frontend, shelf, submission
from tests.support.line import SWEEP_AFTER, Line
from workers import intake, refund
from workers.claims import show
from workers.deliver import record_answers
from workers.outcomes import decide, sending
from workers.outcomes.decide import Against, Buried, Decided
from workers.outcomes.resolving import Impossible, ask_now, decide_now
from workers.outcomes.sending import ASK_ANYWAY_SECONDS, LONGEST_WAIT_SECONDS
from workers.outcomes.told import record as record_told
from workers.outcomes.unknown import listed, oldest_seconds
from workers.tables import claim, institution
from workers.visit_steps import Refunding

SERIALS = itertools.count()
KNOWN_WITHIN = 150.0
"""Seconds after the link is up again within which nothing is unknown: docs/outcomes.md."""


@pytest.fixture(scope="module")
def center(center_engine):
    fill_center(center_engine, persons=4_000, balance_fen=3000)
    return center_engine


@pytest.fixture
def line(tmp_path, center, center_database_url):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL)
    line = Line(tmp_path, engine, center_database_url)
    yield line
    line.close()
    engine.dispose()


def hand_in(line, *, phase=Phase.PREPARE, key="", person=None, **change):
    """The number of a claim of a person of its own."""
    serial = next(SERIALS)
    of = synthetic_citizen_id(serial if person is None else person)
    one = submission(HOSPITAL, key or f"key-{serial}", person=of, phase=phase, visit_no=f"V{serial:06d}", **change)
    (accepted,) = intake.accept(line.engine, [one], at=line.clock.now())
    assert isinstance(accepted, intake.Accepted), accepted
    return f"{accepted.visit_no}-{accepted.charge_batch_no}"


def seen(line, number):
    with line.engine.connect() as connection:
        return show(connection, HOSPITAL, number)


def state(line, number):
    return str(seen(line, number).state)


def confirmed(line, number):
    return decide.confirm(line.engine, HOSPITAL, number, at=line.clock.now())


def cancelled(line, number):
    return decide.cancel(line.engine, HOSPITAL, number, at=line.clock.now())


def unknown(line):
    with line.engine.connect() as connection:
        return listed(connection, at=line.clock.now())


def booked(center, number):
    """Settlements of the claim at the centre, and what holds its person."""
    visit = number.partition("-")[0]
    with center.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM settlement WHERE visit_no = :v"), {"v": visit}).scalar()
        held = connection.execute(
            text(
                "SELECT count(*) FROM outcome JOIN person USING (person_no)"
                " WHERE visit_no = :v AND held_until IS NOT NULL"
            ),
            {"v": visit},
        ).scalar()
    return count, held


# ── The way it goes ───────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_is_prepared_confirmed_and_settled(line, center):
    number = hand_in(line)
    line.ring()
    prepared = seen(line, number)
    assert (prepared.state, prepared.answer.settlement_no) == ("prepared", 0)
    assert prepared.expires_at - AT == timedelta(seconds=600)
    assert booked(center, number) == (0, 1)
    assert unknown(line) == []

    assert confirmed(line, number).is_new
    assert [each.claim_no for each in unknown(line)] == [number]
    line.ring()

    view = seen(line, number)
    assert view.state == "settled"
    assert view.answer._replace(settlement_no=0, settled_at=None) == prepared.answer
    assert booked(center, number) == (1, 0)
    assert not confirmed(line, number).is_new
    assert cancelled(line, number) is Against.SETTLED


def test_a_prepared_claim_is_cancelled(line, center):
    number = hand_in(line)
    line.ring()
    assert cancelled(line, number).is_new
    line.ring()
    view = seen(line, number)
    assert (view.state, view.refusal, view.amounts) == ("cancelled", "cancelled", None)
    assert booked(center, number) == (0, 0)
    assert not cancelled(line, number).is_new
    assert confirmed(line, number) is Against.CANCELLED


def test_nobody_decides_and_it_expires(line, center):
    number = hand_in(line)
    line.ring()
    line.clock.pass_by(601)
    assert [each.claim_no for each in unknown(line)] == [number]
    line.tick()
    assert booked(center, number) == (0, 0)
    line.sweep()
    view = seen(line, number)
    assert (view.state, view.refusal) == ("cancelled", "prepare-expired")
    assert confirmed(line, number) is Against.EXPIRED


def test_a_confirmation_that_comes_too_late_settles_nothing(line, center):
    number = hand_in(line)
    line.ring()
    line.clock.pass_by(600)
    assert confirmed(line, number).is_new
    line.ring()
    assert (state(line, number), seen(line, number).refusal) == ("cancelled", "prepare-expired")
    assert booked(center, number) == (0, 0)


def test_it_is_asked_about_though_our_clock_was_hours_fast_when_it_was_prepared(line, center):
    number = hand_in(line)
    line.ring()
    ahead = seen(line, number).expires_at + timedelta(hours=5)
    with line.engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.visit_no == number.partition("-")[0]).values(expires_at=ahead))

    line.let_pass(600 + ASK_ANYWAY_SECONDS + SWEEP_AFTER)
    line.tick()

    assert (state(line, number), booked(center, number)) == ("cancelled", (0, 0))


def test_what_was_not_sent_is_cancelled_without_asking(line, center):
    number = hand_in(line, phase=Phase.SETTLE)
    assert cancelled(line, number).state == "cancelled"
    line.ring()
    assert (state(line, number), line.sent) == ("cancelled", [])
    held = hand_in(line, phase=Phase.SETTLE, settle_now=False)
    assert cancelled(line, held).state == "cancelled"
    assert not intake.release(line.engine.connect(), HOSPITAL, 1)


def test_a_refused_preparation_is_refused(line):
    number = hand_in(line, person=900_001)
    line.ring()
    assert (state(line, number), seen(line, number).refusal) == ("refused", "entitlement-suspended")
    assert confirmed(line, number) is Against.REFUSED
    assert cancelled(line, number).state == "refused"


def test_only_one_of_two_decisions_counts(line, center):
    number = hand_in(line)
    assert confirmed(line, number) is Against.NOT_PREPARED
    line.ring()
    assert confirmed(line, number).is_new
    assert cancelled(line, number) is Against.CONFIRMING
    line.ring()
    assert state(line, number) == "settled"


# ── Cancelled by one's own key ────────────────────────────────────────────────────────────────────────────


def test_a_key_is_cancelled_before_its_claim_comes(line):
    assert isinstance(decide.cancel_key(line.engine, HOSPITAL, "never", at=AT), Buried)
    assert isinstance(decide.cancel_key(line.engine, HOSPITAL, "never", at=AT), Buried)
    outcomes = intake.accept(line.engine, [submission(HOSPITAL, "never"), submission(HOSPITAL, "other")], at=AT)
    assert [type(each) for each in outcomes] == [intake.Cancelled, intake.Accepted]


@pytest.mark.parametrize("phase", [Phase.SETTLE, Phase.PREPARE])
def test_a_key_is_cancelled_while_the_answer_is_awaited(line, center, phase):
    """冲正: whatever became of it, it is not to be settled. The centre had not seen it: it is refused when it comes."""
    line.loses = lambda task: task in (lanes.CLAIMS_SETTLE, lanes.CLAIMS_PREPARE)
    number = hand_in(line, phase=phase, key=f"mine-{phase}")
    line.ring()
    assert state(line, number) == "totalled"
    decision = decide.cancel_key(line.engine, HOSPITAL, f"mine-{phase}", at=AT)
    assert isinstance(decision, Decided) and decision.is_new
    line.ring()
    assert state(line, number) == "cancelled"

    line.loses = lambda task: False
    with line.engine.begin() as connection:
        connection.execute(update(claim).values(state="totalled", phase="settle", rung_at=0))
    line.sweep()
    assert (state(line, number), booked(center, number)) == ("cancelled", (0, 0))


def test_a_cancellation_that_comes_too_late_finds_it_settled(line, center):
    line.loses = lambda task: task == lanes.CLAIMS_DELIVER
    number = hand_in(line, phase=Phase.SETTLE)
    line.ring()
    assert (state(line, number), booked(center, number)) == ("totalled", (1, 0))
    assert cancelled(line, number).is_new
    line.ring()
    assert state(line, number) == "settled"
    assert cancelled(line, number) is Against.SETTLED


# ── Lost on the way: C2 to C8 ─────────────────────────────────────────────────────────────────────────────

LOST = {
    "C2 the request to prepare": (lanes.CLAIMS_PREPARE, "prepare"),
    "C4 the answer to it": (lanes.OUTCOMES_TELL, "prepare"),
    "C6, C7 the confirmation": (lanes.CLAIMS_DECIDE, "confirm"),
    "C8 the answer to it": (lanes.OUTCOMES_TELL, "confirm"),
    "the cancellation": (lanes.CLAIMS_DECIDE, "cancel"),
    "the answer to the cancellation": (lanes.OUTCOMES_TELL, "cancel"),
    "the question": (lanes.OUTCOMES_ASK, "prepare"),
}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("lost", LOST)
def test_whatever_is_lost_is_asked_for_until_it_is_known(line, center, lost, times):
    task, step = LOST[lost]
    number = hand_in(line)
    left = itertools.count(times, -1)

    def loses(sent):
        if lost == "the question" and sent == lanes.CLAIMS_PREPARE and line.sent.count(sent) == 1:
            return True
        return sent == task and next(left) > 0

    if step == "prepare":
        line.loses = loses
    line.ring()
    if step != "prepare":
        line.loses = loses
        (confirmed if step == "confirm" else cancelled)(line, number)
        line.ring()
    assert [each.claim_no for each in unknown(line)] == [number]

    line.let_pass(times * (SWEEP_AFTER + LONGEST_WAIT_SECONDS) + 10)

    assert unknown(line) == []
    if step == "prepare":
        assert state(line, number) == "prepared"
        confirmed(line, number)
        line.ring()
    assert (state(line, number), booked(center, number)) == (
        ("cancelled", (0, 0)) if step == "cancel" else ("settled", (1, 0))
    )


def test_everything_twice_and_in_any_order_is_once(line, center):
    """Each message again, the newest first, after it is over."""
    kept = []
    carry = line.carried.append
    number = hand_in(line)

    class Keeping(type(line.carried)):
        def append(self, message):
            kept.append(message)
            super().append(message)

    line.carried = Keeping(line.carried)
    line.ring()
    confirmed(line, number)
    line.ring()
    settled = seen(line, number)
    assert settled.state == "settled" and carry is not None
    line.carried = type(line.carried).__bases__[0](reversed(kept + kept))
    line.carry()
    assert seen(line, number) == settled
    assert booked(center, number) == (1, 0)


def test_a_centre_that_forgot_a_preparation_prepares_it_again_and_confirms_the_same(line, center):
    """C15, as far as it is ours: restored from before, it does not know what it prepared."""
    number = hand_in(line)
    line.ring()
    prepared = seen(line, number).answer
    forget(center, number)
    confirmed(line, number)
    line.ring()
    view = seen(line, number)
    assert view.state == "settled"
    assert view.answer._replace(settlement_no=0, settled_at=None) == prepared


def test_what_comes_out_otherwise_the_second_time_is_not_confirmed(line, center):
    number = hand_in(line)
    line.ring()
    forget(center, number)
    person = seen(line, number).visit.citizen_id_no
    with center.begin() as connection:
        connection.execute(
            text("UPDATE person SET account_balance_fen = account_balance_fen + 5 WHERE citizen_id_no = :n"),
            {"n": person},
        )
    confirmed(line, number)
    line.ring()
    line.let_pass(20)
    assert (state(line, number), booked(center, number)) == ("cancelled", (0, 0))


def forget(center, number):
    visit = number.partition("-")[0]
    with center.begin() as connection:
        connection.execute(
            text(
                "UPDATE person SET held_until = NULL WHERE person_no IN"
                " (SELECT person_no FROM outcome WHERE visit_no = :v)"
            ),
            {"v": visit},
        )
        connection.execute(
            text(
                "UPDATE outcome SET visit_no = 'gone' || right(visit_no, 6), state = 'cancelled', decided_at = now()"
                " WHERE visit_no = :v"
            ),
            {"v": visit},
        )


# ── Held up ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_that_is_held_up_says_so_and_goes_on_by_itself(line, center):
    serial = next(SERIALS)
    first = hand_in(line, person=serial)
    line.ring()
    other = hand_in(line, person=serial, phase=Phase.SETTLE)
    third = hand_in(line, person=serial)
    line.ring()
    for number in (other, third):
        view = seen(line, number)
        assert (view.state, view.waits_for, view.refusal) == ("totalled", "busy", "")

    confirmed(line, first)
    line.ring()
    line.let_pass(60)

    assert (state(line, other), seen(line, other).waits_for) == ("settled", "")
    line.let_pass(60)
    assert (state(line, third), seen(line, third).waits_for) == ("prepared", "")


# ── The link is down, and up again ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("some", "meanwhile"),
    [(40, {"totalled"}), (1_200, {"accepted", "totalled"})],
    ids=["in one sweep", "in several sweeps"],
)
def test_nothing_stays_unknown_longer_than_stated_once_the_link_is_up(line, center, some, meanwhile):
    """Claims in every position an outage may find them in; an hour of it; then time runs until all are known."""
    with line.engine.begin() as connection:
        connection.execute(update(institution).values(backlog_cap=4 * some))
    prepared = [hand_in(line) for _ in range(3)]
    taken_back = [hand_in(line, phase=Phase.SETTLE) for _ in range(10)]
    line.ring()
    for number in prepared[:2]:
        (confirmed if number == prepared[0] else cancelled)(line, number)
    line.is_down = True
    waiting = [hand_in(line, phase=phase) for phase in (Phase.SETTLE, Phase.PREPARE) for _ in range(some)]
    halves = [
        half for place, number in enumerate(taken_back) for half in refunded(line, number, PART if place % 2 else None)
    ]
    line.ring()
    cancelled(line, waiting[0])
    line.let_pass(3600, every=30)
    assert {state(line, number) for number in waiting} == meanwhile
    with line.engine.connect() as connection:
        assert oldest_seconds(connection, at=line.clock.now()) >= 3600

    line.is_down = False
    line.let_pass(KNOWN_WITHIN)

    assert unknown(line) == []
    with line.engine.connect() as connection:
        assert oldest_seconds(connection, at=line.clock.now()) == 0
    assert [state(line, number) for number in prepared] == ["cancelled", "cancelled", "cancelled"]
    assert {seen(line, number).refusal for number in prepared} == {"prepare-expired"}
    assert [state(line, number) for number in waiting] == (
        ["cancelled"] + ["settled"] * (some - 1) + ["prepared"] * some
    )
    assert all(booked(center, number)[0] == 1 for number in waiting[1:some])
    assert [state(line, half) for half in halves] == ["settled"] * 15
    assert [booked(center, number)[0] for number in taken_back] == [2, 3] * 5


PART = {1: 100}
"""One of the first line is kept."""


def refunded(line, number, kept=None):
    """Ask for a refund; the numbers of its halves: what takes the claim back, and what is kept of it."""
    visit = number.partition("-")[0]
    asked = refund.refund(line.engine, shelf(), HOSPITAL, visit, 1, reason="误", at=line.clock.now(), kept=kept)
    assert isinstance(asked, Refunding)
    batches = [asked.contra_batch_no, *([asked.resettled_batch_no] if kept else [])]
    return [f"{visit}-{batch}" for batch in batches]


# ── An operator ───────────────────────────────────────────────────────────────────────────────────────────


def test_an_operator_asks_and_decides(line, center):
    line.loses = lambda task: task == lanes.OUTCOMES_TELL
    number = hand_in(line)
    line.ring()
    (one,) = unknown(line)
    assert (one.claim_no, one.state, one.phase, one.attempts) == (number, "totalled", "prepare", 1)
    line.loses = lambda task: False

    ask_now(line.frontend, HOSPITAL, number)
    line.carry()
    assert state(line, number) == "prepared"

    decide_now(line.frontend, HOSPITAL, number, confirm=True, by="张三", reason="已收款", at=AT)
    line.carry()
    assert state(line, number) == "settled"
    with line.engine.connect() as connection:
        assert connection.execute(select(claim.c.decided_by, claim.c.reason)).all() == [("张三", "已收款")]
    with pytest.raises(Impossible, match="退费"):
        decide_now(line.frontend, HOSPITAL, number, confirm=False, by="张三", reason="误", at=AT)
    with pytest.raises(Impossible, match="没有这笔费用"):
        ask_now(line.frontend, HOSPITAL, "V999999-1")


@pytest.mark.parametrize("kept", [None, PART], ids=["all", "a part is kept"])
@pytest.mark.parametrize("is_late", [False, True], ids=["lost", "late"])
def test_an_operator_who_asks_about_a_refund_asks_for_it_again(line, center, kept, is_late):
    """One request, one answer: neither half is ever sent by itself as a claim."""
    number = hand_in(line, phase=Phase.SETTLE)
    line.ring()
    visit = number.partition("-")[0]
    line.holds_back = lanes.CLAIMS_REFUND
    refunded(line, number, kept)
    line.ring()
    half = [each for each in unknown(line) if each.claim_no.startswith(visit)]
    assert {each.tried for each in half} == {"重发退费申请（同一编号）"}
    assert len(half) == (2 if kept else 1)

    line.holds_back = ""
    for each in half:
        ask_now(line.frontend, HOSPITAL, each.claim_no)
    line.carry()
    if is_late:
        line.carried.extend(line.held_back)
        line.carry()

    assert [state(line, each.claim_no) for each in half] == ["settled"] * len(half)
    with center.connect() as connection:
        held = "SELECT kind FROM settlement WHERE visit_no = :v ORDER BY settlement_no"
        kinds = connection.execute(text(held), {"v": visit}).scalars().all()
    assert kinds == ["normal", "contra", "normal"][: 3 if kept else 2]
    assert unknown(line) == []


def test_neither_half_of_a_refund_is_settled_or_refused_by_an_answer_to_a_claim(line):
    number = hand_in(line, phase=Phase.SETTLE)
    line.ring()
    visit = number.partition("-")[0]
    line.holds_back = lanes.CLAIMS_REFUND
    halves = refunded(line, number, PART)
    line.ring()
    assert halves == [f"{visit}-2", f"{visit}-3"]

    with line.engine.begin() as connection:
        told = [ToldOutcome(HOSPITAL, visit, batch, OutcomeState.UNKNOWN) for batch in (2, 3)]
        came = record_told(connection, OutcomeTold(outcomes=tuple(told)), at=AT)
        refused = [ClaimAnswer(visit, batch, "totals-unequal", "") for batch in (2, 3)]
        assert record_answers(connection, ClaimsAnswered(answers=tuple(refused)), at=AT) == 0
        ids = connection.execute(select(claim.c.claim_id).where(claim.c.contra_of.is_not(None))).scalars().all()
    assert (came.again, sending.send_again(line.frontend, ids)) == ([], 0)
    assert [state(line, each) for each in halves] == ["totalled", "totalled"]


def test_a_refund_that_was_refused_by_hand_does_not_stand_in_the_way_of_another(line):
    number = hand_in(line, phase=Phase.SETTLE)
    line.ring()
    visit = number.partition("-")[0]
    line.holds_back = lanes.CLAIMS_REFUND
    refund.refund(line.engine, shelf(), HOSPITAL, visit, 1, reason="误", at=line.clock.now())
    with line.engine.begin() as connection:
        ended = update(claim).where(claim.c.contra_of.is_not(None)).values(state="refused", refusal="totals-unequal")
        connection.execute(ended)

    again = refund.refund(line.engine, shelf(), HOSPITAL, visit, 1, reason="误", at=line.clock.now())

    assert isinstance(again, Refunding)
    assert again.contra_batch_no == 3


def test_what_is_held_up_is_known(line, center):
    """Answered with what holds it up it is no unknown outcome, and is counted apart."""
    person = next(SERIALS)
    hand_in(line, person=person)
    line.ring()
    held_up = hand_in(line, phase=Phase.SETTLE, person=person)
    line.ring()
    line.let_pass(60)
    with line.engine.connect() as connection:
        assert oldest_seconds(connection, at=line.clock.now()) == 0
        assert oldest_seconds(connection, at=line.clock.now(), held_up=True) >= 60

    ask_now(line.frontend, HOSPITAL, held_up)
    assert seen(line, held_up).waits_for == "", "it is asked anew"
    line.carry()
    assert seen(line, held_up).waits_for == "busy"
