"""Midnight of 1 January between real processes, the link cut across it: the law of each visit settles it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from sqlalchemy import select

from center.policy import publications as policies
from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState
from domain.link import LinkState
from domain.messages import ClaimTotals
from domain.visit import VisitType
from infra.codec import unpack
from infra.database import reading
from tests.support.center import fill_center, rows_of
from tests.support.frontend import HOSPITAL, POLICY
from tests.support.new_year import BEGINS, NEW, OF_2027, OLD, handed_in
from tests.support.site import site
from tests.support.waiting import eventually
from tests.support.wired import QUICK_LINK, WiredCity, link_to
from workers.tables import claim, reference

SECONDS_BEFORE = 20
"""Real and business seconds alike: about as long as the processes take to start, to settle one claim and to lose the
link. On a slower machine midnight comes earlier in the test, and nothing it says is different."""


@pytest.fixture
def wire(clean_valkey):
    with link_to(clean_valkey) as made:
        yield made


@pytest.fixture
def city(tmp_path, clean_valkey, center_engine, center_database_url, wire):
    """A centre with its timetable and a front-end, each role a process, shortly before the new year."""
    fill_center(center_engine)
    with site(tmp_path, clean_valkey, HOSPITAL, center_database_url=center_database_url) as made:
        starts_at = (BEGINS - timedelta(seconds=SECONDS_BEFORE)).isoformat()
        clock = f"{starts_at}@{time.time()}x1.0"
        made.environment |= QUICK_LINK | {"JIESUAN_CLOCK": clock, "JIESUAN_WINDOW_TICK_SECONDS": "1"}
        City.start(made, wire, "center-settle", "center-detail", "beat")
        yield City(made, center_engine)


class City(WiredCity):
    """What the hospital and the office do in it, and see of it."""

    def hand_in(self, kind, day) -> str:
        visit_no = self.next_visit(HOSPITAL)
        self.accept(handed_in(visit_no, visit_no, synthetic_citizen_id(int(visit_no[-10:])), kind, day))
        return visit_no

    def claim(self, visit_no):
        with reading(self.site.engine) as connection:
            return connection.execute(select(claim).where(claim.c.visit_no == visit_no)).one()

    def holds(self):
        """The policies that are in force at the front-end."""
        held = select(reference.c.version).where(reference.c.kind == "policy", reference.c.in_force)
        with reading(self.site.engine) as connection:
            return list(connection.execute(held).scalars())

    def in_force(self):
        """And at the centre."""
        return rows_of(self.center, "SELECT version FROM reference WHERE kind = 'policy' AND in_force")


def test_who_was_cut_off_at_midnight_learns_of_the_new_policy_by_its_claims(city, wire):
    before = city.hand_in(VisitType.OUTPATIENT, OLD)
    eventually(lambda: city.claim(before).state == ClaimState.SETTLED, within=90)
    old = policies.parse(POLICY).version

    wire.cut()
    with city.center.begin() as connection:
        new = policies.publish(connection, OF_2027, effective_date=NEW, by="office", at=city.clock.now())
    eventually(lambda: city.link() is LinkState.DOWN, within=60)
    waiting = city.hand_in(VisitType.OUTPATIENT, OLD)
    eventually(lambda: city.claim(waiting).state == ClaimState.TOTALLED, within=60)
    eventually(lambda: city.in_force() == [(new.version,)], within=90)
    city.site.kill("desk")
    city.site.start("desk")
    of_the_new, stay = (
        city.hand_in(VisitType.OUTPATIENT, NEW),
        city.hand_in(VisitType.INPATIENT, OLD - timedelta(days=9)),
    )
    eventually(lambda: all(city.claim(each).state == ClaimState.TOTALLED for each in (of_the_new, stay)), within=60)
    assert city.holds() == [old]

    wire.heal()
    visits = {before: (0, 10_000), waiting: (0, 10_000), of_the_new: (5_000, 20_000), stay: (5_000, 20_000)}
    eventually(lambda: all(city.claim(each).state == ClaimState.SETTLED for each in visits), within=120)

    assert city.holds() == [new.version]
    for visit_no, (own_fen, deductible_fen) in visits.items():
        row = city.claim(visit_no)
        totals = unpack(row.totals, ClaimTotals)
        assert (totals.own_expense_fen, totals.over_limit_fen) == (own_fen, 5_000 - own_fen)
        assert bool(row.retotalled) is (visit_no in (of_the_new, stay))
        assert rows_of(city.center, "SELECT deductible_fen FROM settlement WHERE visit_no = :no", no=visit_no) == [
            (deductible_fen,)
        ]
    assert rows_of(city.center, "SELECT coalesce(sum(amount_fen), 0) FROM posting") == [(0,)]
