"""A centre whose policy bites: deductible, two bands, a cap, a small account. There a refund changes what follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Engine

from center.approving import decisions
from center.correcting import actions
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from domain.messages import ClaimAnswer, ClaimTotals, RefundAnswered, RefundAsked
from domain.policy.reading import parse
from infra.reference import ReferenceShelf
from tests.support.center import AT, CATALOGUE_VERSION, FRONTEND, rows_of, submitted, synthetic_citizen_id, totals

POLICY = """
[set]
id = "strict-city"
region = "440000"
title = "严格市基本医疗保险"
benefit_year_starts = "01-01"

[source.TEST]
title = "made for the tests"
verified = "memory"

[policy]
facts = [
  { kind = "deductible", scheme = "employee", amount = "100.00", per = "year", from = 2020-01-01, src = "TEST" },
  { kind = "share", scheme = "employee", ratio = "0.70", low = "0.00", high = "300.00", basis = "in_scope", from = 2020-01-01, src = "TEST" },
  { kind = "share", scheme = "employee", ratio = "0.90", low = "300.00", basis = "in_scope", from = 2020-01-01, src = "TEST" },
  { kind = "cap", scheme = "employee", amount = "500.00", per = "year", basis = "fund_paid", from = 2020-01-01, src = "TEST" },
  { kind = "account_pays", scheme = "employee", may_pay = ["in_scope"], from = 2020-01-01, src = "TEST" },
  { kind = "rounding", scheme = "any", place = "fund_share", mode = "half_up", digits = 2, rest_goes_to = "person", from = 2020-01-01, src = "TEST" },
  { kind = "refund", scheme = "any", later = "any", from = 2020-01-01, src = "TEST" },
]
"""  # noqa: E501
LAST_FIRST = POLICY.replace('later = "any"', 'later = "last_first"')
VERSION = parse(POLICY).version
BALANCE = 6000

_serials = count(1)


@dataclass
class Office:
    """The centre of this policy: settles, takes back, corrects."""

    engine: Engine
    shelf: ReferenceShelf
    version: str = VERSION
    persons: Iterator[int] = field(default_factory=count)

    def claim(self, person: int, in_scope: int, **change: Any) -> ClaimTotals:
        """A claim of a visit no other one has."""
        sums = {"total_fen": in_scope + 1000, "in_scope_fen": in_scope}
        return totals(next(_serials), citizen_id_no=synthetic_citizen_id(person), **sums, **change)

    def settle(self, *claims: ClaimTotals, at: datetime = AT) -> list[ClaimAnswer]:
        """Settle them in this order."""
        sent = submitted(*claims, policy_version=self.version)
        return list(settle_submitted(self.engine, self.shelf, sent, frontend=FRONTEND, at=at).answers)

    def take_back(
        self, of: ClaimTotals, *kept: ClaimTotals, contra_no: int | None = None, at: datetime = AT, **change: Any
    ) -> RefundAnswered:
        """Take a settlement back, and settle what is kept."""
        values = {
            "institution_code": of.institution_code,
            "visit_no": of.visit_no,
            "charge_batch_no": of.charge_batch_no,
            "contra_batch_no": of.charge_batch_no + 1 if contra_no is None else contra_no,
            "reason": "收费有误",
            "policy_version": self.version,
            "catalogue_version": CATALOGUE_VERSION,
            "kept": kept,
        }
        return refund(self.engine, self.shelf, RefundAsked(**values | change), frontend=FRONTEND, at=at)

    def propose(self, of: ClaimTotals, *, by: str = "张三", at: datetime = AT) -> int:
        """Propose to correct what changed by taking it back. Raises NothingToCorrect."""
        with self.engine.begin() as connection:
            refunded = actions.find(connection, of.visit_no, of.charge_batch_no)
            return actions.propose(connection, refunded, by=by, reason="退费后更正", at=at)

    def approve(self, number: int, *, by: str = "李四", at: datetime = AT + timedelta(hours=1)) -> decisions.Outcome:
        """Let somebody else approve it."""
        return decisions.approve(self.engine, number, by=by, at=at)

    def correct(self, of: ClaimTotals) -> bool:
        """Propose and approve; False when there is nothing to correct."""
        try:
            number = self.propose(of)
        except actions.NothingToCorrect:
            return False
        outcome = self.approve(number)
        assert outcome.state == "approved", outcome.words
        return True

    def standing(self, person: int) -> tuple[dict[str, tuple[int, ...]], int]:
        """The accumulators that stand at something, and the account; those of visits without their numbers."""
        number = synthetic_citizen_id(person)
        sums = rows_of(
            self.engine,
            "SELECT regexp_replace(key, 'stay/.*', 'visit'), array_agg(amount_fen ORDER BY amount_fen)"
            " FROM accumulator JOIN person USING (person_no)"
            " WHERE citizen_id_no = :number AND amount_fen <> 0 GROUP BY 1",
            number=number,
        )
        balances = rows_of(self.engine, "SELECT account_balance_fen FROM person WHERE citizen_id_no = :n", n=number)
        return {key: tuple(amounts) for key, amounts in sums}, balances[0][0]

    def ledger(self, person: int) -> dict[str, int]:
        """What the person's documents left on each account; the person's own account without its number."""
        rows = rows_of(
            self.engine,
            "SELECT CASE WHEN account LIKE 'account:%' THEN 'account' ELSE account END, sum(posting.amount_fen)"
            " FROM posting JOIN settlement ON settlement_no = document_no JOIN person USING (person_no)"
            " WHERE citizen_id_no = :number GROUP BY 1 HAVING sum(posting.amount_fen) <> 0",
            number=synthetic_citizen_id(person),
        )
        return {account: int(fen) for account, fen in rows}
