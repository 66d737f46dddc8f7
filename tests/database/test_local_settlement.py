"""Local settlement: told at once, confirmed by the centre to the fen, or recomputed with the difference explained."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import insert, text, update

import center.tables
import workers.tables
from center import persons
from center.settling.settle import settle_submitted
from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState
from domain.messages import PersonAsked, TotalsSubmitted
from infra.reference import POLICY as POLICY_KIND
from infra.reference import policy_row
from tests.support.center import AT, FRONTEND, OTHER_FRONTEND, fill_center, first, rows_of
from tests.support.frontend import CLINIC, HOSPITAL, POLICY, line, new_frontend, short_code, submission
from tests.support.frontend import shelf as frontend_shelf
from workers import deliver, desk, entitlement, intake
from workers.claims import ended_views, show
from workers.tables import institution

BALANCE = 6000

_keys = count(1)
_persons = count()


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=300, balance_fen=BALANCE)


class Site:
    """A front-end that settles locally, and the centre it speaks to, without a broker between them."""

    def __init__(self, url, code, institution_code, center_engine, shelf):
        self.code, self.institution_code = code, institution_code
        self.engine, self.shelf = new_frontend(url, institution_code), frontend_shelf()
        self._center, self._center_shelf = center_engine, shelf
        with self.engine.begin() as connection:
            connection.execute(update(institution).values(way="local"))

    def lease(self, citizen_id_no, at=AT):
        """Ask the centre who somebody is."""
        with self._center.begin() as connection:
            asked = PersonAsked(citizens=(citizen_id_no,))
            answered = persons.entitlements(asked, frontend=self.code, connection=connection, at=at)
        answered = replace(answered, settling_locally=(self.institution_code,))
        entitlement.keep(self.engine, answered, at=at)

    def leased(self, citizen_id_no, at=AT):
        with self.engine.connect() as connection:
            return entitlement.leased(connection, citizen_id_no, at=at)

    def hand_in(self, *citizens, fen=20_000, at=AT):
        """Accept a claim of one class A line for each person and take a turn at the desk."""
        lines = [line(1, unit_price_1e4=fen * 100, quantity_1e2=100, line_amount_fen=fen)]
        handed_in = [
            submission(
                self.institution_code,
                f"key-{next(_keys)}",
                lines=lines,
                person=number,
                visit_no=f"{short_code(self.institution_code)}{next(_keys):010d}",
            )
            for number in citizens
        ]
        intake.accept(self.engine, handed_in, at=at)
        return desk.preprocess(self.engine, self.shelf, self.institution_code, limit=300, at=at, now=0.0)

    def send(self, turn, *, keep=True):
        """Settle the turn's totals at the centre, and record the answers unless they get lost."""
        batch = TotalsSubmitted(
            policy_version=turn.policy_version, catalogue_version=turn.catalogue_version, claims=tuple(turn.totals)
        )
        answered = settle_submitted(self._center, self._center_shelf, batch, frontend=self.code, at=AT)
        if keep:
            with self.engine.begin() as connection:
                doubted = deliver.doubted(connection, answered)
                entitlement.forget(connection, doubted)
                deliver.record_answers(connection, answered, at=AT)
        return answered.answers

    def view(self, visit_no):
        with self.engine.connect() as connection:
            return show(connection, self.institution_code, f"{visit_no}-1")


@pytest.fixture
def site(tmp_path, center_engine, shelf):
    made = Site(f"sqlite:///{tmp_path}/one.db", FRONTEND, HOSPITAL, center_engine, shelf)
    yield made
    made.engine.dispose()


@pytest.fixture
def other(tmp_path, center_engine, shelf):
    made = Site(f"sqlite:///{tmp_path}/other.db", OTHER_FRONTEND, CLINIC, center_engine, shelf)
    yield made
    made.engine.dispose()


def somebody():
    return synthetic_citizen_id(next(_persons))


def amounts(answer):
    return answer.fund_pay_fen, answer.account_pay_fen, answer.deductible_fen, answer.self_pay_fen


def version_of(engine, citizen_id_no):
    return first(rows_of(engine, "SELECT version FROM person WHERE citizen_id_no = :id", id=citizen_id_no))


