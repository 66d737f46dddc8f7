"""Entitlements for front-ends: what is answered, to whom, in one moment; and a relative's account that pays."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import insert, text

from center.persons import LEASE, PERSONS_PER_QUESTION, entitlements
from center.serving.entering import enter
from center.settling.settle import settle_submitted
from center.tables import person
from domain.entitlement import Entitlement
from domain.messages import PersonAsked
from domain.policy.reading import parse
from infra.codec import UnreadableMessage
from tests.support.center import (
    AT,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    SUSPENDED,
    fill_center,
    institution_row,
    person_row,
    rows_of,
    submitted,
    synthetic_citizen_id,
    totals,
)
from tests.support.frontend import POLICY

FAMILY = POLICY.replace('may_pay = ["in_scope"]', 'may_pay = ["in_scope"], family = true')
PARENT, CHILD, COUSIN = 5_001, 5_002, 5_003


@pytest.fixture(scope="module")
def shelf(center_engine):
    shelf = fill_center(center_engine, persons=5, balance_fen=3000, policy=FAMILY)
    relatives = {"family_citizen_id_no": synthetic_citizen_id(PARENT)}
    with center_engine.begin() as connection:
        enter(connection, [institution_row("440100000077", "closed-1", active=False)])
        connection.execute(insert(person).values(person_row(PARENT, account_balance_fen=5_000)))
        connection.execute(insert(person).values(person_row(CHILD, account_balance_fen=1_000, **relatives)))
        connection.execute(insert(person).values(person_row(COUSIN, account_balance_fen=0, **relatives)))
    return shelf


@pytest.fixture
def ask(center_engine, shelf):
    def ask(*citizens, frontend=FRONTEND):
        with center_engine.begin() as connection:
            return entitlements(PersonAsked(citizens=citizens), frontend=frontend, connection=connection, at=AT)

    return ask


@pytest.fixture
def settle(center_engine, shelf):
    def settle(*claims):
        batch = submitted(*claims, policy_version=parse(FAMILY).version)
        return settle_submitted(center_engine, shelf, batch, frontend=FRONTEND, at=AT).answers

    return settle


def test_a_known_person_is_told_with_what_settling_needs_and_for_how_long(center_engine, ask, settle):
    number = synthetic_citizen_id(0)
    change = (
        "UPDATE person SET rank = 'county', groups = '{veteran,assistance}', birth = '1960-03-02' WHERE person_no = 1"
    )
    with center_engine.begin() as connection:
        connection.execute(text(change))
    settle(totals(1))

    (told,) = ask(number).entitlements

    assert told == Entitlement(
        citizen_id_no=number,
        known=True,
        entitled=True,
        scheme="employee",
        category="1",
        rank="county",
        groups=("assistance", "veteran"),
        birth=date(1960, 3, 2),
        accumulators=told.accumulators,
        version=2,
        leased_until=AT + LEASE,
    )
    assert dict(told.accumulators)["basic:3:deductible:-:2026"] == 10000


def test_answers_come_in_the_order_of_the_question_and_nobody_unknown_is_leased(ask):
    strange = ("", "\0", "x" * 30, "身份证", synthetic_citizen_id(777_777))
    suspended = synthetic_citizen_id(SUSPENDED)

    told = ask(*strange, suspended, suspended).entitlements

    assert [each.citizen_id_no for each in told] == [*strange, suspended, suspended]
    assert set(told[:5]) == {Entitlement(number, known=False) for number in strange}
    assert [(each.known, each.entitled) for each in told[5:]] == [(True, False)] * 2


@pytest.mark.parametrize("frontend", ["nobody", "closed-1"])
def test_a_front_end_without_an_institution_in_service_learns_nothing(ask, frontend, caplog):
    number = synthetic_citizen_id(1)

    told = ask(number, frontend=frontend)

    assert told.entitlements == (Entitlement(number, known=False),)
    assert told.settling_locally == ()
    assert number not in caplog.text


def test_a_question_for_too_many_is_unreadable(ask):
    with pytest.raises(UnreadableMessage):
        ask(*["x"] * (PERSONS_PER_QUESTION + 1))


def test_each_front_end_is_told_which_of_its_institutions_settle_locally(center_engine, ask):
    with center_engine.begin() as connection:
        connection.execute(
            text("UPDATE institution SET way = 'local' WHERE institution_code = :code"), {"code": HOSPITAL}
        )

    assert ask(frontend=FRONTEND).settling_locally == (HOSPITAL,)
    assert ask(frontend=OTHER_FRONTEND).settling_locally == ()


# ── A relative's account ──────────────────────────────────────────────────────────────────────────────────


def standing(engine, serial):
    query = "SELECT person_no, account_balance_fen, version FROM person WHERE citizen_id_no = :id"
    (row,) = rows_of(engine, query, id=synthetic_citizen_id(serial))
    return row


def test_a_relatives_account_pays_what_the_own_does_not_and_both_versions_rise(center_engine, ask, settle):
    child, cousin = synthetic_citizen_id(CHILD), synthetic_citizen_id(COUSIN)
    parent_no = standing(center_engine, PARENT)[0]
    child_no = standing(center_engine, CHILD)[0]
    (before,) = ask(child).entitlements

    # 100.00 yuan each, all of it deductible: the child's 10.00 first, then the parent's 50.00 for whoever comes first.
    answers = settle(totals(11, citizen_id_no=child), totals(12, citizen_id_no=cousin))

    assert [answer.refusal for answer in answers] == ["", ""]
    assert [answer.account_pay_fen for answer in answers] == [6_000, 0]
    assert standing(center_engine, CHILD)[1:] == (0, 1)
    assert standing(center_engine, PARENT)[1:] == (0, 1)
    assert standing(center_engine, COUSIN)[1:] == (0, 1)
    posted = dict(
        rows_of(
            center_engine,
            "SELECT account, amount_fen FROM posting WHERE document_no = :no",
            no=answers[0].settlement_no,
        )
    )
    assert (posted[f"account:{child_no}"], posted[f"account:{parent_no}"]) == (1_000, 5_000)
    (after,) = ask(child).entitlements
    assert (before.account_balance_fen, before.family_balance_fen, before.version) == (1_000, 5_000, 0)
    assert (after.account_balance_fen, after.family_balance_fen, after.version) == (0, 0, 2)


def test_a_lease_is_of_one_moment(ask):
    (told,) = ask(synthetic_citizen_id(2)).entitlements

    assert told.holds_at(AT)
    assert not told.holds_at(AT + timedelta(minutes=30))
