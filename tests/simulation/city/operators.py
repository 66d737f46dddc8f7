"""What people at the centre do meanwhile: suspend and restore entitlements, close and open institutions, set windows,
freeze a flow and have it released by a second person, change connections; and restore the whole centre from a backup.

The clerk is a process like any other: it waits for locks, and it dies in the middle of things.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, TimeoutError

from center.approving import decisions, proposals
from center.approving.actions import CannotDo
from center.approving.decisions import CannotDecide
from center.backup import epochs
from center.clearing.periods import CannotStep
from center.conservation import actions, freezing
from center.conservation.findings import Finding, Flow, Level
from center.policy.publications import CannotPublish
from center.serving.terms import TermsRefused
from center.transactions import in_transaction
from domain.clearing import clearing_type
from tests.simulation.city import connecting, town
from tests.simulation.city.fibers import Process

if TYPE_CHECKING:
    from tests.simulation.city.run import Run

BACKUP = "backup"
AGAIN_EVERY = 10.0
GIVEN_UP = (
    OperationalError, psycopg.OperationalError, TimeoutError, CannotDo, CannotDecide, proposals.CannotPropose,
    CannotPublish, CannotStep, TermsRefused,
)  # fmt: skip
"""What an act may end with: the clerk tries something else."""

WRONG = (
    "SELECT (SELECT count(*) FROM person WHERE NOT entitled)"
    f" + (SELECT count(*) FROM ({connecting.SUSPENDED}) AS closed) + ({connecting.NARROW}) + ({connecting.STRANGE})"
    " + (SELECT count(*) FROM frozen_flow WHERE released_at IS NULL)"
)
"""How much there is to put right."""

UNDECIDED = "SELECT proposal_no FROM proposal WHERE state = 'open' AND action = :release ORDER BY 1"


PARTED_AT = ((0.05, 0.2), (0.4, 0.6), (0.7, 0.9))
"""When a very large hospital gets a second front-end, loses one of two, and so on; of the safety phase."""

MOVED_AFTER = (0.0, 12.0)
"""Seconds from the beginning of a flood until who floods is moved."""


class Operators:
    """Changes something every now and then until the heal phase; then puts everything right."""

    def __init__(self, run: Run, clerk: Process) -> None:
        self._run, self._clerk = run, clerk
        self._city = run.city
        people = (self._entitle, self._entitle, self._serve, self._serve, self._window, self._freeze, self._release)
        connections = (self._way, self._way, self._terms, self._terms, self._window, *[self._move] * 3)
        self._acts = (
            *(people if run.city.profile.operators else ()),
            *(connections if run.city.profile.connects else ()),
            *((self._again,) if run.city.profile.connects and run.city.profile.restores else ()),
            *((self._policy,) if run.city.profile.publishes else ()),
        )
        self._kept_at: datetime | None = None
        self._since: dict[str, str] = {}
        """Where institutions were moved to since the backup: to be moved there again when it is what is left."""
        self._lost: dict[str, str] = {}

    def begin(self) -> None:
        """Have the first act come."""
        profile, loop, dice = self._city.profile, self._city.loop, self._city.dice
        if self._acts:
            self._next()
        if profile.parts:
            for earliest, latest in PARTED_AT:
                moment = dice.uniform(earliest, latest) * profile.safety_seconds
                loop.at(moment, lambda: loop.spawn(self._clerk, lambda: self.tried(self._part)))
        if profile.floods:
            moment = town.FLOOD_AT + dice.uniform(*MOVED_AFTER)
            loop.at(moment, lambda: loop.spawn(self._clerk, lambda: self.tried(self._move_flooding)))
        if profile.offline_fen:
            loop.at(0.5, lambda: loop.spawn(self._clerk, lambda: self.tried(self._offline)))
        if profile.restores:
            kept_at = dice.uniform(0.1, 0.6) * profile.safety_seconds
            loop.at(kept_at, self._keep)
            if profile.connects:  # a move that is lost, or half of it
                loop.at(
                    kept_at + dice.uniform(-8.0, 2.0), lambda: loop.spawn(self._clerk, lambda: self.tried(self._move))
                )
            loop.at(kept_at + dice.uniform(0.1, 0.4) * profile.safety_seconds, self._restore)

    def put_right(self) -> None:
        """Everybody entitled, every institution in service, the window wide, every flow released; tried until it is."""

        def mend() -> None:
            while self.tried(self._mended):
                self._city.loop.sleep(AGAIN_EVERY)

        self._city.loop.spawn(None, lambda: self._as_clerk(mend))

    def _is_right(self) -> bool:
        """Whether there is nothing to put right, seen past the simulation."""
        return not self._lost and self._run.stage.center.rows(WRONG) == [(0,)]

    # ── Acts ──

    def _next(self) -> None:
        self._city.loop.at(self._city.loop.now + self._city.dice.uniform(2.0, 25.0), self._act)

    def _act(self) -> None:
        if self._city.is_healing:
            return
        act = self._city.dice.choice(self._acts)
        if self._clerk.alive:
            self._city.note("operator", act.__name__)
            self._city.loop.spawn(self._clerk, lambda: self.tried(act))
        self._next()

    def _as_clerk(self, work: Callable[[], None]) -> None:
        """Run it as the clerk, and again when the clerk has died over it."""
        loop = self._city.loop
        while True:
            if self._clerk.alive and not self._clerk.fibers and not self._is_right():
                loop.spawn(self._clerk, work)
            loop.sleep(AGAIN_EVERY)

    def tried(self, act: Callable[[Engine, datetime], Any]) -> Any:
        """What an act comes to, in the clerk's life; True when it could not be done."""
        being = self._clerk.being
        try:
            return act(being.engine(self._clerk.name), being.clock.now())
        except GIVEN_UP as error:
            self._city.note("operator fails", self._clerk, type(error).__name__)
            return True

    def _entitle(self, engine: Engine, _at: datetime) -> None:
        whether = self._city.dice.choice(("true", "false"))
        number = self._city.dice.choice(town.PERSONS)
        _execute(
            engine,
            f"UPDATE person SET entitled = {whether}, version = version + 1 WHERE citizen_id_no = :number",
            number=number,
        )

    def _serve(self, engine: Engine, at: datetime) -> None:
        whether, code = self._city.dice.choice((True, False)), self._city.dice.choice(town.CODES)
        in_transaction(engine, lambda connection: connecting.change(connection, code, {"active": whether}, at))

    def _way(self, engine: Engine, at: datetime) -> None:
        in_transaction(engine, lambda connection: connecting.switch_way(connection, self._city.dice, at))

    def _terms(self, engine: Engine, at: datetime) -> None:
        in_transaction(engine, lambda connection: connecting.change_terms(connection, self._city.dice, at))

    def _offline(self, engine: Engine, at: datetime) -> None:
        fen = self._city.profile.offline_fen
        in_transaction(engine, lambda connection: connecting.let_sell_offline(connection, fen, at))

    def _move(self, engine: Engine, at: datetime) -> None:
        code, target = in_transaction(
            engine, lambda connection: connecting.move_institution(connection, self._city.dice, at)
        )
        self._since[code] = target

    def _move_flooding(self, engine: Engine, at: datetime) -> None:
        code = self._city.profile.floods
        self._since[code] = in_transaction(engine, lambda connection: connecting.move_away(connection, code, at))

    def _part(self, engine: Engine, at: datetime) -> None:
        in_transaction(engine, lambda connection: connecting.join_or_merge(connection, self._city.dice, at))

    def _again(self, engine: Engine, at: datetime) -> None:
        """What was decided since the backup, and is lost with the centre: as it is remembered, and as it is shown."""
        for code, target in list(self._lost.items()):
            if in_transaction(engine, partial(connecting.move_to, code=code, target=target, at=at)):
                del self._lost[code]
        in_transaction(engine, lambda connection: connecting.move_again(connection, at))

    def _window(self, engine: Engine, at: datetime) -> None:
        in_transaction(engine, lambda connection: connecting.change_window(connection, self._city.dice, at))

    def _policy(self, engine: Engine, at: datetime) -> None:
        in_transaction(engine, lambda connection: connecting.publish_policy(connection, at))

    def _freeze(self, engine: Engine, at: datetime) -> None:
        """As the check of the books does when it finds something; here there is nothing."""
        flow = Flow(self._city.dice.choice(town.CODES), "employee", str(clearing_type("3")))
        finding = Finding(Level.DAY, "day-sum", flow, self._city.next_number(), 0, day=at.date())
        in_transaction(engine, lambda connection: freezing.freeze(connection, [finding], at=at))

    def _release(self, engine: Engine, at: datetime) -> bool:
        """One clerk proposes, another approves; whether a flow is still frozen."""

        def propose(connection: Connection) -> None:
            for row in freezing.frozen_rows(connection)[:1]:
                try:
                    actions.propose_release(connection, row.freeze_no, by="甲", reason="核对无误", at=at)
                except proposals.AlreadyProposed:
                    return

        in_transaction(engine, propose)
        with engine.connect() as connection:
            waiting = list(connection.execute(text(UNDECIDED), {"release": actions.RELEASE}).scalars())
        for number in waiting:
            decisions.approve(engine, number, by="乙", at=at)
        with engine.connect() as connection:
            return bool(freezing.frozen_rows(connection))

    def _mended(self, engine: Engine, at: datetime) -> bool:
        """Whether there is more to put right."""
        _execute(engine, "UPDATE person SET entitled = true, version = version + 1 WHERE NOT entitled")
        in_transaction(engine, lambda connection: connecting.reopen(connection, at))
        self._again(engine, at)
        return self._release(engine, at)

    # ── Backup ──

    def _keep(self) -> None:
        if not self._city.is_healing:
            self._run.stage.center.keep(BACKUP)
            self._since = {}
            self._kept_at = self._run.center_clock().now()
            self._city.note("backup")

    def _restore(self) -> None:
        """The centre burns down and comes back as it was at the backup, in a new epoch."""
        kept_at = self._kept_at
        if kept_at is None or self._city.is_healing:
            return
        self._city.fault("centre restored")
        for process in self._city.processes.values():
            if process.host is self._city.hosts["center"]:
                self._city.loop.kill(process)
        self._run.stage.center.restore(BACKUP)
        self._lost, self._since = self._since, {}
        at = self._run.center_clock().now()
        engine = self._run.stage.center.engine("owner")
        with engine.begin() as connection:
            epochs.begin(connection, snapshot_at=kept_at, archive="simulated", by="甲", reason="机房失火", at=at)


def _execute(engine: Engine, statement: str, **values: Any) -> None:
    in_transaction(engine, lambda connection: connection.execute(text(statement), values))
