"""The crash points C0 to C14 of the notes' table, each with a real process that dies there; C15 is the restore drill.

C1 to C9 are points on the way of an operation (`tests.support.crash_points`). Each operation meets some of them here;
`python -m tests.crash_points` lets every operation meet every point, round after round, on both brokers.
"""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import redis
from sqlalchemy import text

from center.outcomes.expiry import expire
from center.settling.refund import refund as refund_at_center
from domain.messages import RefundAsked
from domain.refusals import Refusal
from infra import lanes
from infra.codec import pack
from tests.support.center import CATALOGUE_VERSION, FRONTEND, POLICY_VERSION, fill_center
from tests.support.crash_city import OPERATIONS, CrashCity, State, ask, visit_no
from tests.support.crash_points import crash, lose, product
from tests.support.frontend import HOSPITAL, NOON, shelf
from tests.support.nursery import KILLED
from tests.support.waiting import eventually
from workers import refund
from workers.visits import NotReady

PERSONS = 120
BALANCE = 3000

HERE = {
    "C1": ("settle", "confirm", "cancel"),
    "C2": ("settle", "prepare"),
    "C3": ("settle", "refund", "prepare", "confirm"),
    "C8": ("settle", "refund", "prepare", "confirm", "cancel"),
    "C5": ("prepare", "confirm"),
    "C9": ("refund", "confirm"),
}
"""Which operations meet which point here. Confirm and cancel call C1 C6 and C3 C7; prepare calls C8 C4."""


@pytest.fixture(scope="module")
def center_shelf(center_engine):
    return fill_center(center_engine, persons=PERSONS, balance_fen=BALANCE)