def test_the_result_is_told_at_once_and_confirmed_to_the_fen(center_engine, site):
    person = somebody()
    site.lease(person)

    turn = site.hand_in(person)
    (visit_no,) = turn.visits
    told = site.view(visit_no)
    (answer,) = site.send(turn)
    settled = site.view(visit_no)

    # 200.00 in scope: 100.00 deductible, 80 % of the rest by the fund, the account pays all it has.
    assert amounts(told.answer) == amounts(answer) == (8000, BALANCE, 10000, 12000)
    assert (told.state, told.provisional, told.answer.settlement_no) == (ClaimState.TOTALLED, True, 0)
    assert told.answer.cells == answer.cells
    assert (settled.state, settled.provisional, answer.recomputed) == (ClaimState.SETTLED, False, "")
    assert settled.answer.settlement_no == answer.settlement_no
    held = site.leased(person)
    assert (held.version, held.account_balance_fen) == (version_of(center_engine, person), 0)


def test_whoever_waits_is_told_the_provisional_result(site):
    person = somebody()
    site.lease(person)
    site.hand_in(person)

    with site.engine.connect() as connection:
        ((_, view),) = ended_views(connection, [1]).items()

    assert view.provisional
    assert view.amounts.fund_pay_fen == 8000


def test_claims_of_one_person_run_on_and_are_all_confirmed(site):
    person = somebody()
    site.lease(person)

    answers = [*site.send(site.hand_in(person, person)), *site.send(site.hand_in(person))]

    assert [answer.recomputed for answer in answers] == ["", "", ""]
    assert [answer.deductible_fen for answer in answers] == [10000, 0, 0]


def test_two_front_ends_at_once_the_second_is_recomputed_and_told_why(center_engine, site, other):
    person = somebody()
    site.lease(person)
    other.lease(person)
    ours, theirs = site.hand_in(person), other.hand_in(person)

    (confirmed,) = site.send(ours)
    (recomputed,) = other.send(theirs)

    assert confirmed.recomputed == ""
    assert amounts(recomputed) == (16000, 0, 0, 4000)
    assert "统筹支付由 80.00 元改为 160.00 元" in recomputed.recomputed
    assert "现金由 60.00 元改为 40.00 元" in recomputed.recomputed
    assert "个人账户余额由 60.00 元变为 0.00 元" in recomputed.recomputed
    assert "起付线累计由 0.00 元变为 100.00 元" in recomputed.recomputed
    view = other.view(recomputed.visit_no)
    assert view.answer == recomputed
    assert other.leased(person) is None
    assert site.leased(person) is not None
    assert version_of(center_engine, person) == 2


def test_sent_again_it_is_answered_as_the_first_time(center_engine, site):
    person = somebody()
    site.lease(person)
    turn = site.hand_in(person)

    lost = site.send(turn, keep=False)
    again = site.send(turn)

    assert again == lost
    assert version_of(center_engine, person) == 1
    assert site.view(again[0].visit_no).state == ClaimState.SETTLED


def test_the_same_claim_without_its_local_result_is_the_same_claim(site):
    person = somebody()
    site.lease(person)
    turn = site.hand_in(person)
    answers = site.send(turn, keep=False)

    bare = replace(turn, totals=[each._replace(local=None) for each in turn.totals])

    assert site.send(bare) == answers


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(None, id="nobody asked"),
        pytest.param(timedelta(hours=-1), id="the lease is over"),
    ],
)
def test_without_a_lease_the_centre_settles(site, held):
    person = somebody()
    if held is not None:
        site.lease(person, at=AT + held)

    turn = site.hand_in(person)

    assert [each.local for each in turn.totals] == [None]
    assert turn.unleased == [person]
    assert not site.view(turn.visits[0]).provisional
    (answer,) = site.send(turn)
    assert (answer.refusal, answer.recomputed) == ("", "")


def test_a_suspended_person_is_left_to_the_centre_which_refuses(center_engine, site):
    person = somebody()
    site.lease(person)
    with center_engine.begin() as connection:
        connection.execute(text("UPDATE person SET entitled = false WHERE citizen_id_no = :id"), {"id": person})

    (refused,) = site.send(site.hand_in(person))
    assert refused.refusal == "entitlement-suspended"
    assert site.leased(person) is None

    site.lease(person)
    assert [each.local for each in site.hand_in(person).totals] == [None]


