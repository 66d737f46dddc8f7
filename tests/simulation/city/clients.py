"""The hospitals' side: clients that submit, repeat, look, refund, and write down what they asked and were told.

A client never gives up: what it does not know the outcome of, it asks again under the same key until it does.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from domain.lifecycle import FINAL
from domain.money import amount_of
from domain.outcomes import Phase
from domain.refusals import VisitRefusal
from domain.visit import ChargeLine, pack_lines
from infra.codec import pack
from infra.database import reading
from tests.simulation.city import town
from tests.simulation.city.broker import mark
from tests.simulation.city.door import UNKNOWN, Door
from tests.simulation.city.history import Kind
from tests.support.frontend import BAD_LINE, LINES, visit
from workers import claims, entitlement, intake, refund
from workers.admission import DoorsClosed, TooFast
from workers.intake import Submission
from workers.outcomes import decide
from workers.visit_steps import NotReady, Refunding

if TYPE_CHECKING:
    from tests.simulation.city.run import Run


RUSH_AT = 3.0
BURSTS, BURST, BURSTS_EVERY = 8, 4, (1.0, 5.0)
"""Of an institution that floods: so many claims at once, so many times, so many seconds apart."""
ASKED_AT = (6.0, 10.0)
SOLD_AT = ((45.0, 60.0), (60.0, 75.0))
"""When the counters that sell off-line ask who their persons are: what they may sell off-line is known then; and when
they serve all of them, their links down."""

COME_AGAIN = (
    intake.Moved, intake.Arriving, intake.NotServed, intake.BacklogFull, intake.OverOfflineLimit, DoorsClosed, TooFast,
)  # fmt: skip
"""Answers of the door that leave the key as it is: the client comes again, where it was told to."""

ELSEWHERE = {VisitRefusal.MOVED, VisitRefusal.ARRIVING}
"""A refund that is asked for again, at the other front-end or later."""


@dataclass(slots=True)
class Claim:
    """What a client knows of one of its claims."""

    key: str
    submission: Submission
    visit_no: str = ""
    charge_batch_no: int = 0
    is_accepted: bool = False
    is_rejected: bool = False
    """The door said no: it is not to be found anywhere."""
    state: str = ""
    answer: bytes = b""
    refunds: list[Refund] = field(default_factory=list)
    wish: str = ""
    """Of a claim that is prepared first: confirm, cancel, or neither, and then it expires."""
    is_decided: bool = False
    is_buried: bool = False
    """Cancelled before it came: it must never be taken any more."""
    door: Door | None = None
    """Where it was taken: what becomes of it is told there, wherever its institution goes."""
    asked_at: Door | None = None
    """Where it was last handed in or cancelled, or where that door said it is to go."""

    @property
    def is_known(self) -> bool:
        """Whether the door has said yes or no."""
        return self.is_accepted or self.is_rejected

    @property
    def is_final(self) -> bool:
        """Whether there is nothing more to be told."""
        return self.state in FINAL

    @property
    def number(self) -> str:
        """The claim's number, once it is accepted."""
        return claims.claim_no(self.visit_no, self.charge_batch_no)


