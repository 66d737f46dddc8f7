"""Preparing (预结算): the centre computes what a claim comes to, answers, and holds its person; nothing is posted.

It stands at the same counter as any claim, under the same locks and checks. What is decided is kept as it is until the
institution confirms it, cancels it, or lets it expire.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from center.backup import epochs
from center.outcomes import holds, rows
from center.outcomes.prepared import packed
from center.outcomes.rows import Key, OutcomeRow
from center.outcomes.telling import told_of, told_refused
from center.policy.shelf import PolicyShelf
from center.settling import records
from center.settling.counter import Counter, Settling, content_of
from center.settling.records import Settled
from center.settling.settle import BAD_CONTENT, answer_to, parked_row
from center.settling.well_formed import Refused, malformed, refuse
from center.transactions import driver_error, in_transaction, sqlstate_of
from domain.messages import ClaimAnswer, ClaimTotals, OutcomeTold, PrepareAsked, ToldOutcome, TotalsSubmitted
from domain.money import yuan
from domain.outcomes import OutcomeState
from domain.policy import PolicyBook
from domain.refusals import HOLDS, Refusal
from infra.codec import pack, unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")


def prepare(
    engine: Engine,
    shelf: ReferenceShelf,
    asked: PrepareAsked,
    *,
    frontend: str,
    at: datetime,
    interval: timedelta,
    policies: PolicyShelf | None = None,
) -> OutcomeTold:
    """Prepare a batch and commit it. What is known already is told as it is; asking twice is asking once.

    `interval` is how long a person is held. Should the database refuse a row of the batch, it is halved until the
    claim at fault stands alone and is parked.
    """

    def prepare_now(connection: Connection) -> OutcomeTold:
        reference = shelf.current(connection, records.versions_in_force(records.cursor_of(connection)))
        sent = None
        if asked.policy_version != reference.policy_version:
            sent = (policies or PolicyShelf()).book(connection, asked.policy_version)
        return prepare_batch(
            asked,
            frontend=frontend,
            connection=connection,
            reference=reference,
            at=at,
            interval=interval,
            sent_policy=sent,
        )

    try:
        told = in_transaction(engine, prepare_now)
    except (DBAPIError, psycopg.Error) as error:
        if not isinstance(driver_error(error), BAD_CONTENT):
            raise
        log.error("prepare_refused_by_database", extra={"claims": len(asked.claims), "sqlstate": sqlstate_of(error)})
        if len(asked.claims) == 1:
            return in_transaction(engine, lambda connection: _park_internal(connection, asked, frontend, at))
        middle = len(asked.claims) // 2
        halves = [
            prepare(
                engine,
                shelf,
                replace(asked, claims=claims),
                frontend=frontend,
                at=at,
                interval=interval,
                policies=policies,
            )
            for claims in (asked.claims[:middle], asked.claims[middle:])
        ]
        return OutcomeTold(outcomes=halves[0].outcomes + halves[1].outcomes, epoch=halves[1].epoch)
    log.info("batch_prepared", extra={"frontend": frontend, "claims": len(told.outcomes)})
    return told


def prepare_batch(
    asked: PrepareAsked,
    *,
    frontend: str,
    connection: Connection,
    reference: Reference,
    at: datetime,
    interval: timedelta,
    sent_policy: PolicyBook | None = None,
) -> OutcomeTold:
    """Tell of every claim of the batch, in its order: prepared now, or what became of it before, or refused."""
    cursor = records.cursor_of(connection)
    submitted = TotalsSubmitted(
        policy_version=asked.policy_version, catalogue_version=asked.catalogue_version, claims=asked.claims
    )
    counter = Counter(submitted, frontend, reference, at, sent_policy)
    counter.gather(cursor)
    known = rows.read(cursor, {_key(claim) for claim in asked.claims if not malformed(claim)}, lock=True)

    preparing = _Preparing(cursor, counter, known, at, interval)
    told = tuple(preparing.tell(claim) for claim in asked.claims)

    if preparing.refused:
        records.park(cursor, [parked_row(claim, why, frontend, at) for claim, why in preparing.refused])
    return OutcomeTold(outcomes=told, epoch=counter.epoch.number)


class _Preparing:
    """One batch under its locks."""

    def __init__(
        self,
        cursor: psycopg.Cursor[Any],
        counter: Counter,
        known: Mapping[Key, OutcomeRow],
        at: datetime,
        interval: timedelta,
    ) -> None:
        self._cursor, self._counter, self._known = cursor, counter, dict(known)
        self._at, self._until = at, at + interval
        self.refused: list[tuple[ClaimTotals, Refused]] = []

    def tell(self, claim: ClaimTotals) -> ToldOutcome:
        """What there is under the claim's key now."""
        refused = self._counter.refused_at_once(claim)
        if refused is not None:
            return self._refuse(claim, refused)
        known = self._known.get(_key(claim))
        if known is not None and known.content and known.content != pack(content_of(claim)):
            held = unpack(known.content, records.Content).total_fen
            return self._refuse(claim, refuse(Refusal.CONTENT_CONFLICT, yuan(claim.total_fen), yuan(held)))
        if known is not None:
            return told_of(known, at=self._at)
        decision = self._counter.decide(claim)
        if isinstance(decision, Refused):
            return self._refuse(claim, decision)
        if isinstance(decision, Settled):
            return ToldOutcome(*_key(claim), OutcomeState.CONFIRMED, answer=unpack(decision.answer, ClaimAnswer))
        return self._prepare(claim, decision)

    def _prepare(self, claim: ClaimTotals, settling: Settling) -> ToldOutcome:
        """Keep what was decided, and hold whom it concerns."""
        counter, insured = self._counter, settling.insured
        versions = counter.policy_version, counter.catalogue_version
        row = OutcomeRow(
            *_key(claim),
            frontend=counter.frontend,
            state=OutcomeState.PREPARED,
            person_no=insured.person_no,
            family_person_no=counter.family_person_no(insured),
            content=pack(settling.content),
            expires_at=self._until,
            prepared=packed(settling, policy_version=versions[0], catalogue_version=versions[1]),
            answer=pack(answer_to(0, settling, None)),
            settlement_no=None,
        )
        rows.insert_prepared(self._cursor, row, at=self._at)
        holds.hold(self._cursor, row.persons(), until=self._until)
        counter.hold(claim)
        self._known[row.key] = row
        return told_of(row, at=self._at)

    def _refuse(self, claim: ClaimTotals, refused: Refused) -> ToldOutcome:
        if refused.refusal not in HOLDS and refused.stored is None:
            self.refused.append((claim, refused))
        return _told_refused(claim, refused)


def _told_refused(claim: ClaimTotals, refused: Refused) -> ToldOutcome:
    return told_refused(
        _key(claim), refused if refused.stored is not None else refused._replace(stored=claim.submission)
    )


def _key(claim: ClaimTotals) -> Key:
    return claim.institution_code, claim.visit_no, claim.charge_batch_no


def _park_internal(connection: Connection, asked: PrepareAsked, frontend: str, at: datetime) -> OutcomeTold:
    """Park the claims because the database refused their rows."""
    refused = refuse(Refusal.INTERNAL)
    cursor = records.cursor_of(connection)
    records.park(cursor, [parked_row(claim, refused, frontend, at) for claim in asked.claims])
    told = tuple(_told_refused(claim, refused) for claim in asked.claims)
    return OutcomeTold(outcomes=told, epoch=epochs.current(cursor).number)
