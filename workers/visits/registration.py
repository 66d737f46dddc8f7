"""Registering visits (就医登记): a visit gets its number, once per key, and is put out to the institution's HIS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from hashlib import blake2b
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from domain.identity import is_person_no, written
from domain.lifecycle import AFTER, ALLOWED, VisitState, VisitStep
from domain.refusals import Reason, VisitRefusal, not_in_this_state, reason
from domain.visit import Registration
from infra.codec import pack
from infra.database import execute_many
from workers.admission import closed_because
from workers.moving.standing import against_key, against_step, unknown
from workers.numbers import Numbers, wait_for_turn
from workers.tables import claim, hand_out, visit
from workers.visit_steps import Done, NotReady, Registered, not_ready
from workers.visits import rows
from workers.visits.handout import Kind

OWN_PART = 10
"""What of a visit number is the visit's own within its institution: day and sequence. It fits ZYH's 12 characters."""

_INSERT = insert(visit)


def register(
    engine: Engine,
    registrations: Sequence[Registration],
    *,
    at: datetime,
    keys: Sequence[str] = (),
    channel: str = "desk",
    ask: Callable[[Sequence[str]], object] | None = None,
) -> list[Registered | NotReady]:
    """Register visits in one transaction and say, in their order, what became of each.

    An empty visit number asks for one; a given one is kept if it is free. `keys` are the callers' idempotency keys, one
    for each registration: the same key with the same content is answered as the first time. `ask` is called with the
    identity numbers of the new visits after the commit: the entitlement is asked from the centre (it may be away).
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        outcomes, citizens = _Register(connection, at, channel).take_all(registrations, keys)
    if ask is not None and citizens:
        ask(citizens)
    return outcomes


def cancel(engine: Engine, institution_code: str, visit_no: str, *, at: datetime) -> Done | NotReady:
    """Take a registration back; only before a line was imported (AMB-37). The exchange is told CANCEL."""
    with engine.begin() as connection:
        wait_for_turn(connection)
        row = rows.visits_by_no(connection, [visit_no]).get(visit_no)
        if row is None or row.institution_code != institution_code:
            return unknown(connection, institution_code, visit_no)
        state = VisitState(row.state)
        if state is VisitState.CANCELLED:
            return Done(visit_no)
        if (elsewhere := against_step(connection, institution_code, row, visit_no)) is not None:
            return elsewhere
        if rows.lines_imported(connection, [visit_no]):
            return not_ready(VisitRefusal.LINES_IMPORTED)
        if VisitStep.CANCEL not in ALLOWED[state]:
            return NotReady((not_in_this_state(state, VisitStep.CANCEL),))
        connection.execute(
            update(visit).where(visit.c.visit_no == visit_no).values(state=AFTER[state, VisitStep.CANCEL])
        )
        _tell_cancelled(connection, row, at)
    return Done(visit_no)


def _tell_cancelled(connection: Connection, row: Any, at: datetime) -> None:
    """The exchange hears of a cancellation only if it heard of the registration."""
    forgotten = connection.execute(
        update(hand_out)
        .where(
            hand_out.c.visit_no == row.visit_no, hand_out.c.kind == Kind.REGISTRATION, hand_out.c.handed_at.is_(None)
        )
        .values(handed_at=at)
    ).rowcount
    if not forgotten:
        of = rows.served(connection, [row.institution_code]).get(row.institution_code)
        if of is not None:
            rows.put_out(connection, [(of, row.visit_no, Kind.CANCELLATION, 0)])


