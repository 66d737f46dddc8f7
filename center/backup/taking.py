"""Taking up (补录) what front-ends sent again: under its old number, with the answer that was told.

What was settled before the restore is settled once more, in the order of its numbers, by the same engine and from the
accumulators where they then stand. Each person's documents have numbers in the order they were settled, because a
number is drawn under the person's lock, so from a whole set the same comes out to the fen:

    taken  the centre comes to what was told: written as it was told
    there  the centre has it already
    told   it comes to something else now, because an earlier document is missing or a later one came first; but from
           the state the answer itself names it comes to what was told: the patient has paid by it, so it stands, and a
           case names both
    open   neither: nothing is written, and a case names both; a person decides
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, Engine

from center.backup import epochs
from center.backup.tables import OWES
from center.conservation import sums
from center.ledger import chain
from center.outcomes import holds
from center.policy.shelf import PolicyShelf
from center.reconciling.cases import Case, Kind, open_cases
from center.settling import contra, records
from center.settling.contra import Original
from center.settling.counter import Counter, Moved, Settling
from center.settling.records import NORMAL, Standing
from center.settling.settle import record
from center.transactions import in_transaction
from domain.messages import ClaimAnswer, ClaimTotals, Resent, TotalsSubmitted
from domain.money import yuan
from domain.outcomes import OutcomeState
from domain.settlement import Settlement
from infra.codec import pack, unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")

AT_ONCE = 300
"""Most documents of a run."""
TAKING = 7372
"""The advisory lock of taking up: one at a time, or the order of the numbers were lost."""
RESETTLED = "resettled"
"""What is kept of a refund, in the words of front-ends."""

_AMOUNTS = (
    "fund_pay_fen",
    "account_pay_fen",
    "deductible_fen",
    "self_pay_fen",
    "over_cap_fen",
    "institution_share_fen",
)


class Outcome(StrEnum):
    """What came of a document."""

    TAKEN = "taken"
    THERE = "there"
    TOLD = "told"
    OPEN = "open"


class Waiting(NamedTuple):
    """A document that waits to be taken up."""

    document_no: int
    frontend: str
    resent: Resent

    @property
    def settled_at(self) -> datetime:
        """When it was settled."""
        assert self.resent.answer.settled_at is not None
        return self.resent.answer.settled_at


class _Differs(Exception):
    """The document at this place of the run does not come to what was told."""

    def __init__(self, place: int, now: Settlement | None, words: str) -> None:
        self.place, self.now, self.words = place, now, words
        super().__init__("a document taken up comes to something else")


def take_up(engine: Engine, shelf: ReferenceShelf, policies: PolicyShelf, *, at: datetime) -> int:
    """Take up the next documents that wait and were settled together; how many. Nothing until every front-end is
    through, or the centre is open: an earlier number may be still to come. The last opens the centre.

    A run is a transaction: one that goes on to the next run's persons, holding those of the first, could wait in a
    circle with what comes in and is answered meanwhile."""
    return in_transaction(engine, lambda connection: _take_next(connection, shelf, policies, at))


def _take_next(connection: Connection, shelf: ReferenceShelf, policies: PolicyShelf, at: datetime) -> int:
    cursor = records.cursor_of(connection)
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [TAKING])
    epoch = epochs.current(cursor)
    if not (epoch.is_open or _is_everybody_through(cursor, epoch.number)):
        return 0
    run = _next_run(cursor, epoch.number)
    if not run:
        if not epoch.is_open:
            cursor.execute("UPDATE epoch SET opened_at = %s WHERE epoch = %s", [at, epoch.number])
            log.warning("epoch_open", extra={"epoch": epoch.number})
        return 0
    reference = shelf.current(connection, records.versions_in_force(cursor))
    return _Taking(connection, reference, policies, epoch.number, at).take(run)


def _is_everybody_through(cursor: psycopg.Cursor[Any], epoch: int) -> bool:
    cursor.execute(f"SELECT FROM catching_up WHERE epoch = %s AND {OWES} LIMIT 1", [epoch])
    return cursor.fetchone() is None


def _next_run(cursor: psycopg.Cursor[Any], epoch: int) -> list[Waiting]:
    """The next that were settled together: of one front-end, at one moment, under one policy; a contra by itself."""
    cursor.execute(
        "SELECT document_no, frontend, content FROM resent WHERE epoch = %s AND outcome = ''"
        " ORDER BY document_no LIMIT %s",
        [epoch, AT_ONCE],
    )
    waiting = (Waiting(number, frontend, unpack(content, Resent)) for number, frontend, content in cursor)
    first = next(waiting, None)
    if first is None:
        return []
    if first.resent.kind == contra.CONTRA:
        return [first]
    return [first, *takewhile(partial(_is_settled_with, first), waiting)]


def _is_settled_with(first: Waiting, other: Waiting) -> bool:
    return (
        other.resent.kind != contra.CONTRA
        and (other.frontend, other.settled_at) == (first.frontend, first.settled_at)
        and other.resent.policy_version == first.resent.policy_version
        and other.resent.catalogue_version == first.resent.catalogue_version
    )


class _Taking:
    """Takes up one run in one transaction."""

    def __init__(
        self, connection: Connection, reference: Reference, policies: PolicyShelf, epoch: int, at: datetime
    ) -> None:
        self._connection, self._reference, self._policies = connection, reference, policies
        self._epoch, self._at = epoch, at
        self._cursor = records.cursor_of(connection)

    def take(self, run: list[Waiting]) -> int:
        """Take up the run, or as much of it as comes to what was told, or at least its first."""
        there = self._there(run[0])
        if there is not None:
            return self._done(run[:1], *there)
        if run[0].resent.kind == contra.CONTRA:
            return self._take_contra(run[0])
        try:
            with self._connection.begin_nested():
                self._as_settled(run)
            return self._done(run, Outcome.TAKEN)
        except _Differs as differs:
            if differs.place:
                return self.take(run[: differs.place])
            return self._take_otherwise(run[0], differs)

    # ── What is there already ──

    def _there(self, first: Waiting) -> tuple[Outcome, str] | None:
        """How it stands with a document whose key or number the centre has already."""
        resent = first.resent
        kind = contra.CONTRA if resent.kind == contra.CONTRA else NORMAL
        self._cursor.execute(
            "SELECT settlement_no, answer FROM settlement WHERE settlement_no = %s"
            " OR (visit_no = %s AND charge_batch_no = %s AND kind = %s)",
            [first.document_no, resent.claim.visit_no, resent.claim.charge_batch_no, kind],
        )
        held = [(number, unpack(answer, ClaimAnswer)) for number, answer in self._cursor.fetchall()]
        if not held:
            return None
        for number, answer in held:
            if number == first.document_no and _says(answer) == _says(resent.answer):
                return Outcome.THERE, ""
        number, answer = held[0]
        ours, told = f"中心已有单号 {number}（{_words(answer)}）", _words(resent.answer)
        words = f"{ours}，前置机报送单号 {first.document_no}（{told}）"
        self._open_case(first, Kind.RESTORED_OPEN, words, answer.fund_pay_fen)
        return Outcome.OPEN, words

    # ── Settlements ──

    def _as_settled(self, run: Sequence[Waiting], *, from_told: bool = False) -> None:
        """Settle the run as it was and write it under its numbers. Raises _Differs, and then nothing may be kept."""
        first = run[0]
        why = _Differs(0, None, "中心按现行政策无法重算")
        for reference in self._references(first.resent):
            counter = Retaking(first, [each.resent for each in run], reference)
            counter.gather(self._cursor)
            if from_told:
                counter.start_from(first.resent)
            try:
                counter.decide_all()
            except _Differs as differs:
                why = differs if differs.place >= why.place else why
                continue
            counter.stand_as_they_do()
            self._let_go(run)
            record(self._cursor, counter, first.settled_at, [each.resent.answer for each in run])
            return
        raise why

    def _references(self, resent: Resent) -> list[Reference]:
        """What it may have been settled under: the policy in force, or the one its totals name."""
        held = [self._reference]
        if resent.policy_version != self._reference.policy_version:
            book = self._policies.book(self._connection, resent.policy_version)
            if book is not None:
                held.append(replace(self._reference, policy=book, policy_version=resent.policy_version))
        return held

    def _let_go(self, run: Sequence[Waiting]) -> None:
        """Where the backup has it prepared, it was confirmed since, though the hold may have run out here: the outcome
        is confirmed, and the hold of its person ends. A tombstone of what was never prepared stays."""
        for each in run:
            claim = each.resent.claim
            self._cursor.execute(
                "WITH was AS (SELECT state, person_no, family_person_no FROM outcome"
                " WHERE institution_code = %(code)s AND visit_no = %(visit)s AND charge_batch_no = %(batch)s"
                " AND state <> 'confirmed' AND person_no IS NOT NULL FOR UPDATE)"
                " UPDATE outcome SET state = 'confirmed', decided_at = %(at)s, decided_by = 'restore', prepared = '',"
                " settlement_no = %(number)s, answer = %(answer)s FROM was"
                " WHERE institution_code = %(code)s AND visit_no = %(visit)s AND charge_batch_no = %(batch)s"
                " RETURNING was.state, was.person_no, was.family_person_no",
                {
                    "code": claim.institution_code,
                    "visit": claim.visit_no,
                    "batch": claim.charge_batch_no,
                    "at": each.settled_at,
                    "number": each.document_no,
                    "answer": pack(each.resent.answer),
                },
            )
            for state, *held in self._cursor.fetchall():
                if state == OutcomeState.PREPARED:
                    holds.let_go(self._cursor, [number for number in held if number is not None])

    def _take_otherwise(self, first: Waiting, differs: _Differs) -> int:
        """What does not come to what was told from where its person stands now."""
        told = _words(first.resent.answer)
        now = differs.words or f"现在重算为{_words(differs.now)}"
        try:
            with self._connection.begin_nested():
                self._as_settled([first], from_told=True)
        except (_Differs, psycopg.errors.CheckViolation):
            words = f"恢复后未补录：单号 {first.document_no} 已告知{told}；{now}"
            self._open_case(first, Kind.RESTORED_OPEN, words, differs.now.fund_pay_fen if differs.now else 0)
            return self._done([first], Outcome.OPEN, words)
        words = f"恢复后按已告知的结果补录：单号 {first.document_no} {told}；{now}，因其间该人累计与当时不同"
        self._open_case(first, Kind.RESTORED_ORDER, words, differs.now.fund_pay_fen if differs.now else 0)
        return self._done([first], Outcome.TOLD, words)

    # ── Contra settlements ──

    def _take_contra(self, first: Waiting) -> int:
        resent = first.resent
        visit_no = resent.claim.visit_no
        self._cursor.execute(
            "SELECT settlement_no, person_no, steps, answer FROM settlement"
            " WHERE visit_no = %s AND charge_batch_no = %s AND kind = 'normal' AND institution_code = %s"
            " AND NOT EXISTS (SELECT FROM settlement c WHERE c.contra_of = settlement.settlement_no)",
            [visit_no, resent.contra_of, resent.claim.institution_code],
        )
        row = self._cursor.fetchone()
        try:
            if row is None:
                raise _Differs(0, None, "中心没有它所冲销的结算，或已被冲销")
            with self._connection.begin_nested():
                self._negate(first, Original._make(row))
        except _Differs as differs:
            words = f"恢复后未补录反向结算：单号 {first.document_no} 已告知{_words(resent.answer)}；{differs.words}"
            self._open_case(first, Kind.RESTORED_OPEN, words, 0)
            return self._done([first], Outcome.OPEN, words)
        return self._done([first], Outcome.TAKEN)

    def _negate(self, first: Waiting, original: Original) -> None:
        resent = first.resent
        contra.lock_concerned(self._cursor, [original.settlement_no], [resent.claim.visit_no])
        answer = contra.take_back(
            self._cursor,
            original,
            charge_batch_no=resent.claim.charge_batch_no,
            frontend=first.frontend,
            reason=resent.reason,
            at=first.settled_at,
            request=contra.request_of(self._kept_of(first)),
            told=resent.answer,
        )
        if _says(answer)[:-1] != _says(resent.answer)[:-1]:
            raise _Differs(0, None, f"按原结算应为{_words(answer)}")
        chain.seal(self._cursor, {resent.claim.institution_code: [first.document_no]}, at=first.settled_at)
        sums.add_documents(self._cursor, [first.document_no])

    def _kept_of(self, first: Waiting) -> list[ClaimTotals]:
        """What the same request had settled anew: it was told of under the next batch, and numbered soon after."""
        self._cursor.execute(
            "SELECT content FROM resent WHERE epoch = %s AND frontend = %s AND document_no > %s"
            " ORDER BY document_no LIMIT %s",
            [self._epoch, first.frontend, first.document_no, AT_ONCE],
        )
        claim = first.resent.claim
        key = RESETTLED, claim.visit_no, claim.charge_batch_no + 1
        behind = (unpack(content, Resent) for (content,) in self._cursor)
        return [each.claim for each in behind if (each.kind, each.claim.visit_no, each.claim.charge_batch_no) == key]

    # ── What is noted ──

    def _open_case(self, first: Waiting, kind: Kind, words: str, center_fen: int) -> None:
        claim = first.resent.claim
        told = first.resent.answer.fund_pay_fen
        key = claim.institution_code, claim.visit_no, claim.charge_batch_no
        open_cases(self._connection, [Case(kind, *key, center_fen, told, words)], self._at)

    def _done(self, run: Sequence[Waiting], outcome: Outcome, words: str = "") -> int:
        self._cursor.execute(
            "UPDATE resent SET outcome = %s, words = %s, taken_at = %s"
            " WHERE epoch = %s AND outcome = '' AND document_no = ANY(%s::bigint[]) AND frontend = %s",
            [outcome, words, self._at, self._epoch, [each.document_no for each in run], run[0].frontend],
        )
        log.info("taken_up", extra={"documents": len(run), "outcome": str(outcome)})
        return len(run)


class Retaking(Counter):
    """The counter a run stands at again: what was let through then is let through, and has to come to the same."""

    CHECKS_OF_NEW = Counter.CHECKS_OF_TAKEN_UP

    def __init__(self, first: Waiting, run: Sequence[Resent], reference: Reference) -> None:
        self._run = run
        self._catalogue_version = first.resent.catalogue_version
        claims = tuple(_bare(each.claim) for each in run)
        submitted = TotalsSubmitted(
            policy_version=reference.policy_version, catalogue_version=self._catalogue_version, claims=claims
        )
        super().__init__(submitted, first.frontend, reference, first.settled_at, None)
        self._moved: list[Moved] = []

    def _see_served(self, cursor: psycopg.Cursor[Any], visit_nos: set[str]) -> None:
        """Whom its front-end serves, or served then: the institution may have moved away since."""
        self._speaks_for = {code for code, row in self._institutions.items() if row.has_heard(self.frontend)}

    @property
    def catalogue_version(self) -> str:
        """What the lines were split by."""
        return self._catalogue_version

    def start_from(self, resent: Resent) -> None:
        """Let the person stand where the answer says they stood; `..._now` say how far that is from where they do."""
        amounts = {key: before for key, before, _ in resent.answer.entries}
        moved = self.stand(resent.claim.citizen_id_no, amounts, resent.answer.account_before_fen)
        self._moved += [] if moved is None else [moved]

    def decide_all(self) -> None:
        """Settle every claim of the run. Raises _Differs at the first that does not come to what was told."""
        for place, (claim, resent) in enumerate(zip(self.submitted.claims, self._run, strict=True)):
            decision = self.decide(claim)
            if not isinstance(decision, Settling):
                detail = getattr(decision, "detail", "")
                raise _Differs(place, None, f"现在不能结算：{detail}" if detail else "中心已有另一笔结算")
            if _says(decision.settlement) != _says(resent.answer):
                raise _Differs(place, decision.settlement, "")

    def stand_as_they_do(self) -> None:
        """Let the movements start from where the accumulators really stand."""
        shift = self._shift
        for settling in self.settled if shift else ():
            person_no = settling.insured.person_no
            entries = tuple(
                entry._replace(before_fen=entry.before_fen + shift.get((person_no, entry.key), 0))
                for entry in settling.settlement.entries
            )
            settling.settlement = replace(settling.settlement, entries=entries)

    def accumulators_now(self) -> dict[tuple[int, str], int]:
        """Where they stand, moved by as much as they were moved then."""
        shift = self._shift
        return {at: amount + shift.get(at, 0) for at, amount in super().accumulators_now().items()}

    def standings_now(self) -> dict[int, Standing]:
        """The same of accounts."""
        shift = {moved.person_no: moved.account_fen for moved in self._moved}
        return {
            person_no: standing._replace(account_balance_fen=standing.account_balance_fen + shift.get(person_no, 0))
            for person_no, standing in super().standings_now().items()
        }

    @property
    def _shift(self) -> dict[tuple[int, str], int]:
        """By how much accumulators stand elsewhere than they were let."""
        return {(moved.person_no, key): fen for moved in self._moved for key, fen in moved.amounts.items()}


def _bare(claim: ClaimTotals) -> ClaimTotals:
    """Without what the front-end had settled itself: the answer says how that differed."""
    return claim._replace(local=None)


def _says(told: ClaimAnswer | Settlement) -> tuple[Any, ...]:
    """What of an answer has to be the same: amounts, who pays, what each accumulator moves by; last, from where."""
    moved = sorted((key, applied) for key, _, applied in told.entries)
    return (
        *(getattr(told, name) for name in _AMOUNTS),
        sorted(tuple(cell) for cell in told.cells),
        moved,
        sorted(tuple(entry) for entry in told.entries),
    )


def _words(told: ClaimAnswer | Settlement | None) -> str:
    if told is None:
        return "无"
    return f"统筹 {yuan(told.fund_pay_fen)} 元、账户 {yuan(told.account_pay_fen)} 元"
