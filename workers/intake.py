"""Accepting claims: the only way in. A claim is accepted when its rows are committed, never before (R1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    LargeBinary,
    bindparam,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from domain.lifecycle import ClaimState
from domain.offline import OverLimit
from domain.outcomes import Phase
from domain.terms import Standing
from domain.visit import ChargeLine, Visit, pack_lines
from infra.codec import pack
from infra.database import execute_many
from workers.admission import GATE, SERVED, DoorsClosed, Gates, TooFast
from workers.moving.arrivals import is_arriving
from workers.numbers import Numbers, wait_for_turn
from workers.offline.limits import LINK, limits_now
from workers.tables import IS_OPEN, claim, claim_content, institution, tombstone, visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One claim as a door hands it in. An empty visit number asks for one; no batch number asks for the next.

    A claim carries its own visit, unless it is `of_registered`: a charge batch of a registered visit, which only
    `workers.visits` hands in.
    """

    institution_code: str
    visit: Visit
    charge_batch_no: int | None
    lines: list[ChargeLine]
    idempotency_key: str
    content_digest: bytes
    channel: str
    source: str = ""
    settle_now: bool = True
    phase: Phase = Phase.SETTLE
    """PREPARE: computed at the centre, and settled when the institution confirms it."""
    of_registered: bool = False
    final: bool = True
    covers_to: date | None = None


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
class OverOfflineLimit:
    """The link is down, and the claim, or all that is not settled, comes to more than the institution may hand in
    then. Nothing was stored and the key is not used up."""

    over: OverLimit


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The key was cancelled before a claim came under it; nothing is accepted under it any more."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The institution moved: another front-end takes what is new. Nothing was stored, the key is not used up."""

    to: str


@dataclass(frozen=True, slots=True)
class Arriving:
    """The institution is on its way here, or this very claim is: to be asked again. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class NotServed:
    """The institution is not, or no longer, served by this front-end."""


# Built once: a door commits a group every few milliseconds, and building a statement costs more than running it.
_SERVED = (
    select(
        institution.c.institution_code,
        institution.c.short_code,
        institution.c.backlog_cap,
        institution.c.frontends,
        institution.c.frontend_part,
        institution.c.move_no,
        *GATE,
        *LINK,
    )
    .select_from(SERVED)
    .where(institution.c.institution_code.in_(bindparam("codes", expanding=True)), institution.c.active)
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
_NO_CLAIM = 0
"""Stands where a claim's id would: the key was cancelled."""
_STORED_BY_KEY = union_all(
    _STORED.where(
        claim.c.institution_code == bindparam("code"),
        claim.c.idempotency_key.in_(bindparam("keys", expanding=True)),
    ),
    select(
        literal(_NO_CLAIM),
        tombstone.c.institution_code,
        literal(""),
        literal(0),
        tombstone.c.idempotency_key,
        literal(b"", LargeBinary),
    ).where(
        tombstone.c.institution_code == bindparam("code"),
        tombstone.c.idempotency_key.in_(bindparam("keys", expanding=True)),
    ),
)
_STORED_BY_VISIT = _STORED.where(claim.c.visit_no.in_(bindparam("visits", expanding=True)))
_REGISTERED = select(visit.c.visit_no).where(visit.c.visit_no.in_(bindparam("visits", expanding=True)))
_LAST_ID = select(func.max(claim.c.claim_id))
_INSERT_CLAIMS, _INSERT_CONTENTS = insert(claim), insert(claim_content)

Outcome = (
    Accepted
    | Replayed
    | KeyConflict
    | VisitConflict
    | DoorsClosed
    | BacklogFull
    | OverOfflineLimit
    | TooFast
    | Cancelled
    | NotServed
    | Moved
    | Arriving
)


def accept(engine: Engine, submissions: Sequence[Submission], *, at: datetime) -> list[Outcome]:
    """Accept claims in one transaction and say, in their order, what became of each. Durable when it returns."""
    with engine.begin() as connection:
        return accept_within(connection, submissions, at=at)


def accept_within(connection: Connection, submissions: Sequence[Submission], *, at: datetime) -> list[Outcome]:
    """The same within the caller's transaction; durable when that is."""
    wait_for_turn(connection)
    return _Desk(connection, submissions, at).take_all()


def release(connection: Connection, institution_code: str, claim_id: int) -> bool:
    """Let a held claim be settled; False when it is not held (any more)."""
    released = connection.execute(
        update(claim)
        .where(claim.c.claim_id == claim_id, claim.c.institution_code == institution_code)
        .where(claim.c.state == ClaimState.HELD)
        .values(state=ClaimState.ACCEPTED)
    )
    return bool(released.rowcount)