class _Register:
    """One transaction's view: what is registered already, and the rows to write."""

    def __init__(self, connection: Connection, at: datetime, channel: str) -> None:
        self._connection, self._at, self._channel = connection, at, channel
        self._numbers = Numbers(connection, at)
        self._rows: list[dict[str, Any]] = []

    def take_all(
        self, registrations: Sequence[Registration], keys: Sequence[str]
    ) -> tuple[list[Registered | NotReady], list[str]]:
        """What became of each registration, and the persons of the new visits."""
        self._served = rows.served(self._connection, {each.institution_code for each in registrations})
        self._look_up(registrations, keys)
        outcomes = [
            self._take(_completed(each), key)
            for each, key in zip_longest(registrations, keys[: len(registrations)], fillvalue="")
            if isinstance(each, Registration)
        ]
        if self._rows:
            execute_many(self._connection, _INSERT, self._rows)
            self._numbers.keep()
            rows.put_out(
                self._connection,
                [(self._served[row["institution_code"]], row["visit_no"], Kind.REGISTRATION, 0) for row in self._rows],
            )
        return outcomes, sorted(self._persons)

    def _look_up(self, registrations: Sequence[Registration], keys: Sequence[str]) -> None:
        self._persons: set[str] = set()
        self._by_key: dict[tuple[str, str], Any] = {}
        self._by_no: dict[str, Any] = {}
        self._taken: set[str] = set()
        named = [key for key in keys if key]
        if named:
            codes = sorted({each.institution_code for each in registrations})
            known = self._connection.execute(
                select(
                    visit.c.institution_code, visit.c.idempotency_key, visit.c.visit_no, visit.c.content_digest
                ).where(visit.c.institution_code.in_(codes), visit.c.idempotency_key.in_(named))
            )
            self._by_key = {(row.institution_code, row.idempotency_key): row for row in known}
        given = [each.visit_no for each in registrations if each.visit_no]
        if given:
            self._by_no = dict(rows.visits_by_no(self._connection, given))
            carried = select(claim.c.visit_no).where(claim.c.visit_no.in_(given))
            self._taken.update(self._connection.execute(carried).scalars())

    def _take(self, asked: Registration, key: str) -> Registered | NotReady:
        digest = _digest(asked)
        known = self._by_key.get((asked.institution_code, key)) if key else None
        if known is not None:  # told also when the institution is not served here any more
            same = known.content_digest == digest
            return Registered(known.visit_no, is_new=False) if same else not_ready(VisitRefusal.KEY_REUSED)
        of = self._served.get(asked.institution_code)
        if of is None:
            return not_ready(VisitRefusal.NOT_SERVED)
        wrong = tuple(_wrong(asked, self._at.date()))
        if wrong:
            return NotReady(wrong)
        if asked.visit_no:
            there = self._by_no.get(asked.visit_no)
            if there is not None and (there.institution_code, there.content_digest) == (asked.institution_code, digest):
                return Registered(asked.visit_no, is_new=False)
            if there is not None or asked.visit_no in self._taken:
                return not_ready(VisitRefusal.VISIT_CONFLICT)
        return self._enter(of, asked, key, digest)

    def _enter(self, of: Any, asked: Registration, key: str, digest: bytes) -> Registered | NotReady:
        elsewhere = against_key(self._connection, of, key)
        if elsewhere is not None:
            return elsewhere
        closed = closed_because(of)
        if closed:
            return not_ready(VisitRefusal.DOORS_CLOSED, closed)
        visit_no = asked.visit_no or self._numbers.issue(of, self._taken | self._by_no.keys())
        self._write(_numbered(asked, visit_no), key, digest)
        return Registered(visit_no)

    def _write(self, registration: Registration, key: str, digest: bytes) -> None:
        row = {
            "visit_no": registration.visit_no,
            "institution_code": registration.institution_code,
            "visit_type": str(registration.visit_type),
            "visit_date": registration.visit_date,
            "state": VisitState.OPEN,
            "channel": self._channel,
            "idempotency_key": key or None,
            "content_digest": digest,
            "content": pack(registration),
            "registered_at": self._at,
        }
        self._rows.append(row)
        self._persons.add(registration.citizen_id_no)
        stored = _Stored(registration.visit_no, registration.institution_code, digest)
        self._by_no[registration.visit_no] = stored
        if key:
            self._by_key[registration.institution_code, key] = stored


class _Stored:
    """A registration of this very transaction, as a row of `visit` answers."""

    def __init__(self, visit_no: str, institution_code: str, content_digest: bytes) -> None:
        self.visit_no, self.institution_code, self.content_digest = visit_no, institution_code, content_digest


def _wrong(asked: Registration, today: date) -> list[Reason]:
    """Everything that keeps it from being registered."""
    found = []
    number = asked.citizen_id_no
    if not number:
        found.append(reason(VisitRefusal.PERSON_NO_MISSING))
    elif not is_person_no(number):
        found.append(reason(VisitRefusal.PERSON_NO_WRONG))
    if asked.visit_no and not (len(asked.visit_no) <= 16 and asked.visit_no.isascii() and asked.visit_no.isalnum()):
        found.append(reason(VisitRefusal.VISIT_NO_WRONG))
    if asked.visit_date > today:
        found.append(reason(VisitRefusal.VISIT_IN_FUTURE))
    return found


def _completed(asked: Registration) -> Registration:
    """The registration as it is kept: 18 characters of identity number, what that says of birth and sex filled in."""
    number = written(asked.citizen_id_no)
    birth, sex = asked.birth_date, asked.sex
    if is_person_no(number) and number[0] != "T":
        birth = birth or date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
        sex = sex or ("1" if int(number[16]) % 2 else "2")
    return replace(asked, citizen_id_no=number, birth_date=birth, sex=sex)


def _numbered(asked: Registration, visit_no: str) -> Registration:
    """With its visit number, and ZYH filled: HIS products look visits up by it, so every visit has one of its own."""
    return replace(asked, visit_no=visit_no, outpatient_no=asked.outpatient_no or visit_no[-OWN_PART:])


def _digest(asked: Registration) -> bytes:
    return blake2b(pack(asked), digest_size=16).digest()
