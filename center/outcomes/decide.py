"""Confirming and cancelling (确认、取消): a prepared claim leaves that state once, and whoever comes late is told how.

A confirmation writes what was prepared, under the number and the day it is confirmed on. A cancellation that finds
nothing leaves a tombstone: the claim it was meant for, should it still come, is refused. What is settled is not
cancelled but taken back by a contra settlement.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine

from center.backup import epochs
from center.outcomes import holds, rows
from center.outcomes.prepared import Confirming, Prepared, unpacked
from center.outcomes.rows import Key, OutcomeRow
from center.outcomes.telling import not_to_be_cancelled, told_of, told_refused, told_settled, told_unknown
from center.settling import records
from center.settling.records import InsuredPerson
from center.settling.settle import record
from center.settling.spoken_for import spoken_for
from center.settling.well_formed import MAX_INTEGER, Refused, is_code, refuse
from center.transactions import LookAgain, in_transaction
from domain.messages import OutcomeDecided, OutcomeDecision, OutcomeTold, ToldOutcome
from domain.outcomes import EDGES, OutcomeState
from domain.refusals import Refusal
from infra.codec import pack

log = logging.getLogger("center")


def decide(engine: Engine, decided: OutcomeDecided, *, frontend: str, at: datetime) -> OutcomeTold:
    """Do what was decided, each claim in a transaction of its own, and tell what each came to. Done again it is told
    again."""
    came_to = [_decided(engine, decision, frontend, at) for decision in decided.decisions]
    log.info("outcomes_decided", extra={"frontend": frontend, "claims": len(came_to)})
    epoch = min((number for number, _ in came_to), default=epochs.FIRST)
    return OutcomeTold(outcomes=tuple(told for _, told in came_to), epoch=epoch)


def _decided(engine: Engine, decision: OutcomeDecision, frontend: str, at: datetime) -> tuple[int, ToldOutcome]:
    """The epoch it was decided in, and what it came to."""

    def decide_now(connection: Connection) -> tuple[int, ToldOutcome]:
        cursor = records.cursor_of(connection)
        return epochs.current(cursor).number, decide_one(cursor, decision, frontend=frontend, at=at)

    return in_transaction(engine, decide_now)


def decide_one(
    cursor: psycopg.Cursor[Any], decision: OutcomeDecision, *, frontend: str, at: datetime, by: str = ""
) -> ToldOutcome:
    """Confirm or cancel one claim in the caller's transaction, and tell what it came to. Raises LookAgain when it was
    prepared between the first look and the locks.

    A claim is of the front-end that handed it in, and no other one of the institution decides about it. `by` is who
    forces it at the centre; else it is that front-end.
    """
    key: Key = decision.institution_code, decision.visit_no, decision.charge_batch_no
    refused = _against(cursor, key, frontend)
    if refused is not None:
        return told_refused(key, refused)
    row, persons = _locked(cursor, key)
    if row is not None and row.frontend != frontend and not by:
        return told_refused(key, refuse(Refusal.NOT_SERVED))
    if (row is None or row.state == OutcomeState.PREPARED) and not epochs.current(cursor).is_open:
        # Restored from a backup, we do not know yet what we confirmed since.
        return told_unknown(key, Refused(Refusal.BUSY, epochs.RECOVERING))
    deciding = _Deciding(cursor, key, frontend, at, by or frontend)
    if row is None:
        return deciding.without_row(confirm=decision.confirm)
    if OutcomeState(row.state) not in EDGES:
        return deciding.again(row, confirm=decision.confirm)
    return deciding.prepared(row, persons, confirm=decision.confirm)


def _against(cursor: psycopg.Cursor[Any], key: Key, frontend: str) -> Refused | None:
    """Why the front-end may not decide about it; the first reason."""
    code, visit_no, batch_no = key
    if not (is_code(code, 18) and is_code(visit_no, 16) and 0 <= batch_no <= MAX_INTEGER):
        return refuse(Refusal.MALFORMED, "医院编号、就医登记号、费用批次")
    found = spoken_for(cursor, code, frontend)
    return found if isinstance(found, Refused) else None


def _locked(cursor: psycopg.Cursor[Any], key: Key) -> tuple[OutcomeRow | None, dict[int, InsuredPerson]]:
    """The claim's outcome, read after whom it holds, its visit number and itself are locked, in this order."""
    seen = rows.read(cursor, [key]).get(key)
    held = [] if seen is None or seen.state != OutcomeState.PREPARED else seen.persons()
    persons = records.lock_persons_numbered(cursor, held)
    records.lock_visits(cursor, [key[1]])
    row = rows.read(cursor, [key], lock=True).get(key)
    if row is not None and row.state == OutcomeState.PREPARED and not set(row.persons()) <= set(persons):
        raise LookAgain
    return row, persons