@dataclass(slots=True)
class Refund:
    """What a client knows of one refund it asked for."""

    key: str
    claim: Claim
    kept: dict[int, int]
    door: Door
    """Where it is asked for: it moves on with the institution."""
    contra_batch_no: int = 0
    is_refused: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the front-end has said yes or no; the centre's word is the contra claim's state."""
        return bool(self.contra_batch_no) or self.is_refused


class Client:
    """The HIS of one institution."""

    def __init__(self, run: Run, name: str, institution_code: str, door: Door, persons: list[str]) -> None:
        self.run, self.name, self.code, self.door = run, name, institution_code, door
        self.persons = persons
        self.claims: list[Claim] = []
        self.refunds: list[Refund] = []
        self._serial = 0

    # ── Its day ──

    def live(self) -> None:
        """Do the operations of the safety phase, with pauses in between."""
        city, dice = self.run.city, self.run.city.dice
        if city.profile.rushes:
            city.loop.sleep(RUSH_AT)
            self._submit([self._new(person) for person in dice.sample(self.persons, len(self.persons))])
        if self._sells_offline:
            self._sell_offline()
        if self.code == city.profile.floods:
            self._flood()
        pause = city.profile.safety_seconds / (city.profile.operations + 1)
        for _ in range(city.profile.operations):
            city.loop.sleep(dice.uniform(0.0, 2.0 * pause))
            self._do(dice.random())
        self.end()

    def end(self) -> None:
        """Ask until everything is known; what takes longer than the bound is found by the checks."""
        loop = self.run.city.loop
        while not self.is_done:
            for claim in self.claims:
                if not claim.is_known:
                    self._submit([claim])
            for asked in self.refunds:
                if not asked.is_known:
                    self._refund(asked)
            self._look([claim for claim in self.claims if claim.is_accepted and not claim.is_final])
            for claim in self.claims:
                if claim.state == "prepared" and claim.wish and not claim.is_decided:
                    self._decide(claim)
            loop.sleep(8.0)

    @property
    def is_done(self) -> bool:
        """Whether everything this client asked for is known and final to it."""
        return all(claim.is_rejected or claim.is_final for claim in self.claims) and all(
            asked.is_known for asked in self.refunds
        )

    def _do(self, drawn: float) -> None:
        dice = self.run.city.dice
        waiting = [claim for claim in self.claims if claim.is_accepted and not claim.is_final]
        if waiting and dice.random() < 0.7:
            self._look(waiting)
        settled = [claim for claim in self.claims if claim.state == "settled"]
        prepared = [claim for claim in self.claims if claim.wish and not claim.is_final]
        if drawn < 0.45 or not self.claims:
            self._submit([self._new() for _ in range(dice.choice((1, 1, 1, 2, 4)))])
        elif drawn < 0.55:
            self._repeat(dice.choice(self.claims))
        elif drawn < 0.62:
            self._cancel_by_key(dice.choice(self.claims) if dice.random() < 0.5 else self._new())
        elif drawn < 0.75 and prepared:
            self._decide(dice.choice(prepared))
        elif not settled:
            self._submit([self._new()])
        else:
            claim = dice.choice(settled)
            if claim.refunds and dice.random() < 0.6:
                self._refund(dice.choice(claim.refunds))
            else:
                self._refund(self._new_refund(claim))

    def _flood(self) -> None:
        """Burst after burst; meanwhile the operator moves the institution."""
        city, dice = self.run.city, self.run.city.dice
        city.loop.sleep(max(0.0, town.FLOOD_AT - city.loop.now))
        for _ in range(BURSTS):
            self._submit([self._new() for _ in range(BURST)])
            city.loop.sleep(dice.uniform(*BURSTS_EVERY))

    def _sell_offline(self) -> None:
        """Ask who one's persons are while the link is up; serve them all when it is down, and again soon after."""
        city, dice = self.run.city, self.run.city.dice
        city.loop.sleep(max(0.0, dice.uniform(*ASKED_AT) - city.loop.now))
        self.door.call(lambda frontend: entitlement.ask(frontend, self.persons))
        for moments in SOLD_AT:
            city.loop.sleep(max(0.0, dice.uniform(*moments) - city.loop.now))
            self._submit([self._new(person) for person in self.persons])

    @property
    def _has_parts(self) -> bool:
        return self.run.city.profile.parts and self.code == town.VERY_LARGE

    @property
    def _sells_offline(self) -> bool:
        return self.run.city.profile.offline_fen > 0 and self.code in town.SELLS_OFFLINE

    # ── Submitting ──

    def _new(self, person: str = "") -> Claim:
        dice = self.run.city.dice
        self._serial += 1
        key = f"{self.name}-{self._serial}"
        lines = [self._line(number) for number in range(1, 2 if self._sells_offline else dice.randrange(2, 5))]
        if dice.random() < 0.06:
            lines = [BAD_LINE._replace(charge_date=self.run.today(self.door.process.host))]
        person = person or dice.choice(self.persons)
        settled = [claim for claim in self.claims if claim.is_accepted and not claim.is_rejected]
        visit_no = ""
        if settled and dice.random() < 0.25:
            before = dice.choice(settled)
            visit_no, person = before.visit_no, before.submission.visit.citizen_id_no
        submission = self._submission(key, person, visit_no, lines)
        claim = Claim(key, submission)
        if self._has_parts:  # what is new goes to either; what is of an earlier visit where that is
            claim.asked_at = before.door if visit_no else dice.choice([*self.run.doors.values()])
        if dice.random() < 0.25:
            claim.submission = replace(submission, phase=Phase.PREPARE)
            claim.wish = dice.choice(("confirm", "confirm", "cancel", ""))
        self.claims.append(claim)
        return claim

    @property
    def _dice(self) -> random.Random:
        """What decides over the lines of a claim."""
        return self.run.city.dice

    def _line(self, number: int) -> ChargeLine:
        dice = self._dice
        good = dice.choice(LINES)
        quantity = 100 if self._sells_offline else 100 * dice.choice((1, 2, 5, 40))
        amount = amount_of(good.unit_price_1e4 or 0, quantity)
        today = self.run.today(self.door.process.host)
        return good._replace(line_no=number, charge_date=today, quantity_1e2=quantity, line_amount_fen=amount)

    def _submission(self, key: str, person: str, visit_no: str, lines: list[ChargeLine]) -> Submission:
        day = lines[0].charge_date
        assert day is not None
        content = pack_lines(lines) + person.encode() + visit_no.encode()
        return Submission(
            institution_code=self.code,
            visit=visit(self.code, visit_no=visit_no, citizen_id_no=person, visit_date=day),
            charge_batch_no=None,
            lines=lines,
            idempotency_key=key,
            content_digest=blake2b(content, digest_size=16).digest(),
            channel="api",
        )

    def _submit(self, some: list[Claim]) -> None:
        at = {claim.key: self._door_of(claim) for claim in some}
        for door in {door.frontend_name: door for door in at.values()}.values():
            self._submit_at(door, [claim for claim in some if at[claim.key] is door])

    def _door_of(self, claim: Claim) -> Door:
        """Where a claim is handed in or cancelled: what was taken travels with its institution. But a move may have
        been lost with the centre, and of two front-ends each knows its own keys: there it goes where it was before,
        until that door says it never came."""
        knows_alone = self._has_parts or bool(self.run.city.faults["centre restored"])
        return claim.asked_at if knows_alone and claim.asked_at is not None else self.door

    def _submit_at(self, door: Door, some: list[Claim]) -> None:
        history = self.run.history
        for claim in some:
            history.invoke(Kind.SUBMIT, self.name, claim.key)
        submissions = [claim.submission for claim in some]

        def work(frontend: Any) -> Any:
            outcomes = intake.accept(frontend.engine, submissions, at=frontend.now())
            for code in sorted(intake.institutions_of(outcomes, submissions)):
                frontend.doorbell.ring(code)
            return outcomes

        outcomes = door.call(work)
        for number, claim in enumerate(some):
            claim.asked_at = door
            if outcomes is UNKNOWN:
                history.unknown(Kind.SUBMIT, self.name, claim.key)
            else:
                self._told(claim, outcomes[number], door)

    def _told(self, claim: Claim, outcome: Any, door: Door) -> None:
        history = self.run.history
        if isinstance(outcome, COME_AGAIN):
            history.unknown(Kind.SUBMIT, self.name, claim.key)
            claim.asked_at = self._door_after(outcome, door, is_further=bool(claim.submission.visit.visit_no))
            if self.door is door:
                self.door = claim.asked_at
            return
        if isinstance(outcome, (intake.Accepted, intake.Replayed)):
            value = f"{outcome.visit_no}-{outcome.charge_batch_no}"
            history.ok(Kind.SUBMIT, self.name, claim.key, value)
            claim.visit_no, claim.charge_batch_no = outcome.visit_no, outcome.charge_batch_no
            claim.is_accepted, claim.door = True, claim.door or door
            if claim.is_buried:
                self.run.city.surprise(f"{claim.key} was cancelled before it came, and is taken")
        elif not claim.is_accepted:
            claim.is_rejected = True
            history.fail(Kind.SUBMIT, self.name, claim.key, type(outcome).__name__)
        else:
            self.run.city.surprise(f"{claim.key} was accepted and is now {type(outcome).__name__}")

    def _door_after(self, outcome: Any, door: Door, *, is_further: bool) -> Door:
        """Where to come next: where the door said; after a move that was lost with the centre, back; of two front-ends
        to the other one, but not with further charges of a visit."""
        if isinstance(outcome, intake.Moved):
            return self.run.doors[outcome.to]
        goes_on = self.run.city.faults["centre restored"] or (self._has_parts and not is_further)
        if isinstance(outcome, intake.NotServed) and goes_on:
            return self.run.doors[town.other(door.frontend_name)]
        return door

    def _repeat(self, claim: Claim) -> None:
        """The same again, or other content under the same key."""
        dice = self.run.city.dice
        if dice.random() < 0.6:
            self._submit([claim])
            return
        other = replace(claim.submission, content_digest=bytes(16))

        def work(frontend: Any) -> Any:
            return intake.accept(frontend.engine, [other], at=frontend.now())[0]

        if claim.door is None:
            return  # which of the two came first could not be told
        outcome = dice.choice((self._door_of(claim), claim.door)).call(work)
        self.run.city.note("other content", self.name, type(outcome).__name__)
        if isinstance(outcome, COME_AGAIN):
            return
        if outcome is not UNKNOWN and not isinstance(outcome, intake.KeyConflict):
            self.run.city.surprise(f"other content under {claim.key} was {type(outcome).__name__}")

    # ── Confirming and cancelling ──

    def _decide(self, claim: Claim) -> None:
        """Confirm or cancel what is prepared, or is not yet."""
        if claim.door is None or not claim.wish:
            return
        history, kind = self.run.history, Kind(claim.wish)
        history.invoke(kind, self.name, claim.key)

        def work(frontend: Any) -> Any:
            how = decide.confirm if claim.wish == "confirm" else decide.cancel
            decided = how(frontend.engine, self.code, claim.number, at=frontend.now())
            if isinstance(decided, decide.Decided) and decided.is_new:
                frontend.doorbell.ring(self.code)
            return decided

        self._heard_decision(kind, claim, claim.door.call(work))

    def _cancel_by_key(self, claim: Claim) -> None:
        """Cancel by the key of the message, whether or not it ever came."""
        history, kind = self.run.history, Kind.CANCEL
        history.invoke(kind, self.name, claim.key)

        def work(frontend: Any) -> Any:
            decided = decide.cancel_key(frontend.engine, self.code, claim.key, at=frontend.now())
            if isinstance(decided, decide.Decided) and decided.is_new:
                frontend.doorbell.ring(self.code)
            return decided

        claim.asked_at = claim.door or self._door_of(claim)
        self._heard_decision(kind, claim, claim.asked_at.call(work))

    def _heard_decision(self, kind: Kind, claim: Claim, decided: Any) -> None:
        history = self.run.history
        if decided is UNKNOWN:
            history.unknown(kind, self.name, claim.key)
        elif isinstance(decided, decide.Decided):
            history.decided(kind, self.name, claim.key, str(decided.state))
            claim.is_decided = True
        elif isinstance(decided, decide.Buried):
            history.decided(kind, self.name, claim.key, "buried")
            if claim.is_accepted:
                self.run.city.surprise(f"{claim.key} was accepted, and cancelling it found nothing")
            claim.is_buried = True
        else:
            history.fail(kind, self.name, claim.key, str(decided))

    # ── Looking ──

    def _look(self, some: list[Claim]) -> None:
        for door in {claim.door.frontend_name: claim.door for claim in some if claim.door is not None}.values():
            self._look_at(door, [claim for claim in some if claim.door is door])

    def _look_at(self, door: Door, some: list[Claim]) -> None:
        numbers = {claim.number: claim for claim in some}

        def work(frontend: Any) -> Any:
            with reading(frontend.engine) as connection:
                return claims.outcomes(connection, [(each.visit_no, each.charge_batch_no) for each in numbers.values()])

        found = door.call(work)
        if found is UNKNOWN:
            return
        for claim in numbers.values():
            outcome = found.get((claim.visit_no, claim.charge_batch_no))
            if outcome is None:
                self.run.city.surprise(f"{claim.key} was accepted and is gone")
                continue
            if not outcome.provisional:
                self._seen(claim, str(outcome.state), b"" if outcome.answer is None else pack(outcome.answer))

    def _seen(self, claim: Claim, state: str, answer: bytes) -> None:
        if (state, answer) == (claim.state, claim.answer):
            return
        self.run.history.saw(self.name, claim.key, state, mark(answer))
        if claim.is_final:
            self.run.city.surprise(f"{claim.key} was {claim.state} {mark(claim.answer)}, now {state} {mark(answer)}")
        claim.state, claim.answer = state, answer

    # ── Refunding ──

    def _new_refund(self, claim: Claim) -> Refund:
        dice = self.run.city.dice
        lines = claim.submission.lines
        kept = {}
        if dice.random() < 0.5:
            some = dice.sample(lines, dice.randrange(1, len(lines) + 1))
            kept = {line.line_no or 0: dice.choice((100, line.quantity_1e2 or 0)) for line in some}
        asked = Refund(f"refund-{claim.key}-{len(claim.refunds) + 1}", claim, kept, claim.door or self.door)
        claim.refunds.append(asked)
        self.refunds.append(asked)
        return asked

    def _refund(self, asked: Refund) -> None:
        history, claim = self.run.history, asked.claim
        history.invoke(Kind.REFUND, self.name, asked.key)

        def work(frontend: Any) -> Any:
            outcome = refund.refund(
                frontend.engine,
                frontend.shelf,
                self.code,
                claim.visit_no,
                claim.charge_batch_no,
                reason="患者退费",
                at=frontend.now(),
                kept=asked.kept,
                key=asked.key,
            )
            if isinstance(outcome, Refunding):
                frontend.doorbell.ring(self.code)
            return outcome

        outcome = asked.door.call(work)
        if outcome is UNKNOWN:
            history.unknown(Kind.REFUND, self.name, asked.key)
        elif isinstance(outcome, NotReady) and ELSEWHERE & set(outcome.codes):
            history.unknown(Kind.REFUND, self.name, asked.key)
            if VisitRefusal.MOVED in outcome.codes:
                asked.door = self.run.doors[town.other(asked.door.frontend_name)]
        elif isinstance(outcome, NotReady):
            history.fail(Kind.REFUND, self.name, asked.key, " ".join(outcome.codes))
            if asked.contra_batch_no:
                self.run.city.surprise(f"{asked.key} was under way and is now {outcome.codes}")
            asked.is_refused = True
        else:
            history.ok(Kind.REFUND, self.name, asked.key, f"{outcome.visit_no}-{outcome.contra_batch_no}")
            asked.contra_batch_no, asked.is_refused = outcome.contra_batch_no, False