class _Desk:
    """One transaction's view: what is known of the submissions, and the rows they become."""

    def __init__(self, connection: Connection, submissions: Sequence[Submission], at: datetime) -> None:
        self._connection, self._submissions, self._at = connection, submissions, at
        self._served = self._institutions()
        self._limits = limits_now(connection, self._served, at=at)
        self._gates = Gates(self._served, now=at.timestamp())
        self._backlog = self._open_claims()
        self._awaited: dict[str, bool] = {}
        self._by_key: dict[tuple[str, str], Any] = {}
        self._by_visit: dict[tuple[str, int], Any] = {}
        self._owner: dict[str, str] = {}
        self._last_batch: dict[str, int] = {}
        self._registered: set[str] = set()
        self._numbers = Numbers(connection, at)
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
            self._numbers.keep()
            self._gates.keep(self._connection)
        return outcomes

    def _take(self, submission: Submission, claim_id: int) -> Outcome:
        known = self._known(submission)
        if known is not None:
            return known
        served = self._served.get(submission.institution_code)
        if served is None:
            return NotServed()
        if self._is_of_another(submission):
            return VisitConflict()
        elsewhere = self._elsewhere(submission, served)
        if elsewhere is not None:
            return elsewhere
        visit_no, batch_no = submission.visit.visit_no, submission.charge_batch_no
        kept_out = self._kept_out(submission, served)
        if kept_out is not None:
            return kept_out

        visit_no = visit_no or self._numbers.issue(served, self._owner)
        batch_no = batch_no or self._last_batch.get(visit_no, 0) + 1
        self._write(submission, claim_id, visit_no, batch_no)
        return Accepted(claim_id, visit_no, batch_no)

    def _kept_out(self, submission: Submission, served: Any) -> Outcome | None:
        """What keeps the institution's next claim out for now; its key is not used up."""
        code = submission.institution_code
        kept_out = self._gates.refusal(code)
        if kept_out is not None:
            return kept_out
        if self._backlog.get(code, 0) >= served.backlog_cap:
            return BacklogFull(self._backlog[code], served.backlog_cap)
        over = self._limits.against(code, _total_of(submission))
        return None if over is None else OverOfflineLimit(over)

    def _elsewhere(self, submission: Submission, served: Any) -> Outcome | None:
        """Where what is new of the institution is taken instead; or that this claim is still on its way here."""
        if served.standing == Standing.MOVING_IN:
            return Arriving()
        if served.standing != Standing.OPEN:
            return Moved(served.moved_to)
        code, visit_no = submission.institution_code, submission.visit.visit_no
        if served.moved_to and visit_no and visit_no not in self._owner and visit_no not in self._registered:
            return Arriving()  # another front-end of the institution may have it, and is handing over what it has
        if not served.move_no or not self._is_awaited(code):
            return None
        if is_arriving(self._connection, code, key=submission.idempotency_key):
            return Arriving()
        return Arriving() if visit_no and is_arriving(self._connection, code, visit_no=visit_no) else None

    def _is_awaited(self, code: str) -> bool:
        """Whether anything of an institution that moved here is still on its way; asked once in a transaction."""
        if code not in self._awaited:
            self._awaited[code] = is_arriving(self._connection, code)
        return self._awaited[code]

    def _known(self, submission: Submission) -> Outcome | None:
        """What a key, or a batch of a visit, that was taken before is answered; also when the institution is not served
        here any more: who never heard the answer goes elsewhere only when nothing came here."""
        code, digest = submission.institution_code, submission.content_digest
        visit_no, batch_no = submission.visit.visit_no, submission.charge_batch_no
        by_key = self._by_key.get((code, submission.idempotency_key))
        if by_key is not None and by_key.claim_id == _NO_CLAIM:
            return Cancelled()
        same = by_key or (self._by_visit.get((visit_no, batch_no or 0)) if visit_no else None)
        if same is not None and same.content_digest == digest and same.institution_code == code:
            return Replayed(same.claim_id, same.visit_no, same.charge_batch_no)
        return None if by_key is None else KeyConflict()

    def _is_of_another(self, submission: Submission) -> bool:
        """Whether the batch is taken by other content, or the visit is another institution's, or registered."""
        code, visit_no = submission.institution_code, submission.visit.visit_no
        if not visit_no:
            return False
        if (visit_no, submission.charge_batch_no or 0) in self._by_visit or self._owner.get(visit_no, code) != code:
            return True
        # Charges of a registered visit come in line by line, and are settled by `workers.visits`.
        return visit_no in self._registered and not submission.of_registered

    def _write(self, submission: Submission, claim_id: int, visit_no: str, batch_no: int) -> None:
        code, lines = submission.institution_code, submission.lines
        self._gates.let_in(code)
        self._limits.took(code, _total_of(submission))
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
                "total_fen": _total_of(submission),
                "accepted_at": self._at,
                "final": submission.final,
                "covers_to": submission.covers_to,
                "phase": submission.phase,
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
        for code in dict.fromkeys(s.institution_code for s in self._submissions):
            keys = [s.idempotency_key for s in self._submissions if s.institution_code == code]
            for row in self._connection.execute(_STORED_BY_KEY, {"code": code, "keys": keys}):
                self._by_key[(code, row.idempotency_key)] = row
        visits = [s.visit.visit_no for s in self._submissions if s.visit.visit_no]
        if not visits:
            return
        self._registered.update(self._connection.execute(_REGISTERED, {"visits": visits}).scalars())
        for row in self._connection.execute(_STORED_BY_VISIT, {"visits": visits}):
            self._by_visit[(row.visit_no, row.charge_batch_no)] = row
            self._owner[row.visit_no] = row.institution_code
            self._last_batch[row.visit_no] = max(row.charge_batch_no, self._last_batch.get(row.visit_no, 0))

    def _first_free_id(self) -> int:
        return (self._connection.execute(_LAST_ID).scalar() or 0) + 1


def _total_of(submission: Submission) -> int:
    """What the lines of a claim come to as they were handed in."""
    return sum([line.line_amount_fen or 0 for line in submission.lines])


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