@pytest.fixture(scope="module")
def city(tmp_path_factory, valkey_url, center_engine, center_database_url, center_shelf):
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    made = CrashCity(tmp_path_factory.mktemp("city"), valkey_url, center_engine, center_database_url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _money_is_where_it_belongs(city):
    yield
    city.prove()


def dies(city, role):
    assert city.nursery.wait(role) == KILLED


def refund_asked(serial, contra_batch_no=2):
    return RefundAsked(
        institution_code=HOSPITAL,
        visit_no=visit_no(serial),
        charge_batch_no=1,
        contra_batch_no=contra_batch_no,
        reason="误",
        policy_version=POLICY_VERSION,
        catalogue_version=CATALOGUE_VERSION,
    )


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_c0_nothing_is_stored_and_the_hospital_asks_again(city, operation):
    serial = city.new(operation.name)
    before = city.state(serial)
    city.nursery.start("door", how="own-commit", call={"operation": operation.name, "serial": serial})
    dies(city, "door")
    city.everybody()
    city.ring()
    assert city.state(serial) == before

    city.ask(operation.name, serial)

    city.becomes(serial, operation.after)


@pytest.mark.parametrize(
    ("point", "operation"),
    [
        pytest.param(point, operation, id=f"{point.name_of(operation.name)} {operation.name}")
        for point, operation in product()
        if operation.name in HERE[point.name_of("")]
    ],
)
def test_c1_to_c9_whoever_dies_where_the_operation_is_done_once(city, point, operation):
    crash(city, point, operation)


@pytest.mark.parametrize("first", [True, False], ids=["confirm first", "cancel first"])
def test_c10_of_confirm_and_cancel_one_wins_and_both_hear_of_it(city, first):
    serial = city.new("confirm")
    city.nursery.kill("center-settle")
    for confirm in (first, not first):
        city.send(lanes.CLAIMS_DECIDE, city.decision(serial, confirm=confirm))
    city.nursery.start("center-settle", how="before-commit", what="OutcomeDecided")
    dies(city, "center-settle")
    assert city.state(serial) == State("prepared", "prepared")
    city.everybody()
    won = State("cancelled", "cancelled") if first else State("settled", "settled")  # the first one died
    city.becomes(serial, won)

    for confirm in (first, not first):
        city.send(lanes.CLAIMS_DECIDE, city.decision(serial, confirm=confirm))
    settled = city.new("settle")
    city.ask("settle", settled)
    city.becomes(settled, OPERATIONS["settle"].after)

    assert city.state(serial) == won


@pytest.mark.parametrize("original", ["settle", "prepare"])
def test_c11_a_cancel_that_comes_first_refuses_its_original(city, original):
    serial = city.new(original)
    city.everybody()
    city.arm("center-settle", "committed", "OutcomeDecided")
    city.send(lanes.CLAIMS_DECIDE, city.decision(serial, confirm=False))
    dies(city, "center-settle")
    assert city.state(serial) == State("nothing", "cancelled")
    city.everybody()

    city.ask(original, serial)

    city.becomes(serial, State("cancelled", "cancelled"))
    with city.site.engine.connect() as connection:
        why = connection.execute(
            text("SELECT refusal FROM claim WHERE visit_no = :v"), {"v": visit_no(serial)}
        ).scalar()
    assert why == Refusal.CANCELLED


def test_c12_a_confirmation_after_the_expiry_settles_nothing_and_says_so(city):
    city.everybody()
    city.arm("center-settle", "", "", JIESUAN_PREPARE_SECONDS="5.0")
    serial = city.new("prepare")
    city.ask("prepare", serial)
    city.becomes(serial, OPERATIONS["prepare"].after)
    city.arm("center-settle", "before-commit", "OutcomeDecided")
    city.ask("confirm", serial)
    dies(city, "center-settle")
    time.sleep(5.0)
    city.everybody()

    eventually(lambda: city.state(serial).frontend == "cancelled")
    with city.center.begin() as connection:
        expire(connection, at=NOON + timedelta(hours=1))  # as the schedule does, where nobody has met it
    assert city.state(serial) == State("cancelled", "expired")
    with city.site.engine.connect() as connection:
        why = connection.execute(
            text("SELECT refusal FROM claim WHERE visit_no = :v"), {"v": visit_no(serial)}
        ).scalar()
    assert why == Refusal.PREPARE_EXPIRED
    with city.center.connect() as connection:
        held = connection.execute(text("SELECT held_until FROM person p JOIN outcome o USING (person_no)"
                                       " WHERE o.visit_no = :v"), {"v": visit_no(serial)}).scalar()  # fmt: skip
    assert held is None, "the person is free"


def test_c12_the_schedule_dies_while_it_expires_and_a_confirmation_comes(city):
    city.everybody()
    city.arm("center-settle", "", "", JIESUAN_PREPARE_SECONDS="2.0")
    serial = city.new("prepare")
    city.ask("prepare", serial)
    city.becomes(serial, OPERATIONS["prepare"].after)
    time.sleep(2.0)
    city.nursery.start("center-detail", how="expiring")
    city.site.post.send(lanes.OUTCOMES_TICK, queue=lanes.ADMIN, shown={})
    dies(city, "center-detail")
    assert city.state(serial).center == "prepared", "what it had begun is not done"

    city.ask("confirm", serial)
    eventually(lambda: city.state(serial).frontend == "cancelled")
    city.nursery.start("center-detail")
    city.site.post.send(lanes.OUTCOMES_TICK, queue=lanes.ADMIN, shown={})

    city.becomes(serial, State("cancelled", "expired"))
    city.nursery.stop("center-detail")


def test_c13_what_is_not_confirmed_is_not_refunded(city, center_shelf):
    serial = city.new("confirm")
    assert isinstance(
        refund.refund(city.site.engine, shelf(), HOSPITAL, visit_no(serial), 1, reason="误", at=NOON), NotReady
    )
    city.everybody()
    city.arm("center-settle", "before-commit", "RefundAsked")
    refused = refund_asked(serial, contra_batch_no=5)
    city.send(lanes.CLAIMS_REFUND, refused)
    dies(city, "center-settle")
    lose(city)
    answered = refund_at_center(city.center, center_shelf, refused, frontend=FRONTEND, at=NOON)
    assert answered.refusal == Refusal.NOT_CONFIRMED
    assert city.state(serial) == State("prepared", "prepared")
    city.everybody()

    for operation in ("confirm", "refund"):
        city.ask(operation, serial)
        city.becomes(serial, OPERATIONS[operation].after)


def test_c14_a_second_refund_gets_the_stored_answer_or_is_refused(city, center_shelf):
    serial = city.new("refund")
    city.arm("center-settle", "send", lanes.CLAIMS_REFUNDED)
    city.ask("refund", serial)
    dies(city, "center-settle")
    city.arm("center-settle", "before-commit", "RefundAsked")
    city.send(lanes.CLAIMS_REFUND, refund_asked(serial, contra_batch_no=7))
    dies(city, "center-settle")
    city.everybody()
    city.becomes(serial, OPERATIONS["refund"].after)

    again = refund_at_center(city.center, center_shelf, refund_asked(serial), frontend=FRONTEND, at=NOON)
    more = refund_at_center(city.center, center_shelf, refund_asked(serial, 7), frontend=FRONTEND, at=NOON)

    assert tuple(pack(answer) for answer in again.answers) == city.stored(serial)[1:]
    assert more.refusal == Refusal.REFUNDED_ALREADY
    ask(city.site.engine, "refund", serial)
    assert city.state(serial) == OPERATIONS["refund"].after
