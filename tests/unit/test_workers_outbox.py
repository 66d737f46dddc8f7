"""The outbox and its sweep: sent until answered, never in a flood, never by two at once."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from domain.lifecycle import ClaimState
from domain.messages import TotalsSubmitted
from infra import lanes
from tests.support.frontend import CLINIC, HOSPITAL, LINES, NOON, PERSON, hand_in, new_frontend, rows, shelf, totals_of
from tests.support.post import FRONTEND, KEY, RememberingPost
from workers import desk, outbox
from workers.doorbell import Doorbell
from workers.outbox import CLAIMS_PER_ENVELOPE, LANE_IS_LONG, LONGEST_WAIT_SECONDS, Outbox, Sweep, shown
from workers.tables import claim, institution, lease

AFTER = 8.0
START = 1_000_000.0


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


@pytest.fixture
def post():
    return RememberingPost()


def sweep_of(engine, post, holder="first"):
    return Sweep(engine, Outbox(post, FRONTEND, KEY), Doorbell(post, FRONTEND), holder=holder, after_seconds=AFTER)


@pytest.fixture
def sweep(engine, post):
    return sweep_of(engine, post)


def total_up(engine, count, *, institution_code=HOSPITAL, now=START, prefix="key"):
    hand_in(engine, institution_code, count, prefix=prefix)
    desk.preprocess(engine, shelf(), institution_code, limit=1000, at=NOON, now=now)


def claims_sent(post):
    return [row.visit_no for message in post.opened(TotalsSubmitted) for row in message.claims]


def test_an_unanswered_claim_is_sent_again_as_it_was(engine, post, sweep):
    total_up(engine, 1)

    assert sweep.run(now=START + AFTER + 1) == 1

    [(task, queue, show, _)] = post.sent
    assert (task, queue) == (lanes.CLAIMS_SETTLE, lanes.SETTLE)
    [message] = post.opened(TotalsSubmitted)
    visit_no = rows(engine, claim.c.visit_no)[0].visit_no
    assert message.claims == (totals_of(HOSPITAL, visit_no),)
    assert show == {"frontend": FRONTEND, "claims": 1, "institution": HOSPITAL, "visit": visit_no}


def test_nothing_is_sent_again_before_its_time_nor_once_it_is_answered(engine, post, sweep):
    total_up(engine, 2)
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.claim_id == 1).values(state=ClaimState.SETTLED))

    assert sweep.run(now=START + AFTER) == 0
    assert sweep.run(now=START + AFTER + 0.1) == 1
    assert claims_sent(post) == [rows(engine, claim.c.visit_no)[1].visit_no]


def test_the_wait_grows_with_every_attempt_up_to_its_limit(engine, post, sweep):
    total_up(engine, 1)
    moments = []
    for second in range(0, 1200, 2):
        if second > rows(engine, claim.c.rung_at)[0].rung_at - START + AFTER and sweep.run(now=START + second):
            moments.append(second)

    waits = [later - earlier for earlier, later in zip([0, *moments], moments, strict=False)]
    assert waits == sorted(waits)
    assert waits[0] <= AFTER + 2
    assert waits[2] > 2 * waits[0]
    assert waits[-1] == pytest.approx(AFTER + LONGEST_WAIT_SECONDS, abs=4)
    assert rows(engine, claim.c.attempts)[0].attempts == 1 + len(moments)


def test_a_round_sends_at_most_its_cap(engine, post, sweep, monkeypatch):
    monkeypatch.setattr(outbox, "SWEEP_CAP", 5)
    total_up(engine, 12)
    later = START + AFTER + 1

    assert [sweep.run(now=later) for _ in range(4)] == [5, 5, 2, 0]
    assert len(set(claims_sent(post))) == 12


def test_claims_travel_in_bounded_envelopes_one_pair_of_versions_each(engine, post, sweep):
    total_up(engine, CLAIMS_PER_ENVELOPE + 1)
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.claim_id <= 3).values(catalogue_version="catalogue-0"))

    assert sweep.run(now=START + AFTER + 1) == CLAIMS_PER_ENVELOPE + 1

    sizes = {message.catalogue_version: len(message.claims) for message in post.opened(TotalsSubmitted)}
    assert sizes == {"catalogue-0": 3, "catalogue-1": CLAIMS_PER_ENVELOPE - 2}
    post.sent.clear()
    total_up(engine, 2 * CLAIMS_PER_ENVELOPE + 1, prefix="more")
    sweep.run(now=START + AFTER + 1)
    assert [len(message.claims) for message in post.opened(TotalsSubmitted)] == [CLAIMS_PER_ENVELOPE] * 2 + [1]


def test_a_lane_that_does_not_drain_is_not_fed(engine, post, sweep):
    total_up(engine, 1)
    later = START + AFTER + 1
    post.length[lanes.SETTLE] = LANE_IS_LONG

    assert [sweep.run(now=later) for _ in range(3)] == [0, 0, 0], "long, and as long as it was"
    post.length[lanes.SETTLE] = LANE_IS_LONG + 10
    assert sweep.run(now=later) == 0, "longer than it was"
    assert rows(engine, claim.c.attempts)[0].attempts == 1, "a look is not an attempt"
    post.length[lanes.SETTLE] = LANE_IS_LONG + 9
    assert sweep.run(now=later) == 1, "it drains"


def test_a_short_lane_is_fed(engine, post, sweep):
    total_up(engine, 1)
    post.length[lanes.SETTLE] = LANE_IS_LONG - 1

    assert sweep.run(now=START + AFTER + 1) == 1


def test_while_the_broker_is_away_the_rows_stay(engine, post, sweep, caplog):
    total_up(engine, 3)
    before = rows(engine, claim)
    post.away = True

    with caplog.at_level(logging.WARNING):
        assert sweep.run(now=START + AFTER + 1) == 0
    assert rows(engine, claim) == before

    post.away = False
    assert sweep.run(now=START + AFTER + 2) == 3
    assert PERSON not in caplog.text


def test_a_broker_that_goes_away_in_the_middle_costs_only_time(engine, post, sweep):
    total_up(engine, CLAIMS_PER_ENVELOPE + 5)
    post.goes_away_after = 1

    assert sweep.run(now=START + AFTER + 1) == CLAIMS_PER_ENVELOPE

    post.goes_away_after, post.away = None, False
    assert sweep.run(now=START + AFTER + 2) == 5, "what could not be sent is due at once"
    assert len(set(claims_sent(post))) == CLAIMS_PER_ENVELOPE + 5
    assert {row.state for row in rows(engine, claim.c.state)} == {"totalled"}


def test_while_one_holds_the_lease_another_does_nothing(engine, post, sweep):
    total_up(engine, 1)
    sweep.run(now=START)

    assert sweep_of(engine, post, "second").run(now=START + AFTER + 1) == 0
    assert sweep.run(now=START + AFTER + 1) == 1


def test_when_the_holder_is_gone_another_takes_over(engine, post, sweep):
    total_up(engine, 1)
    sweep.run(now=START)

    assert sweep_of(engine, post, "second").run(now=START + 3 * AFTER + 1) == 1


def test_a_sweeper_that_slept_past_its_lease_writes_no_row_and_sends_nothing(engine, post):
    total_up(engine, 2)
    second = sweep_of(engine, RememberingPost(), "second")

    class SleepyPost(RememberingPost):
        """Asking how long the lane is takes so long that somebody else has taken the lease meanwhile."""

        def waiting(self, queue):
            second.run(now=START + 5 * AFTER)
            with engine.begin() as connection:  # as if nothing had been due for the second one
                connection.execute(update(claim).values(rung_at=0, attempts=7))
            return 0

    sleepy = SleepyPost()

    assert sweep_of(engine, sleepy, "first").run(now=START + AFTER + 1) == 0
    assert sleepy.sent == []
    assert {row.attempts for row in rows(engine, claim.c.attempts)} == {7}
    with engine.connect() as connection:
        assert connection.execute(select(lease.c.holder, lease.c.fence)).one() == ("second", 2)


def test_the_sweep_rings_for_claims_whose_bell_was_lost(engine, post, sweep):
    hand_in(engine, HOSPITAL, 3)
    hand_in(engine, CLINIC, 1)

    sweep.run(now=START)

    assert sorted(kwargs["institution"] for task, _, _, kwargs in post.sent) == [HOSPITAL, CLINIC]
    assert {task for task, *_ in post.sent} == {lanes.CLAIMS_PREPROCESS}


def test_a_bell_that_hangs_is_not_rung_again(engine, post, sweep):
    hand_in(engine, HOSPITAL, 3)
    post.length[lanes.preprocess(FRONTEND, HOSPITAL)] = 1

    for second in range(30):
        sweep.run(now=START + second)

    assert post.sent == []


def test_sending_says_nothing_of_persons(engine, post):
    totals = [totals_of(HOSPITAL, "V1"), totals_of(CLINIC, "V2")]
    assert shown(FRONTEND, totals) == {"frontend": FRONTEND, "claims": 2}
    assert shown(FRONTEND, totals[:1] * 2) == {"frontend": FRONTEND, "claims": 2, "institution": HOSPITAL}

    Outbox(post, FRONTEND, KEY).send(totals, policy_version="p", catalogue_version="c")

    [(_, _, _, kwargs)] = post.sent
    assert PERSON.encode() not in kwargs["envelope"]
    assert LINES[0].local_item_name.encode() not in kwargs["envelope"]


def test_sending_while_the_broker_is_away_says_so_and_raises_nothing(post):
    post.away = True

    assert not Outbox(post, FRONTEND, KEY).send([totals_of(HOSPITAL, "V1")], policy_version="p", catalogue_version="c")


def totals_of_persons(count):
    return [totals_of(HOSPITAL, f"V{number:03d}")._replace(citizen_id_no=f"{number:018d}") for number in range(count)]


def test_a_batch_is_spread_over_the_lanes_by_person_and_nothing_is_left_out(post):
    batch = totals_of_persons(60)
    batch += [each._replace(charge_batch_no=2) for each in batch]

    assert Outbox(post, FRONTEND, KEY).send(batch, policy_version="p", catalogue_version="c", settle_lanes=4)

    by_lane = dict(zip([queue for _, queue, _, _ in post.sent], post.opened(TotalsSubmitted), strict=True))
    assert set(by_lane) == {"settle", "settle.1", "settle.2", "settle.3"}
    persons = {lane: {row.citizen_id_no for row in message.claims} for lane, message in by_lane.items()}
    assert sum(map(len, persons.values())) == 60, "a person has one lane"
    assert sorted(row for message in by_lane.values() for row in message.claims) == sorted(batch)


def test_the_sweep_sends_again_on_the_lanes_its_institution_has(engine, post, sweep):
    with engine.begin() as connection:
        connection.execute(update(institution).values(settle_lanes=3))
    total_up(engine, 2)

    sweep.run(now=START + AFTER + 1)

    [(_, queue, _, _)] = post.sent
    assert queue == lanes.settle_of(PERSON, 3), "one person, one lane"


@given(st.text(min_size=1, max_size=18), st.integers(1, 64))
def test_the_lane_of_a_person_is_one_there_is_and_always_the_same(number, count):
    there = [lanes.settle(each) for each in range(count)]
    assert lanes.settle_of(number, count) in there
    assert lanes.settle_of(number, count) == lanes.settle_of(number, count)
    assert lanes.settle_of(number, 1) == lanes.SETTLE
