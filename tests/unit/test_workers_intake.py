"""Accepting claims: durable, once per key, in order, bounded, and each institution for itself."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update

from domain.lifecycle import ClaimState
from domain.refusals import VisitRefusal
from tests.support.frontend import (
    CLINIC,
    DAY,
    HOSPITAL,
    NOON,
    hand_in,
    line,
    new_frontend,
    rows,
    short_code,
    states,
    submission,
)
from workers import claims, intake, numbers
from workers.intake import Accepted, BacklogFull, KeyConflict, NotServed, Replayed, VisitConflict, accept
from workers.numbers import visit_number
from workers.outcomes.decide import Buried, cancel_key
from workers.tables import claim, claim_content, institution


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def one(engine, handed_in):
    return accept(engine, [handed_in], at=NOON)[0]


def test_what_is_accepted_is_on_the_disk_for_others_to_see(engine, tmp_path):
    accepted = one(engine, submission())

    with sqlite3.connect(tmp_path / "frontend.db") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        held = other.execute("SELECT claim_id, state FROM claim JOIN claim_content USING (claim_id)").fetchall()
    other.close()
    assert held == [(accepted.claim_id, "accepted")]


def test_every_commit_waits_for_the_disk(engine):
    with engine.connect() as connection:
        full = 2
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full


def test_the_same_key_with_the_same_content_is_answered_as_the_first_time(engine):
    first = one(engine, submission())

    again = one(engine, submission())

    assert again == Replayed(first.claim_id, first.visit_no, first.charge_batch_no)
    assert len(states(engine)) == 1


def test_the_same_key_with_other_content_is_a_conflict_and_leaves_the_first_alone(engine):
    one(engine, submission())
    before = rows(engine, claim)

    assert one(engine, submission(lines=[line(1)])) == KeyConflict()

    assert rows(engine, claim) == before


def test_two_institutions_may_use_the_same_key(engine):
    outcomes = accept(engine, [submission(HOSPITAL, "same"), submission(CLINIC, "same")], at=NOON)

    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]


def test_repeats_within_a_batch_are_seen_too(engine):
    first, repeat, other = accept(engine, [submission(), submission(), submission(content="something else")], at=NOON)

    assert repeat == Replayed(first.claim_id, first.visit_no, first.charge_batch_no)
    assert other == KeyConflict()
    assert len(states(engine)) == 1


def test_one_refused_claim_does_not_fail_its_batch(engine):
    one(engine, submission(key="taken"))
    outcomes = accept(
        engine,
        [
            submission(key="a"),
            submission(key="taken", content="other"),
            submission("990000000000"),
            submission(key="b"),
        ],
        at=NOON,
    )

    assert [type(outcome) for outcome in outcomes] == [Accepted, KeyConflict, NotServed, Accepted]
    assert len(states(engine)) == 3


def test_visit_numbers_are_issued_in_order_and_start_with_the_short_code(engine):
    hand_in(engine, HOSPITAL, 40)
    hand_in(engine, CLINIC, 3)
    hand_in(engine, HOSPITAL, 40, prefix="later")

    issued = [row.visit_no for row in rows(engine, claim.c.visit_no)]
    of_hospital = [number for number in issued if number.startswith(short_code(HOSPITAL) + "260302")]
    assert len(of_hospital) == 80
    assert of_hospital == sorted(set(of_hospital))
    assert [number[-4:] for number in issued if number.startswith(short_code(CLINIC))] == ["0001", "0002", "0003"]
    assert {len(number) for number in issued} == {16}


def test_the_stored_visit_carries_its_new_number(engine):
    accepted = one(engine, submission())

    with engine.connect() as connection:
        shown = claims.show(connection, HOSPITAL, f"{accepted.visit_no}-1")
    assert shown.visit.visit_no == accepted.visit_no


def test_counting_starts_again_every_day(engine):
    first = one(engine, submission(key="today"))
    next_day = accept(engine, [submission(key="tomorrow")], at=NOON + timedelta(days=1))[0]

    assert first.visit_no[-4:] == next_day.visit_no[-4:] == "0001"
    assert first.visit_no != next_day.visit_no


def test_a_number_the_hospital_took_itself_is_not_issued_again(engine):
    own = [visit_number(short_code(HOSPITAL), DAY, sequence) for sequence in (1, 2, 4)]
    accept(engine, [submission(key=number, visit_no=number) for number in own], at=NOON)

    hand_in(engine, HOSPITAL, 3)

    issued = [row.visit_no[-4:] for row in rows(engine, claim.c.visit_no)]
    assert issued == ["0001", "0002", "0004", "0003", "0005", "0006"]


@given(st.integers(0, numbers.VISITS_PER_DAY - 2))
def test_a_later_visit_number_sorts_after_an_earlier_one(sequence):
    assert visit_number("T00001", DAY, sequence) < visit_number("T00001", DAY, sequence + 1)


def test_when_the_numbers_of_a_day_are_used_up_it_says_so():
    with pytest.raises(numbers.VisitNumbersUsedUp):
        visit_number("T00001", DAY, numbers.VISITS_PER_DAY)


def test_charge_batches_of_a_visit_are_numbered_one_after_the_other(engine):
    batches = [
        one(engine, submission(key=f"batch-{number}", visit_no="V1", content=str(number))).charge_batch_no
        for number in range(3)
    ]

    assert batches == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        pytest.param({"key": "new"}, Replayed, id="the same content under another key is the same claim"),
        pytest.param({"key": "new", "content": "other"}, VisitConflict, id="the batch is taken by other content"),
        pytest.param(
            {"key": "new", "institution_code": CLINIC}, VisitConflict, id="the visit is another institution's"
        ),
        pytest.param(
            {"key": "new", "institution_code": CLINIC, "batch_no": 2},
            VisitConflict,
            id="another institution's visit is closed for every batch",
        ),
        pytest.param({"key": "new", "batch_no": 2}, Accepted, id="the next batch of one's own visit"),
    ],
)
def test_a_visit_and_its_batches_belong_to_one_claim_and_one_institution(engine, change, outcome):
    one(engine, submission(key="first", visit_no="V1", batch_no=1))

    assert type(one(engine, submission(**{"visit_no": "V1", "batch_no": 1, **change}))) is outcome


def test_a_full_backlog_refuses_and_does_not_use_up_the_key(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/small.db", backlog_cap=3)
    outcomes = accept(engine, [submission(key=f"key-{number}") for number in range(4)], at=NOON)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted, Accepted, BacklogFull]
    assert outcomes[3] == BacklogFull(open_claims=3, cap=3)
    assert type(one(engine, submission(key="key-0"))) is Replayed, "what was accepted is still answered"
    assert type(one(engine, submission(CLINIC, "key-3"))) is Accepted, "another institution has room of its own"

    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.claim_id == 1).values(state=ClaimState.SETTLED))

    assert type(one(engine, submission(key="key-3"))) is Accepted
    engine.dispose()


def test_held_claims_take_no_room_in_the_backlog(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/small.db", backlog_cap=1)
    outcomes = accept(engine, [submission(key=f"key-{number}", settle_now=False) for number in range(3)], at=NOON)

    assert [type(outcome) for outcome in outcomes] == [Accepted] * 3
    assert type(one(engine, submission(key="now"))) is Accepted
    engine.dispose()


def test_a_held_claim_waits_for_its_institutions_word(engine):
    held = one(engine, submission(settle_now=False))
    assert states(engine) == ["held"]

    with engine.begin() as connection:
        assert not intake.release(connection, CLINIC, held.claim_id), "not another institution's word"
    assert states(engine) == ["held"]
    with engine.begin() as connection:
        assert intake.release(connection, HOSPITAL, held.claim_id)
        assert not intake.release(connection, HOSPITAL, held.claim_id)
    assert states(engine) == ["accepted"]


def test_only_institutions_with_new_work_are_rung(engine):
    batch = [
        submission(HOSPITAL, "new"),
        submission(HOSPITAL, "new"),
        submission(CLINIC, "held", settle_now=False),
        submission("990000000000", "stranger"),
    ]

    assert intake.institutions_of(accept(engine, batch, at=NOON), batch) == {HOSPITAL}
    assert intake.institutions_of(accept(engine, batch, at=NOON), batch) == set()


def test_an_institution_that_left_is_not_served(engine):
    with engine.begin() as connection:
        connection.execute(update(institution).where(institution.c.institution_code == CLINIC).values(active=False))

    assert one(engine, submission(CLINIC)) == NotServed()
    assert states(engine) == []


def test_what_was_taken_before_the_institution_left_stays_answered(engine):
    taken = one(engine, submission(CLINIC, "unheard"))
    assert isinstance(cancel_key(engine, CLINIC, "buried", at=NOON), Buried)
    with engine.begin() as connection:
        connection.execute(update(institution).where(institution.c.institution_code == CLINIC).values(active=False))

    assert one(engine, submission(CLINIC, "unheard")) == Replayed(1, taken.visit_no, taken.charge_batch_no)
    assert one(engine, submission(CLINIC, "buried")) == intake.Cancelled()
    assert isinstance(one(engine, replace(submission(CLINIC, "unheard"), content_digest=bytes(16))), KeyConflict)
    assert one(engine, submission(CLINIC, "new")) == NotServed()
    assert cancel_key(engine, CLINIC, "never came", at=NOON).codes == (VisitRefusal.NOT_SERVED,)
    assert states(engine) == ["accepted"]


def test_nothing_is_left_behind_when_the_transaction_fails(engine):
    with engine.begin() as connection:
        connection.execute(insert(claim_content).values(claim_id=1, visit=b"", lines=b""))

    with pytest.raises(Exception, match="UNIQUE"):
        one(engine, submission())

    assert states(engine) == []


def test_two_threads_with_the_same_key_make_one_claim(engine):
    rounds = 50
    with ThreadPoolExecutor(4) as pool:
        for number in range(rounds):
            handed_in = submission(key=f"key-{number}")
            outcomes = [found.result() for found in [pool.submit(one, engine, handed_in) for _ in range(4)]]
            assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Accepted"] + 3 * ["Replayed"]
            assert len({outcome.claim_id for outcome in outcomes}) == 1

    assert len(states(engine)) == rounds


LETTER = st.tuples(st.sampled_from([HOSPITAL, CLINIC]), st.sampled_from("abc"), st.sampled_from("xy"))


@settings(max_examples=20, deadline=None)
@given(letters=st.lists(LETTER, max_size=12), cuts=st.integers(1, 4))
def test_however_repeats_are_cut_into_batches_each_key_makes_at_most_one_claim(tmp_path_factory, letters, cuts):
    engine = new_frontend(f"sqlite:///{tmp_path_factory.mktemp('intake')}/frontend.db")
    handed_in = [submission(code, key, content=content) for code, key, content in letters]
    outcomes = []
    for start in range(0, len(handed_in), cuts):
        outcomes += accept(engine, handed_in[start : start + cuts], at=NOON)

    first_content = {}
    for (code, key, content), outcome in zip(letters, outcomes, strict=True):
        expected = first_content.setdefault((code, key), content)
        assert isinstance(outcome, Accepted | Replayed) == (content == expected)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(claim)).scalar() == len(first_content)
    engine.dispose()


def test_a_visit_handed_in_with_its_number_is_stored_as_it_came(engine):
    handed_in = submission(visit_no="V1")
    accepted = one(engine, handed_in)

    with engine.connect() as connection:
        shown = claims.show(connection, HOSPITAL, f"{accepted.visit_no}-1")
    assert shown.visit == handed_in.visit
    assert shown.lines == handed_in.lines
    assert replace(shown.visit, visit_no="") == submission().visit