class _Deciding:
    """One decision about one claim, under its locks."""

    def __init__(self, cursor: psycopg.Cursor[Any], key: Key, frontend: str, at: datetime, by: str) -> None:
        self._cursor, self._key, self._frontend, self._at, self._by = cursor, key, frontend, at, by

    def prepared(self, row: OutcomeRow, persons: dict[int, InsuredPerson], *, confirm: bool) -> ToldOutcome:
        """It waits for the decision, unless its time is up."""
        if row.expires_at is None or row.expires_at <= self._at:
            return self.expire(row)
        return self.confirm(row, persons) if confirm else self.cancel(row)

    def confirm(self, row: OutcomeRow, persons: dict[int, InsuredPerson]) -> ToldOutcome:
        """Write what was prepared."""
        prepared: Prepared = unpacked(row.prepared)
        confirming = Confirming(prepared, persons, frontend=row.frontend)
        if not confirming.is_as_prepared(self._cursor):
            # Somebody moved the person past the hold. Nothing is settled by numbers that are not true any more.
            log.error("hold_broken", extra={"visit_no": row.visit_no, "charge_batch_no": row.charge_batch_no})
            return self.expire(row)
        holds.let_go(self._cursor, row.persons())
        record(self._cursor, confirming, self._at)
        answer = confirming.settled[0].answer
        packed = pack(answer)
        self._move(row, OutcomeState.CONFIRMED, settlement_no=answer.settlement_no, answer=packed)
        return told_settled(self._key, packed)

    def cancel(self, row: OutcomeRow) -> ToldOutcome:
        """Let it be as if it had not been prepared."""
        self._move(row, OutcomeState.CANCELLED)
        holds.let_go(self._cursor, row.persons())
        return told_of(row._replace(state=OutcomeState.CANCELLED), at=self._at)

    def expire(self, row: OutcomeRow) -> ToldOutcome:
        """Note that its time is up."""
        self._move(row, OutcomeState.EXPIRED)
        holds.let_go(self._cursor, row.persons())
        return told_of(row._replace(state=OutcomeState.EXPIRED), at=self._at)

    def again(self, row: OutcomeRow, *, confirm: bool) -> ToldOutcome:
        """It is decided already: the answer of whoever was first."""
        if row.state == OutcomeState.CONFIRMED and not confirm:
            return told_of(row, at=self._at, refused=not_to_be_cancelled(row.answer))
        return told_of(row, at=self._at)

    def without_row(self, *, confirm: bool) -> ToldOutcome:
        """It was never prepared: settled in one phase, or not known; a cancellation leaves a tombstone."""
        settled, unsettled, _ = records.known_of_visits(self._cursor, [self._key[1]])
        own = next((each for each in settled if _key_of(each) == self._key), None)
        if own is not None and own.frontend != self._frontend:
            return told_refused(self._key, refuse(Refusal.NOT_SERVED))
        if own is not None:
            return told_settled(self._key, own.answer, None if confirm else not_to_be_cancelled(own.answer))
        if confirm:
            return told_unknown(self._key, refuse(Refusal.NOT_PREPARED))
        owners = {each.institution_code for each in settled}
        owners.update(each.institution_code for each in unsettled if each.person_no is not None)
        if owners - {self._key[0]}:
            return told_refused(self._key, refuse(Refusal.VISIT_OF_ANOTHER))
        rows.insert_tombstone(self._cursor, self._key, frontend=self._frontend, at=self._at, by=self._by)
        told = refuse(Refusal.CANCELLED)
        return ToldOutcome(*self._key, OutcomeState.CANCELLED, str(told.refusal), told.detail)

    def _move(
        self, row: OutcomeRow, to: OutcomeState, *, settlement_no: int | None = None, answer: bytes | None = None
    ) -> None:
        moved = rows.move(
            self._cursor, row.key, to, at=self._at, by=self._by, settlement_no=settlement_no, answer=answer
        )
        if not moved:
            raise LookAgain


def _key_of(settled: records.Settled) -> Key:
    return settled.institution_code, settled.visit_no, settled.charge_batch_no
