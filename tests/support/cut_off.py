"""Front-ends and a centre with a link between them that can be cut, on a clock of the test's own, without processes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Engine, update

import center.tables
from center import persons
from center.outcomes.ask import tell
from center.settling.settle import settle_submitted
from domain.messages import PersonAsked, TotalsSubmitted
from infra import lanes
from infra.codec import decode
from infra.database import reading
from infra.envelope import frontend_key, unseal
from infra.reference import ReferenceShelf
from tests.support.center import AT
from tests.support.frontend import line, new_frontend, short_code, submission
from tests.support.frontend import shelf as frontend_shelf
from tests.support.frontend import visit as visit_of
from workers import deliver, desk, entitlement, intake
from workers.claims import ClaimView, show
from workers.link import Hearing, Standing, standing
from workers.offline.drain import Drain
from workers.offline.settling import look_after
from workers.outbox import Outbox, Sweep
from workers.tables import institution

SECRET = b"0" * 32
TERMS = {"offline": True, "offline_claim_fen": 50_000, "offline_total_fen": 200_000, "offline_hours": 48}
"""What an institution that may settle off-line is allowed."""
PAUSE_SECONDS = 5.0
BACK = int(PAUSE_SECONDS) + 15
"""Seconds after which a link that is back has been noticed, and drained of a little."""

_keys = count(1)


class AnotherLink:
    """Stands in the place of the broker: what is posted while the link is up is at the centre, else it is lost."""

    def __init__(self, site: CutOff) -> None:
        self._site = site

    def send(self, task: str, *, queue: str, shown: dict[str, object], envelope: bytes) -> None:
        """Settle a batch of totals."""
        if not self._site.is_cut:
            self._site.posted.append(envelope)

    def waiting(self, _queue: str) -> int:
        """Nobody waits here."""
        return 0


class Bell:
    """Rings nothing."""

    def ring(self, _institution_code: str) -> None:
        """Nothing."""


class CutOff:
    """One front-end that settles locally, on a clock that begins at AT and moves when it is told to."""

    def __init__(
        self, url: str, code: str, institution_code: str, center_engine: Engine, shelf: ReferenceShelf
    ) -> None:
        self.code, self.institution_code = code, institution_code
        self.engine, self.shelf = new_frontend(url, institution_code), frontend_shelf()
        self.center, self.center_shelf = center_engine, shelf
        self.second = 0
        self.is_cut = False
        self.clock_off = timedelta()
        """How far this front-end's clock is ahead of the centre's."""
        self.posted: list[bytes] = []
        self.batches: list[list[tuple[str, bool]]] = []
        """What reached the centre: of each batch the visits, and whether they were settled off-line."""
        key = frontend_key(SECRET, code)
        self.outbox = Outbox(AnotherLink(self), code, key)  # type: ignore[arg-type]  # a broker of the test's own
        self.sweep = Sweep(self.engine, self.outbox, Bell(), "desk", 8.0)  # type: ignore[arg-type]
        self.hearing = Hearing(3.0, 6.0, 15.0)
        self.drain = Drain(self.engine, code, "desk", PAUSE_SECONDS)
        self.terms(way="local", **TERMS)

    def terms(self, **values: Any) -> None:
        """Change the institution's terms at both ends."""
        for engine, table in ((self.engine, institution), (self.center, center.tables.institution)):
            with engine.begin() as connection:
                connection.execute(
                    update(table).where(table.c.institution_code == self.institution_code).values(**values)
                )

    @property
    def at(self) -> datetime:
        """The moment at the centre."""
        return AT + timedelta(seconds=self.second)

    @property
    def here(self) -> datetime:
        """The moment by our clock."""
        return self.at + self.clock_off

    def lease(self, citizen_id_no: str) -> None:
        """Ask the centre who somebody is."""
        with self.center.begin() as connection:
            asked = PersonAsked(citizens=(citizen_id_no,))
            answered = persons.entitlements(asked, frontend=self.code, connection=connection, at=self.at)
        entitlement.keep(self.engine, answered, at=self.here)

    def cut(self, seconds: int = 30) -> None:
        """Cut the link, and let so long go by that it is known."""
        self.is_cut = True
        self.run(seconds)

    def back(self, seconds: int = BACK) -> None:
        """The link is back, and so long goes by."""
        self.is_cut = False
        self.run(seconds)

    def run(self, seconds: int) -> None:
        """Let time go by: the ticks of both processes, every three seconds."""
        for _ in range(0, seconds, 3):
            self.second += 3
            self.tick()

    def tick(self) -> None:
        """One tick of the link's process and one of the desk's."""
        now, at = float(self.second), self.here
        question = self.hearing.question(now=now, at=at)
        self.hearing.sent(not self.is_cut)
        if question is not None and not self.is_cut:
            with self.center.begin() as connection:
                told = tell(connection, question, frontend=self.code, at=self.at)
            self.hearing.heard(now=now, at=at)
            self.hearing.told(told, at=at)
        self.hearing.note(self.engine, now=now, at=at)
        look_after(self.engine, self.shelf, at=at)
        if self.link().is_down:
            return
        self.drain.run(now=now, at=at)
        self.sweep.run(now=now)
        self.answer()

    def link(self) -> Standing:
        """The link as it is noted."""
        with reading(self.engine) as connection:
            return standing(connection, at=self.here)

    def answer(self) -> None:
        """The centre settles what reached it, and the answers are recorded."""
        posted, self.posted = self.posted, []
        for envelope in posted:
            content = unseal(envelope, lane=lanes.SETTLE, key=frontend_key(SECRET, self.code))
            submitted = decode(content, TotalsSubmitted)
            self.batches.append([(each.visit_no, bool(each.local and each.local.offline)) for each in submitted.claims])
            answered = settle_submitted(self.center, self.center_shelf, submitted, frontend=self.code, at=self.at)
            with self.engine.begin() as connection:
                entitlement.forget(connection, deliver.doubted(connection, answered))
                deliver.record_answers(connection, answered, at=self.here)

    def hand_in(self, person: str, fen: int = 4_000, *, visit_type: str = "4") -> str:
        """Hand a claim of one line in and take a turn at the desk; the visit number."""
        outcome = self.try_in(person, fen, visit_type=visit_type)
        assert isinstance(outcome, intake.Accepted), outcome
        turn = desk.preprocess(
            self.engine, self.shelf, self.institution_code, limit=300, at=self.here, now=float(self.second)
        )
        if turn.totals:
            self.outbox.send(turn.totals, policy_version=turn.policy_version, catalogue_version=turn.catalogue_version)
        if turn.link_is_down:
            look_after(self.engine, self.shelf, at=self.here, institution_code=self.institution_code)
        self.answer()
        return outcome.visit_no

    def try_in(
        self,
        person: str,
        fen: int,
        *,
        visit_type: str = "4",
        key: str = "",
    ) -> intake.Outcome:
        """What the door says to a claim of one line."""
        number = next(_keys)
        day = self.here.date()
        lines = [line(1, charge_date=day, unit_price_1e4=fen * 100, quantity_1e2=100, line_amount_fen=fen)]
        handed = submission(
            self.institution_code,
            key or f"key-{number}",
            lines=lines,
            person=person,
            visit_no=f"{short_code(self.institution_code)}{number:010d}",
        )
        visit = visit_of(
            self.institution_code,
            visit_no=handed.visit.visit_no,
            citizen_id_no=person,
            visit_type=visit_type,
            visit_date=day,
        )
        handed = replace(handed, visit=visit)
        (outcome,) = intake.accept(self.engine, [handed], at=self.here)
        return outcome

    def view(self, visit_no: str) -> ClaimView:
        """The claim as its institution sees it."""
        with reading(self.engine) as connection:
            found = show(connection, self.institution_code, f"{visit_no}-1")
        assert found is not None
        return found
