"""Accepting claims: the only way in. A claim is accepted when its rows are committed, never before (R1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Integer, bindparam, func, insert, select, text, update

from domain.lifecycle import ClaimState
from domain.visit import ChargeLine, Visit, pack_lines
from infra.codec import pack
from infra.database import execute_many
from workers.tables import IS_OPEN, claim, claim_content, institution, visit_counter

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VISITS_PER_DAY = len(ALPHABET) ** 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One claim as a door hands it in. An empty visit number asks for one; no batch number asks for the next."""

    institution_code: str
    visit: Visit
    charge_batch_no: int | None
    lines: list[ChargeLine]
    idempotency_key: str
    content_digest: bytes
    channel: str
    source: str = ""
    settle_now: bool = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """Durably stored under this key."""

    claim_id: int
    visit_no: str
    charge_batch_no: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """The same content was accepted before, under this key."""

    claim_id: int
    visit_no: str
    charge_batch_no: int


@dataclass(frozen=True, slots=True)
class KeyConflict:
    """The idempotency key was used for other content."""


@dataclass(frozen=True, slots=True)
class VisitConflict:
    """The visit and batch number are taken by other content, or the visit is another institution's."""


@dataclass(frozen=True, slots=True)
class BacklogFull:
    """The institution has as many open claims as it may have; nothing was stored and the key is not used up."""

    open_claims: int
    cap: int


@dataclass(frozen=True, slots=True)
class NotServed:
    """The institution is not, or no longer, served by this front-end."""


# Built once: a door commits a group every few milliseconds, and building a statement costs more than running it.
_SERVED = select(institution.c.institution_code, institution.c.short_code, institution.c.backlog_cap).where(
    institution.c.institution_code.in_(bindparam("codes", expanding=True)), institution.c.active
)
_OPEN_CLAIMS = select(func.count()).select_from(
    select(claim.c.claim_id)
    .where(IS_OPEN, claim.c.institution_code == bindparam("code"))
    .limit(bindparam("cap", type_=Integer))
    .subquery()
)
_STORED = select(
    claim.c.claim_id,
    claim.c.institution_code,
    claim.c.visit_no,
    claim.c.charge_batch_no,
    claim.c.idempotency_key,
    claim.c.content_digest,
)
_STORED_BY_KEY = _STORED.where(
    claim.c.institution_code == bindparam("code"),
    claim.c.idempotency_key.in_(bindparam("keys", expanding=True)),
)
_STORED_BY_VISIT = _STORED.where(claim.c.visit_no.in_(bindparam("visits", expanding=True)))
_LAST_NUMBER = (
    select(visit_counter.c.last)
    .where(visit_counter.c.institution_code == bindparam("code"), visit_counter.c.day == bindparam("on"))
    .with_for_update()
)
_KEEP_NUMBER = (
    update(visit_counter)
    .where(visit_counter.c.institution_code == bindparam("code"), visit_counter.c.day == bindparam("on"))
    .values(last=bindparam("number"))
)
_VISITS_BETWEEN = select(claim.c.visit_no).where(
    claim.c.visit_no > bindparam("after"), claim.c.visit_no <= bindparam("until")
)
_LAST_ID = select(func.max(claim.c.claim_id))
_INSERT_CLAIMS, _INSERT_CONTENTS = insert(claim), insert(claim_content)

Outcome = Accepted | Replayed | KeyConflict | VisitConflict | BacklogFull | NotServed


class VisitNumbersUsedUp(Exception):
    """An institution registered more visits in a day than its numbers hold."""


def accept(engine: Engine, submissions: Sequence[Submission], *, at: datetime) -> list[Outcome]:
    """Accept claims in one transaction and say, in their order, what became of each. Durable when it returns."""
    with engine.begin() as connection:
        _wait_for_turn(connection)
        return _Desk(connection, submissions, at).take_all()


