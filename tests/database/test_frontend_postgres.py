"""A front-end on PostgreSQL keeps the same promises as on SQLite: schema, keys, leases, turns and answers."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

import workers.clearings.tables  # its tables belong to the model
import workers.reconciling.tables  # noqa: F401  # its tables belong to the model
from domain.messages import BooksAsked, ClaimAnswer, ClaimsAnswered, DetailReceipt, DetailReceived, UploadGranted
from infra.database import open_database
from infra.lease import LeaseLost, guard, take
from tests.support.frontend import (
    BAD_LINE,
    CLINIC,
    DAY,
    HOSPITAL,
    LINES,
    NOON,
    PERSON,
    hand_in,
    new_frontend,
    rows,
    shelf,
    states,
    submission,
)
from tests.support.post import FRONTEND, KEY, RememberingPost
from tests.support.uploading import link_to
from workers import books, claims, deliver, desk, intake, schema, upload
from workers.doorbell import Doorbell
from workers.intake import Accepted, KeyConflict, Replayed
from workers.outbox import Outbox, Sweep
from workers.tables import claim, lease, metadata, verdict
from workers.upload_lag import lags


@pytest.fixture(scope="module")
def url(empty_database):
    new_frontend(empty_database).dispose()
    return empty_database


@pytest.fixture
def engine(url):
    engine = open_database(url, pool_size=10)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE claim, claim_content, verdict, visit_counter, lease"))
    yield engine
    engine.dispose()


def test_the_schema_equals_the_model_goes_down_and_comes_up_again(url):
    engine = open_database(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    schema.downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    schema.upgrade(engine)
    engine.dispose()
    new_frontend(url).dispose()


def test_the_number_of_a_move_after_a_restore_of_the_centre_fits(engine):
    """A restored centre counts on from far above 2^31."""
    intake.accept(engine, [submission(key="moved")], at=NOON)
    with engine.begin() as connection:
        connection.execute(text("UPDATE claim SET carried = -20261123000001"))
        assert connection.execute(text("SELECT carried FROM claim")).scalars().all() == [-20261123000001]


def test_one_key_handed_in_by_many_at_once_makes_one_claim(engine):
    with ThreadPoolExecutor(4) as pool:
        for number in range(25):
            handed_in = submission(key=f"key-{number}")
            found = [pool.submit(intake.accept, engine, [handed_in], at=NOON) for _ in range(4)]
            outcomes = [future.result()[0] for future in found]
            assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Accepted"] + 3 * ["Replayed"]

    assert len(states(engine)) == 25


def test_batches_that_share_keys_disturb_no_other_batch(engine):
    """The first claims of a day, the same keys in other batches and in another order, all at once."""
    start = threading.Barrier(6)
    dice = random.Random(7370)
    batches = [[submission(key=f"key-{number}") for number in dice.sample(range(12), 6)] for _ in range(6)]

    def come(batch):
        start.wait()
        return intake.accept(engine, batch, at=NOON)

    with ThreadPoolExecutor(6) as pool:
        outcomes = [outcome for found in pool.map(come, batches) for outcome in found]

    keys = {handed_in.idempotency_key for batch in batches for handed_in in batch}
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Accepted"] * len(keys) + ["Replayed"] * (
        36 - len(keys)
    )
    assert len(states(engine)) == len(keys)


def test_many_doors_at_once_get_visit_numbers_of_their_own(engine):
    def come(door):
        return [
            intake.accept(engine, [submission(code, f"{door}-{n}")], at=NOON)[0]
            for n in range(15)
            for code in (HOSPITAL, CLINIC)
        ]

    with ThreadPoolExecutor(4) as pool:
        outcomes = [outcome for found in pool.map(come, range(4)) for outcome in found]

    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert len({outcome.visit_no for outcome in outcomes}) == len(outcomes) == 120
    assert len({outcome.claim_id for outcome in outcomes}) == 120


def test_other_content_under_a_key_is_a_conflict(engine):
    [first] = intake.accept(engine, [submission()], at=NOON)

    assert intake.accept(engine, [submission(), submission(content="other")], at=NOON) == [
        Replayed(first.claim_id, first.visit_no, 1),
        KeyConflict(),
    ]


def test_two_desks_at_once_take_each_claim_once(engine):
    batch = [submission(key=f"key-{number}", lines=[BAD_LINE] if number % 3 else LINES) for number in range(90)]
    intake.accept(engine, batch, at=NOON)
    start = threading.Barrier(4)
    found = []

    def turn():
        start.wait()
        for _ in range(12):
            found.extend(desk.preprocess(engine, shelf(), HOSPITAL, limit=10, at=NOON, now=1.0).totals)

    threads = [threading.Thread(target=turn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert states(engine) == ["totalled", "returned", "returned"] * 30
    assert len(found) == len({row.visit_no for row in found}) == 30
    with engine.connect() as connection:
        assert len(connection.execute(verdict.select()).all()) == 60


def test_of_many_sweepers_at_once_one_sends(engine):
    hand_in(engine, HOSPITAL, 50)
    desk.preprocess(engine, shelf(), HOSPITAL, limit=100, at=NOON, now=1.0)
    posts = [RememberingPost() for _ in range(4)]
    start = threading.Barrier(4)
    sent = []

    def sweep(number):
        worker = Sweep(
            engine,
            Outbox(posts[number], FRONTEND, KEY),
            Doorbell(posts[number], FRONTEND),
            holder=str(number),
            after_seconds=8.0,
        )
        start.wait()
        sent.append(worker.run(now=100.0))

    threads = [threading.Thread(target=sweep, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(sent) == [0, 0, 0, 50]


def test_a_lease_passes_on_and_fences_its_last_holder(engine):
    with engine.begin() as connection:
        assert take(connection, lease, name="sweep", holder="first", now=0.0, seconds=10.0) == 1
        assert take(connection, lease, name="sweep", holder="second", now=9.0, seconds=10.0) is None
    with engine.begin() as connection:
        assert take(connection, lease, name="sweep", holder="second", now=11.0, seconds=10.0) == 2
    with pytest.raises(LeaseLost), engine.begin() as connection:
        guard(connection, lease, name="sweep", fence=1)


def test_answers_uploads_and_books_come_out_the_same(engine):
    hand_in(engine, HOSPITAL, 3, channel="dbf")
    turn = desk.preprocess(engine, shelf(), HOSPITAL, limit=10, at=NOON, now=1.0)
    answers = tuple(
        ClaimAnswer(row.visit_no, 1, settlement_no=7, fund_pay_fen=5, settled_at=NOON) for row in turn.totals
    )
    with engine.begin() as connection:
        assert deliver.record_answers(connection, ClaimsAnswered(answers=answers + answers[:1]), at=NOON) == 3
        assert deliver.record_answers(connection, ClaimsAnswered(answers=answers), at=NOON) == 0
    with engine.begin() as connection:
        assert len(claims.ready_to_hand_back(connection, HOSPITAL, 10)) == 3
        [day] = books.report(connection, BooksAsked(day=DAY)).totals
        assert (day.claims, day.fund_pay_fen) == (3, 15)
    sent = []
    granted = UploadGranted(window="noon", fence=1, lines=100, cut_off=NOON.replace(hour=13))
    upload.upload(engine, granted, link_to(sent.append, at=NOON))
    [chunk] = sent
    assert len(chunk.claims) == 3
    with engine.connect() as connection:
        [lag] = lags(connection, at=NOON.replace(hour=14), deadline=timedelta(hours=1))
    assert (lag.due_claims, lag.overdue_claims, lag.oldest_due_at) == (3, 3, NOON)
    with engine.begin() as connection:
        receipts = tuple(DetailReceipt(each.visit_no, 1, True, 4, 0, b"") for each in chunk.claims)
        assert upload.confirm(connection, DetailReceived(receipts=receipts, chunk=chunk.chunk)) == 3
        assert lags(connection, at=NOON, deadline=timedelta(hours=1)) == []
    assert rows(engine, claim.c.settled_at)[0].settled_at == NOON


def test_an_error_of_the_database_does_not_quote_a_value(engine):
    with pytest.raises(Exception, match=r"claim_pkey|unique") as caught, engine.begin() as connection:
        for _ in range(2):
            connection.execute(
                claim.insert().values(
                    claim_id=1, institution_code=PERSON, visit_no="V1", charge_batch_no=1, channel="api",
                    content_digest=b"", state="held", line_count=1, total_fen=1, accepted_at=NOON,
                )
            )  # fmt: skip

    assert PERSON not in str(caught.value)
