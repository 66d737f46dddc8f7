"""One hospital and the centre for the crash points: what is done there, and what both sides have of a claim."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, text

from domain.identity import synthetic_citizen_id
from domain.messages import (
    ClaimsAnswered,
    OutcomeDecided,
    OutcomeDecision,
    OutcomeTold,
    PrepareAsked,
    RefundAnswered,
    RefundAsked,
    TotalsSubmitted,
)
from domain.outcomes import Phase
from infra import lanes
from infra.broker import Post, build_app
from infra.codec import encode
from infra.database import open_database
from infra.envelope import seal
from tests.support.frontend import HOSPITAL, NOON, short_code, submission
from tests.support.frontend import shelf as frontend_shelf
from tests.support.nursery import Nursery
from tests.support.site import FRONTEND, Site
from tests.support.waiting import eventually
from workers import intake, refund
from workers.doorbell import Doorbell
from workers.outcomes import decide

ROLES = ("desk", "link", "center-settle")


class State(NamedTuple):
    """How it stands with a claim at both sides."""

    frontend: str
    center: str


@dataclass(frozen=True, slots=True)
class Operation:
    """What a hospital may ask: the messages it travels in, what there is before it, and what there is after it."""

    name: str
    asked: type[Any]
    sent_as: str
    answered: type[Any]
    answered_as: str
    before: State
    """While it waits at the front-end, and nothing is done at the centre."""
    after: State


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("settle", TotalsSubmitted, lanes.CLAIMS_SETTLE, ClaimsAnswered, lanes.CLAIMS_DELIVER,
                  State("totalled", "nothing"), State("settled", "settled")),
        Operation("refund", RefundAsked, lanes.CLAIMS_REFUND, RefundAnswered, lanes.CLAIMS_REFUNDED,
                  State("refunding", "settled"), State("refunded", "refunded")),
        Operation("prepare", PrepareAsked, lanes.CLAIMS_PREPARE, OutcomeTold, lanes.OUTCOMES_TELL,
                  State("totalled", "nothing"), State("prepared", "prepared")),
        Operation("confirm", OutcomeDecided, lanes.CLAIMS_DECIDE, OutcomeTold, lanes.OUTCOMES_TELL,
                  State("prepared", "prepared"), State("settled", "settled")),
        Operation("cancel", OutcomeDecided, lanes.CLAIMS_DECIDE, OutcomeTold, lanes.OUTCOMES_TELL,
                  State("prepared", "prepared"), State("cancelled", "cancelled")),
    )
}  # fmt: skip
"""Every operation a crash may hit."""


def visit_no(serial: int) -> str:
    """The visit of a claim, by its serial."""
    return f"{short_code(HOSPITAL)}{serial:010d}"


def trigger(operation: str, serial: int) -> None:
    """Let the hospital ask, durably; its bell is rung when it returns. For a process of its own."""
    engine = open_database(os.environ["JIESUAN_FRONTEND_DATABASE_URL"])
    ask(engine, operation, serial)
    Doorbell(Post(build_app("door", os.environ["JIESUAN_CENTER_BROKER_URL"])), FRONTEND).ring(HOSPITAL)


def ask(engine: Engine, operation: str, serial: int) -> None:
    """Write down what the hospital asks."""
    number = f"{visit_no(serial)}-1"
    match operation:
        case "settle" | "prepare":
            phase = Phase.PREPARE if operation == "prepare" else Phase.SETTLE
            person = synthetic_citizen_id(serial)
            handed_in = submission(HOSPITAL, f"key-{serial}", person=person, visit_no=visit_no(serial), phase=phase)
            intake.accept(engine, [handed_in], at=NOON)
        case "refund":
            refund.refund(engine, frontend_shelf(), HOSPITAL, visit_no(serial), 1, reason="误", at=NOON)
        case "confirm":
            decide.confirm(engine, HOSPITAL, number, at=NOON)
        case "cancel":
            decide.cancel(engine, HOSPITAL, number, at=NOON)
        case _:
            raise ValueError(operation)


class CrashCity:
    """A hospital's front-end and the centre, each role a process that can be made to die."""

    def __init__(self, folder: Path, broker_url: str, center: Engine, center_database_url: str) -> None:
        self.center, self._broker_url = center, broker_url
        self.site = Site(folder, broker_url, HOSPITAL, center_database_url=center_database_url)
        self.site.environment |= {
            "JIESUAN_SWEEP_EVERY_SECONDS": "0.2",
            "JIESUAN_SWEEP_AFTER_SECONDS": "0.4",
            "JIESUAN_CLOCK": f"{NOON.isoformat()}@{time.time()!r}x1.0",
        }
        self.nursery = Nursery(self.site.environment, folder)
        self._serial = 0

    def close(self) -> None:
        """End everybody."""
        self.nursery.end()
        self.site.stop()

    def everybody(self) -> None:
        """Start who is not running."""
        for role in ROLES:
            if not self.nursery.is_running(role):
                self.nursery.start(role)

    def arm(self, role: str, how: str, what: str, **environment: str) -> None:
        """Let this role die the next time it comes to a point. It is stopped in good order first: a message that was
        not acknowledged would come again, and it would die of that one."""
        if self.nursery.is_running(role):
            self.nursery.stop(role)
        self.nursery.start(role, how=how, what=what, **environment)

    def ring(self) -> None:
        """Ring the hospital's bell."""
        Doorbell(self.site.post, FRONTEND).ring(HOSPITAL)

    def ask(self, operation: str, serial: int) -> None:
        """The hospital asks, and rings."""
        ask(self.site.engine, operation, serial)
        self.ring()

    def new(self, operation: str) -> int:
        """A claim for which the operation may be asked; its serial."""
        self._serial += 1
        serial = self._serial
        first = {"refund": "settle", "confirm": "prepare", "cancel": "prepare"}.get(operation)
        if first is not None:
            self.everybody()
            self.ask(first, serial)
            self.becomes(serial, OPERATIONS[first].after)
        return serial

    def send(self, task: str, message: Any) -> None:
        """Send the centre a message as the front-end would."""
        envelope = seal(encode(message), frontend=FRONTEND, lane=lanes.SETTLE, key=self.site.key)
        self.site.post.send(task, queue=lanes.SETTLE, shown={}, envelope=envelope)

    def decision(self, serial: int, *, confirm: bool) -> OutcomeDecided:
        """The message that confirms or cancels a claim."""
        return OutcomeDecided(decisions=(OutcomeDecision(HOSPITAL, visit_no(serial), 1, confirm),))

    # ── What is true ──

    def state(self, serial: int) -> State:
        """How it stands with a claim at both sides."""
        return State(self._at_the_frontend(serial), self._at_the_center(serial))

    def becomes(self, serial: int, state: State, *, within: float = 20.0) -> None:
        """Wait until both sides have it so."""
        try:
            eventually(lambda: self.state(serial) == state, within=within)
        except AssertionError:
            raise AssertionError(f"claim {serial}: {self.state(serial)}, not {state}") from None

    def _at_the_frontend(self, serial: int) -> str:
        query = text("SELECT state, kind, refunded_by FROM claim WHERE visit_no = :visit ORDER BY charge_batch_no")
        with self.site.engine.connect().execution_options(reading=True) as connection:
            rows = connection.execute(query, {"visit": visit_no(serial)}).all()
        if not rows:
            return "nothing"
        if rows[0].refunded_by is None:
            return str(rows[0].state)
        return "refunded" if rows[-1].state == "settled" else "refunding"

    def _at_the_center(self, serial: int) -> str:
        query = text(
            "SELECT (SELECT count(*) FROM settlement WHERE visit_no = :visit AND kind = 'normal'),"
            " (SELECT count(*) FROM settlement WHERE visit_no = :visit AND kind = 'contra'),"
            " coalesce((SELECT state FROM outcome WHERE visit_no = :visit), 'nothing')"
        )
        with self.center.connect() as connection:
            normal, contra, outcome = connection.execute(query, {"visit": visit_no(serial)}).one()
        assert normal <= 1 and contra <= normal
        if contra:
            return "refunded"
        return "settled" if normal else outcome

    def answers(self, serial: int) -> tuple[bytes, ...]:
        """What the hospital reprints from: the stored answers of its claim, in order."""
        query = text("SELECT answer FROM claim WHERE visit_no = :visit ORDER BY charge_batch_no")
        with self.site.engine.connect().execution_options(reading=True) as connection:
            return tuple(bytes(answer) for answer in connection.execute(query, {"visit": visit_no(serial)}).scalars())

    def stored(self, serial: int) -> tuple[bytes, ...]:
        """The same at the centre."""
        query = text("SELECT answer FROM settlement WHERE visit_no = :visit ORDER BY settlement_no")
        with self.center.connect() as connection:
            return tuple(bytes(answer) for answer in connection.execute(query, {"visit": visit_no(serial)}).scalars())

    def prove(self) -> None:
        """Money is where it belongs: nothing unbalanced, every accumulator and account moved once by what moved it."""
        with self.center.connect() as connection:
            unbalanced, drifted, accounts = connection.execute(
                text(
                    "SELECT (SELECT count(*) FROM (SELECT 1 FROM posting GROUP BY document_no"
                    " HAVING sum(amount_fen) <> 0) AS x),"
                    " (SELECT count(*) FROM accumulator a WHERE amount_fen <> (SELECT sum(applied_fen) FROM"
                    " accumulator_entry e WHERE e.person_no = a.person_no AND e.key = a.key)),"
                    " (SELECT count(*) FROM person p JOIN account_opening o USING (person_no) WHERE"
                    " o.amount_fen - p.account_balance_fen <> coalesce((SELECT sum(amount_fen) FROM posting"
                    " WHERE account = 'account:' || p.person_no), 0))"
                )
            ).one()
        assert (unbalanced, drifted, accounts) == (0, 0, 0)
