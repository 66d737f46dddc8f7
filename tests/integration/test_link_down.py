"""The link cut between real processes: claims kept, estimated, settled off-line, posted later; the books equal."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from sqlalchemy import select, text, update

import center.tables
from center.offline import cases
from center.settling.settle import settle_submitted
from domain.identity import synthetic_citizen_id
from domain.link import LinkState
from infra.database import reading
from tests.support.center import OTHER_FRONTEND, fill_center, rows_of, submitted, totals
from tests.support.cut_off import TERMS
from tests.support.frontend import CLINIC, HOSPITAL, line, submission
from tests.support.site import site
from tests.support.waiting import eventually
from tests.support.wired import QUICK_LINK, WiredCity, link_to
from workers.claims import ClaimView, show
from workers.tables import entitlement, institution

BALANCE = 20_000
BUYER, SPENDER, PATIENT = (synthetic_citizen_id(number) for number in (1, 2, 3))


@pytest.fixture
def wire(clean_valkey):
    with link_to(clean_valkey) as made:
        yield made


@pytest.fixture
def city(tmp_path, clean_valkey, center_engine, center_database_url, wire):
    """A centre and a front-end with a broker of its own, each role a process."""
    shelf = fill_center(center_engine, balance_fen=BALANCE)
    with site(tmp_path, clean_valkey, HOSPITAL, center_database_url=center_database_url) as made:
        _allow(center_engine, center.tables.institution)
        _allow(made.engine, institution)
        clock = f"2026-03-02T09:30:00+08:00@{time.time()}x1.0"
        made.environment |= QUICK_LINK | {"JIESUAN_CLOCK": clock, "JIESUAN_SWEEP_EVERY_SECONDS": "0.3"}
        City.start(made, wire, "center-settle", "center-detail")
        yield City(made, center_engine, shelf)


def _allow(engine, table):
    with engine.begin() as connection:
        terms = {"way": "local", **TERMS}
        connection.execute(update(table).where(table.c.institution_code == HOSPITAL).values(**terms))


class City(WiredCity):
    """What a cashier and an operator see of it."""

    def __init__(self, made, center_engine, shelf):
        super().__init__(made, center_engine)
        self.shelf = shelf

    def buys(self, person: str, fen: int) -> str:
        """Hand a purchase in and ring; the visit number."""
        visit_no = self.next_visit(HOSPITAL)
        lines = [line(1, unit_price_1e4=fen * 100, quantity_1e2=100, line_amount_fen=fen)]
        handed = submission(HOSPITAL, visit_no, lines=lines, person=person, visit_no=visit_no)
        self.accept(replace(handed, visit=replace(handed.visit, visit_type="4", person_category="1")))
        return visit_no

    def view(self, visit_no: str) -> ClaimView:
        with reading(self.site.engine) as connection:
            found = show(connection, HOSPITAL, f"{visit_no}-1")
        assert found is not None
        return found

    def leases(self) -> int:
        with reading(self.site.engine) as connection:
            return len(connection.execute(select(entitlement.c.person_key)).all())

    def spends_elsewhere(self, person: str) -> None:
        """All that is on the account, at another institution whose link is up."""
        parts = {"own_expense_fen": 0, "over_limit_fen": 0, "pre_self_pay_fen": 0}
        of = {"institution_code": CLINIC, "citizen_id_no": person, "total_fen": 100_000, "in_scope_fen": 100_000}
        batch = submitted(totals(9_000, **of, **parts))
        at = self.clock.now()
        (answer,) = settle_submitted(self.center, self.shelf, batch, frontend=OTHER_FRONTEND, at=at).answers
        assert answer.account_pay_fen == BALANCE - 100


def test_the_link_is_cut_and_back(city, wire):
    on_line = [city.buys(person, 100) for person in (BUYER, SPENDER, PATIENT)]
    eventually(lambda: city.leases() == 3 and all(city.view(visit).state == "settled" for visit in on_line), within=90)
    eventually(lambda: city.link() is LinkState.UP, within=30)

    wire.cut()
    eventually(lambda: city.link() is LinkState.DOWN, within=60)
    bought, overspent, treated = city.buys(BUYER, 4_000), city.buys(SPENDER, 5_000), city.buys(PATIENT, 30_000)
    eventually(lambda: all(city.view(visit).queued for visit in (bought, overspent, treated)), within=60)
    eventually(
        lambda: city.view(treated).estimate is not None and city.view(overspent).offline_at is not None, within=20
    )

    assert city.view(bought).answer.account_pay_fen == 4_000
    assert (city.view(treated).answer, city.view(treated).offline_at) == (None, None)
    assert city.view(treated).estimated.fund_pay_fen > 0
    city.spends_elsewhere(SPENDER)

    wire.heal()
    visits = [bought, overspent, treated]
    eventually(lambda: all(city.view(visit).state == "settled" for visit in visits), within=90)
    eventually(lambda: city.link() is LinkState.UP, within=30)
    with city.center.begin() as connection:
        assert [(case.kind, case.visit_no) for case in cases.listed(connection)] == [("offline-differs", overspent)]
    here = {visit: city.view(visit).answer for visit in [*on_line, *visits]}
    there = rows_of(
        city.center,
        "SELECT visit_no, settlement_no, fund_pay_fen, account_pay_fen FROM settlement"
        " WHERE institution_code = :code ORDER BY visit_no",
        code=HOSPITAL,
    )
    assert there == [
        (visit, answer.settlement_no, answer.fund_pay_fen, answer.account_pay_fen)
        for visit, answer in sorted(here.items())
    ]
    text_of = text("SELECT coalesce(sum(amount_fen), 0) FROM posting")
    with city.center.connect() as connection:
        assert connection.execute(text_of).scalar_one() == 0
