"""Local settlement at the desk: our result goes with the totals, or, where anything is in doubt, it goes bare."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from domain.entitlement import Entitlement
from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimTotals, PersonAnswered
from infra.codec import unpack
from tests.support.frontend import HOSPITAL, NOON, hand_in, new_frontend, shelf
from workers import desk, entitlement
from workers.local import LocalCounter
from workers.tables import claim, institution

SOMEBODY = "99000019491231002X"
HELD = Entitlement(
    citizen_id_no=SOMEBODY,
    known=True,
    entitled=True,
    scheme="employee",
    category="1",
    account_balance_fen=500,
    version=4,
    leased_until=NOON + timedelta(minutes=30),
)


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL)
    with engine.begin() as connection:
        connection.execute(update(institution).values(way="local"))
    yield engine
    engine.dispose()


def lease(engine, **change):
    told = HELD._replace(**change)
    entitlement.keep(engine, PersonAnswered(entitlements=(told,), settling_locally=(HOSPITAL,)), at=NOON)


def turn(engine):
    return desk.preprocess(engine, shelf(), HOSPITAL, limit=10, at=NOON, now=1.0)


def stored(engine):
    with engine.connect() as connection:
        return connection.execute(select(claim.c.state, claim.c.totals, claim.c.local)).all()


def test_the_result_is_stored_with_the_totals_and_sent_with_them(engine):
    lease(engine)
    hand_in(engine, HOSPITAL, 1, person=SOMEBODY)

    (sent,) = turn(engine).totals

    ((state, totals, local),) = stored(engine)
    told = unpack(local, ClaimAnswer)
    assert state == ClaimState.TOTALLED
    assert unpack(totals, ClaimTotals) == sent
    assert (sent.local.snapshot_version, sent.local.account_before_fen) == (4, 500)
    assert (told.settlement_no, told.account_pay_fen) == (0, 500)
    assert told.fund_pay_fen == sent.local.fund_pay_fen
    assert sum(cell.amount_fen for cell in told.cells) == sent.total_fen


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"entitled": False}, id="suspended"),
        pytest.param({"scheme": "resident", "category": "70"}, id="no policy for the scheme"),
        pytest.param({"leased_until": NOON}, id="the lease is over"),
    ],
)
def test_what_we_cannot_settle_goes_to_the_centre_bare(engine, change):
    lease(engine, **change)
    hand_in(engine, HOSPITAL, 1, person=SOMEBODY)

    found = turn(engine)

    assert [each.local for each in found.totals] == [None]
    assert found.unleased == [SOMEBODY]
    assert stored(engine)[0].local is None


def test_an_institution_that_leaves_it_to_the_centre_sends_no_result(engine):
    lease(engine)
    with engine.begin() as connection:
        connection.execute(update(institution).values(way="central"))
    hand_in(engine, HOSPITAL, 1, person=SOMEBODY)

    found = turn(engine)

    assert [each.local for each in found.totals] == [None]
    assert not found.unleased


def test_a_lease_that_moved_meanwhile_takes_our_results_back(engine, monkeypatch):
    """Another desk settled for the same person between our look and our commit."""
    lease(engine)
    hand_in(engine, HOSPITAL, 2, person=SOMEBODY)
    settle = LocalCounter.settle

    def while_another_desk_settles(self, totals):
        result = settle(self, totals)
        lease(engine, version=9, account_balance_fen=0)
        return result

    monkeypatch.setattr(LocalCounter, "settle", while_another_desk_settles)

    assert [each.local for each in turn(engine).totals] == [None, None]
    with engine.connect() as connection:
        assert entitlement.leased(connection, SOMEBODY, at=NOON).version == 9


def test_a_claim_another_desk_took_takes_the_persons_results_back(engine, monkeypatch):
    lease(engine)
    first, _ = hand_in(engine, HOSPITAL, 2, person=SOMEBODY)
    monkeypatch.setattr(desk, "_still_accepted", lambda _connection, ids: set(ids) - {first})

    assert [each.local for each in turn(engine).totals] == [None]
    with engine.connect() as connection:
        assert entitlement.leased(connection, SOMEBODY, at=NOON).version == 4
