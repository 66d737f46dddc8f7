"""31 December, midnight: a policy of the new year comes into force while claims are on their way, in all three ways."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import insert, select

import center.tables
from center.policy import publications as policies
from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState
from domain.messages import ClaimTotals
from domain.visit import VisitType
from domain.ways import Way
from infra import lanes
from infra.codec import unpack
from tests.support.center import fill_center, person_row, rows_of
from tests.support.frontend import HOSPITAL, ITEMS, POLICY, short_code
from tests.support.new_year import BEGINS, NEW, OF_2027, OLD, handed_in
from tests.support.publishing import fetching_line, publish_catalogue
from tests.support.ways import Ways
from workers import entitlement, intake
from workers.tables import claim

BEFORE = BEGINS - timedelta(seconds=10)
CLAIMS = (
    # visit type, first day, accepted before midnight
    pytest.param(VisitType.OUTPATIENT, OLD, True, 0, 10_000, id="a visit of the old year, settled in the new one"),
    pytest.param(VisitType.OUTPATIENT, NEW, False, 5000, 20_000, id="a visit of the new year"),
    pytest.param(VisitType.INPATIENT, OLD - timedelta(days=9), True, 5000, 20_000, id="a stay settled after midnight"),
)


@pytest.fixture(scope="module")
def centre(center_engine):
    fill_center(center_engine, persons=0)
    with center_engine.begin() as connection:
        connection.execute(insert(center.tables.person), [person_row(serial) for serial in range(40)])
    publish_catalogue(center_engine, "catalogue-2", ITEMS, day=date(2026, 1, 1))
    return center_engine


@pytest.fixture
def site(request, tmp_path, centre, center_database_url):
    made = fetching_line(tmp_path, center_database_url)
    made.clock.moment = BEFORE
    Ways.set_way(made, request.param)
    yield made
    made.close()
    made.engine.dispose()


@pytest.mark.parametrize("site", list(Way), indirect=True)
def test_claims_on_both_sides_of_midnight_are_settled_by_the_year_they_belong_to(centre, site, request):
    """The centre changes over at midnight; the front-end has not asked since, and learns of it by its claims."""
    way = Way(request.node.callspec.params["site"])
    publish_ahead(centre)
    entitlement.ask(site.frontend, [person(way, each) for each in range(len(CLAIMS))])
    site.carry()

    for number, (kind, day, is_before, _, _) in enumerate(params()):
        if is_before:
            hand_in(site, way, number, kind, day)
    site._run(lanes.CLAIMS_PREPROCESS, institution=HOSPITAL)  # the totals are made, and on their way
    site.clock.pass_by(15.0)
    with centre.begin() as connection:
        policies.activate(connection, site.clock.now().date())
    for number, (kind, day, is_before, _, _) in enumerate(params()):
        if not is_before:
            hand_in(site, way, number, kind, day)
    site.carry()
    site.ring()
    site.let_pass(20.0)

    for number, (_, _, _, own_fen, deductible_fen) in enumerate(params()):
        row = of(site, way, number)
        assert (row.state, row.settled_day) == (ClaimState.SETTLED, NEW)
        totals = unpack(row.totals, ClaimTotals)
        assert (totals.own_expense_fen, totals.over_limit_fen) == (own_fen, 5000 - own_fen)
        assert deductible(centre, row.visit_no) == deductible_fen
    assert way is Way.CENTRALIZED or any(of(site, way, number).retotalled for number in range(len(CLAIMS)))


def params():
    return [each.values for each in CLAIMS]


def publish_ahead(engine):
    with engine.begin() as connection:
        if OF_2027 not in published(connection):
            policies.publish(connection, OF_2027, effective_date=NEW, by="office", at=BEFORE - timedelta(days=30))
        back = center.tables.reference
        version = policies.parse(POLICY).version
        of_kind = back.c.kind == "policy"
        connection.execute(back.update().where(of_kind).values(in_force=back.c.version == version))


def published(connection):
    rows = connection.execute(
        select(center.tables.reference.c.content).where(center.tables.reference.c.kind == "policy")
    )
    return {bytes(content).decode() for content in rows.scalars()}


def person(way, number):
    return synthetic_citizen_id(10 * list(Way).index(way) + number)


def visit_no_of(way, number):
    return f"{short_code(HOSPITAL)}{list(Way).index(way):03d}{number:07d}"


def hand_in(site, way, number, kind, day):
    made = handed_in(f"{way}-{number}", visit_no_of(way, number), person(way, number), kind, day)
    intake.accept(site.engine, [made], at=site.clock.now())


def of(site, way, number):
    with site.engine.connect() as connection:
        return connection.execute(select(claim).where(claim.c.visit_no == visit_no_of(way, number))).one()


def deductible(engine, visit_no):
    ((fen,),) = rows_of(engine, "SELECT deductible_fen FROM settlement WHERE visit_no = :visit", visit=visit_no)
    return fen