def test_a_difference_although_nothing_moved_is_an_alarm(site, caplog):
    person = somebody()
    site.lease(person)
    turn = site.hand_in(person)
    claim = turn.totals[0]
    wrong = claim._replace(local=claim.local._replace(fund_pay_fen=claim.local.fund_pay_fen + 1))

    (answer,) = site.send(replace(turn, totals=[wrong]))

    assert "前置机与中心的政策或参保信息不同" in answer.recomputed
    assert "local_result_differs" in [record.message for record in caplog.records]
    assert person not in caplog.text


def test_a_result_by_an_older_policy_is_recomputed_by_the_one_in_force(center_engine, site, caplog):
    older = policy_row(POLICY.replace('amount = "100.00"', 'amount = "50.00"'))
    for engine, table, in_force in (
        (site.engine, workers.tables.reference, True),
        (center_engine, center.tables.reference, False),
    ):
        with engine.begin() as connection:
            if in_force:
                connection.execute(update(table).where(table.c.kind == POLICY_KIND).values(in_force=False))
            connection.execute(insert(table).values(older | {"in_force": in_force}))
    person = somebody()
    site.lease(person)

    (answer,) = site.send(site.hand_in(person))

    assert answer.deductible_fen == 10_000
    assert "起付线由 50.00 元改为 100.00 元" in answer.recomputed
    assert f"前置机按政策版本 {older['version']} 计算" in answer.recomputed
    assert "local_result_differs" not in [record.message for record in caplog.records]


def test_another_change_of_the_person_raises_the_version(center_engine, site):
    person = somebody()
    site.lease(person)
    turn = site.hand_in(person)
    with center_engine.begin() as connection:
        add = "UPDATE person SET account_balance_fen = account_balance_fen + 1000 WHERE citizen_id_no = :id"
        connection.execute(text(add), {"id": person})
    assert version_of(center_engine, person) == 1

    (answer,) = site.send(turn)

    assert answer.account_pay_fen == BALANCE + 1000
    assert "个人账户余额由 60.00 元变为 70.00 元" in answer.recomputed


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_ways_leases_and_orders_the_books_are_those_of_the_centre_alone(center_engine, site, other, seed):
    """Two persons live through the same claims: one settled locally at two places by whatever leases, one centrally."""
    chance = random.Random(seed)
    local, central = somebody(), somebody()
    waiting = []
    for _ in range(12):
        where = chance.choice((site, other))
        if chance.random() < 0.4:
            where.lease(local)
        waiting.append((where, where.hand_in(local, fen=chance.randint(1, 40_000))))
        if chance.random() < 0.6:
            chance.shuffle(waiting)
            _settle_both(waiting, central, chance)
    _settle_both(waiting, central, chance)

    assert _books(center_engine, local) == _books(center_engine, central)


def _settle_both(waiting, central, chance):
    while waiting:
        where, turn = waiting.pop()
        (answer,) = where.send(turn, keep=chance.random() < 0.8)
        (again,) = where.send(turn)
        assert again == answer
        told = turn.totals[0].local
        assert (answer.recomputed == "") == (told is None or amounts(told) == amounts(answer))
        twin = turn.totals[0]._replace(
            citizen_id_no=central, visit_no=f"C{next(_keys):010d}", local=None, digest=bytes(16)
        )
        (alone,) = where.send(replace(turn, totals=[twin]), keep=False)
        assert amounts(alone) == amounts(answer)
        assert alone.cells == answer.cells


def _books(engine, citizen_id_no):
    person = "SELECT person_no, account_balance_fen, version FROM person WHERE citizen_id_no = :id"
    ((number, balance, version),) = rows_of(engine, person, id=citizen_id_no)
    held = rows_of(engine, "SELECT key, amount_fen FROM accumulator WHERE person_no = :no ORDER BY key", no=number)
    return balance, version, held


def test_the_moment_of_the_answer_is_the_centres(site):
    person = somebody()
    site.lease(person)
    turn = site.hand_in(person, at=AT - timedelta(minutes=1))

    (answer,) = site.send(turn)

    assert turn.totals[0].local.settled_at == AT - timedelta(minutes=1)
    assert answer.settled_at == AT
    assert isinstance(answer.settled_at, datetime)