def _wait_for_turn(connection: Connection) -> None:
    """One door at a time looks keys up, takes numbers and writes; on SQLite the transaction itself is the turn."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7370)"))


def release(connection: Connection, institution_code: str, claim_id: int) -> bool:
    """Let a held claim be settled; False when it is not held (any more)."""
    released = connection.execute(
        update(claim)
        .where(claim.c.claim_id == claim_id, claim.c.institution_code == institution_code)
        .where(claim.c.state == ClaimState.HELD)
        .values(state=ClaimState.ACCEPTED)
    )
    return bool(released.rowcount)


def visit_number(short_code: str, day: date, sequence: int) -> str:
    """A visit number: the institution's short code, the day, four base-36 digits in order of issue."""
    if sequence >= VISITS_PER_DAY:
        raise VisitNumbersUsedUp(short_code)
    digits = ""
    for _ in range(4):
        sequence, digit = divmod(sequence, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return f"{short_code}{day:%y%m%d}{digits}"


class _Desk:
    """One transaction's view: what is known of the submissions, and the rows they become."""

    def __init__(self, connection: Connection, submissions: Sequence[Submission], at: datetime) -> None:
        self._connection, self._submissions, self._at = connection, submissions, at
        self._served = self._institutions()
        self._backlog = self._open_claims()
        self._by_key: dict[tuple[str, str], Any] = {}
        self._by_visit: dict[tuple[str, int], Any] = {}
        self._owner: dict[str, str] = {}
        self._last_batch: dict[str, int] = {}
        self._counters: dict[str, int] = {}
        self._taken_ahead: dict[str, set[str]] = {}
        self._rows: list[dict[str, Any]] = []
        self._contents: list[dict[str, Any]] = []
        self._look_up()

    def take_all(self) -> list[Outcome]:
        """Decide every submission in order, then write what was accepted."""
        next_id = self._first_free_id()
        outcomes: list[Outcome] = []
        for submission in self._submissions:
            outcome = self._take(submission, next_id + len(self._rows))
            outcomes.append(outcome)
        if self._rows:
            execute_many(self._connection, _INSERT_CLAIMS, self._rows)
            execute_many(self._connection, _INSERT_CONTENTS, self._contents)
            self._keep_counters()
        return outcomes

    def _take(self, submission: Submission, claim_id: int) -> Outcome:
        code = submission.institution_code
        served = self._served.get(code)
        if served is None:
            return NotServed()
        taken = self._taken(submission)
        if taken is not None:
            return taken
        visit_no, batch_no = submission.visit.visit_no, submission.charge_batch_no
        if self._backlog.get(code, 0) >= served.backlog_cap:
            return BacklogFull(self._backlog[code], served.backlog_cap)

        visit_no = visit_no or self._next_visit_no(code, served.short_code)
        batch_no = batch_no or self._last_batch.get(visit_no, 0) + 1
        self._write(submission, claim_id, visit_no, batch_no)
        return Accepted(claim_id, visit_no, batch_no)

    def _taken(self, submission: Submission) -> Outcome | None:
        """What stands in the way: the key or the visit's batch is taken, by the same content or by other."""
        code, digest = submission.institution_code, submission.content_digest
        visit_no, batch_no = submission.visit.visit_no, submission.charge_batch_no
        by_key = self._by_key.get((code, submission.idempotency_key))
        by_visit = self._by_visit.get((visit_no, batch_no or 0)) if visit_no else None
        same = by_key or by_visit
        if same is not None and same.content_digest == digest and same.institution_code == code:
            return Replayed(same.claim_id, same.visit_no, same.charge_batch_no)
        if by_key is not None:
            return KeyConflict()
        if by_visit is not None or self._owner.get(visit_no, code) != code:
            return VisitConflict()
        return None

    def _write(self, submission: Submission, claim_id: int, visit_no: str, batch_no: int) -> None:
        code, lines = submission.institution_code, submission.lines
        self._rows.append(
            {
                "claim_id": claim_id,
                "institution_code": code,
                "visit_no": visit_no,
                "charge_batch_no": batch_no,
                "channel": submission.channel,
                "source": submission.source,
                "idempotency_key": submission.idempotency_key,
                "content_digest": submission.content_digest,
                "state": ClaimState.ACCEPTED if submission.settle_now else ClaimState.HELD,
                "line_count": len(lines),
                "total_fen": sum(line.line_amount_fen or 0 for line in lines),
                "accepted_at": self._at,
            }
        )
        visit = submission.visit if submission.visit.visit_no else replace(submission.visit, visit_no=visit_no)
        self._contents.append({"claim_id": claim_id, "visit": pack(visit), "lines": pack_lines(lines)})
        stored = _Stored(claim_id, code, visit_no, batch_no, submission.content_digest)
        self._by_key[(code, submission.idempotency_key)] = stored
        self._by_visit[(visit_no, batch_no)] = stored
        self._owner[visit_no] = code
        self._last_batch[visit_no] = max(batch_no, self._last_batch.get(visit_no, 0))
        if submission.settle_now:
            self._backlog[code] = self._backlog.get(code, 0) + 1

    def _institutions(self) -> dict[str, Any]:
        codes = {submission.institution_code for submission in self._submissions}
        rows = self._connection.execute(_SERVED, {"codes": list(codes)})
        return {row.institution_code: row for row in rows}

    def _open_claims(self) -> dict[str, int]:
        return {
            code: self._connection.execute(_OPEN_CLAIMS, {"code": code, "cap": served.backlog_cap}).scalar_one()
            for code, served in self._served.items()
        }

    def _look_up(self) -> None:
        for code in self._served:
            keys = [s.idempotency_key for s in self._submissions if s.institution_code == code]
            for row in self._connection.execute(_STORED_BY_KEY, {"code": code, "keys": keys}):
                self._by_key[(code, row.idempotency_key)] = row
        visits = [s.visit.visit_no for s in self._submissions if s.visit.visit_no]
        if not visits:
            return
        for row in self._connection.execute(_STORED_BY_VISIT, {"visits": visits}):
            self._by_visit[(row.visit_no, row.charge_batch_no)] = row
            self._owner[row.visit_no] = row.institution_code
            self._last_batch[row.visit_no] = max(row.charge_batch_no, self._last_batch.get(row.visit_no, 0))

    def _next_visit_no(self, code: str, short_code: str) -> str:
        day = self._at.date()
        if code not in self._counters:
            last = self._connection.execute(_LAST_NUMBER, {"code": code, "on": day}).scalar()
            if last is None:
                self._connection.execute(insert(visit_counter).values(institution_code=code, day=day, last=0))
            self._counters[code] = last or 0
            self._taken_ahead[code] = self._visits_after(visit_number(short_code, day, last or 0))
        number = ""
        while not number or number in self._owner or number in self._taken_ahead[code]:
            self._counters[code] += 1
            number = visit_number(short_code, day, self._counters[code])
        return number

    def _visits_after(self, number: str) -> set[str]:
        """Numbers of this institution and day that are in use beyond the last one issued: the hospital's own."""
        last_of_day = number[:-4] + ALPHABET[-1] * 4
        taken = self._connection.execute(_VISITS_BETWEEN, {"after": number, "until": last_of_day})
        return set(taken.scalars())

    def _keep_counters(self) -> None:
        for code, last in self._counters.items():
            self._connection.execute(_KEEP_NUMBER, {"code": code, "on": self._at.date(), "number": last})

    def _first_free_id(self) -> int:
        return (self._connection.execute(_LAST_ID).scalar() or 0) + 1


@dataclass(frozen=True, slots=True)
class _Stored:
    claim_id: int
    institution_code: str
    visit_no: str
    charge_batch_no: int
    content_digest: bytes


def institutions_of(outcomes: Iterable[object], submissions: Iterable[Submission]) -> set[str]:
    """The institutions whose bell is to be rung: those with a newly accepted claim to settle now."""
    return {
        submission.institution_code
        for outcome, submission in zip(outcomes, submissions, strict=True)
        if isinstance(outcome, Accepted) and submission.settle_now
    }
