"""A front-end, its shared tables, and a centre that answers at once: for tests that play the HIS."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, update

from domain.messages import ClaimAnswer, ClaimsAnswered
from domain.visit import Discharge, Registration
from producers.his.tables.place import Patron, open_tables, patrons
from producers.his.tables.poller import QUIET_SECONDS, Turns
from producers.his.tables.shared import SharedTables
from producers.his.tables.unread import unread_rows
from tests.support.frontend import HOSPITAL, NOON, shelf
from tests.support.visits import registered
from workers import deliver, desk, visits
from workers.tables import institution


class TablesWorld:
    """What stands behind the tables. `turn` lets the poller take one; nothing happens in between."""

    def __init__(self, engine: Engine, exchange_url: str, *codes: str, at: datetime = NOON) -> None:
        self.engine, self.url, self.at = engine, exchange_url, at
        self.seconds = 1_000.0
        self.rung: list[str] = []
        self.tables: SharedTables | None = None
        with engine.begin() as connection:
            connection.execute(
                update(institution).where(institution.c.institution_code.in_(codes)).values(exchange="tables")
            )
        self.start_again()

    def start_again(self) -> None:
        """The poller's process ends wherever it is, and another one begins."""
        if self.tables is not None:
            self.tables.close()
        self.tables = open_tables(self.url)
        frontend: Any = SimpleNamespace(
            engine=self.engine,
            now=lambda: self.at,
            clock=SimpleNamespace(seconds=lambda: self.seconds),
            doorbell=SimpleNamespace(ring=self.rung.append),
        )
        self.turns = Turns(frontend, self.tables)

    @property
    def patrons(self) -> list[Patron]:
        """The institutions served."""
        with self.engine.connect() as connection:
            return patrons(connection)

    def turn(self, times: int = 1, *, quiet: bool = False) -> None:
        """The poller takes turns; `quiet`: so much time passed that outpatients are settled."""
        for _ in range(times):
            self.seconds += QUIET_SECONDS + 5 if quiet else 3.0
            self.turns.take(self.patrons)

    def register(self, *asked: Registration) -> list[str]:
        """Visits registered at the insurance client, and put out to the HIS."""
        numbers = registered(self.engine, *asked, at=self.at)
        with self.engine.begin() as connection:
            # The centre would answer within seconds who they are; nobody waits for it here.
            connection.exec_driver_sql("UPDATE visit SET registered_at = '2020-01-01 00:00:00'")
        self.turn()
        return numbers

    def settle(self, visit_no: str, *, final: bool = False, code: str = HOSPITAL) -> Any:
        """The operator settles; the centre answers at once, and the result is handed out."""
        unread = unread_rows(self.tables, [visit_no])
        outcome = visits.settle_visit(
            self.engine, code, visit_no, final=final, at=self.at, unread=lambda *_: unread[visit_no]
        )
        self.centre_answers(code)
        self.turn()
        return outcome

    def discharge(self, visit_no: str, code: str = HOSPITAL) -> Any:
        """The operator enters the discharge."""
        of = Discharge(
            visit_no=visit_no,
            discharge_date=self.at.date(),
            discharge_diagnosis_1="肺炎",
            discharge_outcome="1",
        )
        outcome = visits.discharge(self.engine, code, of, at=self.at)
        self.turn()
        return outcome

    def centre_answers(self, code: str = HOSPITAL) -> int:
        """The desk totals what was accepted, and the centre pays half of what is in scope."""
        turn = desk.preprocess(self.engine, shelf(), code, limit=100, at=self.at, now=1.0)
        answers = tuple(
            ClaimAnswer(
                totals.visit_no,
                totals.charge_batch_no,
                settlement_no=7,
                fund_pay_fen=totals.in_scope_fen // 2,
                self_pay_fen=totals.in_scope_fen - totals.in_scope_fen // 2,
                settled_at=self.at,
            )
            for totals in turn.totals
        )
        with self.engine.begin() as connection:
            return deliver.record_answers(connection, ClaimsAnswered(answers=answers), at=self.at)

    def imported(self, visit_no: str) -> list[int | None]:
        """The numbers of the lines that are imported."""
        with self.engine.connect() as connection:
            return [line.line_no for line in visits.imported(connection, visit_no)]

    def failed(self, visit_no: str, code: str = HOSPITAL) -> list[str]:
        """The codes of the lines that failed and hold up the settlement."""
        with self.engine.connect() as connection:
            return [found.code for found in visits.failures(connection, code, visit_no=visit_no)]

    def close(self) -> None:
        """Give everything back."""
        if self.tables is not None:
            self.tables.close()
        self.engine.dispose()


def flags(rows: Sequence[Sequence[Any]]) -> list[tuple[int, str | None]]:
    """DRBZ and BZ3 of rows read as a pair."""
    return [(int(flag), code) for flag, code in rows]
