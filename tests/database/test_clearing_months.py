"""Random years of an institution: whatever happens in whatever order, the ledger owes what is cleared and not paid."""

from __future__ import annotations

import os
import random
from datetime import date, timedelta

import pytest

from center.approving.actions import CannotDo
from center.catalogue.shelf import CatalogueShelf
from center.clearing import actions
from center.conservation.checking import Shelves, check_all
from center.ledger.verifying import verify
from center.policy.shelf import PolicyShelf
from domain.clearing import PeriodState
from tests.support.center import rows_of
from tests.support.clearing import City, moment

BEGINS, ENDS = date(2026, 12, 5), date(2027, 3, 5)


@pytest.fixture(scope="module")
def city(center_engine):
    return City(center_engine, balance_fen=10_000)


class Year:
    """One institution's life, as a seed has it."""

    def __init__(self, city, seed):
        self.city, self.chance = city, random.Random(seed)
        self.code, self.today = city.institution(), BEGINS
        self.standing, self.deducted = [], 0
        share = {"institution_code": self.code, "clearing_type": "*", "since": "2026-01-01", "share_1e4": 333}
        city.done(actions.SHARE, share, moment(BEGINS))

    def now(self):
        return moment(self.today, self.chance.randrange(3, 23), self.chance.randrange(60))

    def settle(self):
        late = self.chance.random() < 0.15
        day = self.today - timedelta(days=self.chance.randrange(40)) if late else self.today
        claim = self.city.claim(
            self.code,
            self.chance.randrange(200),
            day,
            self.chance.randrange(1, 400_000),
            visit_type=self.chance.choice("1344"),
        )
        answer = self.city.settle(claim, moment(day, 23, 59))
        if claim.visit_type != "1":
            self.standing.append(answer)

    def take_back(self):
        if self.standing:
            answer = self.standing.pop(self.chance.randrange(len(self.standing)))
            self.city.take_back(self.code, answer, self.now())

    def deduct(self):
        if self.standing:
            answer = self.chance.choice(self.standing)
            try:
                self.city.deduct(answer.settlement_no, self.chance.randrange(1, 30_000), self.now())
                self.deducted += 1
            except CannotDo as why:
                assert "可扣" in str(why)

    def go_on(self):
        self.today += timedelta(days=self.chance.randrange(1, 9))

    def tick(self):
        self.city.tick(self.now())

    def confirm(self):
        for period in self.city.periods_of(self.code):
            if period.state == PeriodState.CLOSED and self.chance.random() < 0.6:
                self.city.confirm(period.period_no, self.now())

    def pay(self):
        for period in self.city.periods_of(self.code):
            if period.state == PeriodState.CONFIRMED and self.chance.random() < 0.6:
                self.city.pay(period.period_no, self.now())

    def reopen(self):
        for period in self.city.periods_of(self.code):
            if period.state in {PeriodState.CLOSED, PeriodState.CONFIRMED}:
                try:
                    self.city.done(actions.REOPEN, {"period_no": period.period_no}, self.now())
                except CannotDo as why:
                    assert "其后的清算" in str(why) or "预留金已结清" in str(why)

    def release(self):
        for kind in ("11", "21", "41"):
            payload = {
                "institution_code": self.code,
                "scheme": "employee",
                "clearing_type": kind,
                "year": 2026,
                "share_1e4": self.chance.choice([0, 5000, 10_000]),
            }
            try:
                self.city.done(actions.RELEASE, payload, self.now())
            except CannotDo as why:
                assert any(words in str(why) for words in ("没有结束", "没有关账", "已结清", "没有预留金"))


def books_of(city, year):
    """What the check of all levels finds of the institution, from nothing."""
    shelves = Shelves(CatalogueShelf(), PolicyShelf())
    return check_all(city.engine, shelves, at=moment(year.today, 23, 59), institution_code=year.code)


STEPS = {
    Year.settle: 10, Year.take_back: 3, Year.deduct: 2, Year.go_on: 8, Year.tick: 4, Year.confirm: 3, Year.pay: 3,
    Year.reopen: 1, Year.release: 1,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(int(os.environ.get("CLEARING_SEEDS", "1"))))
def test_at_every_point_the_ledger_owes_what_is_cleared_and_not_paid(city, seed):
    year = Year(city, seed)
    while year.today < ENDS:
        (step,) = year.chance.choices(list(STEPS), list(STEPS.values()))
        step(year)
        city.check(year.code)

    end = moment(date(2027, 6, 30))
    city.tick(end)
    for period in city.periods_of(year.code):
        if period.state == PeriodState.CLOSED:
            city.confirm(period.period_no, end)
    for period in city.periods_of(year.code):
        if period.state == PeriodState.CONFIRMED:
            city.pay(period.period_no, end)
    city.check(year.code)
    owed = (
        "SELECT account, sum(amount_fen) FROM posting WHERE account LIKE :payable"
        " GROUP BY account HAVING sum(amount_fen) <> 0"
    )
    assert rows_of(city.engine, owed, payable=f"payable:{year.code}:%") == []
    assert books_of(city, year).findings == []
    verified = verify(city.engine, institution_codes=[year.code])
    assert (verified.tamperings, verified.documents > 20) == ((), True)
    assert {period.state for period in city.periods_of(year.code)} == {"paid"}
