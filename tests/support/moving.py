"""Two front-ends and a centre without processes: messages are handed over by hand, so a test can lose any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, insert, select

from center.serving import beginning, moves
from center.serving.tables import move, terms_report
from domain import messages
from domain.terms import Standing
from tests.support.center import AT, CATALOGUE_VERSION, FRONTEND, OTHER_FRONTEND, POLICY_VERSION
from tests.support.frontend import HOSPITAL
from workers import terms as obeyed
from workers.moving import handing, taking
from workers.tables import institution


def plain(content: bytes) -> bytes:
    """What is kept at the centre, not sealed here."""
    return content


@dataclass
class Movers:
    """The centre, the front-end the institution is at, and the one it goes to."""

    center: Engine
    source: Engine
    target: Engine
    at: datetime = AT
    code: str = HOSPITAL
    lost: Callable[[str], bool] = field(default=lambda _step: False)
    """Whether the message of this step is lost."""
    now: float = 1000.0

    def begin(self, **wish: Any) -> int:
        """Begin the move as an operator does; its number."""
        wished = {"institution_code": self.code, "target": OTHER_FRONTEND} | wish
        with self.center.begin() as connection:
            begun = beginning.begin(connection, beginning.Wish(**wished), by="甲", reason="迁移", at=self.at)
            return begun.move_no

    def engine_of(self, frontend: str) -> Engine:
        """The database of a front-end."""
        return self.source if frontend == FRONTEND else self.target

    def hear(self) -> None:
        """Each front-end tells which terms it holds, and obeys what it is sent."""
        for frontend in (FRONTEND, OTHER_FRONTEND):
            for _ in range(2):
                self._exchange_terms(frontend)

    def _exchange_terms(self, frontend: str) -> None:
        engine = self.engine_of(frontend)
        with engine.begin() as connection:
            asked = obeyed.asking(connection)
        if self.lost("terms.asked"):
            return
        with self.center.begin() as connection:
            sent = moves.heard(connection, asked, frontend=frontend, at=self.at)
        if sent is not None and not self.lost("terms.sent"):
            with engine.begin() as connection:
                obeyed.keep(connection, sent)

    def tick(self) -> None:
        """One look of the centre at its moves, and everything that follows from it."""
        self.now += 60
        with self.center.begin() as connection:
            moves.advance(connection, at=self.at)
            due = moves.due(connection, now=self.now, opened=plain)
        while due:
            due = [following for each in due for following in self.deliver(each)]

    def deliver(self, due: moves.Due) -> list[moves.Due]:
        """Hand a message to its front-end, and the answer to the centre; what the centre sends then."""
        engine = self.engine_of(due.frontend)
        if self.lost(due.message.KIND):
            return []
        if isinstance(due.message, messages.HandOverAsked):
            with engine.begin() as connection:
                made = handing.handed(connection, due.message, frontend=due.frontend, at=self.at)
            if made is None or self.lost("answer"):
                return []
            return self.answered(made, due.frontend)
        with engine.begin() as connection:
            kept = taking.take(connection, due.message, frontend=due.frontend, at=self.at)
        return [] if kept is None or self.lost("kept") else self.answered(kept, due.frontend)

    def answered(
        self, told: messages.HandedOver | messages.HandOverReported | messages.BundleKept, frontend: str
    ) -> list[moves.Due]:
        """The centre hears what a front-end says."""
        with self.center.begin() as connection:
            if isinstance(told, messages.HandedOver):
                return moves.take(connection, told, frontend=frontend, at=self.at, sealed=plain, opened=plain)
            if isinstance(told, messages.BundleKept):
                return moves.kept(connection, told, frontend=frontend, at=self.at, opened=plain) or []
            moves.reported(connection, told, frontend=frontend, at=self.at)
            return []

    def go(self, rounds: int = 12) -> str:
        """Let everything happen for a while; the state the newest move is in then."""
        for _ in range(rounds):
            self.hear()
            self.tick()
        return self.state()

    def state(self) -> str:
        """Of the newest move."""
        with self.center.connect() as connection:
            return str(connection.execute(select(move.c.state).order_by(move.c.move_no.desc()).limit(1)).scalar_one())

    def standing(self, engine: Engine) -> str:
        """How a front-end stands to the institution by its own database; empty: it does not know it."""
        known = select(institution.c.standing).where(institution.c.institution_code == self.code)
        with engine.connect() as connection:
            return str(connection.execute(known).scalar() or "")

    def opens(self) -> set[str]:
        """Which front-ends take what is new."""
        engines = {FRONTEND: self.source, OTHER_FRONTEND: self.target}
        return {name for name, engine in engines.items() if self.standing(engine) == Standing.OPEN}


def announce(center: Engine, frontend: str, at: datetime = AT) -> None:
    """The centre has heard of the front-end once."""
    with center.begin() as connection:
        connection.execute(
            insert(terms_report).values(
                frontend=frontend, digest=b"", heard_at=at, catalogue_version=CATALOGUE_VERSION,
                policy_versions=POLICY_VERSION,
            )
        )  # fmt: skip
