"""What the office of accounts does meanwhile: one proposes, another approves.

Prepared claims are confirmed or cancelled in the place of their institutions, parts of settlements are deducted; when
the month has closed, its clearings are confirmed and paid, and some are taken back and close once more.

Their dice are their own: a seed without them is the same city as before.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, text

from center.approving import decisions, proposals
from center.clearing import actions as clearings
from center.clearing import periods
from center.clearing.deductions import Part
from center.outcomes.actions import FORCE, propose_force
from center.transactions import in_transaction
from tests.simulation.city.fibers import Process

if TYPE_CHECKING:
    from tests.simulation.city.operators import Operators
    from tests.simulation.city.run import Run

ACTS_EVERY = (4.0, 30.0)
"""Simulated seconds between two of their acts."""
BETWEEN_STEPS = 20.0
TAKEN_BACK = 0.3
"""How many of the clearings are taken back once, after the month."""

PREPARED = "SELECT institution_code, visit_no, charge_batch_no FROM outcome WHERE state = 'prepared' ORDER BY 1, 2, 3"
PAID_BY_FUNDS = (
    "SELECT document_no, substr(account, length('fund:employee:') + 1), amount_fen FROM posting"
    " JOIN settlement ON settlement_no = document_no"
    " WHERE starts_with(account, 'fund:employee:') AND amount_fen > 0 AND kind = 'normal' ORDER BY 1, 2"
)
OURS = {FORCE, clearings.DEDUCT, clearings.PAY, clearings.REOPEN}
STEPS = (
    "SELECT period_no, state FROM clearing_period WHERE state IN ('closed', 'confirmed')"
    " OR (state = 'open' AND period_no = ANY(:taken_back)) ORDER BY 1"
)


class Accountants:
    """Two people: 丙 proposes, 丁 approves whatever waits."""

    def __init__(self, run: Run, clerk: Process, operators: Operators) -> None:
        self._city, self._clerk, self._operators = run.city, clerk, operators
        self._counts = run.history.counts
        self._dice = random.Random(f"accounts {run.seed}")
        self._taken_back: set[int] = set()
        self.is_done = False

    def begin(self) -> None:
        """Have the first act come, in a seed that has accountants."""
        if self._city.profile.accounts:
            self._city.loop.at(self._city.loop.now + self._dice.uniform(*ACTS_EVERY), self._act)

    def settle_up(self) -> None:
        """After the month: until every clearing is paid; some are taken back first, and close once more."""

        def work() -> None:
            while self._operators.tried(self._step):
                self._city.loop.sleep(BETWEEN_STEPS)
            self.is_done = True

        self._city.loop.spawn(self._clerk, work)

    def _act(self) -> None:
        if self._city.is_healing:
            return
        if self._clerk.alive:
            act = self._dice.choice((self._force, self._force, self._deduct))
            self._city.note("accountant", act.__name__)
            self._city.loop.spawn(self._clerk, lambda: self._operators.tried(act))
        self._city.loop.at(self._city.loop.now + self._dice.uniform(*ACTS_EVERY), self._act)

    def _force(self, engine: Engine, at: datetime) -> None:
        """What an institution does not decide is decided in its place."""
        found = _rows(engine, PREPARED)
        if found:
            key, confirm = self._dice.choice(found), self._dice.random() < 0.5
            self._propose(
                engine,
                lambda connection: propose_force(
                    connection, tuple(key), confirm=confirm, by="丙", reason="机构来电", at=at
                ),
            )
        self._approve(engine, at)

    def _deduct(self, engine: Engine, at: datetime) -> None:
        """Of what a fund paid of one settlement, a part or all."""
        found = _rows(engine, PAID_BY_FUNDS)
        if found:
            number, layer, paid_fen = self._dice.choice(found)
            part = Part(number, layer, self._dice.choice((paid_fen, 1 + self._dice.randrange(paid_fen))))
            self._offer(engine, clearings.DEDUCT, {"parts": [list(part)]}, at)
        self._approve(engine, at)

    def _step(self, engine: Engine, at: datetime) -> bool:
        """Confirm what is closed, pay what is confirmed; whether there is more to do."""
        found = _rows(engine, STEPS, taken_back=list(self._taken_back))
        for number, state in found:
            if state == "open":
                continue  # the timetable closes it once more
            if number not in self._taken_back and self._dice.random() < TAKEN_BACK:
                self._taken_back.add(number)
                self._offer(engine, clearings.REOPEN, {"period_no": number}, at)
            elif state == "closed":
                in_transaction(
                    engine,
                    lambda connection, number=number: periods.confirm(
                        connection, number, by="丙", reason="机构未提出异议", at=at
                    ),
                )
            else:
                self._offer(engine, clearings.PAY, {"period_no": number}, at)
        self._approve(engine, at)
        return bool(found)

    def _offer(self, engine: Engine, action: str, payload: dict[str, Any], at: datetime) -> None:
        """Propose something of clearing, as the commands do."""

        def propose(connection: Connection) -> int:
            return proposals.propose(
                connection,
                action,
                payload,
                by="丙",
                reason="例行办理",
                institution_code=clearings.institution_of(connection, payload),
                effect=clearings.ACTIONS[action].predict(connection, payload, at=at),
                at=at,
            )

        self._propose(engine, propose)

    def _propose(self, engine: Engine, work: Callable[[Connection], int]) -> None:
        try:
            in_transaction(engine, work)
        except proposals.AlreadyProposed:
            return

    def _approve(self, engine: Engine, at: datetime) -> None:
        with engine.connect() as connection:
            waiting = [each for each in proposals.listed(connection, at=at) if each.action in OURS]
        for each in waiting:
            outcome = decisions.approve(engine, each.proposal_no, by="丁", at=at)
            self._city.note("approved", each.proposal_no, outcome.state)
            self._counts[f"{each.action} {outcome.state}"] += 1
            if outcome.state == "open":
                decisions.reject(engine, each.proposal_no, by="丁", reason=outcome.words, at=at)


def _rows(engine: Engine, query: str, **values: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(query), values))
