"""The books of a centre for tests: settle, take back, check, break what only the owner of the database could, mend."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from sqlalchemy import Engine, text

from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, check_all, check_new
from center.conservation.report import Report
from center.policy.shelf import PolicyShelf
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from domain.messages import ClaimAnswer, ClaimTotals, RefundAnswered, RefundAsked
from infra.reference import ReferenceShelf
from tests.support.center import AT, CATALOGUE_VERSION, FRONTEND, POLICY_VERSION, rows_of, submitted

_runs = count(1)


class Books:
    """One centre, as the application sees it and as its owner does."""

    def __init__(self, engine: Engine, owner: Engine, shelf: ReferenceShelf) -> None:
        self.engine, self.owner, self.shelf = engine, owner, shelf
        self.mends: list[tuple[str, dict[str, Any]]] = []
        self.shelves = Shelves(CatalogueShelf(), PolicyShelf())

    def settle(self, *claims: ClaimTotals, at: Any = AT, frontend: str = FRONTEND) -> tuple[ClaimAnswer, ...]:
        """Settle a batch."""
        return settle_submitted(self.engine, self.shelf, submitted(*claims), frontend=frontend, at=at).answers

    def take_back(self, of: ClaimTotals, at: Any = AT + timedelta(hours=1)) -> RefundAnswered:
        """Take a settlement back, whole."""
        asked = RefundAsked(
            institution_code=of.institution_code,
            visit_no=of.visit_no,
            charge_batch_no=of.charge_batch_no,
            contra_batch_no=of.charge_batch_no + 100,
            reason="退药",
            policy_version=POLICY_VERSION,
            catalogue_version=CATALOGUE_VERSION,
        )
        return refund(self.engine, self.shelf, asked, frontend=FRONTEND, at=at)

    def check(self, at: Any = AT, **more: Any) -> Report:
        """What is new; each run has a holder and a time of its own, later than any before."""
        number = next(_runs)
        report = check_new(self.engine, self.shelves, holder=f"run {number}", at=at, now=1000.0 * number, **more)
        assert report is not None
        return report

    def check_all(self, at: Any = AT, **more: Any) -> Report:
        """Everything from nothing."""
        return check_all(self.engine, self.shelves, at=at, **more)

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """What a query finds."""
        return rows_of(self.owner, statement, **values)

    def sql(self, statement: str, **values: Any) -> None:
        """As the owner, with triggers switched off."""
        with self.owner.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(text(statement), values)

    def break_it(self, breaks: str, mends: str, values: dict[str, Any]) -> None:
        """What only the owner of the database could do, with its guards switched off."""
        self.mends.append((mends, values))
        self._with_values(breaks, values)

    def mend_only(self) -> None:
        """Back as it was; what is frozen stays so."""
        while self.mends:
            self._with_values(*self.mends.pop())

    def mend(self) -> None:
        """Back as it was, and nothing frozen."""
        self.mend_only()
        self.sql("DELETE FROM frozen_flow")

    def leave(self) -> None:
        """Leave the books to the next test as they should be."""
        broken = bool(self.mends)
        self.mend()
        if broken:
            self.check_all()
            self.mend()

    def _with_values(self, statement: str, values: dict[str, Any]) -> None:
        self.sql(statement, **{name: value for name, value in values.items() if f":{name}" in statement})
